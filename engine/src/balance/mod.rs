//! Choosing a backend: the six strategies, a closed set.
//!
//! A [`Plan`] is what a strategy can work out once; it is built where a table is compiled and shared by all cores. A
//! [`Balancer`] is what one core adds to it: whose turn it is, what it has learnt of latencies. `exchange/` calls
//! [`Balancer::pick`] once per attempt, and tells it when a first byte came.
//!
//! What must hold: a pick never returns a backend that is not usable, and finds one if there is one; it allocates nothing.
//! The strategies know nothing of health, retries or limits: all that is one question, [`Backends::is_usable`].

mod credits;
mod dice;
mod ewma;
mod hash_ring;
pub(crate) mod in_flight;
mod least_conn;
mod random;
pub(crate) mod round_robin;
mod weighted;

use std::sync::Arc;

use config_core::model::{self, Strategy};

use ewma::LeastLatency;
use hash_ring::HashRing;
use least_conn::LeastConnections;
use random::Draw;
use round_robin::RoundRobin;
use weighted::Weighted;

/// What a strategy may ask about the backends of its upstream. An index names the same backend as in the [`Plan`].
pub(crate) trait Backends {
    /// It is alive, has not been tried for this request, and is below its `max_connections`.
    fn is_usable(&self, index: usize) -> bool;
    /// Its part of a full share: 1, or less (and more than 0) while it starts slowly.
    fn share(&self, index: usize) -> f32;
    /// Exchanges and sessions on it, over all cores.
    fn in_flight(&self, index: usize) -> u32;
}

/// What a pick depends on besides the backends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The process-wide clock.
    pub(crate) now_ms: u64,
    /// Fresh for each pick.
    pub(crate) random: u64,
    /// [`hash_of`] what tells the client apart; looked at only if [`Balancer::needs_hash`].
    pub(crate) client_hash: u64,
}

/// What a strategy works out once for an upstream. Immutable; shared by all cores.
#[derive(Debug)]
pub(crate) struct Plan {
    strategy: Strategy,
    weights: Box<[u16]>,
    /// For the strategies that draw lots.
    draw: Option<Draw>,
    ring: Option<HashRing>,
}

impl Plan {
    /// The plan of an upstream.
    pub(crate) fn of(upstream: &model::Upstream) -> Plan {
        let weights: Vec<u16> = upstream.backends.iter().map(|backend| backend.weight).collect();
        let ids: Vec<&str> = upstream.backends.iter().map(|backend| backend.id.as_str()).collect();
        Plan::new(upstream.strategy, &weights, &ids)
    }

    /// One weight (1 to 1,000) and one id for each backend, and at least one backend: validation sees to it.
    pub(crate) fn new(strategy: Strategy, weights: &[u16], ids: &[&str]) -> Plan {
        debug_assert_eq!(weights.len(), ids.len());
        let weights: Box<[u16]> = weights.iter().map(|weight| (*weight).max(1)).collect();
        let draws = matches!(strategy, Strategy::Random | Strategy::LeastLatency);
        Plan {
            draw: draws.then(|| Draw::new(&weights)),
            ring: (strategy == Strategy::IpHash).then(|| HashRing::new(&weights, ids)),
            strategy,
            weights,
        }
    }
}

/// One core's state of one upstream.
#[derive(Debug)]
pub(crate) struct Balancer {
    plan: Arc<Plan>,
    state: State,
}

/// What a core keeps for a strategy.
#[derive(Debug)]
enum State {
    RoundRobin(RoundRobin),
    Weighted(Weighted),
    LeastConnections(LeastConnections),
    Random,
    IpHash,
    LeastLatency(LeastLatency),
}

impl Balancer {
    /// `seed` differs from core to core, so that cores do not march in step.
    pub(crate) fn new(plan: Arc<Plan>, seed: u64) -> Balancer {
        let count = plan.weights.len();
        let state = match plan.strategy {
            Strategy::RoundRobin => State::RoundRobin(RoundRobin::of(count, seed)),
            Strategy::Weighted => State::Weighted(Weighted::new(&plan.weights, seed)),
            Strategy::LeastConnections => State::LeastConnections(LeastConnections::default()),
            Strategy::Random => State::Random,
            Strategy::IpHash => State::IpHash,
            Strategy::LeastLatency => State::LeastLatency(LeastLatency::new(count)),
        };
        Balancer { plan, state }
    }

    /// Whether [`Moment::client_hash`] is looked at.
    #[inline]
    pub(crate) fn needs_hash(&self) -> bool {
        matches!(self.state, State::IpHash)
    }

    /// Whether [`Balancer::on_first_byte`] and [`Balancer::on_failure`] are of use.
    #[inline]
    pub(crate) fn needs_latency(&self) -> bool {
        matches!(self.state, State::LeastLatency(_))
    }

    /// A usable backend; `None` if there is none.
    #[inline]
    pub(crate) fn pick(&self, backends: &impl Backends, moment: &Moment) -> Option<usize> {
        let plan = &*self.plan;
        if plan.weights.len() == 1 {
            return backends.is_usable(0).then_some(0);
        }
        match (&self.state, &plan.draw, &plan.ring) {
            (State::RoundRobin(turns), ..) => turns.next(backends),
            (State::Weighted(turns), ..) => turns.next(backends),
            (State::LeastConnections(least), ..) => least.pick(&plan.weights, backends, moment),
            (State::Random, Some(draw), _) => draw.pick(&plan.weights, backends, &mut moment.into()),
            (State::IpHash, _, Some(ring)) => ring.pick(&plan.weights, backends, moment.client_hash),
            (State::LeastLatency(known), Some(draw), _) => known.pick(draw, &plan.weights, backends, moment),
            _ => {
                debug_assert!(false, "a plan has what its strategy needs");
                (0..plan.weights.len()).find(|index| backends.is_usable(*index))
            }
        }
    }

    /// The first byte of an answer came `micros` after the request had been sent.
    #[inline]
    pub(crate) fn on_first_byte(&self, index: usize, micros: u64, now_ms: u64) {
        if let State::LeastLatency(known) = &self.state {
            known.on_first_byte(index, micros, now_ms);
        }
    }

    /// An attempt failed; that counts as slow.
    #[inline]
    pub(crate) fn on_failure(&self, index: usize, now_ms: u64) {
        if let State::LeastLatency(known) = &self.state {
            known.on_failure(index, now_ms);
        }
    }
}

/// Hash of what tells a client apart. The same on every core, node and version, so that a client finds its backend
/// wherever it comes in. It is no secret: who may choose its key may choose its backend.
pub(crate) fn hash_of(key: &[u8]) -> u64 {
    let (words, rest) = key.as_chunks::<8>();
    let mut last = [0_u8; 8];
    last[..rest.len()].copy_from_slice(rest);
    let start = dice::mix(key.len() as u64 ^ 0x9E37_79B9_7F4A_7C15);
    let hash = words.iter().fold(start, |hash, word| dice::mix(hash ^ u64::from_le_bytes(*word)));
    dice::mix(hash ^ u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests;
