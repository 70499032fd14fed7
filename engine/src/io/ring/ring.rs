//! The turn loop of one core, and the state that everything in `io` works on.
//!
//! ```text
//!  one turn:  messages ► timers ► tasks that are ready ► full inboxes ► queued sends ► offer buffers
//!             ► one io_uring_enter: submit all, wait for one completion or the next timer ► completions wake tasks
//! ```
//!
//! `Runtime` is made on the thread that will run it. While it runs, the thread-local `CORE` points at its state, which
//! is how handles (streams, leases, timers) reach it without carrying a reference.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::buffers::{Buffers, GroupPlan, Size};
use super::executor::{self, Executor};
use super::mailbox::{Mailbox, Message};
use super::ops::{self, Completion, Kind, Operation};
use super::outbox::Outbox;
use super::slab::{Key, Slab};
use super::socket::Socket;
use super::spare::Spare;
use super::timer::Wheel;
use crate::io::driver::{Choice, Driver, Features};
use crate::io::pooled::Room;
use crate::io::time::since_process_start_ms;

thread_local! {
    static CORE: Cell<*const Core> = const { Cell::new(std::ptr::null()) };
    /// A core of this thread left leases behind.
    static SPOILED: Cell<bool> = const { Cell::new(false) };
}

/// How long a stopping core waits for the kernel to confirm its cancellations.
const SHUT_PATIENCE: Duration = Duration::from_secs(2);
const SHUT_STEP: Duration = Duration::from_millis(10);
/// Messages taken from the mailbox in one turn.
const MESSAGES_PER_TURN: usize = 256;
/// Bytes of a small buffer: a usual head and a short body at once; longer bodies in few pieces.
pub const SMALL_BYTES: u32 = 16 * 1024;
/// Spare outboxes kept per core.
const OUTBOX_SPARE_MAX: usize = 1024;
/// Spare rooms of futures kept per core, about 1 MiB.
const ROOM_SPARE_MAX: usize = 1024;

/// What a core's loop can be told at start.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub(crate) small: GroupPlan,
    pub(crate) large: GroupPlan,
    /// An inbox above this many unread bytes stops receiving.
    pub inbox_high: u32,
    /// An inbox at or below this many unread bytes receives again.
    pub inbox_low: u32,
    /// Spin this long on the completion queue before sleeping.
    pub busy_poll: Duration,
    /// What the loop stands on.
    pub driver: Choice,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            small: GroupPlan { count: 512, bytes_each: SMALL_BYTES, window: 64 },
            large: GroupPlan { count: 32, bytes_each: 256 * 1024, window: 4 },
            inbox_high: 64 * 1024,
            inbox_low: 16 * 1024,
            busy_poll: Duration::ZERO,
            driver: Choice::Auto,
        }
    }
}

impl Options {
    /// For a loop with little to do: the same driver, few buffers.
    pub fn for_few(self) -> Options {
        Options {
            small: GroupPlan { count: 16, window: 4, ..self.small },
            large: GroupPlan { count: 1, window: 1, ..self.large },
            busy_poll: Duration::ZERO,
            ..self
        }
    }
}

#[cfg(feature = "simulation")]
impl Options {
    /// A core on a simulated world, with so many small buffers and so many large ones.
    ///
    /// # Panics
    /// When a count is not a power of two.
    pub fn simulated(rules: crate::io::simulated::Rules, small: u16, large: u16) -> Options {
        assert!(small.is_power_of_two(), "as the kernel's rings are");
        assert!(large.is_power_of_two(), "as the kernel's rings are");
        let options = Options::default();
        Options {
            small: GroupPlan { count: small, window: options.small.window.min(small), ..options.small },
            large: GroupPlan { count: large, window: options.large.window.min(large), ..options.large },
            driver: Choice::Simulated(rules),
            ..options
        }
    }
}

/// Runs `f` with the state of the core that this thread is; `None` on any other thread.
#[inline]
pub(crate) fn with_core<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    let core = CORE.get();
    if core.is_null() {
        return None;
    }
    // SAFETY: the pointer is set only by `Runtime::block_on`, to a `Core` that it borrows for as long as the pointer is
    // set, on this same thread; only shared references are ever made from it.
    Some(f(unsafe { &*core }))
}

