//! How many exchanges of one route are in flight, over all cores, exactly; and who waits for a place, in order.
//!
//! ```text
//!   enter ──► Permit ──drop──► the place is free ──► or goes to the first who waits
//!     │                                                          │
//!     ├─────► Ticket ──.await──► Permit ◄────────────────────────┘
//!     │          └──drop (time-out, client left)──► the place in the queue is free; a permit that had come goes on
//!     └─────► Full
//! ```
//!
//! `exchange/queue.rs` calls it. What must hold: `active` never grows beyond its limit; nobody enters past one who waits;
//! as many wait as are in the queue. The word that holds both counts is what decides: it changes in one step, so whoever
//! leaves either sees the one who waits, or had left before that one began to. With nobody waiting, entering and leaving are
//! one exchange of that word each. The queue has a lock: it is taken only by who waits or ends a wait, held for one look-up
//! in a small map, and never while anybody is woken (decision 0024).

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Limits of a [`Gate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GateLimits {
    /// Exchanges in flight; at least 1.
    pub(crate) active_max: u32,
    /// Exchanges that wait.
    pub(crate) queue_max: u32,
}

/// The limit of one route, shared by all cores.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Gate {
    /// [`Counts`], packed. `waiting` changes only under the lock.
    counts: AtomicU64,
    /// [`GateLimits`], packed. Changes only under the lock.
    limits: AtomicU64,
    queue: Mutex<Queue>,
}

/// Those who wait, by the order of their arrival. Who is granted a place is taken out: not to be there is to be granted.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<u64, Option<Waker>>,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    active: u32,
    waiting: u32,
}

/// What becomes of an exchange that wants to begin.
#[derive(Debug)]
pub(crate) enum Entry {
    /// It begins.
    Permit(Permit),
    /// It waits: await the ticket.
    Ticket(Ticket),
    /// Too many wait already.
    Full,
}

/// One exchange in flight. Dropping it, on any thread, lets the next one begin.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
}

/// A place in the queue; awaited, it becomes a permit. Dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// `None` once it has become a permit.
    gate: Option<Arc<Gate>>,
    number: u64,
}

impl Gate {
    pub(crate) fn new(limits: GateLimits) -> Arc<Gate> {
        Arc::new(Gate {
            counts: AtomicU64::new(0),
            limits: AtomicU64::new(limits.pack()),
            queue: Mutex::default(),
        })
    }

    /// Takes a place, or one in the queue.
    #[inline]
    pub(crate) fn enter(self: &Arc<Gate>) -> Entry {
        if self.take_place(self.limits()) {
            return Entry::Permit(Permit { gate: Arc::clone(self) });
        }
        self.enter_slowly()
    }

    /// Counts one more in flight, if nobody waits and there is room.
    #[inline]
    fn take_place(&self, limits: GateLimits) -> bool {
        self.update(|counts| {
            let fits = counts.waiting == 0 && counts.active < limits.active_max;
            fits.then(|| Counts { active: counts.active + 1, ..counts })
        })
    }

    #[cold]
    fn enter_slowly(self: &Arc<Gate>) -> Entry {
        let mut queue = self.lock();
        // Limits do not change while we have the lock, and nobody begins to wait; but places become free.
        let limits = self.limits();
        loop {
            if self.take_place(limits) {
                return Entry::Permit(Permit { gate: Arc::clone(self) });
            }
            let counts = self.counts();
            if counts.waiting >= limits.queue_max && !counts.has_place(limits) {
                return Entry::Full;
            }
            let waits = self.update(|now| {
                let still = now.waiting < limits.queue_max && !now.has_place(limits);
                still.then(|| Counts { waiting: now.waiting + 1, ..now })
            });
            if waits {
                let number = queue.next;
                queue.next += 1;
                queue.waiting.insert(number, None);
                return Entry::Ticket(Ticket { gate: Some(Arc::clone(self)), number });
            }
        }
    }

    /// One exchange less, or the next one in its place.
    #[inline]
    fn leave(&self) {
        let alone = self
            .update(|counts| (counts.waiting == 0).then(|| Counts { active: counts.active - 1, ..counts }));
        if !alone {
            self.hand_over();
        }
    }

    #[cold]
    fn hand_over(&self) {
        let mut queue = self.lock();
        self.update(|counts| Some(Counts { active: counts.active - 1, ..counts }));
        let first = self.grant_first(&mut queue, self.limits());
        drop(queue);
        wake(first);
    }

    /// Gives the first who waits a place, if there is one: `Some` with its waker.
    fn grant_first(&self, queue: &mut Queue, limits: GateLimits) -> Option<Option<Waker>> {
        let granted = self.update(|counts| {
            let fits = counts.waiting > 0 && counts.active < limits.active_max;
            fits.then(|| Counts { active: counts.active + 1, waiting: counts.waiting - 1 })
        });
        if !granted {
            return None;
        }
        let first = queue.waiting.pop_first();
        debug_assert!(first.is_some(), "as many wait as are counted");
        first.map(|(_, waker)| waker)
    }

    /// New limits, for those who come and those who wait. Who is in flight or waits already stays, also over the limit.
    pub(crate) fn set_limits(&self, limits: GateLimits) {
        let mut queue = self.lock();
        self.limits.store(limits.pack(), Ordering::Release);
        let granted: Vec<_> = std::iter::from_fn(|| self.grant_first(&mut queue, limits)).collect();
        drop(queue);
        granted.into_iter().for_each(|waker| wake(Some(waker)));
    }

    pub(crate) fn limits(&self) -> GateLimits {
        GateLimits::unpack(self.limits.load(Ordering::Acquire))
    }

    /// Exchanges in flight, and those that wait: both of one moment.
    pub(crate) fn gauges(&self) -> (u32, u32) {
        let counts = self.counts();
        (counts.active, counts.waiting)
    }

    /// Exchanges in flight.
    #[cfg(test)]
    pub(crate) fn active(&self) -> u32 {
        self.counts().active
    }

    /// Exchanges that wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> u32 {
        self.counts().waiting
    }

    #[inline]
    fn counts(&self) -> Counts {
        Counts::unpack(self.counts.load(Ordering::Acquire))
    }

    /// Changes the counts in one step, unless `next` has nothing to change.
    #[inline]
    fn update(&self, next: impl Fn(Counts) -> Option<Counts>) -> bool {
        let packed = |word| next(Counts::unpack(word)).map(Counts::pack);
        self.counts.fetch_update(Ordering::AcqRel, Ordering::Acquire, packed).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(granted: Option<Option<Waker>>) {
    // Without a waker, the ticket has not been polled yet: it will see.
    if let Some(waker) = granted.flatten() {
        waker.wake();
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.gate.leave();
    }
}

impl Future for Ticket {
    type Output = Permit;

    fn poll(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Permit> {
        let number = self.number;
        let gate = self.gate.as_ref().expect("a ticket is not polled again once it has become a permit");
        if let Some(waker) = gate.lock().waiting.get_mut(&number) {
            match waker {
                Some(known) => known.clone_from(ctx.waker()),
                None => *waker = Some(ctx.waker().clone()),
            }
            return Poll::Pending;
        }
        let gate = self.gate.take().expect("it was there a moment ago");
        Poll::Ready(Permit { gate })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(gate) = self.gate.take() else { return };
        let mut queue = gate.lock();
        if queue.waiting.remove(&self.number).is_some() {
            gate.update(|counts| Some(Counts { waiting: counts.waiting - 1, ..counts }));
            return;
        }
        drop(queue);
        // A place was granted and not taken: it goes on to the next.
        gate.leave();
    }
}

impl Counts {
    fn has_place(self, limits: GateLimits) -> bool {
        self.waiting == 0 && self.active < limits.active_max
    }

    fn pack(self) -> u64 {
        u64::from(self.active) << 32 | u64::from(self.waiting)
    }

    fn unpack(word: u64) -> Counts {
        Counts { active: (word >> 32) as u32, waiting: word as u32 }
    }
}

impl GateLimits {
    fn pack(self) -> u64 {
        u64::from(self.active_max) << 32 | u64::from(self.queue_max)
    }

    fn unpack(word: u64) -> GateLimits {
        GateLimits { active_max: (word >> 32) as u32, queue_max: word as u32 }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::AtomicU32;
    use std::task::Wake;
    use std::thread::{self, Thread};
    use std::time::{Duration, Instant};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Unpark>) {
            self.0.unpark();
        }
    }

    fn gate(active_max: u32, queue_max: u32) -> Arc<Gate> {
        Gate::new(GateLimits { active_max, queue_max })
    }

    fn permit(gate: &Arc<Gate>) -> Permit {
        match gate.enter() {
            Entry::Permit(permit) => permit,
            other => panic!("{other:?} instead of a permit"),
        }
    }

    fn ticket(gate: &Arc<Gate>) -> Ticket {
        match gate.enter() {
            Entry::Ticket(ticket) => ticket,
            other => panic!("{other:?} instead of a ticket"),
        }
    }

    /// Polls once, with a waker that does nothing.
    fn poll(ticket: &mut Ticket) -> Option<Permit> {
        match Pin::new(ticket).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(permit) => Some(permit),
            Poll::Pending => None,
        }
    }

    /// Waits as a core would: woken, and not by looking again and again.
    fn wait(ticket: Ticket) -> Permit {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let (mut ticket, until) = (pin!(ticket), Instant::now() + PATIENCE);
        loop {
            if let Poll::Ready(permit) = ticket.as_mut().poll(&mut Context::from_waker(&waker)) {
                return permit;
            }
            thread::park_timeout(until.saturating_duration_since(Instant::now()));
            assert!(Instant::now() < until, "a wake-up was lost");
        }
    }

    fn counts(gate: &Gate) -> (u32, u32) {
        (gate.active(), gate.waiting())
    }

    #[test]
    fn takes_so_many_lets_so_many_wait_and_no_more() {
        let gate = gate(2, 2);
        let held = [permit(&gate), permit(&gate)];
        let waiting = [ticket(&gate), ticket(&gate)];
        assert!(matches!(gate.enter(), Entry::Full));
        assert_eq!(counts(&gate), (2, 2));
        drop(waiting);
        assert_eq!(counts(&gate), (2, 0));
        drop(held);
        assert_eq!(counts(&gate), (0, 0));
        drop(permit(&gate));
    }

    #[test]
    fn without_a_queue_nobody_waits() {
        let gate = gate(1, 0);
        let held = permit(&gate);
        assert!(matches!(gate.enter(), Entry::Full));
        drop(held);
        drop(permit(&gate));
    }

    #[test]
    fn places_go_in_the_order_of_arrival_and_nobody_enters_past_the_queue() {
        let gate = gate(1, 10);
        let mut held = permit(&gate);
        let mut waiting: Vec<Ticket> = (0..5).map(|_| ticket(&gate)).collect();
        for next in 0..waiting.len() {
            for ticket in &mut waiting[next..] {
                assert!(poll(ticket).is_none());
            }
            drop(held);
            let newcomer = ticket(&gate);
            for behind in &mut waiting[next + 1..] {
                assert!(poll(behind).is_none());
            }
            held = poll(&mut waiting[next]).expect("the first in the queue has the place");
            drop(newcomer);
        }
        drop(held);
        assert_eq!(counts(&gate), (0, 0));
    }

    #[test]
    fn who_leaves_the_queue_frees_its_place_there() {
        let gate = gate(1, 2);
        let held = permit(&gate);
        let (first, mut second) = (ticket(&gate), ticket(&gate));
        drop(first);
        let mut third = ticket(&gate);
        assert_eq!(counts(&gate), (1, 2));
        drop(held);
        assert!(poll(&mut third).is_none());
        drop(poll(&mut second).expect("first now"));
        drop(poll(&mut third).expect("its turn"));
        assert_eq!(counts(&gate), (0, 0));
    }

    #[test]
    fn a_place_granted_to_one_who_has_given_up_goes_on_to_the_next() {
        let gate = gate(1, 3);
        let held = permit(&gate);
        let (first, second, mut third) = (ticket(&gate), ticket(&gate), ticket(&gate));
        drop(held);
        // Granted to the first; neither it nor the second ever takes it.
        drop(first);
        assert!(poll(&mut third).is_none());
        drop(second);
        drop(poll(&mut third).expect("it came through"));
        assert_eq!(counts(&gate), (0, 0));
    }

    #[test]
    fn new_limits_hold_for_those_who_wait() {
        let gate = gate(1, 4);
        let held = permit(&gate);
        let mut waiting: Vec<Ticket> = (0..4).map(|_| ticket(&gate)).collect();
        gate.set_limits(GateLimits { active_max: 3, queue_max: 1 });
        assert_eq!(counts(&gate), (3, 2), "two begin at once, and who waits may go on waiting");
        assert!(matches!(gate.enter(), Entry::Full));
        let (one, two) = (poll(&mut waiting[0]).expect("granted"), poll(&mut waiting[1]).expect("granted"));
        assert!(poll(&mut waiting[2]).is_none());
        gate.set_limits(GateLimits { active_max: 1, queue_max: 1 });
        drop((held, one));
        assert_eq!(counts(&gate), (1, 2), "over the limit nobody takes the place of who leaves");
        assert!(poll(&mut waiting[2]).is_none());
        drop(two);
        assert_eq!(counts(&gate), (1, 1));
        drop(poll(&mut waiting[2]).expect("granted"));
        drop(poll(&mut waiting[3]).expect("granted"));
        assert_eq!(counts(&gate), (0, 0));
    }

    #[test]
    fn a_permit_ends_on_another_thread_and_wakes_who_waits() {
        let gate = gate(1, 1);
        let held = permit(&gate);
        let waiting = ticket(&gate);
        let other = thread::spawn(move || drop(held));
        drop(wait(waiting));
        other.join().expect("no panic");
        assert_eq!(counts(&gate), (0, 0));
    }

    /// Threads that enter, wait, give up and leave as fast as they can, while the limits change between 1 and `max`.
    #[test]
    fn threads_never_exceed_the_limit_and_none_is_forgotten() {
        const THREADS: u32 = 4;
        const ENTRIES: u32 = 2_000;
        let (gate, max) = (gate(2, 3), 2);
        let inside = AtomicU32::new(0);
        thread::scope(|scope| {
            let work = |seed: u32| {
                let (gate, inside) = (&gate, &inside);
                move || {
                    let (mut round, mut entered, until) = (seed, 0, Instant::now() + PATIENCE);
                    while entered < ENTRIES {
                        assert!(Instant::now() < until, "entered {entered} times only");
                        round += 1;
                        let permit = match gate.enter() {
                            Entry::Permit(permit) => permit,
                            // Whoever is inside may be off its processor: it is let go on.
                            Entry::Full => {
                                thread::yield_now();
                                continue;
                            }
                            Entry::Ticket(mut ticket) => match round % 5 {
                                0 => continue,
                                1 => match poll(&mut ticket) {
                                    Some(permit) => permit,
                                    None => continue,
                                },
                                _ => wait(ticket),
                            },
                        };
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < max, "more inside than the limit");
                        if round % 3 == 0 {
                            thread::yield_now();
                        }
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                        entered += 1;
                    }
                }
            };
            let threads: Vec<_> = (0..THREADS).map(|seed| scope.spawn(work(seed))).collect();
            let mut round = 0;
            while !threads.iter().all(|thread| thread.is_finished()) {
                round += 1;
                gate.set_limits(GateLimits { active_max: 1 + round % max, queue_max: round % 4 });
                thread::yield_now();
            }
        });
        assert_eq!(counts(&gate), (0, 0));
    }
}
