//! The open loop: requests fall due at a fixed rate, whether or not earlier ones have been answered.
//!
//! One dispatcher watches the clock; idle client tasks wait for it. When all clients are busy, a due request
//! waits in the schedule and its latency still counts from when it was due: that is the correction for
//! coordinated omission. The dispatcher never sleeps (the timers of a core tick in milliseconds, far too coarse for
//! tens of thousands of requests a second), so the load thread keeps its core busy.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use engine::io::yield_now;

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

    /// Lets requests fall due every `interval` for `length` from now.
    pub(crate) async fn dispatch(&self, interval: Duration, length: Duration) {
        let start = Instant::now();
        let mut next = start;
        let end = start + length;
        while next < end {
            let now = Instant::now();
            while next <= now && next < end {
                self.due.borrow_mut().push_back(next);
                if let Some(client) = self.idle.borrow_mut().pop() {
                    client.wake();
                }
                next += interval;
            }
            yield_now().await;
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