pub(crate) struct Core {
    /// First, so that the ring is closed before the buffers that it knows are freed.
    driver: Driver,
    pub(crate) options: Options,
    pub(crate) sockets: RefCell<Slab<Socket>>,
    pub(crate) buffers: Buffers,
    pub(crate) tasks: Executor,
    pub(crate) timers: RefCell<Wheel>,
    /// Sockets with bytes to send and no send in flight.
    pub(crate) dirty: RefCell<Vec<Key>>,
    /// Sockets whose receive found no buffer.
    pub(crate) starved: RefCell<Vec<Key>>,
    /// Sockets that have received more than anybody should leave there.
    pub(crate) overfull: RefCell<Vec<Key>>,
    /// Sockets in line for a large buffer, in the order in which they found none.
    pub(crate) bulk: RefCell<VecDeque<Key>>,
    pub(crate) starvations: Cell<u64>,
    pub(crate) outboxes: RefCell<Spare<Box<Outbox>, OUTBOX_SPARE_MAX>>,
    pub(crate) rooms: RefCell<Spare<Box<Room>, ROOM_SPARE_MAX>>,
    mailbox: Arc<Mailbox>,
    number: u8,
    clock: Instant,
    now_ms: Cell<u64>,
    /// Number of the turn.
    pub(crate) turns: Cell<u64>,
    /// When this core started, on the clock of the process.
    started_ms: u64,
}

impl Core {
    /// Milliseconds since this core started, read once per turn.
    #[inline]
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// The same moment on the clock of the process.
    #[inline]
    pub(crate) fn process_ms(&self) -> u64 {
        self.started_ms + self.now_ms.get()
    }

    /// What the core stands on, for what is done to a descriptor at once.
    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    /// Time since this core started.
    #[inline]
    pub(crate) fn elapsed(&self) -> Duration {
        self.driver.elapsed(self.clock)
    }

    /// Queues an operation for the next submission.
    #[inline]
    pub(crate) fn push(&self, operation: &Operation) {
        self.driver.push(operation);
    }

    /// Gives back some of what nobody has needed since the last call.
    pub(crate) fn trim(&self) {
        self.buffers.trim();
        self.rooms.borrow_mut().trim();
        self.outboxes.borrow_mut().trim();
    }

    pub(crate) fn spare_outbox(&self) -> Box<Outbox> {
        self.outboxes.borrow_mut().take().unwrap_or_else(Outbox::new)
    }

    pub(crate) fn keep_outbox(&self, outbox: Box<Outbox>) {
        self.outboxes.borrow_mut().keep(outbox);
    }

    /// False when `main` has ended: the core must not sleep then, for nothing may be left to wake it.
    fn turn(&self, main: Key, completions: &mut Vec<Completion>) -> io::Result<bool> {
        self.now_ms.set(self.elapsed().as_millis() as u64);
        self.turns.set(self.turns.get() + 1);
        self.run_messages();
        self.expire_timers();
        self.tasks.run_ready();
        if !self.tasks.is_live(main) {
            return Ok(false);
        }
        self.stop_overfull();
        self.flush();
        self.buffers.offer();
        self.feed_starved();
        self.feed_bulk();
        self.enter()?;
        self.driver.collect(completions);
        for completion in completions.drain(..) {
            self.dispatch(completion);
        }
        Ok(true)
    }

    fn run_messages(&self) {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.mailbox.take() else { return };
            self.tasks.contain(message);
        }
    }

    fn expire_timers(&self) {
        let mut timers = self.timers.borrow_mut();
        for task in timers.advance(self.now_ms()) {
            self.tasks.wake(*task);
        }
    }

    /// One submit-and-wait. Sleeps only if no task is ready and no message came in between.
    fn enter(&self) -> io::Result<()> {
        let busy = !self.tasks.idle() || self.driver.is_congested() || !self.bulk.borrow().is_empty();
        if busy || !self.mailbox.fall_asleep() {
            return self.driver.submit(&self.buffers);
        }
        let outcome = self.sleep();
        self.mailbox.wake_up();
        outcome
    }

    fn sleep(&self) -> io::Result<()> {
        let expiry = self.timers.borrow().next_expiry();
        let wait = || expiry.map(|at| Duration::from_millis(at).saturating_sub(self.elapsed()));
        let spin = self.options.busy_poll;
        if !spin.is_zero() && self.driver.spin(&self.buffers, wait().map_or(spin, |wait| wait.min(spin)))? {
            return Ok(());
        }
        self.driver.wait(&self.buffers, wait())
    }

    fn dispatch(&self, completion: Completion) {
        match completion.kind {
            Kind::Receive => self.received(completion, Size::Small),
            Kind::ReceiveLarge => self.received(completion, Size::Large),
            Kind::Send => self.sent(completion),
            Kind::Accept => self.accepted(completion),
            Kind::Connect => self.connected(completion),
            Kind::Cancel => self.cancel_confirmed(completion),
            Kind::Close => {}
            Kind::Mailbox if !completion.more => self.push(&ops::watch_mailbox(self.mailbox.event_fd())),
            Kind::Mailbox => {}
        }
    }

    /// Drops all tasks and waits until the kernel has let go of every socket and buffer.
    fn shut(&self) -> bool {
        self.tasks.clear();
        let open = self.sockets.borrow().keys();
        for key in open {
            self.close(key);
        }
        let until = self.elapsed() + SHUT_PATIENCE;
        let mut completions = Vec::new();
        while self.sockets.borrow().len() > 0 && self.elapsed() < until {
            let _ = self.driver.wait(&self.buffers, Some(SHUT_STEP));
            self.driver.collect(&mut completions);
            for completion in completions.drain(..) {
                self.dispatch(completion);
            }
        }
        let _ = self.driver.submit(&self.buffers);
        self.sockets.borrow().len() == 0 && self.buffers.leased() == 0
    }
}

