//! How fast a body is fetched: no faster than who it is for has shown that it reads.
//!
//! A peer that reads nothing would else get the high mark of everybody: at 300 of them half a megabyte each, in large buffers,
//! most of it in memory that nobody had touched before.

use std::io;
use std::task::Poll;

use config_core::model::Limits;

use crate::io::{Pace, SMALL_BYTES};
use crate::tls::stream::Stream;

/// So many full small buffers in a row show a long body of unknown length.
const BULK_FULL_RECEIVES: u8 = 4;

/// How one body is received.
#[derive(Default)]
pub(super) struct BodyPace {
    full_receives: u8,
    /// The last one that was asked for, once the body is known to be long.
    of_long: Option<Pace>,
}

impl BodyPace {
    /// It is known to be long.
    pub(super) fn announce_long(&mut self) {
        self.of_long = Some(Pace::Stream);
    }

    /// Counts full receives in a row, which show that it is. One that trickled has gone back to its first pace by itself.
    pub(super) fn note(&mut self, len: usize) {
        self.full_receives =
            if len == SMALL_BYTES as usize { self.full_receives.saturating_add(1) } else { 0 };
        if self.full_receives == BULK_FULL_RECEIVES {
            self.announce_long();
        }
    }

    /// The pace to go on at, where it changes: of a long body for whom `reader` is.
    pub(super) fn change(&mut self, reader: &Stream, limits: &Limits) -> Option<Pace> {
        let asked_for = self.of_long.filter(|pace| *pace != Pace::Bulk)?;
        let pace = if has_read(reader, limits) { Pace::Bulk } else { Pace::Pieces };
        self.of_long = Some(pace);
        (pace != asked_for).then_some(pace)
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
