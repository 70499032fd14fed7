//! The strategies by themselves: one pick after another, and a simulated day of ten backends one of which is in trouble.
//!
//! The simulation is one of discrete events: requests come at random times (an open loop), each waits in its backend's
//! queue for a worker and is served for a random time. Balancers, their plan and the counts in flight are those of the
//! data plane; clock, dice and backends are simulated, so that a seed always gives the same figures.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

pub use config_core::model::Strategy;

use crate::balance::in_flight::InFlight;
use crate::balance::{Backends, Balancer, Moment, Plan, hash_of};

/// All strategies.
pub const STRATEGIES: [Strategy; 6] = [
    Strategy::RoundRobin,
    Strategy::Weighted,
    Strategy::LeastConnections,
    Strategy::Random,
    Strategy::IpHash,
    Strategy::LeastLatency,
];

/// Cores whose balancers take turns.
const CORES: usize = 2;
/// Mean time that a backend serves one request for; half of it is fixed, the other half exponential.
const SERVICE_US: f64 = 10_000.0;
/// Requests that one backend serves at once.
const WORKERS: usize = 8;
/// How soon a backend that refuses does so.
const REFUSAL_US: u64 = 200;
/// Clients that requests come from.
const CLIENTS: u64 = 5_000;

/// What is wrong with one of the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// It answers so many times slower, as if it were far away: it serves as many requests as it is given.
    Far(u32),
    /// It works so many times slower: requests queue up.
    Weak(u32),
    /// It refuses everything at once, and no circuit breaker is there to notice.
    Refuses,
}

