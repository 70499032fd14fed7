//! The open loop: requests fall due at a fixed rate, whether or not earlier ones have been answered.
//!
//! One dispatcher watches the clock; idle client tasks wait for it. When all clients are busy, a due request
//! waits in the schedule and its latency still counts from when it was due: that is the correction for
//! coordinated omission. At more than a few hundred requests a second the dispatcher never sleeps (the timers of a core
//! tick in milliseconds, far too coarse for that), so the load thread keeps its core busy.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use engine::io::{sleep, yield_now};

/// How much later than asked a sleep may end.
const TIMER_ERROR: Duration = Duration::from_millis(2);

/// When requests fall due.
pub(crate) struct Pace {
    pub(crate) first: Instant,
    pub(crate) interval: Duration,
    /// Nothing falls due from here on.
    pub(crate) end: Instant,
}

impl Pace {
    /// From now, for `length`.
    pub(crate) fn from_now(interval: Duration, length: Duration) -> Pace {
        let first = Instant::now();
        Pace { first, interval, end: first + length }
    }
}

/// Due requests not yet taken, and client tasks that wait for one.
pub(crate) struct Schedule {
    due: RefCell<VecDeque<Instant>>,
    idle: RefCell<Vec<Waker>>,
    is_over: Cell<bool>,
}

impl Schedule {
    pub(crate) fn new() -> Schedule {
        Schedule { due: RefCell::default(), idle: RefCell::default(), is_over: Cell::new(false) }
    }

    /// The next due request, oldest first; `None` when the run is over.
    pub(crate) async fn next_due(&self) -> Option<Instant> {
        poll_fn(|ctx| {
            if self.is_over.get() {
                return Poll::Ready(None);
            }
            let due = self.due.borrow_mut().pop_front();
            if due.is_none() {
                self.idle.borrow_mut().push(ctx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(due)
        })
        .await
    }

    /// Lets requests fall due at `pace`, until it ends or the run is over.
    pub(crate) async fn dispatch(&self, pace: Pace) {
        let mut next = pace.first;
        while next < pace.end && !self.is_over.get() {
            let now = Instant::now();
            while next <= now && next < pace.end {
                self.due.borrow_mut().push_back(next);
                if let Some(client) = self.idle.borrow_mut().pop() {
                    client.wake();
                }
                next += pace.interval;
            }
            // Far off, the timers are good enough, and the core is left to others.
            match next.saturating_duration_since(now).checked_sub(TIMER_ERROR) {
                Some(rest) if rest > TIMER_ERROR => sleep(rest).await,
                _ => yield_now().await,
            }
        }
    }

    /// Ends the run: every client task leaves after its current answer.
    pub(crate) fn end(&self) {
        self.is_over.set(true);
        for client in self.idle.borrow_mut().drain(..) {
            client.wake();
        }
    }

    /// Requests that fell due and that no client has taken: the rate was more than the proxy could serve.
    pub(crate) fn backlog(&self) -> usize {
        self.due.borrow().len()
    }
}
