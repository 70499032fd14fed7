//! What the well-behaved clients saw: counts by what was asked and what came of it, and latencies by kind of client.
//!
//! One tally per stage. What must hold: everything that was sent is in exactly one class; `report.rs` checks the sum.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::judge::{Class, Method};

/// Troubles kept in full; the counts go on.
const TROUBLES_MAX: usize = 20;

/// Longer than any client waits.
const LATENCY_US_MAX: u64 = 120_000_000;

/// What was asked: each row of the accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    /// A GET, or the handshake of a session: safe to repeat.
    Get,
    /// A POST: never repeated once it may have been acted upon.
    Post,
    /// A WebSocket message.
    Message,
    /// A request past the proxy, to a backend that is never killed.
    Direct,
}

impl Row {
    /// All of them.
    pub(crate) const ALL: [Row; 4] = [Row::Get, Row::Post, Row::Message, Row::Direct];

    /// The row of a request.
    pub(crate) fn of(method: Method) -> Row {
        match method {
            Method::Get => Row::Get,
            Method::Post => Row::Post,
        }
    }
}

/// Kinds of client, whose latencies are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    Kept,
    Fresh,
    Session,
    /// As `Kept`, but past the proxy: what this machine itself takes at that time.
    Direct,
}

/// Counts of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) sent: u64,
    pub(crate) good: u64,
    pub(crate) wrong: u64,
    pub(crate) lost: u64,
    pub(crate) cut_by_kill: u64,
    pub(crate) in_flight_at_kill: u64,
}

impl Counts {
    /// Sent and in no class: a mistake of this program.
    pub(crate) fn unaccounted(&self) -> u64 {
        let known = self.good + self.wrong + self.lost + self.cut_by_kill + self.in_flight_at_kill;
        self.sent.abs_diff(known)
    }

    fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.good += other.good;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.cut_by_kill += other.cut_by_kill;
        self.in_flight_at_kill += other.in_flight_at_kill;
    }
}

/// Everything that one stage's well-behaved clients saw.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    rows: [Counts; 4],
    lanes: [Histogram<u64>; 4],
    /// Connections that could not be had: as bad as a lost request.
    pub(crate) unconnected: u64,
    /// The first requests that were lost or answered wrongly, for the reader of the report.
    pub(crate) troubles: Vec<String>,
    /// A client of ours panicked: its counts are worth nothing.
    pub(crate) crashed: bool,
}

impl Default for Tally {
    fn default() -> Tally {
        let histogram = || Histogram::new_with_max(LATENCY_US_MAX, 3).expect("these bounds are allowed");
        Tally {
            rows: [Counts::default(); 4],
            lanes: [histogram(), histogram(), histogram(), histogram()],
            unconnected: 0,
            troubles: Vec::new(),
            crashed: false,
        }
    }
}

impl Tally {
    /// A request leaves.
    pub(crate) fn sent(&mut self, row: Row) {
        self.rows[row as usize].sent += 1;
    }

    /// A request has been judged.
    pub(crate) fn judged(&mut self, row: Row, class: Class) {
        let counts = &mut self.rows[row as usize];
        *match class {
            Class::Good => &mut counts.good,
            Class::Wrong => &mut counts.wrong,
            Class::Lost => &mut counts.lost,
            Class::CutByKill => &mut counts.cut_by_kill,
            Class::InFlightAtKill => &mut counts.in_flight_at_kill,
        } += 1;
    }

    /// A short good answer took so long.
    pub(crate) fn took(&mut self, lane: Lane, took: Duration) {
        self.lanes[lane as usize].saturating_record(took.as_micros() as u64);
    }

    /// A connection could not be had.
    pub(crate) fn no_connection(&mut self, lane: Lane, how: &str) {
        self.unconnected += 1;
        self.trouble(format!("{lane:?}: {how}"));
    }

    /// Something to be read.
    pub(crate) fn trouble(&mut self, trouble: String) {
        if self.troubles.len() < TROUBLES_MAX {
            self.troubles.push(trouble);
        }
    }

    /// The counts of one row.
    pub(crate) fn counts(&self, row: Row) -> Counts {
        self.rows[row as usize]
    }

    /// The counts of all rows together.
    pub(crate) fn all(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in &self.rows {
            sum.add(counts);
        }
        sum
    }

    /// A percentile of a kind of client, in µs; `None` where nothing was measured.
    pub(crate) fn percentile(&self, lane: Lane, percent: f64) -> Option<u64> {
        let lane = &self.lanes[lane as usize];
        (!lane.is_empty()).then(|| lane.value_at_quantile(percent / 100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_in_one_class() {
        let mut tally = Tally::default();
        for class in [Class::Good, Class::Wrong, Class::Lost, Class::CutByKill, Class::InFlightAtKill] {
            tally.sent(Row::Post);
            tally.judged(Row::Post, class);
        }
        let expected = Counts { sent: 5, good: 1, wrong: 1, lost: 1, cut_by_kill: 1, in_flight_at_kill: 1 };
        assert_eq!(tally.counts(Row::Post), expected);
        assert_eq!(tally.counts(Row::Get), Counts::default());
        assert_eq!(tally.all().unaccounted(), 0);
        tally.sent(Row::Get);
        assert_eq!(tally.all().unaccounted(), 1);
    }

    #[test]
    fn latencies_are_kept_apart() {
        let mut tally = Tally::default();
        for step in 1..=100 {
            tally.took(Lane::Kept, Duration::from_millis(step * 10));
        }
        // To three digits.
        let close = |percent, ms: u64| {
            let us = tally.percentile(Lane::Kept, percent).expect("measured");
            assert!(us.abs_diff(ms * 1_000) <= ms, "{percent} % is {us} us");
        };
        close(50.0, 500);
        close(99.0, 990);
        assert_eq!(tally.percentile(Lane::Fresh, 99.0), None);
    }
}
