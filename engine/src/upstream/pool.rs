//! Idle connections to one backend, kept by one core, newest first.
//!
//! `max_size` is what stays idle, not what may come back at once: when many exchanges end together, most of their
//! connections are taken again within the second. So the set is trimmed on the tick, and only of connections that
//! nobody has wanted for a second (`docs/decisions/`); each was opened by an exchange, so admission bounds it all.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use config_core::model;

use super::lease::BackendConn;
use super::state::BackendState;

/// A surplus connection is closed after this long without use.
const SURPLUS_MS: u64 = 1_000;

struct Idle {
    conn: BackendConn,
    since_ms: u64,
}

pub(crate) struct Pool {
    /// Oldest in front.
    idle: RefCell<VecDeque<Idle>>,
    /// Where the other cores see how many there are.
    state: Arc<BackendState>,
    /// Our number on it.
    core: usize,
}

impl Pool {
    pub(crate) fn new(state: Arc<BackendState>, core: usize) -> Pool {
        Pool { idle: RefCell::default(), state, core }
    }

    /// The core that keeps it.
    pub(crate) fn core(&self) -> usize {
        self.core
    }

    /// The newest idle connection that is still good: one with input waiting has been closed or has said something
    /// that nobody asked for.
    pub(crate) fn take(&self) -> Option<BackendConn> {
        loop {
            let mut idle = self.idle.borrow_mut();
            let mut conn = idle.pop_back()?.conn;
            self.state.board.note(self.core, idle.len());
            drop(idle);
            if !conn.stream.has_input() && self.is_current(&mut conn) {
                conn.reused = true;
                return Some(conn);
            }
        }
    }

    /// Keeps a connection whose exchange has ended cleanly.
    pub(crate) fn put(&self, mut conn: BackendConn, now_ms: u64) {
        if conn.stream.has_input() || conn.stream.unsent() > 0 || !self.is_current(&mut conn) {
            return;
        }
        conn.stream.unwatch();
        let mut idle = self.idle.borrow_mut();
        idle.push_back(Idle { conn, since_ms: now_ms });
        self.state.board.note(self.core, idle.len());
    }

    /// Once a second: closes what died, what has been idle too long, and the surplus.
    pub(crate) fn tick(&self, rules: &model::Pool, now_ms: u64) {
        let mut closed = Vec::new();
        let mut idle = self.idle.borrow_mut();
        let mut at = 0;
        while at < idle.len() {
            let age = now_ms.saturating_sub(idle[at].since_ms);
            let surplus = idle.len() > rules.max_size as usize && age >= SURPLUS_MS;
            let expired = idle.len() > rules.min_size as usize && age >= rules.idle_timeout_ms;
            let conn = &mut idle[at].conn;
            if surplus || expired || conn.stream.has_input() || !self.is_current(conn) {
                closed.extend(idle.remove(at));
            } else {
                at += 1;
            }
        }
        self.state.board.note(self.core, idle.len());
        drop(idle);
        drop(closed);
    }

    /// Whether the backend still is where the connection leads to; looked at when the addresses of its name have changed.
    #[inline]
    fn is_current(&self, conn: &mut BackendConn) -> bool {
        let version = self.state.place.version();
        conn.place_version == version || self.is_still_there(conn, version)
    }

    #[cold]
    fn is_still_there(&self, conn: &mut BackendConn, version: u32) -> bool {
        conn.place_version = version;
        conn.stream.peer_address().is_some_and(|address| self.state.place.has(address.ip()))
    }

    /// Connections that are idle now.
    #[cfg(feature = "simulation")]
    pub(crate) fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Closes everything; also done when the pool itself ends, so that nobody is told of what is not there.
    pub(crate) fn clear(&self) {
        let idle = self.idle.take();
        self.state.board.note(self.core, 0);
        drop(idle);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.clear();
    }
}
