//! Time on a core: a millisecond clock read once per turn, and timers on its wheel.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::Poll;
use std::time::Duration;

use super::ring::ring::with_core;
use super::ring::slab::Key;
use super::ring::timer::NEVER;

/// Milliseconds since this core started, as of the beginning of the turn. 0 on a thread that is not a core.
#[inline]
pub fn now_ms() -> u64 {
    with_core(|core| core.now_ms()).unwrap_or(0)
}

/// Waits for at least `time` (to the millisecond).
pub async fn sleep(time: Duration) {
    let alarm = Alarm::new();
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 2);
    alarm.set(Some(now_ms().saturating_add(time)));
    poll_fn(|_| alarm.poll()).await;
}

/// A deadline that its owner moves about. Moving it later costs one store.
pub struct Alarm {
    key: Key,
    /// Bound to its thread: the key means something else on another core.
    not_send: PhantomData<*const ()>,
}

impl Alarm {
    /// A deadline that is not set.
    ///
    /// # Panics
    /// On a thread that is not a core.
    pub fn new() -> Alarm {
        let key = with_core(|core| core.timers.borrow_mut().create());
        Alarm { key: key.expect("alarms are made on a core"), not_send: PhantomData }
    }

    /// Sets the deadline in [`now_ms`] time; `None` clears it.
    #[inline]
    pub fn set(&self, at_ms: Option<u64>) {
        with_core(|core| core.timers.borrow_mut().set(self.key, at_ms.unwrap_or(NEVER)));
    }

    /// Ready when the deadline has passed; else registers the current task.
    pub fn poll(&self) -> Poll<()> {
        with_core(|core| {
            let mut timers = core.timers.borrow_mut();
            if timers.deadline(self.key) <= core.now_ms() {
                return Poll::Ready(());
            }
            timers.wake_on_expiry(self.key, core.tasks.current());
            Poll::Pending
        })
        .unwrap_or(Poll::Ready(()))
    }
}

impl Alarm {
    /// Waits until the current task is woken by anything, the alarm included.
    pub async fn or_any_wake(&self) {
        let mut waited = false;
        poll_fn(|_| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.poll()
        })
        .await;
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
