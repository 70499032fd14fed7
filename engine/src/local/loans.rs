//! Idle connections that cores lend each other, so that pools of many cores open hardly more than one would (decision
//! 0017 counts them, 0018 tells why).
//!
//! ```text
//!  core without an idle one                     core with most of them (`upstream/board.rs`)
//!    borrow ──message: one of these, please──►  lend: takes its newest, detaches it
//!      waits, at most PATIENCE_MS               │
//!    settle ◄──message: here it is, or none─────┘
//!      └─ in time: the exchange goes on with it; too late: it is kept in our pool
//! ```
//!
//! `exchange/forward.rs` borrows before it connects. What must hold: a request never waits longer than the patience for a
//! core that is busy, and no more is asked for than the other core says that it has.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::{Local, LocalBackend, with};
use crate::io::{Alarm, Task, now_ms, spawn};
use crate::tls::stream::Detached;
use crate::upstream::lease::BackendConn;

/// How long an exchange waits for another core. The clock of a core counts whole milliseconds, so this is one to two of
/// them: a core that is not busy answers within a tenth of one.
const PATIENCE_MS: u64 = 2;

/// What this core has asked for and not heard of yet.
#[derive(Default)]
pub(crate) struct Loans {
    waiting: RefCell<HashMap<u64, Rc<Waiting>>>,
    next: Cell<u64>,
}

struct Waiting {
    task: Option<Task>,
    /// The other core's answer: a connection, or that it has none.
    answer: RefCell<Option<Option<Detached>>>,
}

/// A place among the waiting, given up when dropped.
struct Loan<'a> {
    local: &'a Local,
    backend: &'a LocalBackend,
    number: u64,
    waiting: Rc<Waiting>,
}

/// An idle connection of another core, if one has any and gives it away in time. `alarm` is the caller's; its deadline
/// is replaced.
pub(crate) async fn borrow(local: &Local, backend: &LocalBackend, alarm: &Alarm) -> Option<BackendConn> {
    let lender = backend.state.board.lender_for(local.index)?;
    if lender.idle <= backend.asked_for.get() {
        return None;
    }
    let remote = local.shared.cores[lender.core].remote.get()?;
    let loan = Loan::new(local, backend);
    let (serial, to, number) = (backend.state.serial, local.index, loan.number);
    remote.post(move || with(|lender| lend(lender, serial, to, number)));
    alarm.set(Some(now_ms() + PATIENCE_MS));
    let answer = poll_fn(|_| match loan.waiting.answer.take() {
        Some(answer) => Poll::Ready(answer),
        None => alarm.poll().map(|()| None),
    });
    answer.await.map(used)
}

impl Loan<'_> {
    fn new<'a>(local: &'a Local, backend: &'a LocalBackend) -> Loan<'a> {
        let number = local.loans.next.get();
        local.loans.next.set(number + 1);
        backend.asked_for.set(backend.asked_for.get() + 1);
        let waiting = Rc::new(Waiting { task: Task::current(), answer: RefCell::new(None) });
        local.loans.waiting.borrow_mut().insert(number, Rc::clone(&waiting));
        Loan { local, backend, number, waiting }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.backend.asked_for.set(self.backend.asked_for.get().saturating_sub(1));
        self.local.loans.waiting.borrow_mut().remove(&self.number);
    }
}

/// On the core that has some: gives its newest away, if it is still there.
fn lend(local: &Rc<Local>, serial: u64, to: usize, number: u64) {
    let Some(backend) = local.backends.backend(serial) else {
        return answer(local, to, number, serial, None);
    };
    let conn = match backend.pool.take() {
        Some(conn) if conn.stream.can_detach() => conn,
        kept => {
            kept.into_iter().for_each(|conn| backend.pool.put(conn, now_ms()));
            return answer(local, to, number, serial, None);
        }
    };
    let local = Rc::clone(local);
    spawn(async move {
        let detached = conn.stream.detach().await;
        answer(&local, to, number, serial, detached);
    });
}

fn answer(local: &Local, to: usize, number: u64, serial: u64, detached: Option<Detached>) {
    // A core that has ended drops the message, and the connection with it.
    if let Some(remote) = local.shared.cores[to].remote.get() {
        remote.post(move || with(|local| settle(local, number, serial, detached)));
    }
}

/// On the core that asked: wakes who waits. Who does no longer has connected; the next one will be glad.
fn settle(local: &Rc<Local>, number: u64, serial: u64, detached: Option<Detached>) {
    let waiting = local.loans.waiting.borrow_mut().remove(&number);
    if let Some(waiting) = waiting {
        waiting.answer.replace(Some(detached));
        if let Some(task) = waiting.task {
            task.wake();
        }
        return;
    }
    if let (Some(detached), Some(backend)) = (detached, local.backends.backend(serial)) {
        backend.pool.put(used(detached), now_ms());
    }
}

/// A connection that has served exchanges on another core.
fn used(detached: Detached) -> BackendConn {
    BackendConn { reused: true, ..BackendConn::new(detached.attach()) }
}
