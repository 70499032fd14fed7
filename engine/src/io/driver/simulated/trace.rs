//! What happened in a world: the newest lines of it in words, and all of it as one number.
//!
//! The number tells whether two runs were the same; the words are for whoever replays a seed.

use std::collections::VecDeque;

pub(super) struct Trace {
    lines: VecDeque<String>,
    lines_max: usize,
    fingerprint: u64,
}

impl Trace {
    pub(super) fn new(lines_max: usize) -> Trace {
        Trace { lines: VecDeque::new(), lines_max, fingerprint: 0xCBF2_9CE4_8422_2325 }
    }

    /// Notes an event; its words are only put together where they are kept.
    pub(super) fn note(&mut self, now_us: u64, marks: [u64; 3], words: impl FnOnce() -> String) {
        for mark in [now_us, marks[0], marks[1], marks[2]] {
            // FNV-1a over words instead of bytes.
            self.fingerprint = (self.fingerprint ^ mark).wrapping_mul(0x0100_0000_01B3).rotate_left(29);
        }
        if self.lines_max == 0 {
            return;
        }
        if self.lines.len() == self.lines_max {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>12.6} {}", now_us as f64 / 1e6, words()));
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}
