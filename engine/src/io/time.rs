//! Time on a core: a millisecond clock read once per turn, and timers on its wheel.

use std::cell::Cell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::driver;
use super::ring::ring::with_core;
use super::ring::slab::Key;
use super::ring::timer::NEVER;

/// Milliseconds since this core started, as of the beginning of the turn. 0 on a thread that is not a core.
#[inline]
pub fn now_ms() -> u64 {
    with_core(|core| core.now_ms()).unwrap_or(0)
}

/// Microseconds since this core started, as of this moment. 0 on a thread that is not a core.
pub fn now_us() -> u64 {
    with_core(|core| core.elapsed().as_micros() as u64).unwrap_or(0)
}

/// Milliseconds since the process first asked, as of the beginning of the turn: the clock that all threads share. In a
/// simulated world, its own.
#[inline]
pub fn process_ms() -> u64 {
    with_core(|core| core.process_ms()).unwrap_or_else(since_process_start_ms)
}

/// Milliseconds since the process first asked, now.
pub(super) fn since_process_start_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64
}

/// Milliseconds since 1970, as of this moment.
pub fn unix_ms() -> u64 {
    let since = with_core(|core| core.driver().since_epoch()).unwrap_or_else(driver::since_epoch);
    since.as_millis() as u64
}

/// 64 bits that nobody foresees, to seed a generator with: from the system, or from the seed of the simulation.
pub fn entropy() -> u64 {
    with_core(|core| core.driver().entropy()).unwrap_or_else(driver::entropy)
}

/// Number of this turn of the core. 0 on a thread that is not a core.
pub fn turn() -> u64 {
    with_core(|core| core.turns.get()).unwrap_or(0)
}

/// Awaits `work`, but not past the alarm: `None` then.
pub async fn with_alarm<T>(alarm: &Alarm, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    poll_fn(|ctx| match work.as_mut().poll(ctx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => alarm.poll().map(|()| None),
    })
    .await
}

/// Waits for `time`, rounded up to whole milliseconds of the core's clock.
pub async fn sleep(time: Duration) {
    let alarm = Alarm::new();
    let time = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX / 2);
    alarm.set(Some(now_ms().saturating_add(time)));
    poll_fn(|_| alarm.poll()).await;
}

/// A deadline that its owner moves about, several times per request.
///
/// The wheel is asked only when the deadline becomes earlier than what is linked there. One that moves later, as most
/// do, is a store: when the wheel wakes the task too early, the alarm links itself again.
pub struct Alarm {
    key: Key,
    at_ms: Cell<u64>,
    /// When the wheel will wake `task`; in the past once it has.
    linked_ms: Cell<u64>,
    task: Cell<Option<Key>>,
    /// Bound to its thread: the key means something else on another core.
    not_send: PhantomData<*const ()>,
}

impl Alarm {
    /// A deadline that is not set.
    ///
    /// # Panics
    /// On a thread that is not a core.
    pub fn new() -> Alarm {
        let key = with_core(|core| core.timers.borrow_mut().create()).expect("alarms are made on a core");
        Alarm {
            key,
            at_ms: Cell::new(NEVER),
            linked_ms: Cell::new(NEVER),
            task: Cell::new(None),
            not_send: PhantomData,
        }
    }

    /// Sets the deadline in [`now_ms`] time; `None` clears it. Takes effect with the next [`Alarm::poll`].
    #[inline]
    pub fn set(&self, at_ms: Option<u64>) {
        self.at_ms.set(at_ms.unwrap_or(NEVER));
    }

    /// Ready when the deadline has passed; else has the current task woken then.
    pub fn poll(&self) -> Poll<()> {
        with_core(|core| {
            let (at_ms, now_ms, linked_ms) = (self.at_ms.get(), core.now_ms(), self.linked_ms.get());
            if at_ms <= now_ms {
                return Poll::Ready(());
            }
            let current = core.tasks.current();
            if self.task.replace(current) != current {
                core.timers.borrow_mut().wake_on_expiry(self.key, current);
            }
            let is_spent = linked_ms <= now_ms && at_ms != NEVER;
            if at_ms < linked_ms || is_spent {
                core.timers.borrow_mut().set(self.key, at_ms);
                self.linked_ms.set(at_ms);
            }
            Poll::Pending
        })
        .unwrap_or(Poll::Ready(()))
    }

    /// Waits until the current task is woken by anything, the alarm included.
    pub async fn or_any_wake(&self) {
        let mut waited = false;
        poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { self.poll() }).await;
    }
}

impl Default for Alarm {
    fn default() -> Alarm {
        Alarm::new()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        with_core(|core| core.timers.borrow_mut().destroy(self.key));
    }
}
