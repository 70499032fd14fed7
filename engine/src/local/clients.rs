//! The client connections and sessions of one core: counted for admission, and found again when the core drains.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Local;
use crate::io::Task;

/// The numbers are ours, so nobody can make them collide; and the order of iteration is the same in each run.
type FixedOrder = BuildHasherDefault<DefaultHasher>;

#[derive(Default)]
pub(crate) struct Clients {
    /// Tasks that serve a connection between its accept and its end.
    serving: RefCell<HashMap<u64, Task, FixedOrder>>,
    /// Sessions that are to be closed, in order of age.
    sessions: RefCell<VecDeque<std::rc::Weak<Closing>>>,
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

    /// The connection goes on as a session.
    pub(crate) fn become_session(&self) -> Rc<Closing> {
        let closing = Rc::new(Closing::default());
        self.local.clients.serving.borrow_mut().remove(&self.number);
        let mut sessions = self.local.clients.sessions.borrow_mut();
        // Forget those that ended, now and then, so that the list stays in proportion.
        if sessions.len() == sessions.capacity() {
            sessions.retain(|session| session.strong_count() > 0);
        }
        sessions.push_back(Rc::downgrade(&closing));
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

    /// Asks up to `count` sessions, oldest first, to close; returns whether any is left unasked.
    pub(crate) fn close_sessions(&self, count: usize) -> bool {
        let mut asked = 0;
        while asked < count {
            let Some(session) = self.sessions.borrow_mut().pop_front() else { return false };
            let Some(session) = session.upgrade() else { continue };
            session.asked.set(true);
            if let Some(task) = session.task.get() {
                task.wake();
            }
            asked += 1;
        }
        !self.sessions.borrow().is_empty()
    }
}
