//! The tasks of one core: plain futures, polled when woken, each alone with its panic.
//!
//! A waker is a number (core, slot, generation), not a pointer: cloning and dropping it is free, waking a task that is
//! gone does nothing, and a waker that strays to another thread posts a message to the task's core.
//!
//! ```text
//!   spawn ──► queued ──poll──► waiting ──wake──► queued …
//!                └──── Ready or panic ────► removed (its future is dropped outside of any borrow)
//! ```
//!
//! A task that is woken by new work (a request that begins) yields to those that go on with what they began (an answer that
//! arrives): of such there are only so many a turn. Under load the connections to backends stay few and in the caches.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use arc_swap::ArcSwapOption;

use super::mailbox::Mailbox;
use super::ring::with_core;
use super::slab::{Key, Slab};

/// Tasks polled in one turn that yield to others. Fewer make small batches of what there is to send; at twice as many the
/// requests that begin come to be as many as the answers, and nothing is gained.
const YIELDING_PER_TURN: usize = 16;

const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// Mailboxes of the running cores by core number, for wakers that strayed to another thread: one core grants a place at a
/// gate to a task of another.
static CORES: [ArcSwapOption<Mailbox>; u8::MAX as usize + 1] =
    [const { ArcSwapOption::const_empty() }; u8::MAX as usize + 1];
/// Held while a number is given.
static NUMBERING: Mutex<()> = Mutex::new(());

/// Gives a starting core its number within the process.
pub(crate) fn register_core(mailbox: &Arc<Mailbox>) -> Option<u8> {
    let numbering = NUMBERING.lock().unwrap_or_else(PoisonError::into_inner);
    let number = CORES.iter().position(|core| core.load().is_none())?;
    CORES[number].store(Some(Arc::clone(mailbox)));
    drop(numbering);
    u8::try_from(number).ok()
}

pub(crate) fn unregister_core(number: u8) {
    CORES[number as usize].store(None);
}

type Work = Pin<Box<dyn Future<Output = ()>>>;

struct Task {
    /// `None` while it is being polled.
    work: Option<Work>,
    queued: Queued,
    /// It has a place in the line of those that yield, even if it has been woken otherwise since.
    in_line: bool,
}

/// Where a task waits to be polled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queued {
    Not,
    /// Behind those that are ready.
    Yielding,
    Ready,
}

pub(crate) struct Executor {
    number: u8,
    tasks: RefCell<Slab<Task>>,
    ready: RefCell<VecDeque<Key>>,
    /// Tasks woken by new work, each once. One that is in `ready` too, or was, is passed over unless it yields again.
    yielding: RefCell<VecDeque<Key>>,
    current: Cell<Option<Key>>,
    panics: Cell<u64>,
}

impl Executor {
    pub(crate) fn new(number: u8) -> Executor {
        Executor {
            number,
            tasks: RefCell::new(Slab::new()),
            ready: RefCell::new(VecDeque::new()),
            yielding: RefCell::new(VecDeque::new()),
            current: Cell::new(None),
            panics: Cell::new(0),
        }
    }

    pub(crate) fn spawn(&self, work: Work) -> Key {
        let key =
            self.tasks.borrow_mut().insert(Task { work: Some(work), queued: Queued::Ready, in_line: false });
        assert!(u64::from(key.index) <= INDEX_MASK, "more tasks than descriptors can exist");
        self.ready.borrow_mut().push_back(key);
        key
    }

    #[inline]
    pub(crate) fn wake(&self, key: Key) {
        if let Some(task) = self.tasks.borrow_mut().get_mut(key)
            && task.queued != Queued::Ready
        {
            task.queued = Queued::Ready;
            self.ready.borrow_mut().push_back(key);
        }
    }

    /// The same for new work. Tells how many tasks wait because of such.
    #[inline]
    pub(crate) fn wake_yielding(&self, key: Key) -> usize {
        let mut yielding = self.yielding.borrow_mut();
        if let Some(task) = self.tasks.borrow_mut().get_mut(key)
            && task.queued == Queued::Not
        {
            task.queued = Queued::Yielding;
            if !std::mem::replace(&mut task.in_line, true) {
                yielding.push_back(key);
            }
        }
        yielding.len()
    }

    /// The task that is being polled: who an operation started now is to wake.
    #[inline]
    pub(crate) fn current(&self) -> Option<Key> {
        self.current.get()
    }

    pub(crate) fn idle(&self) -> bool {
        self.ready.borrow().is_empty() && self.yielding.borrow().is_empty()
    }

