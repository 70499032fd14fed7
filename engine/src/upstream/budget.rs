//! How many retries a route may make: a fifth of its recent requests, and a few per second besides, so that a backend in
//! trouble is not buried under the repetitions of what it could not serve.
//!
//! Each core has its own, with its part of the few. Both parts are purses: requests and time fill them, retries empty
//! them. What requests have earned fades within seconds, for it is recent ones that count.

use std::cell::Cell;

/// What one retry costs; a request earns a fifth of it.
const RETRY: u32 = 5;
/// Per second and route over all cores, whatever the requests.
const FLOOR_PER_SECOND: u64 = 10;
/// After so long, what requests earned has faded to 1/e.
const RECENT_S: u32 = 10;
/// No route needs a larger purse: more retries than this at once are a storm.
const EARNED_MAX: u32 = 10_000 * RETRY;

/// A route's budget on one core.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    cores: u64,
    /// In fifths of a retry.
    earned: Cell<u32>,
    /// The whole second that `earned` has faded to.
    faded_s: Cell<u64>,
    /// What time has given, in retries times 1,000 times cores: so that every core's part is a whole number.
    floor: Cell<u64>,
    filled_ms: Cell<u64>,
}

impl RetryBudget {
    /// With a full floor: the first requests may fail, too.
    pub(crate) fn new(cores: usize, now_ms: u64) -> RetryBudget {
        let cores = cores.max(1) as u64;
        RetryBudget {
            cores,
            earned: Cell::new(0),
            faded_s: Cell::new(now_ms / 1_000),
            floor: Cell::new(floor_max(cores)),
            filled_ms: Cell::new(now_ms),
        }
    }

    /// A request came; its retries are none of these.
    #[inline]
    pub(crate) fn on_request(&self, now_ms: u64) {
        let second = now_ms / 1_000;
        if second != self.faded_s.get() {
            self.fade_to(second);
        }
        self.earned.set((self.earned.get() + 1).min(EARNED_MAX));
    }

    /// Whether one more retry may be made; if so, it is counted.
    pub(crate) fn try_spend(&self, now_ms: u64) -> bool {
        self.fade_to(now_ms / 1_000);
        if let Some(left) = self.earned.get().checked_sub(RETRY) {
            self.earned.set(left);
            return true;
        }
        self.fill_floor(now_ms);
        let left = self.floor.get().checked_sub(1_000 * self.cores);
        left.inspect(|left| self.floor.set(*left)).is_some()
    }

    fn fade_to(&self, second: u64) {
        let seconds = second.saturating_sub(self.faded_s.get());
        self.faded_s.set(second.max(self.faded_s.get()));
        // A tenth each second is 1/e in ten. Nothing is left of what is much older.
        let times = seconds.min(u64::from(RECENT_S) * 12);
        let faded = (0..times).try_fold(self.earned.get(), |earned, _| {
            (earned > 0).then(|| earned - earned.div_ceil(RECENT_S))
        });
        self.earned.set(faded.unwrap_or(0));
    }

    fn fill_floor(&self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms.get());
        self.filled_ms.set(now_ms.max(self.filled_ms.get()));
        let filled = self.floor.get().saturating_add(elapsed_ms.saturating_mul(FLOOR_PER_SECOND));
        self.floor.set(filled.min(floor_max(self.cores)));
    }
}

/// A second's worth, but at least one whole retry.
fn floor_max(cores: u64) -> u64 {
    (FLOOR_PER_SECOND * 1_000).max(1_000 * cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Retries granted of as many as are wanted at one moment.
    fn spent(budget: &RetryBudget, now_ms: u64) -> usize {
        (0..100_000).take_while(|_| budget.try_spend(now_ms)).count()
    }

    #[test]
    fn without_requests_there_are_ten_per_second_over_all_cores() {
        for cores in [1, 2, 5, 10] {
            let budgets: Vec<RetryBudget> = (0..cores).map(|_| RetryBudget::new(cores, 50_000)).collect();
            let all = |now_ms| budgets.iter().map(|budget| spent(budget, now_ms)).sum::<usize>();
            assert_eq!(all(50_000), 10, "{cores} cores");
            assert_eq!(all(50_000), 0);
            assert_eq!(all(51_000), 10);
            assert_eq!(all(1_000_000), 10, "a long silence saves nothing up");
        }
        let many = RetryBudget::new(64, 0);
        assert_eq!((spent(&many, 0), spent(&many, 6_399), spent(&many, 6_400)), (1, 0, 1));
    }

    #[test]
    fn a_fifth_of_the_recent_requests_may_be_repeated() {
        let budget = RetryBudget::new(1, 0);
        spent(&budget, 0);
        (0..1_000).for_each(|_| budget.on_request(0));
        assert_eq!(spent(&budget, 0), 200);
        (0..1_000).for_each(|_| budget.on_request(0));
        let later = spent(&budget, 10_000);
        assert!((60..=95).contains(&later), "{later}: 200/e of the requests, and 10 of the floor");
        (0..1_000).for_each(|_| budget.on_request(10_000));
        assert_eq!(spent(&budget, 200_000), 10, "minutes later nothing is left");
    }

    #[test]
    fn a_storm_that_lasts_is_held_to_a_fifth_and_the_floor() {
        let budget = RetryBudget::new(2, 0);
        let (mut requests, mut retries) = (0, 0);
        for now_ms in 0..60_000 {
            budget.on_request(now_ms);
            requests += 1;
            // Everything fails, and every repetition, too.
            retries += (0..3).take_while(|_| budget.try_spend(now_ms)).count();
        }
        let most = requests / 5 + 60 * 5 + 5;
        assert!(retries <= most, "{retries} of {most}");
        assert!(retries >= most * 9 / 10, "{retries} of {most}");
    }

    #[test]
    fn a_clock_that_stands_or_steps_back_gives_nothing() {
        let budget = RetryBudget::new(1, 10_000);
        spent(&budget, 10_000);
        assert_eq!((spent(&budget, 10_000), spent(&budget, 4_000), spent(&budget, 10_000)), (0, 0, 0));
    }
}
