//! Sessions that are asked to close, at a pace: all of a core when the process ends, those of one backend when an operator
//! takes it out. One mechanism for both.
//!
//! ```text
//!  begin_drain (all) ─────────┐
//!  begin_drain_of (a backend) ┴► Drains ──step, every 50 ms──► sessions close, oldest first, as many as are due
//!  end_drain_of ──► those that were not asked yet stay
//! ```
//!
//! Runs in the core's main task (`start.rs`). What must hold: over all cores, no more sessions are asked than the pace
//! allows; one that comes while its backend is being drained is asked too.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::io;
use crate::local::Local;
use crate::local::clients::Sessions;
use crate::upstream::state::BackendState;

/// How often sessions are asked.
pub(crate) const STEP: Duration = Duration::from_millis(50);

/// Sessions told to close per second, over all cores; `None`: all at once.
pub(crate) type PerSecond = Option<u32>;

/// What one core drains.
#[derive(Default)]
pub(crate) struct Drains {
    /// All that it has.
    all: RefCell<Option<Pace>>,
    /// Backends that were taken out, with those of their sessions that are still to be asked.
    backends: RefCell<Vec<OfBackend>>,
}

struct OfBackend {
    backend: Arc<BackendState>,
    sessions: Sessions,
    pace: Pace,
}

/// When how many are due.
struct Pace {
    per_second: PerSecond,
    begun_ms: u64,
    asked: u64,
}

impl Pace {
    fn new(per_second: PerSecond, now_ms: u64) -> Pace {
        Pace { per_second, begun_ms: now_ms, asked: 0 }
    }

    /// How many more may be asked now on one of `cores`.
    fn due(&self, now_ms: u64, cores: usize) -> u64 {
        let Some(per_second) = self.per_second else { return u64::MAX };
        // The pace is the process's; each core keeps its share of it.
        let elapsed_ms = now_ms.saturating_sub(self.begun_ms) + STEP.as_millis() as u64;
        let due = elapsed_ms.saturating_mul(per_second.into()) / 1_000 / cores.max(1) as u64;
        due.saturating_sub(self.asked)
    }

    /// Asks as many of `sessions` as are due.
    fn ask(&mut self, sessions: &mut Sessions, now_ms: u64, cores: usize) {
        self.asked += sessions.close(self.due(now_ms, cores));
    }
}

impl Drains {
    /// Whether sessions are to be asked at the next step.
    pub(crate) fn is_busy(&self) -> bool {
        self.all.borrow().is_some() || self.backends.borrow().iter().any(|drain| !drain.sessions.is_empty())
    }

    /// Where a session on this backend belongs, if that is being drained.
    pub(crate) fn with_sessions_of(&self, serial: u64, f: impl FnOnce(&mut Sessions)) -> bool {
        let mut backends = self.backends.borrow_mut();
        let Some(drain) = backends.iter_mut().find(|drain| drain.backend.serial == serial) else {
            return false;
        };
        f(&mut drain.sessions);
        true
    }
}

/// Asks those that are due.
pub(crate) fn step(local: &Local) {
    let (now_ms, cores) = (io::now_ms(), local.shared.cores.len());
    if let Some(pace) = &mut *local.drains.all.borrow_mut() {
        pace.ask(&mut local.clients.sessions.borrow_mut(), now_ms, cores);
    }
    for drain in local.drains.backends.borrow_mut().iter_mut() {
        drain.pace.ask(&mut drain.sessions, now_ms, cores);
    }
}

/// Once a second: forgets backends that are in no table any more, once their sessions have been asked.
pub(crate) fn tick(local: &Local) {
    let is_over =
        |drain: &OfBackend| drain.sessions.is_empty() && drain.backend.retired.load(Ordering::Relaxed);
    local.drains.backends.borrow_mut().retain(|drain| !is_over(drain));
}

/// Begins to drain the core that this runs on: no more connections, one more request at most on those that are open, and
/// none on those that are idle for `idle_grace` from now.
pub(crate) fn begin_drain(local: &Rc<Local>, idle_grace: Duration) {
    local.draining.set(true);
    let idle_grace_ms = u64::try_from(idle_grace.as_millis()).unwrap_or(u64::MAX);
    local.idle_until_ms.set(io::now_ms().saturating_add(idle_grace_ms));
    // What an operator has set for single backends no longer holds.
    for mut drain in local.drains.backends.take() {
        local.clients.sessions.borrow_mut().append(&mut drain.sessions);
    }
    let per_second = local.view().model().shutdown.drain_per_second;
    *local.drains.all.borrow_mut() = Some(Pace::new(per_second, io::now_ms()));
    local.clients.wake_all();
    local.nudge_main();
    for acceptor in local.acceptors.borrow().iter() {
        acceptor.wake();
    }
}

/// Begins to close the sessions that this core has on a backend, and those that still come.
pub(crate) fn begin_drain_of(local: &Local, backend: Arc<BackendState>, per_second: PerSecond) {
    if local.draining.get() {
        return;
    }
    let mut sessions = take_back(local, backend.serial);
    sessions.append(&mut local.clients.sessions.borrow_mut().split_off(backend.serial));
    let pace = Pace::new(per_second, io::now_ms());
    local.drains.backends.borrow_mut().push(OfBackend { backend, sessions, pace });
    local.nudge_main();
}

/// The backend is back: its sessions that were not asked yet stay.
pub(crate) fn end_drain_of(local: &Local, backend: &BackendState) {
    let mut sessions = take_back(local, backend.serial);
    local.clients.sessions.borrow_mut().append(&mut sessions);
}

/// Ends the drain of a backend, if there is one; what it had not asked.
fn take_back(local: &Local, serial: u64) -> Sessions {
    let mut backends = local.drains.backends.borrow_mut();
    let known = backends.iter().position(|drain| drain.backend.serial == serial);
    known.map(|at| backends.swap_remove(at).sessions).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are due after each of these times, if as many are asked each time.
    fn due(per_second: PerSecond, cores: usize, times_ms: &[u64]) -> Vec<u64> {
        let mut pace = Pace::new(per_second, 1_000);
        let ask = |at: &u64| {
            let due = pace.due(1_000 + at, cores);
            pace.asked += due.min(1_000_000);
            due
        };
        times_ms.iter().map(ask).collect()
    }

    #[test]
    fn the_pace_is_the_process_s_and_a_late_step_catches_up() {
        assert_eq!(due(Some(100), 1, &[0, 50, 100, 1_000]), [5, 5, 5, 90]);
        assert_eq!(due(Some(100), 2, &[0, 50, 100]), [2, 3, 2]);
        assert_eq!(due(Some(1), 4, &[0, 3_900, 3_950, 8_000]), [0, 0, 1, 1]);
        assert_eq!(due(None, 4, &[0, 50]), [u64::MAX, u64::MAX]);
        assert_eq!(due(Some(u32::MAX), 1, &[u64::MAX - 1_000]).len(), 1, "no overflow");
    }
}