    pub(crate) fn is_live(&self, key: Key) -> bool {
        self.tasks.borrow().get(key).is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Tasks that ended by panic since the core started.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Polls every task that was ready when the turn began, then the first of those that yield; those woken meanwhile wait for
    /// the next turn, so that one busy task cannot keep the ring from being served.
    pub(crate) fn run_ready(&self) {
        let count = self.ready.borrow().len();
        for _ in 0..count {
            let Some(key) = self.ready.borrow_mut().pop_front() else { break };
            self.poll(key);
        }
        for _ in 0..YIELDING_PER_TURN {
            let Some(key) = self.next_yielding() else { break };
            self.poll(key);
        }
    }

    /// One that was woken otherwise since has had its turn, or will have it with the ready ones.
    fn next_yielding(&self) -> Option<Key> {
        let (mut yielding, mut tasks) = (self.yielding.borrow_mut(), self.tasks.borrow_mut());
        loop {
            let key = yielding.pop_front()?;
            let Some(task) = tasks.get_mut(key) else { continue };
            task.in_line = false;
            if task.queued == Queued::Yielding {
                return Some(key);
            }
        }
    }

    fn poll(&self, key: Key) {
        let Some(mut work) = self.take_work(key) else { return };
        let waker = self.waker(key);
        self.current.set(Some(key));
        // AssertUnwindSafe: a task that panicked is dropped whole; what it shares with others is counters and pools
        // whose borrows end with its frames.
        let outcome = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(&waker))));
        match outcome {
            Ok(Poll::Pending) => self.put_back(key, work),
            Ok(Poll::Ready(())) => self.end(key, work),
            Err(panic) => {
                self.report(&*panic);
                self.end(key, work);
            }
        }
        self.current.set(None);
    }

    /// Runs a message or a destructor from outside of any task; its panic ends it alone, like a task's.
    pub(crate) fn contain(&self, work: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            self.report(&*panic);
        }
    }

    fn report(&self, panic: &(dyn Any + Send)) {
        self.panics.set(self.panics.get() + 1);
        let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
        tracing::error!(panic = text, "a task panicked; its connection is closed, the core goes on");
    }

    fn take_work(&self, key: Key) -> Option<Work> {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.get_mut(key)?;
        task.queued = Queued::Not;
        task.work.take()
    }

    fn put_back(&self, key: Key, work: Work) {
        if let Some(task) = self.tasks.borrow_mut().get_mut(key) {
            task.work = Some(work);
        }
    }

    fn end(&self, key: Key, work: Work) {
        let task = self.tasks.borrow_mut().remove(key);
        drop(task);
        // Its destructors may wake, spawn or close: nothing is borrowed here. They may also panic once more.
        self.contain(|| drop(work));
    }

    /// Drops every task; used when the core stops.
    pub(crate) fn clear(&self) {
        let keys = self.tasks.borrow().keys();
        for key in keys {
            if let Some(work) = self.take_work(key) {
                self.end(key, work);
            }
        }
        self.ready.borrow_mut().clear();
        self.yielding.borrow_mut().clear();
    }

    fn waker(&self, key: Key) -> Waker {
        let word =
            u64::from(key.generation) << 32 | u64::from(self.number) << INDEX_BITS | u64::from(key.index);
        // SAFETY: the data is a number that the vtable's functions never dereference; all four are callable from any
        // thread, as `Waker` demands.
        unsafe { Waker::from_raw(RawWaker::new(std::ptr::without_provenance(word as usize), &VTABLE)) }
    }
}

static VTABLE: RawWakerVTable =
    RawWakerVTable::new(|data| RawWaker::new(data, &VTABLE), wake_word, wake_word, |_| ());

fn wake_word(data: *const ()) {
    let word = data as usize as u64;
    let key = Key { index: (word & INDEX_MASK) as u32, generation: (word >> 32) as u32 };
    // The index field is 24 bits wide; the core's number sits in the eight above it.
    let number = (word >> INDEX_BITS) as u8;
    let here = with_core(|core| {
        let same = core.tasks.number == number;
        if same {
            core.tasks.wake(key);
        }
        same
    });
    if here != Some(true) {
        wake_elsewhere(number, key);
    }
}

fn wake_elsewhere(number: u8, key: Key) {
    if let Some(mailbox) = &*CORES[number as usize].load() {
        mailbox.post(Box::new(move || {
            with_core(|core| core.tasks.wake(key));
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_those_that_yield_holds_each_task_once() {
        const PATIENT: usize = 40;
        const BUSY: usize = 20;
        let executor = Executor::new(0);
        let mut keys: Vec<Key> =
            (0..PATIENT + BUSY).map(|_| executor.spawn(Box::pin(std::future::pending()))).collect();
        let busy = keys.split_off(PATIENT);
        let mut longest = 0;
        for _ in 0..500 {
            executor.run_ready();
            for &key in &keys {
                longest = executor.wake_yielding(key).max(longest);
            }
            for &key in &busy {
                longest = executor.wake_yielding(key).max(longest);
                executor.wake(key);
            }
        }
        assert_eq!(longest, PATIENT + BUSY);
        executor.clear();
    }
}