/// A handle by which any thread leaves messages with a core.
#[derive(Clone)]
pub struct Remote {
    mailbox: Arc<Mailbox>,
}

impl Remote {
    /// Runs `message` on the core, between two of its turns. Messages to a core that has stopped are dropped with it.
    pub fn post(&self, message: impl FnOnce() + Send + 'static) {
        let message: Message = Box::new(message);
        self.mailbox.post(message);
    }
}

/// One core's loop. Made and run on the same thread.
pub struct Runtime {
    core: Option<Box<Core>>,
    features: Features,
}

impl Runtime {
    /// Opens the driver and gives it its buffers.
    ///
    /// # Errors
    /// As the kernel refuses: io_uring missing, too old or forbidden where nothing else is allowed, out of memory; the
    /// text says what to do.
    pub fn new(options: Options) -> io::Result<Runtime> {
        let (driver, features) = Driver::open(options.driver)?;
        let buffers = driver.buffers(&options)?;
        let mailbox = Mailbox::new()?;
        let number =
            executor::register_core(&mailbox).ok_or_else(|| io::Error::other("more than 256 cores"))?;
        let started_ms = if driver.is_simulated() { 0 } else { since_process_start_ms() };
        let core = Core {
            options,
            sockets: RefCell::new(Slab::new()),
            buffers,
            tasks: Executor::new(number),
            timers: RefCell::new(Wheel::new(0)),
            dirty: RefCell::new(Vec::new()),
            starved: RefCell::new(Vec::new()),
            overfull: RefCell::new(Vec::new()),
            bulk: RefCell::new(VecDeque::new()),
            starvations: Cell::new(0),
            driver,
            outboxes: RefCell::default(),
            rooms: RefCell::default(),
            mailbox,
            number,
            started_ms,
            clock: Instant::now(),
            now_ms: Cell::new(0),
            turns: Cell::new(0),
        };
        core.push(&ops::watch_mailbox(core.mailbox.event_fd()));
        Ok(Runtime { core: Some(Box::new(core)), features })
    }

    /// What the kernel granted.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        Remote { mailbox: Arc::clone(&self.core().mailbox) }
    }

    /// Runs until `main` is done, then drops every task, closes every socket and waits for the kernel to confirm.
    /// `main` runs as a task like any other.
    ///
    /// # Errors
    /// When the ring itself fails, or when `main` panics; either ends the core. When this thread runs a core already, or
    /// ran one that left leases behind: theirs would be taken for ours.
    pub fn block_on<F: Future + 'static>(&mut self, main: F) -> io::Result<F::Output> {
        if !CORE.get().is_null() || SPOILED.get() {
            return Err(io::Error::other(
                "this thread cannot run a core: it runs one, or its last one left leases",
            ));
        }
        let core = self.core();
        CORE.set(core);
        let _reset = ResetCore;
        // A panic of the loop itself must not skip the shutting either: the kernel still knows our buffers.
        let result = catch_unwind(AssertUnwindSafe(|| drive(core, main)));
        let result = result.unwrap_or_else(|_| Err(io::Error::other("the core's loop panicked")));
        if !core.shut() {
            SPOILED.set(true);
            // The kernel may still write into the buffers, or somebody still reads them: never free them.
            tracing::error!(
                leased = core.buffers.leased(),
                "sockets or leases outlived their core; memory is leaked"
            );
            core.mailbox.close();
            let _leaked = self.core.take().map(std::mem::ManuallyDrop::new);
        }
        result
    }

    fn core(&self) -> &Core {
        self.core.as_deref().expect("the core is given up only at the end of block_on")
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(core) = &self.core {
            executor::unregister_core(core.number);
            core.mailbox.close();
        }
    }
}

/// Clears the thread's pointer however `block_on` ends.
struct ResetCore;

impl Drop for ResetCore {
    fn drop(&mut self) {
        CORE.set(std::ptr::null());
    }
}

fn drive<F: Future + 'static>(core: &Core, main: F) -> io::Result<F::Output> {
    let output = Rc::new(RefCell::new(None));
    let result = Rc::clone(&output);
    let main = core.tasks.spawn(Box::pin(async move {
        let value = main.await;
        *result.borrow_mut() = Some(value);
    }));
    let mut completions = Vec::with_capacity(1024);
    while core.turn(main, &mut completions)? {}
    let value = output.borrow_mut().take();
    value.ok_or_else(|| io::Error::other("the core's main task panicked"))
}
