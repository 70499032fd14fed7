//! How fast a body is fetched: no faster than who it is for has shown that it reads.
//!
//! A peer that reads nothing would else get the high mark of everybody: at 300 of them half a megabyte each, in large buffers,
//! most of it in memory that nobody had touched before.

use std::io;
use std::task::Poll;

use config_core::model::Limits;

use crate::io::{Pace, SMALL_BYTES};
use crate::tls::stream::Stream;

/// A body with at least this much to come is received into large buffers; shorter ones fit a few small ones.
const BULK_BYTES_MIN: u64 = 128 * 1024;
/// So many full small buffers in a row show a long body, where its length is not told.
const BULK_FULL_RECEIVES: u8 = 4;

/// How one body is received.
#[derive(Clone, Copy)]
pub(super) enum BodyPace {
    /// Its length is not told; so many receives in a row were full.
    Untold { full_receives: u8 },
    /// As it comes.
    Short,
    /// At the pace that was asked for last.
    Long { asked_for: Pace },
}

impl BodyPace {
    pub(super) fn untold() -> BodyPace {
        BodyPace::Untold { full_receives: 0 }
    }

    /// Of a body with this much to come.
    pub(super) fn of_length(bytes: u64) -> BodyPace {
        if bytes >= BULK_BYTES_MIN { BodyPace::Long { asked_for: Pace::Stream } } else { BodyPace::Short }
    }

    /// Counts full receives in a row, which show that a body is long. One that trickled has gone back to its first pace by
    /// itself.
    pub(super) fn note(&mut self, len: usize) {
        let BodyPace::Untold { full_receives } = self else { return };
        *full_receives = if len == SMALL_BYTES as usize { *full_receives + 1 } else { 0 };
        if *full_receives == BULK_FULL_RECEIVES {
            *self = BodyPace::of_length(u64::MAX);
        }
    }

    /// The pace to go on at, where it changes: of a long body for whom `reader` is.
    pub(super) fn change(&mut self, reader: &Stream, limits: &Limits) -> Option<Pace> {
        let BodyPace::Long { asked_for } = self else { return None };
        if *asked_for == Pace::Bulk {
            return None;
        }
        let pace = if has_read(reader, limits) { Pace::Bulk } else { Pace::Pieces };
        (std::mem::replace(asked_for, pace) != pace).then_some(pace)
    }
}

/// How many unsent bytes a peer may have before nothing is fetched for it any more, and at how many it goes on. The low mark of
/// the configuration is the high one until the peer has shown that it reads.
pub(crate) fn marks(reader: &Stream, limits: &Limits) -> (u32, u32) {
    match has_read(reader, limits) {
        true => (limits.high_water_bytes, limits.low_water_bytes),
        false => (limits.low_water_bytes, limits.low_water_bytes / 4),
    }
}

/// Ready when a peer has room for more.
pub(super) fn poll_room(reader: &Stream, limits: &Limits) -> Poll<io::Result<()>> {
    let (high, low) = marks(reader, limits);
    reader.poll_room(high, low)
}

/// Whether a peer has taken more than the kernel takes for one that reads nothing: that holds up to the high mark unsent,
/// and what fits its receive window.
fn has_read(reader: &Stream, limits: &Limits) -> bool {
    reader.taken() > 2 * u64::from(limits.high_water_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = SMALL_BYTES as usize;

    fn after(mut pace: BodyPace, receives: &[usize]) -> BodyPace {
        for &len in receives {
            pace.note(len);
        }
        pace
    }

    #[test]
    fn a_told_length_decides() {
        let short = after(BodyPace::of_length(BULK_BYTES_MIN - 1), &[FULL; 8]);
        assert!(matches!(short, BodyPace::Short), "however full its receives are");
        let long = after(BodyPace::of_length(BULK_BYTES_MIN), &[1]);
        assert!(matches!(long, BodyPace::Long { asked_for: Pace::Stream }));
    }

    #[test]
    fn full_receives_in_a_row_show_a_long_body() {
        let untold = after(BodyPace::untold(), &[FULL, FULL, FULL, FULL - 1, FULL, FULL, FULL]);
        assert!(matches!(untold, BodyPace::Untold { full_receives: 3 }));
        assert!(matches!(after(untold, &[FULL]), BodyPace::Long { .. }));
    }
}
