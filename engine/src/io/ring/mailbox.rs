//! How other threads reach a core: a lock-free queue of closures, and an eventfd that the core's ring polls.
//!
//! A message is a closure that runs on the core between turns: a new table, a session command, a socket handed over
//! by another core. Posting is cheap while the core is awake; only a core that is about to sleep is woken.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::SegQueue;

pub(crate) type Message = Box<dyn FnOnce() + Send>;

pub(crate) struct Mailbox {
    queue: SegQueue<Message>,
    event: File,
    asleep: AtomicBool,
    closed: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Arc<Mailbox>> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was just opened and belongs to nobody else.
        let event = unsafe { File::from_raw_fd(fd) };
        Ok(Arc::new(Mailbox {
            queue: SegQueue::new(),
            event,
            asleep: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }))
    }

    /// Leaves a message and wakes the core if it sleeps. Callable from any thread.
    pub(crate) fn post(&self, message: Message) {
        self.queue.push(message);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // The counter cannot overflow: each write is one sleep that ended. A full one would wake just as well.
            let _ = (&self.event).write(&1u64.to_ne_bytes());
        }
        // Checked after the push: either we see the mark, or whoever set it sees the message.
        if self.closed.load(Ordering::SeqCst) {
            self.empty();
        }
    }

    /// The core is gone: drops what it never took, and whatever comes later. Messages own descriptors and memory.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.empty();
    }

    fn empty(&self) {
        while let Some(message) = self.queue.pop() {
            drop(message);
        }
    }

    pub(crate) fn take(&self) -> Option<Message> {
        self.queue.pop()
    }

    /// Says that the core is about to sleep. False means a message came in between: do not sleep.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        if self.queue.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::SeqCst);
        false
    }

    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    pub(crate) fn event_fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }
}