/// What is simulated.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// How many backends.
    pub backends: usize,
    /// What is wrong with the first of them.
    pub trouble: Trouble,
    /// Part of what all backends could serve if all were well.
    pub load: f64,
    /// How many requests come. The first tenth is not counted.
    pub requests: usize,
    /// Everything random comes from it.
    pub seed: u64,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tail {
    /// Half of the answers came sooner, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1,000.
    pub p999_ms: f64,
    /// Part of the requests that went to the first backend.
    pub troubled: f64,
    /// Part of the requests that failed.
    pub failed: f64,
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash_of(&self.0.to_le_bytes())
    }

    fn exponential(&mut self, mean: f64) -> f64 {
        let unit = ((self.bits() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        -unit.ln() * mean
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    arrived_us: u64,
    core: usize,
    service_us: u64,
    is_counted: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrival,
    Answer { backend: usize, request: Request },
}

#[derive(Default)]
struct Origin {
    busy: usize,
    queue: VecDeque<Request>,
}

struct Counts(Vec<InFlight>);

impl Backends for Counts {
    fn is_usable(&self, _: usize) -> bool {
        true
    }

    fn share(&self, _: usize) -> f32 {
        1.0
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.0.get(index).map_or(0, InFlight::total)
    }
}

/// Lets `world` run its course with one strategy.
pub fn simulate(strategy: Strategy, world: &World) -> Tail {
    let mut run = Run::new(strategy, world);
    run.events.push(Reverse((0, 0, Event::Arrival)));
    while let Some(Reverse((now_us, _, event))) = run.events.pop() {
        match event {
            Event::Arrival => run.arrive(now_us),
            Event::Answer { backend, request } => run.answer(now_us, backend, request),
        }
    }
    run.tail()
}

struct Run<'a> {
    world: &'a World,
    random: Random,
    cores: Vec<Balancer>,
    counts: Counts,
    origins: Vec<Origin>,
    /// By time; the number keeps those of one time in order.
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbered: u64,
    arrived: usize,
    latencies_us: Vec<u64>,
    troubled: usize,
    failed: usize,
}

impl<'a> Run<'a> {
    fn new(strategy: Strategy, world: &'a World) -> Run<'a> {
        let plan = plan(strategy, world.backends);
        Run {
            world,
            random: Random(world.seed),
            cores: (0..CORES).map(|core| Balancer::new(Arc::clone(&plan), hash_of(&[core as u8]))).collect(),
            counts: Counts((0..world.backends).map(|_| InFlight::new(CORES)).collect()),
            origins: (0..world.backends).map(|_| Origin::default()).collect(),
            events: BinaryHeap::new(),
            numbered: 0,
            arrived: 0,
            latencies_us: Vec::with_capacity(world.requests),
            troubled: 0,
            failed: 0,
        }
    }

    fn arrive(&mut self, now_us: u64) {
        self.arrived += 1;
        let is_counted = self.arrived > self.world.requests / 10;
        let core = self.random.bits() as usize % CORES;
        let client = self.random.bits() % CLIENTS;
        let moment = Moment {
            now_ms: now_us / 1_000,
            random: self.random.bits(),
            client_hash: hash_of(&client.to_le_bytes()),
        };
        let picked = self.cores[core].pick(&self.counts, &moment);
        let backend = picked.expect("all backends are usable");
        self.counts.0[backend].enter(core);
        let service_us = (SERVICE_US / 2.0 + self.random.exponential(SERVICE_US / 2.0)) as u64;
        self.troubled += usize::from(is_counted && backend == 0);
        self.serve(now_us, backend, Request { arrived_us: now_us, core, service_us, is_counted });
        if self.arrived < self.world.requests {
            let pause_us = SERVICE_US / (self.world.load * (self.world.backends * WORKERS) as f64);
            let next_us = now_us + self.random.exponential(pause_us) as u64;
            self.at(next_us, Event::Arrival);
        }
    }

    fn serve(&mut self, now_us: u64, backend: usize, request: Request) {
        let trouble = if backend == 0 { self.world.trouble } else { Trouble::None };
        let (service_us, is_limited) = match trouble {
            Trouble::None => (request.service_us, true),
            Trouble::Far(times) => (request.service_us * u64::from(times), false),
            Trouble::Weak(times) => (request.service_us * u64::from(times), true),
            Trouble::Refuses => (REFUSAL_US, false),
        };
        let origin = &mut self.origins[backend];
        if is_limited && origin.busy >= WORKERS {
            origin.queue.push_back(request);
            return;
        }
        origin.busy += 1;
        self.at(now_us + service_us, Event::Answer { backend, request });
    }

    fn answer(&mut self, now_us: u64, backend: usize, request: Request) {
        let latency_us = now_us - request.arrived_us;
        let (core, now_ms) = (&self.cores[request.core], now_us / 1_000);
        self.counts.0[backend].leave(request.core);
        if backend == 0 && self.world.trouble == Trouble::Refuses {
            core.on_failure(backend, now_ms);
            self.failed += usize::from(request.is_counted);
        } else {
            core.on_first_byte(backend, latency_us, now_ms);
            if request.is_counted {
                self.latencies_us.push(latency_us);
            }
        }
        self.origins[backend].busy -= 1;
        if let Some(next) = self.origins[backend].queue.pop_front() {
            self.serve(now_us, backend, next);
        }
    }

    fn at(&mut self, at_us: u64, event: Event) {
        self.numbered += 1;
        self.events.push(Reverse((at_us, self.numbered, event)));
    }

    fn tail(mut self) -> Tail {
        self.latencies_us.sort_unstable();
        let ms = |per_mille: usize| {
            let at = self.latencies_us.len() * per_mille / 1_000;
            self.latencies_us.get(at).map_or(f64::NAN, |us| *us as f64 / 1_000.0)
        };
        let counted = (self.world.requests - self.world.requests / 10) as f64;
        Tail {
            p50_ms: ms(500),
            p99_ms: ms(990),
            p999_ms: ms(999),
            troubled: self.troubled as f64 / counted,
            failed: self.failed as f64 / counted,
        }
    }
}

fn plan(strategy: Strategy, backends: usize) -> Arc<Plan> {
    let ids: Vec<String> =
        (0..backends).map(|index| format!("10.0.{}.{}:80", index / 256, index % 256)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    Arc::new(Plan::new(strategy, &vec![1; backends], &ids))
}

/// A balancer to pick from again and again: all backends are well, with a few exchanges each.
pub struct Picks {
    balancer: Balancer,
    backends: Counts,
    random: Cell<u64>,
}

impl Picks {
    /// One core's balancer of so many backends, two of three of them as heavy again as the third.
    pub fn new(strategy: Strategy, backends: usize) -> Picks {
        let ids: Vec<String> = (0..backends).map(|index| format!("backend-{index}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let weights: Vec<u16> = (0..backends).map(|index| if index % 3 == 0 { 1 } else { 2 }).collect();
        let balancer = Balancer::new(Arc::new(Plan::new(strategy, &weights, &ids)), 7);
        let counts: Vec<InFlight> = (0..backends).map(|_| InFlight::new(CORES)).collect();
        for (index, count) in counts.iter().enumerate() {
            (0..=index % 5).for_each(|_| count.enter(index % CORES));
            balancer.on_first_byte(index, 1_000 + index as u64 % 7 * 100, 0);
        }
        Picks { balancer, backends: Counts(counts), random: Cell::new(1) }
    }

    /// One pick.
    pub fn pick(&self) -> Option<usize> {
        let random = self.random.get().wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        self.random.set(random);
        self.balancer.pick(&self.backends, &Moment { now_ms: 5, random, client_hash: random })
    }

    /// An answer to learn from.
    pub fn answered(&self, index: usize, micros: u64) {
        self.balancer.on_first_byte(index, micros, 5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ten(strategy: Strategy, trouble: Trouble) -> Tail {
        simulate(strategy, &World { backends: 10, trouble, load: 0.5, requests: 30_000, seed: 1 })
    }

    #[test]
    fn a_seed_always_gives_the_same_figures() {
        for strategy in STRATEGIES {
            assert_eq!(of_ten(strategy, Trouble::Weak(5)), of_ten(strategy, Trouble::Weak(5)));
        }
    }

    #[test]
    fn of_ten_that_are_well_each_has_a_tenth() {
        for strategy in STRATEGIES {
            let tail = of_ten(strategy, Trouble::None);
            assert!((0.08..0.12).contains(&tail.troubled), "{}: {tail:?}", strategy.as_str());
            assert!(tail.p50_ms < 10.0 && tail.p999_ms < 80.0, "{}: {tail:?}", strategy.as_str());
        }
    }

    #[test]
    fn least_latency_keeps_the_tail_short_when_one_of_ten_is_slow() {
        for (trouble, better) in [(Trouble::Far(10), 2.0), (Trouble::Weak(5), 10.0)] {
            let blind = of_ten(Strategy::RoundRobin, trouble);
            let seeing = of_ten(Strategy::LeastLatency, trouble);
            assert!(seeing.p99_ms * better < blind.p99_ms, "{trouble:?}: {seeing:?}, blind: {blind:?}");
            assert!(seeing.troubled < 0.02, "{trouble:?}: {seeing:?}");
        }
        let counting = of_ten(Strategy::LeastConnections, Trouble::Weak(5));
        assert!(
            counting.p99_ms * 10.0 < of_ten(Strategy::RoundRobin, Trouble::Weak(5)).p99_ms,
            "{counting:?}"
        );
    }

    #[test]
    fn who_refuses_at_once_attracts_least_connections_and_not_least_latency() {
        let counting = of_ten(Strategy::LeastConnections, Trouble::Refuses);
        let seeing = of_ten(Strategy::LeastLatency, Trouble::Refuses);
        assert!(counting.failed > 0.1, "the reason for circuit breakers: {counting:?}");
        assert!(seeing.failed < 0.01, "{seeing:?}");
    }
}
