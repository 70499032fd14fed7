//! The only room that names io_uring, and the only one with `unsafe`. Everything above works with the concrete types
//! here: [`TcpStream`], [`UnixStream`], [`TcpListener`], [`Lease`], [`Alarm`], [`spawn`], [`sleep`].
//!
//! All of them belong to one core (one thread) and find it through a thread-local; none is `Send`, except what is
//! made to travel: [`Bound`], [`Accepted`], [`Detached`] and [`Remote`].

mod detached;
mod driver;
mod files;
mod listener;
mod memory;
mod pooled;
mod priority;
mod ring;
mod stream;
mod time;

use std::future::Future;
use std::marker::PhantomData;

pub use detached::Detached;
#[cfg(feature = "simulation")]
pub(crate) use driver::simulated;
pub use driver::{Choice, Features};
pub use files::{open_files, open_files_max, raise_open_files};
pub use listener::{Accepted, Bound, TcpListener};
pub(crate) use memory::give_back_freed;
pub use memory::refuse_huge_pages;
pub(crate) use pooled::pooled;
pub use priority::give_way;
pub(crate) use priority::take_short_slices;
pub use ring::buffers::{Lease, freeze, return_buf, take_buf};
pub use ring::ring::{Options, Remote, Runtime, SMALL_BYTES};
pub use stream::{Pace, Stream, TcpOptions, TcpStream, UnixStream};
pub use time::{Alarm, entropy, now_ms, now_us, process_ms, sleep, turn, unix_ms, with_alarm};

use ring::ring::with_core;

/// Starts a task on this core. A panic ends that task alone; see [`Gauges::task_panics`].
///
/// # Panics
/// On a thread that is not a core.
pub fn spawn(task: impl Future<Output = ()> + 'static) -> Task {
    let key = with_core(|core| core.tasks.spawn(Box::pin(task))).expect("tasks are spawned on a core");
    Task { key, not_send: PhantomData }
}

/// Names a spawned task. Dropping it does not end the task.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    key: ring::slab::Key,
    not_send: PhantomData<*const ()>,
}

impl Task {
    /// The task that is being polled; `None` outside of any.
    pub fn current() -> Option<Task> {
        with_core(|core| core.tasks.current()).flatten().map(|key| Task { key, not_send: PhantomData })
    }

    /// Has the task polled again. Nothing happens if it has ended.
    pub fn wake(self) {
        with_core(|core| core.tasks.wake(self.key));
    }
}

/// Lets the other tasks of this core, and the ring, have a turn.
pub async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|ctx| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        ctx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// What the loop of this core knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Tasks alive.
    pub tasks: usize,
    /// Sockets open, listeners included.
    pub sockets: usize,
    /// Timers that exist, set or not.
    pub timers: usize,
    /// Buffers that somebody holds a lease on.
    pub buffers_leased: usize,
    /// Tasks that ended by panic.
    pub task_panics: u64,
    /// Receives that found no buffer and had to wait.
    pub starvations: u64,
}

/// Reads the gauges; all zero on a thread that is not a core.
pub fn gauges() -> Gauges {
    with_core(|core| Gauges {
        tasks: core.tasks.len(),
        sockets: core.sockets.borrow().len(),
        timers: core.timers.borrow().len(),
        buffers_leased: core.buffers.leased(),
        task_panics: core.tasks.panics(),
        starvations: core.starvations.get(),
    })
    .unwrap_or_default()
}

/// Gives back the memory of buffers, rooms and outboxes of this core that have been idle since the last call, a few at a time.
/// For a slow tick.
pub fn trim_buffers() {
    with_core(|core| core.trim());
}

/// Of each socket: unsent bytes, unread bytes.
#[cfg(feature = "simulation")]
pub(crate) fn socket_sizes() -> Vec<(usize, usize)> {
    with_core(|core| {
        let sockets = core.sockets.borrow();
        let live = sockets.keys().into_iter().filter_map(|key| sockets.get(key));
        live.map(|socket| (socket.unsent(), socket.unread())).collect()
    })
    .unwrap_or_default()
}

#[cfg(test)]
mod tests;
