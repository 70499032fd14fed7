//! Which backend gets a request: the client's own by its cookie, else the strategy's choice among those that are alive and
//! have room.
//!
//! Called by `request.rs` for the first attempt and by `forward.rs` for each further one. What must hold: who is chosen has
//! been counted on its backend, and is until the exchange, or the session that it becomes, has ended.

use std::cell::Cell;
use std::rc::Rc;

use smallvec::SmallVec;

use super::request::{Request, StuckTo};
use crate::balance::{Backends, Moment};
use crate::health::state::{Availability, Condition, Trial};
use crate::io::process_ms;
use crate::local::{Local, LocalBackend, LocalUpstream};

/// A client is not told to wait for longer: an operator may bring a backend back sooner than we can tell.
const RETRY_AFTER_S_MAX: u64 = 30;

/// A backend that has been chosen.
pub(crate) struct Chosen {
    pub(crate) hold: Hold,
    /// The exchange tries it out: the circuit was open. Boxed, for it is rare, and every connection has room for it.
    pub(crate) trial: Cell<Option<Box<Trial>>>,
}

/// One exchange or session on a backend, counted until it is dropped.
pub(crate) struct Hold {
    backend: Rc<LocalBackend>,
}

impl Hold {
    /// Of its backend. Serials count from 1.
    pub(crate) fn serial(&self) -> u64 {
        self.backend.state.serial
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.backend.state.in_flight.leave(self.backend.pool.core());
    }
}

/// Chooses a backend that is not in `tried`; its index, and the place on it.
pub(super) fn choose(request: &Request<'_>, local: &Local, tried: &[usize]) -> Option<(usize, Chosen)> {
    let mut choice = Choice {
        upstream: &request.upstream,
        refused: SmallVec::from_slice(tried),
        now_ms: process_ms(),
        in_panic: false,
    };
    choice.in_panic = choice.must_panic();
    if let Some(own) = request.stuck_to.map(StuckTo::index).filter(|own| choice.is_usable(*own))
        && let Some(chosen) = choice.take(own)
    {
        return Some((own, chosen));
    }
    loop {
        let moment =
            Moment { now_ms: choice.now_ms, random: local.ids.random(), client_hash: request.client_hash };
        let index = request.upstream.balancer.pick(&choice, &moment)?;
        if let Some(chosen) = choice.take(index) {
            return Some((index, chosen));
        }
        // Another core was faster.
        choice.refused.push(index);
    }
}

/// After how many seconds a backend may be usable again, as far as can be told now.
pub(super) fn retry_after_s(upstream: &LocalUpstream) -> u64 {
    let now_ms = process_ms();
    let after_ms = |backend: &Rc<LocalBackend>| match backend.state.health.condition(now_ms) {
        Condition::Open { for_ms } => for_ms,
        Condition::Alive | Condition::HalfOpen => 0,
        Condition::DeadByProbe | Condition::Maintenance => RETRY_AFTER_S_MAX * 1_000,
    };
    let soonest_ms = upstream.backends.iter().map(after_ms).min().unwrap_or(0);
    soonest_ms.div_ceil(1_000).clamp(1, RETRY_AFTER_S_MAX)
}

/// The backends as the strategy sees them.
struct Choice<'a> {
    upstream: &'a LocalUpstream,
    refused: SmallVec<[usize; 4]>,
    now_ms: u64,
    /// So few are alive that all are used as if they were.
    in_panic: bool,
}

impl Choice<'_> {
    fn must_panic(&self) -> bool {
        let threshold = usize::from(self.upstream.shared.model.panic_threshold_percent);
        if threshold == 0 {
            return false;
        }
        let backends = &self.upstream.backends;
        let is_alive = |backend: &&Rc<LocalBackend>| {
            backend.state.place.is_resolved()
                && backend.state.health.availability(self.now_ms) == Availability::Usable
        };
        backends.iter().filter(is_alive).count() * 100 < threshold * backends.len()
    }

    fn take(&self, index: usize) -> Option<Chosen> {
        let backend = &self.upstream.backends[index];
        let core = backend.pool.core();
        let health = &backend.state.health;
        let trial = match health.availability(self.now_ms) {
            Availability::Trial => match health.try_trial(self.now_ms) {
                None if !self.in_panic => return None,
                trial => trial.map(Box::new),
            },
            Availability::Usable | Availability::No => None,
        };
        let in_flight = &backend.state.in_flight;
        match self.upstream.shared.backends[index].max_connections {
            Some(max) if !in_flight.try_enter(core, max) => return None,
            Some(_) => {}
            None => in_flight.enter(core),
        }
        Some(Chosen { hold: Hold { backend: Rc::clone(backend) }, trial: Cell::new(trial) })
    }
}

impl Backends for Choice<'_> {
    #[inline]
    fn is_usable(&self, index: usize) -> bool {
        let state = &self.upstream.backends[index].state;
        if self.refused.contains(&index)
            || !state.place.is_resolved()
            || (!self.in_panic && state.health.availability(self.now_ms) == Availability::No)
        {
            return false;
        }
        let max = self.upstream.shared.backends[index].max_connections;
        max.is_none_or(|max| state.in_flight.total() < max)
    }

    fn share(&self, index: usize) -> f32 {
        let slow_start_ms = self.upstream.shared.backends[index].slow_start_ms;
        self.upstream.backends[index].state.health.share(self.now_ms, slow_start_ms)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.upstream.backends[index].state.in_flight.total()
    }
}
