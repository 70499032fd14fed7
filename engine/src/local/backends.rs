//! What one core keeps for upstreams and their backends: cursors and idle connections. Made when the core first needs it,
//! given up when they are in no table any more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use config_core::model;

use crate::balance::Balancer;
use crate::health::breaker::LocalWindow;
use crate::io::process_ms;
use crate::upstream::Upstream;
use crate::upstream::budget::RetryBudget;
use crate::upstream::pool::Pool;
use crate::upstream::state::BackendState;

/// This core's side of an upstream.
pub(crate) struct LocalUpstream {
    pub(crate) shared: Arc<Upstream>,
    /// In the order of the upstream's.
    pub(crate) backends: Vec<Rc<LocalBackend>>,
    pub(crate) balancer: Balancer,
    pub(crate) budget: RetryBudget,
}

/// This core's side of a backend: its idle connections.
pub(crate) struct LocalBackend {
    pub(crate) state: Arc<BackendState>,
    pub(crate) pool: Pool,
    /// What this core has seen of it lately.
    pub(crate) window: LocalWindow,
    /// Connections that this core has asked others for and not heard of yet.
    pub(crate) asked_for: Cell<usize>,
}

/// Which core this is, and of how many.
#[derive(Clone, Copy)]
pub(crate) struct Which {
    pub(crate) index: usize,
    pub(crate) count: usize,
}

/// By serial.
#[derive(Default)]
pub(crate) struct Backends {
    upstreams: RefCell<HashMap<u64, Rc<LocalUpstream>, BySerial>>,
    backends: RefCell<HashMap<u64, Rc<LocalBackend>, BySerial>>,
    /// The same backends in the order in which they came: what is done to all is done in an order that a run repeats.
    in_order: RefCell<Vec<Rc<LocalBackend>>>,
}

impl Backends {
    /// This core's side of `shared`; `seed` is for its cursor, should it be new.
    #[inline]
    pub(crate) fn upstream(
        &self,
        shared: &Arc<Upstream>,
        core: Which,
        seed: impl FnOnce() -> u64,
    ) -> Rc<LocalUpstream> {
        if let Some(known) = self.upstreams.borrow().get(&shared.serial) {
            return Rc::clone(known);
        }
        self.make(shared, core, seed())
    }

    #[cold]
    fn make(&self, shared: &Arc<Upstream>, core: Which, seed: u64) -> Rc<LocalUpstream> {
        let mut backends = self.backends.borrow_mut();
        let own = shared.backends.iter().map(|backend| {
            let state = &backend.state;
            let new = || {
                let new = Rc::new(LocalBackend::new(Arc::clone(state), core.index));
                self.in_order.borrow_mut().push(Rc::clone(&new));
                new
            };
            Rc::clone(backends.entry(state.serial).or_insert_with(new))
        });
        let upstream = Rc::new(LocalUpstream {
            backends: own.collect(),
            balancer: Balancer::new(Arc::clone(&shared.plan), seed),
            budget: RetryBudget::new(core.count, process_ms()),
            shared: Arc::clone(shared),
        });
        self.upstreams.borrow_mut().insert(shared.serial, Rc::clone(&upstream));
        upstream
    }

    /// What this core has of a backend, if anything.
    pub(crate) fn backend(&self, serial: u64) -> Option<Rc<LocalBackend>> {
        self.backends.borrow().get(&serial).cloned()
    }

    /// Once a second: trims pools, and gives up what is in no table any more.
    pub(crate) fn tick(&self, rules: &model::Pool, now_ms: u64) {
        self.upstreams.borrow_mut().retain(|_, upstream| !upstream.shared.retired.load(Ordering::Relaxed));
        let mut gone = Vec::new();
        self.in_order.borrow_mut().retain(|backend| {
            if backend.state.retired.load(Ordering::Relaxed) {
                self.backends.borrow_mut().remove(&backend.state.serial);
                gone.push(Rc::clone(backend));
                return false;
            }
            backend.pool.tick(rules, now_ms);
            true
        });
        gone.iter().for_each(|backend| backend.pool.clear());
    }

    /// Closes every idle connection.
    pub(crate) fn clear(&self) {
        self.in_order.borrow().iter().for_each(|backend| backend.pool.clear());
    }

    /// Idle connections now.
    #[cfg(feature = "simulation")]
    pub(crate) fn pooled(&self) -> usize {
        self.in_order.borrow().iter().map(|backend| backend.pool.len()).sum()
    }
}

impl LocalBackend {
    fn new(state: Arc<BackendState>, core: usize) -> LocalBackend {
        let pool = Pool::new(Arc::clone(&state), core);
        LocalBackend { pool, state, window: LocalWindow::default(), asked_for: Cell::new(0) }
    }
}

type BySerial = BuildHasherDefault<SerialHasher>;

/// Serials are ours and count up: spreading their bits is enough.
#[derive(Default)]
struct SerialHasher(u64);

impl Hasher for SerialHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, serial: u64) {
        // 2^64 divided by the golden ratio: neighbours land far apart.
        self.0 = serial.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}
