//! The client connections and sessions of one core: counted for admission, and found again when the core drains.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering;

use super::Local;
use crate::io::Task;

/// The numbers are ours, so nobody can make them collide; and the order of iteration is the same in each run.
type FixedOrder = BuildHasherDefault<DefaultHasher>;

#[derive(Default)]
pub(crate) struct Clients {
    /// Tasks that serve a connection between its accept and its end.
    serving: RefCell<HashMap<u64, Task, FixedOrder>>,
    /// Sessions, but for those of backends that are being drained (`core/drain.rs`).
    pub(crate) sessions: RefCell<Sessions>,
    next: Cell<u64>,
}

/// A request to a session to end itself, left where its task will find it.
#[derive(Default)]
pub(crate) struct Closing {
    asked: Cell<bool>,
    task: Cell<Option<Task>>,
}

impl Closing {
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.get()
    }

    /// Names the task that is woken when the session is asked.
    pub(crate) fn belongs_to(&self, task: Option<Task>) {
        self.task.set(task);
    }
}

/// One client connection's place. Counted from the accept on, given back when dropped.
pub(crate) struct Place {
    local: Rc<Local>,
    number: u64,
}

impl Place {
    /// For a connection that this core has been counted for (see `acceptor.rs`).
    pub(crate) fn take(local: &Rc<Local>) -> Place {
        let number = local.clients.next.get();
        local.clients.next.set(number + 1);
        if let Some(task) = Task::current() {
            local.clients.serving.borrow_mut().insert(number, task);
        }
        local.counters().connections.add(1);
        Place { local: Rc::clone(local), number }
    }

    /// The connection goes on as a session on the backend of this serial.
    pub(crate) fn become_session(&self, serial: u64) -> Rc<Closing> {
        let closing = Rc::new(Closing::default());
        let local = &self.local;
        local.clients.serving.borrow_mut().remove(&self.number);
        let add = |sessions: &mut Sessions| sessions.push(serial, &closing);
        if local.drains.with_sessions_of(serial, add) {
            local.nudge_main();
        } else {
            add(&mut local.clients.sessions.borrow_mut());
        }
        closing
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let local = &self.local;
        local.clients.serving.borrow_mut().remove(&self.number);
        local.own().connections.fetch_sub(1, Ordering::Relaxed);
        local.shared.release();
        if local.draining.get() {
            local.nudge_main();
        }
    }
}

impl Clients {
    /// Has every connection look at the state of its core: idle ones end when it drains.
    pub(crate) fn wake_all(&self) {
        for task in self.serving.borrow().values() {
            task.wake();
        }
    }
}

/// Sessions in order of age, each with the serial of its backend. They are found through it, and not kept by it.
#[derive(Default)]
pub(crate) struct Sessions(VecDeque<(u64, Weak<Closing>)>);

impl Sessions {
    fn push(&mut self, serial: u64, closing: &Rc<Closing>) {
        // Forget those that ended, now and then, so that the list stays in proportion.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|(_, session)| session.strong_count() > 0);
        }
        self.0.push_back((serial, Rc::downgrade(closing)));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn append(&mut self, others: &mut Sessions) {
        self.0.append(&mut others.0);
    }

    /// Takes those of one backend out.
    pub(crate) fn split_off(&mut self, serial: u64) -> Sessions {
        let mut taken = VecDeque::new();
        self.0.retain(|session| {
            let is_taken = session.0 == serial;
            if is_taken {
                taken.push_back(session.clone());
            }
            !is_taken
        });
        Sessions(taken)
    }

    /// Asks up to `count` sessions, oldest first, to close; returns how many.
    pub(crate) fn close(&mut self, count: u64) -> u64 {
        let mut asked = 0;
        while asked < count {
            let Some((_, session)) = self.0.pop_front() else { break };
            let Some(session) = session.upgrade() else { continue };
            session.asked.set(true);
            if let Some(task) = session.task.get() {
                task.wake();
            }
            asked += 1;
        }
        asked
    }
}
