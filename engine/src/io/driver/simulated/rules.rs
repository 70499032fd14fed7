//! What a simulated world does to its connections, how often, and the generator that decides when.
//!
//! Made by `tests/sim` from a seed. What must hold: all chance of a world comes from its seed, so that a seed replays.

/// The rules of one world. Rates are per mille; times are in the units that the names say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Decides everything that is left open below.
    pub seed: u64,
    /// Longest way of a segment.
    pub latency_us_max: u32,
    /// Longest time that a completion lies about before the core sees it: completions of different sockets overtake.
    pub jitter_us_max: u32,
    /// Longest turn of the core that does not sleep.
    pub turn_us_max: u32,
    /// Bytes arrive in pieces of 1 to this many; with `u32::MAX`, all that is on its way at once.
    pub segment_bytes_max: u32,
    /// Bytes that a sender's kernel takes before the sender has to wait.
    pub send_buffer_bytes: u32,
    /// Bytes that a receiver's kernel keeps before it stops the sender's.
    pub receive_buffer_bytes: u32,
    /// Connections that wait to be accepted.
    pub backlog: u32,
    /// Sends that take only a part though there is room.
    pub short_sends: u32,
    /// Cancellations that miss an operation because it is between two tries.
    pub missed_cancels: u32,
    /// Accepts that fail: no descriptor left, or the client gave up.
    pub failed_accepts: u32,
    /// Resets that make the receiver lose what it has not read.
    pub lossy_resets: u32,
    /// Connections that are reset at some moment.
    pub resets: u32,
    /// Connections one of whose directions stops at some moment.
    pub stalls: u32,
    /// Longest stall; some last for ever.
    pub stall_ms_max: u32,
    /// Connects that are refused.
    pub refusals: u32,
    /// Connects that are never answered.
    pub silent_connects: u32,
    /// Times that the clock jumps ahead, as after a suspended machine.
    pub jumps: u32,
    /// Longest jump.
    pub jump_ms_max: u32,
    /// A world that has not come to rest after this many turns has failed.
    pub turns_max: u64,
    /// Lines of trace that are kept, the newest; 0 keeps none.
    pub trace_lines_max: usize,
}

impl Rules {
    /// A world without faults: one latency, whole segments, buffers as Linux has them.
    pub fn calm(seed: u64) -> Rules {
        Rules {
            seed,
            latency_us_max: 200,
            jitter_us_max: 0,
            turn_us_max: 20,
            segment_bytes_max: 16 * 1024,
            send_buffer_bytes: 128 * 1024,
            receive_buffer_bytes: 128 * 1024,
            backlog: 128,
            short_sends: 0,
            missed_cancels: 0,
            failed_accepts: 0,
            lossy_resets: 0,
            resets: 0,
            stalls: 0,
            stall_ms_max: 1,
            refusals: 0,
            silent_connects: 0,
            jumps: 0,
            jump_ms_max: 1,
            turns_max: 2_000_000,
            trace_lines_max: 0,
        }
    }
}

/// A stream of pseudo-random numbers (SplitMix64): small, and the same on every machine.
#[derive(Clone, Debug)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Chance {
        Chance { state: seed }
    }

    /// 64 bits.
    pub fn word(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number from 0 to `end`, without `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.word().checked_rem(end).unwrap_or(0)
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, rate: u32) -> bool {
        rate > 0 && self.below(1000) < u64::from(rate)
    }

    /// A number from 0 to `max`, each order of magnitude as likely as the others: short and long are both tried.
    pub fn any_scale(&mut self, max: u64) -> u64 {
        let bits = self.below(u64::from(64 - max.leading_zeros()) + 1);
        let end = 1u64.checked_shl(bits as u32).unwrap_or(u64::MAX);
        self.below(end).min(max)
    }

    /// One of a list.
    ///
    /// # Panics
    /// When the list is empty.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}
