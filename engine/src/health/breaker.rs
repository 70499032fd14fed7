//! The circuit's arithmetic: how long it stays open, and the ratio of failures that opens it.

use std::cell::Cell;

use config_core::model::CircuitBreaker;

/// A circuit has opened: for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// How long nobody is let through.
    pub(crate) timeout_ms: u64,
    /// How many times in a row it has opened, this time included.
    pub(crate) openings: u32,
}

/// How long a circuit stays open that opens for the `openings`th time in a row.
pub(super) fn timeout_ms(breaker: &CircuitBreaker, openings: u32) -> u64 {
    let doublings = openings.saturating_sub(1).min(63);
    let max = breaker.reset_timeout_ms_max.max(breaker.reset_timeout_ms);
    // A shift that would push bits out is beyond any maximum.
    let doubled = breaker.reset_timeout_ms.checked_mul(1 << doublings);
    doubled.map_or(max, |timeout| timeout.min(max))
}

/// Exchanges of one core with one backend, and how many of them failed, in the window that is being filled and the one
/// before it: what it says covers between one and two halves of `window_ms`.
///
/// Each core counts its own. A core that sees too few exchanges for a verdict leaves it to the others.
#[derive(Debug, Default)]
pub(crate) struct LocalWindow(Cell<Halves>);

#[derive(Clone, Copy, Debug, Default)]
struct Halves {
    since_ms: u64,
    current: Half,
    before: Half,
}

#[derive(Clone, Copy, Debug, Default)]
struct Half {
    exchanges: u32,
    failures: u32,
}

impl LocalWindow {
    /// Counts an exchange; true if the ratio says that the circuit is to be opened
    /// ([`HealthState::trip`](super::state::HealthState::trip)). What was before `alive_since_ms` belongs to an outage that
    /// is over.
    #[inline]
    pub(crate) fn note(
        &self,
        failed: bool,
        now_ms: u64,
        alive_since_ms: u64,
        breaker: &CircuitBreaker,
    ) -> bool {
        let Some(percent) = breaker.failure_ratio_percent else { return false };
        let mut halves = self.0.get();
        halves.turn_to(now_ms, alive_since_ms, breaker.window_ms);
        halves.current.exchanges = halves.current.exchanges.saturating_add(1);
        halves.current.failures = halves.current.failures.saturating_add(u32::from(failed));
        let trips = failed && halves.is_over(percent, breaker.window_requests_min);
        self.0.set(if trips { Halves::default() } else { halves });
        trips
    }
}

impl Halves {
    fn turn_to(&mut self, now_ms: u64, alive_since_ms: u64, window_ms: u64) {
        let half_ms = (window_ms / 2).max(1);
        let age_ms = now_ms.saturating_sub(self.since_ms);
        let is_stale = age_ms >= 2 * half_ms || self.since_ms < alive_since_ms;
        if is_stale {
            *self = Halves { since_ms: now_ms, ..Halves::default() };
        } else if age_ms >= half_ms {
            let since_ms = self.since_ms + half_ms;
            *self = Halves { since_ms, before: self.current, current: Half::default() };
        }
    }

    fn is_over(self, percent: u8, exchanges_min: u32) -> bool {
        let exchanges = u64::from(self.current.exchanges) + u64::from(self.before.exchanges);
        let failures = u64::from(self.current.failures) + u64::from(self.before.failures);
        exchanges >= u64::from(exchanges_min) && failures * 100 >= exchanges * u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> CircuitBreaker {
        CircuitBreaker {
            failure_threshold: 5,
            failure_ratio_percent: Some(50),
            window_ms: 10_000,
            window_requests_min: 10,
            reset_timeout_ms: 30_000,
            reset_timeout_ms_max: 300_000,
            failure_statuses: vec![502, 503, 504],
        }
    }

    #[test]
    fn an_open_circuit_doubles_its_time_up_to_the_cap() {
        let rows = [
            (1, 30_000),
            (2, 60_000),
            (3, 120_000),
            (4, 240_000),
            (5, 300_000),
            (6, 300_000),
            (u32::MAX, 300_000),
        ];
        for (openings, expected) in rows {
            assert_eq!(timeout_ms(&breaker(), openings), expected, "{openings}");
        }
        let odd = CircuitBreaker { reset_timeout_ms_max: 10, ..breaker() };
        assert_eq!(timeout_ms(&odd, 3), 30_000, "a cap below the time itself is no shortening");
    }

    /// Feeds `count` exchanges that begin at `from_ms`, one per `step_ms`; true if one of them trips.
    fn feed(
        window: &LocalWindow,
        count: u64,
        from_ms: u64,
        step_ms: u64,
        failed: impl Fn(u64) -> bool,
    ) -> bool {
        (0..count).any(|at| window.note(failed(at), from_ms + at * step_ms, 0, &breaker()))
    }

    #[test]
    fn half_of_the_exchanges_of_a_window_open_the_circuit() {
        assert!(feed(&LocalWindow::default(), 10, 20_000, 1, |at| at % 2 == 1));
        assert!(!feed(&LocalWindow::default(), 1_000, 20_000, 1, |at| at % 5 > 2), "40 % is less");
        assert!(!feed(&LocalWindow::default(), 9, 20_000, 1, |_| true), "nine say nothing");
        assert!(
            !feed(&LocalWindow::default(), 100, 20_000, 1_300, |_| true),
            "nor do ten in much more than a window"
        );
        let off = CircuitBreaker { failure_ratio_percent: None, ..breaker() };
        assert!(!(0..100).any(|at| LocalWindow::default().note(true, at, 0, &off)));
    }

    #[test]
    fn failures_are_remembered_over_the_edge_of_a_half_and_forgotten_after_a_window() {
        let window = LocalWindow::default();
        assert!(!feed(&window, 9, 20_000, 1, |_| true));
        assert!(window.note(true, 25_500, 0, &breaker()), "in the next half");
        assert!(!feed(&window, 9, 40_000, 1, |_| true), "tripping empties the window");
        assert!(!window.note(true, 50_001, 0, &breaker()), "a window later");
    }

    #[test]
    fn an_outage_that_is_over_does_not_open_the_circuit_again() {
        let window = LocalWindow::default();
        assert!(!feed(&window, 9, 20_000, 1, |_| true));
        assert!(!window.note(true, 20_100, 20_050, &breaker()));
    }
}
