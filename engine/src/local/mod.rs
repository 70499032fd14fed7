//! What one core owns: pools, its view of the table, scratch for heads, and who is connected. Plain cells, no locks.
//!
//! Found through a thread-local by messages from outside ([`with`]); tasks of the core hold an `Rc`.

pub(crate) mod backends;
pub(crate) mod clients;
pub(crate) mod loans;
mod view;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use protocol::{RequestHead, ResponseHead};

use crate::core::drain::Drains;
use crate::core::shared::{CoreShared, Shared};
use crate::ids::Ids;
use crate::io::Task;
use crate::metrics::counters::Counters;
use crate::router::RuleCache;
use crate::table::compile::Table;
use crate::upstream::Upstream;
use backends::{Backends, Which};
pub(crate) use backends::{LocalBackend, LocalUpstream};
use clients::Clients;
use loans::Loans;
pub(crate) use view::{View, tcp_options};

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// Runs `f` with this core's state; does nothing on other threads.
pub(crate) fn with(f: impl FnOnce(&Rc<Local>)) {
    let local = LOCAL.with_borrow(Clone::clone);
    if let Some(local) = local {
        f(&local);
    }
}

pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    /// Which core this is.
    pub(crate) index: usize,
    pub(crate) ids: Ids,
    /// Heads are parsed into these, one at a time, and used up before the next `.await`.
    pub(crate) request_head: RefCell<RequestHead>,
    pub(crate) response_head: RefCell<ResponseHead>,
    /// Spare buffers for request bodies that are kept for another attempt, all empty.
    pub(crate) replay_bodies: RefCell<Vec<Vec<u8>>>,
    pub(crate) clients: Clients,
    /// Sessions that are being asked to close.
    pub(crate) drains: Drains,
    pub(crate) loans: Loans,
    pub(crate) backends: Backends,
    /// What look-ups of rules have found out and keep.
    pub(crate) rule_cache: RefCell<RuleCache>,
    pub(crate) draining: Cell<bool>,
    /// TLS handshakes with clients under way.
    pub(crate) handshakes: Cell<usize>,
    /// The turn in which one of them was computed last.
    pub(crate) handshake_turn: Cell<u64>,
    /// While the core drains: until when a connection without a request is kept for one that is on its way.
    pub(crate) idle_until_ms: Cell<u64>,
    /// Stop now: what is left is cut.
    pub(crate) stopping: Cell<bool>,
    /// The accept loops of this core, woken when it drains.
    pub(crate) acceptors: RefCell<Vec<Task>>,
    /// The core's main task, woken when draining has got somewhere.
    pub(crate) main: Cell<Option<Task>>,
    view: RefCell<Rc<View>>,
    /// The view before, to fall back to should the current one prove damaged.
    previous: RefCell<Option<Rc<View>>>,
}

impl Local {
    /// Makes this thread's state and registers it for [`with`].
    pub(crate) fn install(shared: Arc<Shared>, index: usize) -> Rc<Local> {
        let ids = Ids::new();
        let view = Rc::new(View::new(shared.tables.load()));
        let local = Rc::new(Local {
            index,
            request_head: RefCell::new(RequestHead::new()),
            response_head: RefCell::new(ResponseHead::new()),
            replay_bodies: RefCell::new(Vec::new()),
            clients: Clients::default(),
            drains: Drains::default(),
            loans: Loans::default(),
            backends: Backends::default(),
            rule_cache: RefCell::new(RuleCache::new()),
            draining: Cell::new(false),
            handshakes: Cell::new(0),
            handshake_turn: Cell::new(0),
            idle_until_ms: Cell::new(u64::MAX),
            stopping: Cell::new(false),
            acceptors: RefCell::new(Vec::new()),
            main: Cell::new(None),
            view: RefCell::new(view),
            previous: RefCell::new(None),
            ids,
            shared,
        });
        local.note_epoch();
        LOCAL.set(Some(Rc::clone(&local)));
        local
    }

    /// Ends [`with`] on this thread.
    pub(crate) fn uninstall() {
        let local = LOCAL.take();
        drop(local);
    }

    /// This core's view of the table. Taken once per request.
    #[inline]
    pub(crate) fn view(&self) -> Rc<View> {
        Rc::clone(&self.view.borrow())
    }

    /// This core's side of an upstream.
    #[inline]
    pub(crate) fn upstream(&self, shared: &Arc<Upstream>) -> Rc<LocalUpstream> {
        let core = Which { index: self.index, count: self.shared.cores.len() };
        self.backends.upstream(shared, core, || self.ids.random())
    }

    /// A new table was published: serve from it from the next request on.
    pub(crate) fn adopt_table(&self) {
        let table = self.shared.tables.load();
        if !table.snapshot.header().verify() {
            return self.report_damage(&table);
        }
        let old = self.view();
        *self.view.borrow_mut() = Rc::new(View::new(table));
        *self.previous.borrow_mut() = Some(old);
        self.note_epoch();
    }

    /// Checks the header of the table in use; once a second.
    pub(crate) fn verify_table(&self) {
        let view = self.view();
        if view.table.snapshot.header().verify() {
            return;
        }
        self.report_damage(&view.table);
        if let Some(previous) = self.previous.take() {
            *self.view.borrow_mut() = previous;
            self.note_epoch();
        }
    }

    fn report_damage(&self, table: &Table) {
        self.counters().header_mismatches.add(1);
        tracing::error!(
            epoch = table.snapshot.epoch(),
            "the snapshot's header does not match its checksum; it is not used"
        );
    }

    fn note_epoch(&self) {
        self.own().epoch.store(self.view.borrow().table.snapshot.epoch(), Ordering::Relaxed);
    }

    pub(crate) fn own(&self) -> &CoreShared {
        &self.shared.cores[self.index]
    }

    #[inline]
    pub(crate) fn counters(&self) -> &Counters {
        &self.own().counters
    }

    /// Wakes the main task, which decides whether the core is done.
    pub(crate) fn nudge_main(&self) {
        if let Some(main) = self.main.get() {
            main.wake();
        }
    }
}
