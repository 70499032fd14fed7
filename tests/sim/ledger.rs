//! What happened in a world, and what must never happen, as its peers see it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use engine::io::{Stream, now_ms};
use engine::simulation;

use crate::plan::{BackendAct, Exchange, Plan};
use crate::settings::backend_address;
use crate::wire::{Traffic, Wire};

/// Longest silence that a peer bears with: far above every deadline of the proxy, with those who wait in front.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1_800);
/// Broken promises that are kept word by word.
const VIOLATIONS_MAX: usize = 20;

/// What the backends know of one exchange.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    /// Heads that arrived.
    pub(crate) attempts: u32,
    /// What the last of them came upon.
    pub(crate) act: Option<BackendAct>,
    /// The last one came over a connection that had served before.
    pub(crate) reused: bool,
}

/// What clients counted.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) connections: Cell<u64>,
    /// Connections that a client no longer waited for; the proxy may have had them.
    pub(crate) given_up: Cell<u64>,
    /// Final answers by their class, 2 to 5; 1 is interim ones, 0 unused.
    pub(crate) answers: RefCell<[u64; 6]>,
    pub(crate) sessions: Cell<u64>,
    pub(crate) messages: Cell<[u64; 2]>,
}

/// The state of a world, shared by its peers.
pub(crate) struct Ledger {
    pub(crate) plan: Plan,
    records: RefCell<Vec<Record>>,
    pub(crate) seen: Seen,
    pub(crate) client_traffic: Rc<Traffic>,
    pub(crate) backend_traffic: Rc<Traffic>,
    /// Connections that backends accepted, ever and now.
    pub(crate) backend_conns: Cell<u64>,
    pub(crate) backend_conns_open: Cell<usize>,
    pub(crate) clients_left: Cell<usize>,
    /// Attempts that backends have spoiled.
    failures: Cell<u32>,
    /// Exchanges whose client has closed its connection.
    left: RefCell<Vec<bool>>,
    /// The proxy has been told to drain.
    pub(crate) drained: Cell<bool>,
    /// The backends accept no more.
    pub(crate) closing: Cell<bool>,
    violations: RefCell<Vec<String>>,
    /// The trace as it was at the first violation.
    trace: RefCell<Vec<String>>,
}

impl Ledger {
    pub(crate) fn new(plan: Plan) -> Rc<Ledger> {
        Rc::new(Ledger {
            records: RefCell::new(vec![Record::default(); plan.exchanges.len()]),
            failures: Cell::new(0),
            left: RefCell::new(vec![false; plan.exchanges.len()]),
            clients_left: Cell::new(plan.clients.len()),
            plan,
            seen: Seen::default(),
            client_traffic: Rc::default(),
            backend_traffic: Rc::default(),
            backend_conns: Cell::new(0),
            backend_conns_open: Cell::new(0),
            drained: Cell::new(false),
            closing: Cell::new(false),
            violations: RefCell::default(),
            trace: RefCell::default(),
        })
    }

    pub(crate) fn exchange(&self, number: u32) -> Option<&Exchange> {
        self.plan.exchanges.get(number as usize)
    }

    pub(crate) fn record(&self, number: u32) -> Record {
        self.records.borrow()[number as usize]
    }

    /// A backend has a head; returns which attempt it is, from 0.
    pub(crate) fn begin_attempt(&self, exchange: &Exchange, reused: bool) -> u32 {
        let record = &mut self.records.borrow_mut()[exchange.number as usize];
        let attempt = record.attempts;
        let act = Some(exchange.answer(attempt).act);
        let is_spoiled = act.is_some_and(|act| !act.answers_wholly());
        self.failures.set(self.failures.get() + u32::from(is_spoiled));
        *record = Record { attempts: attempt + 1, act, reused };
        attempt
    }

    /// A backend may have failed so often that its circuit is open.
    pub(crate) fn may_be_open(&self) -> bool {
        self.failures.get() >= self.plan.settings.failure_threshold()
    }

    /// The last attempt came upon something else than planned.
    pub(crate) fn revise(&self, exchange: &Exchange, act: BackendAct) {
        self.records.borrow_mut()[exchange.number as usize].act = Some(act);
    }

    pub(crate) fn leave(&self, exchanges: &[usize]) {
        exchanges.iter().for_each(|index| self.left.borrow_mut()[*index] = true);
    }

    pub(crate) fn has_left(&self, number: u32) -> bool {
        self.left.borrow()[number as usize]
    }

    pub(crate) fn violate(&self, what: String) {
        simulation::remark(|| format!("BROKEN  {what}"));
        let mut violations = self.violations.borrow_mut();
        if violations.is_empty() {
            self.trace.replace(simulation::trace());
        }
        if violations.len() < VIOLATIONS_MAX {
            violations.push(format!("at {} ms: {what}", now_ms()));
        }
    }

    /// Counts a violation unless `holds`.
    pub(crate) fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what());
        }
    }

    /// No fault that anybody could notice has touched a backend, a connection to one, or the clock.
    pub(crate) fn is_calm(&self) -> bool {
        let backends = (0..self.plan.backends).map(backend_address);
        let mut addresses = backends.map(|text| text.parse().expect("an address"));
        self.is_clock_straight() && addresses.all(|address| simulation::disturbed_us(address).is_none())
    }

    /// The clock has not jumped.
    pub(crate) fn is_clock_straight(&self) -> bool {
        simulation::report().disturbed_us.is_none()
    }

    pub(crate) fn client_wire(&self, stream: Stream) -> Wire {
        Wire::new(stream, PATIENCE, &self.client_traffic)
    }

    pub(crate) fn backend_wire(&self, stream: Stream) -> Wire {
        Wire::new(stream, PATIENCE, &self.backend_traffic)
    }

    pub(crate) fn count_answer(&self, status: u16) {
        let class = usize::from(status / 100).min(5);
        self.seen.answers.borrow_mut()[class] += 1;
    }

    /// What was broken, and the trace at that moment.
    pub(crate) fn take_violations(&self) -> (Vec<String>, Vec<String>) {
        (self.violations.take(), self.trace.take())
    }
}
