//! What a run counts while it works. One per run, shared by its tasks on the one thread.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::answer::Fault;

/// Latencies above this are written as this; no run waits longer for one answer.
const LATENCY_MAX: Duration = Duration::from_secs(60);

/// Counters of one run. Every task of the run holds an `Rc` of it.
pub(crate) struct Tally {
    finished: Cell<u64>,
    faults: Cell<u64>,
    first_fault: RefCell<Option<String>>,
    stopping: Cell<bool>,
    clients: Cell<usize>,
    has_turn: Cell<bool>,
    /// Clients that wait for the turn.
    resting: RefCell<Vec<Waker>>,
    latency: RefCell<Histogram<u64>>,
    latency_counts: Cell<bool>,
}

impl Tally {
    pub(crate) fn new() -> Tally {
        let latency = Histogram::new_with_bounds(1_000, LATENCY_MAX.as_nanos() as u64, 3);
        Tally {
            finished: Cell::new(0),
            faults: Cell::new(0),
            first_fault: RefCell::new(None),
            stopping: Cell::new(false),
            clients: Cell::new(0),
            has_turn: Cell::new(true),
            resting: RefCell::default(),
            latency: RefCell::new(latency.expect("the bounds are constant and right")),
            latency_counts: Cell::new(false),
        }
    }

    /// One answer was complete and right.
    pub(crate) fn finish(&self) {
        self.finished.set(self.finished.get() + 1);
    }

    /// Answers finished so far.
    pub(crate) fn finished(&self) -> u64 {
        self.finished.get()
    }

    /// Something was wrong; the first cause is kept for the report.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.faults.set(self.faults.get() + 1);
        self.first_fault.borrow_mut().get_or_insert_with(|| fault.to_string());
    }

    /// How many faults, and the first of them.
    pub(crate) fn faults(&self) -> (u64, Option<String>) {
        (self.faults.get(), self.first_fault.borrow().clone())
    }

    /// Asks every client task to end after the answer that it waits for.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        self.set_turn(true);
    }

    /// Whether the clients go on or rest, once each has the answer that it waits for. A run has its turn from the start.
    pub(crate) fn set_turn(&self, has_turn: bool) {
        self.has_turn.set(has_turn);
        if has_turn {
            self.resting.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Waits for the turn; false when the client is to end.
    pub(crate) async fn goes_on(&self) -> bool {
        poll_fn(|context| {
            if self.has_turn.get() {
                return Poll::Ready(());
            }
            let mut resting = self.resting.borrow_mut();
            if !resting.iter().any(|known| known.will_wake(context.waker())) {
                resting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
        !self.is_stopping()
    }

    /// All clients wait for the turn.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.resting.borrow().len() == self.clients()
    }

    /// True once [`Tally::stop`] was called.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// A client task begins; the guard counts it out when it ends, however it ends.
    pub(crate) fn client(self: &std::rc::Rc<Tally>) -> ClientGuard {
        self.clients.set(self.clients.get() + 1);
        ClientGuard(std::rc::Rc::clone(self))
    }

    /// Client tasks alive now.
    pub(crate) fn clients(&self) -> usize {
        self.clients.get()
    }

    /// Latencies count from here (`true`), or no longer (`false`).
    pub(crate) fn count_latency(&self, counts: bool) {
        self.latency_counts.set(counts);
    }

    /// Records one latency if the window is open.
    pub(crate) fn latency(&self, latency: Duration) {
        if self.latency_counts.get() {
            self.latency.borrow_mut().saturating_record(latency.as_nanos() as u64);
        }
    }

    /// The latencies of the window.
    pub(crate) fn latencies(&self) -> Histogram<u64> {
        self.latency.borrow().clone()
    }
}

/// Counts one client task out on drop.
pub(crate) struct ClientGuard(std::rc::Rc<Tally>);

impl Drop for ClientGuard {
    fn drop(&mut self) {
        self.0.clients.set(self.0.clients.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn first_fault_is_kept_and_all_are_counted() {
        let tally = Tally::new();
        tally.fault(&Fault::Closed);
        tally.fault(&Fault::Body);
        assert_eq!(tally.faults(), (2, Some(Fault::Closed.to_string())));
    }

    #[test]
    fn latency_counts_only_inside_the_window() {
        let tally = Tally::new();
        tally.latency(Duration::from_millis(1));
        tally.count_latency(true);
        tally.latency(Duration::from_millis(2));
        tally.count_latency(false);
        tally.latency(Duration::from_millis(3));
        let latencies = tally.latencies();
        assert_eq!(latencies.len(), 1);
        assert!(latencies.max().abs_diff(2_000_000) < 2_000);
    }

    #[test]
    fn clients_are_counted_out_on_drop() {
        let tally = Rc::new(Tally::new());
        let (first, second) = (tally.client(), tally.client());
        assert_eq!(tally.clients(), 2);
        drop(first);
        drop(second);
        assert_eq!(tally.clients(), 0);
    }
}
