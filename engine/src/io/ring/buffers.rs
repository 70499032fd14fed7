//! The memory that bytes travel in: two groups of buffers that the kernel fills, a pool of heap buffers that we
//! fill, and [`Lease`], the one shared view onto either.
//!
//! Receives are matched to buffers by the kernel when data arrives, so an idle connection holds none. Two groups:
//! small ones for heads and frames, large ones for bodies that have proved long. Of each group only a *window* is
//! on offer to the kernel, and the most recently returned buffer is offered first: a quiet core works in a few
//! cache-warm pages however many buffers it owns. A small group that runs dry (`ENOBUFS`) doubles its window, until it
//! has been calm for a while; the large group never does, its receivers stand in line (see `socket.rs`).
//!
//! Who calls it: `ring.rs` offers buffers and turns completions into leases; everybody above holds leases.
//! What must hold: a buffer is on offer, or leased, or free, never two of them; its count of leases says which.

use std::cell::{Cell, RefCell};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

use super::region::Region;
use super::ring::with_core;
use super::spare::{Spare, trimmed};

/// Home of a lease onto static bytes: nothing to give back.
const STATIC: u32 = u32::MAX;
/// Homes from here on are slots of the heap pool.
const HEAP_BASE: u32 = 1 << 20;
/// A widened window is halved after so many turns in which no receive ran dry.
const CALM_TURNS: u32 = 1024;
/// Heap buffers kept for reuse, per core; more than that go back to the allocator.
const HEAP_SPARE_MAX: usize = 256;
/// A spare heap buffer keeps at most this capacity, so that one large body does not pin memory for good.
/// A TLS record of 16 KiB fits.
const HEAP_SPARE_CAPACITY_MAX: usize = 17 * 1024;
/// A fresh heap buffer starts with room for a usual forwarded head and a small body.
const HEAP_CAPACITY: usize = 2 * 1024;

/// Which of the two groups the kernel shall take a buffer from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Size {
    Small,
    Large,
}

/// Count, size and starting window of one group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupPlan {
    /// A power of two, at most 32,768 (kernel limit).
    pub(crate) count: u16,
    pub(crate) bytes_each: u32,
    /// Buffers on offer at first.
    pub(crate) window: u16,
}

/// Read-only view onto bytes in a buffer of this core; cheap to clone and to split. Dropping the last view of a
/// buffer gives the buffer back. Bound to the core that made it.
pub struct Lease {
    start: NonNull<u8>,
    len: u32,
    home: u32,
    /// Neither `Send` nor `Sync`: the counts are plain cells of one thread.
    not_send: PhantomData<*const u8>,
}

impl Lease {
    /// A view onto bytes that live for ever.
    pub fn from_static(bytes: &'static [u8]) -> Lease {
        Lease::new(NonNull::from(bytes).cast(), bytes.len() as u32, STATIC)
    }

    fn new(start: NonNull<u8>, len: u32, home: u32) -> Lease {
        Lease { start, len, home, not_send: PhantomData }
    }

    /// Splits at `at` (clamped to the length): returns the front, keeps the rest.
    pub fn split_to(&mut self, at: usize) -> Lease {
        let mut front = self.clone();
        front.truncate(at);
        self.advance(at);
        front
    }

    /// Drops the first `count` bytes (at most all) from the view.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.len as usize);
        // SAFETY: `count` is at most the length of the view, so the pointer stays inside or one past the same
        // allocation, which outlives the view.
        self.start = unsafe { self.start.add(count) };
        self.len -= count as u32;
    }

    /// Keeps the first `len` bytes (no effect if there are fewer).
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }
}

impl Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: a lease is only made over `len` initialised bytes (zeroed at allocation, then filled by the kernel
        // or by us), and its buffer is not written again until the count of leases is back to zero.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len as usize) }
    }
}

impl Clone for Lease {
    #[inline]
    fn clone(&self) -> Lease {
        if self.home != STATIC {
            with_core(|core| core.buffers.retain(self.home));
        }
        Lease::new(self.start, self.len, self.home)
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        if self.home != STATIC {
            with_core(|core| core.buffers.release(self.home));
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} bytes)", self.len)
    }
}

/// Takes a cleared buffer from the core's pool, to be written and then frozen into a [`Lease`] with [`freeze`].
pub fn take_buf() -> Vec<u8> {
    with_core(|core| core.buffers.heap.borrow_mut().spare.take())
        .flatten()
        .unwrap_or_else(|| Vec::with_capacity(HEAP_CAPACITY))
}

/// Returns a buffer that was taken and not frozen.
pub fn return_buf(buf: Vec<u8>) {
    with_core(|core| core.buffers.heap.borrow_mut().keep(buf));
}

/// Makes written bytes a [`Lease`]. The bytes are not copied. An empty buffer goes straight back to the pool.
///
/// # Panics
/// When called on a thread that is not a core, or with 4 GiB or more.
pub fn freeze(mut buf: Vec<u8>) -> Lease {
    if buf.is_empty() {
        return_buf(buf);
        return Lease::from_static(b"");
    }
    let len = u32::try_from(buf.len()).expect("a buffer stays below 4 GiB: its producers are capped");
    let start = NonNull::new(buf.as_mut_ptr()).expect("a Vec's pointer is never null");
    let home =
        with_core(|core| core.buffers.heap.borrow_mut().adopt(buf)).expect("leases are made on a core");
    Lease::new(start, len, home)
}

/// All buffers of one core.
pub(crate) struct Buffers {
    small: Group,
    large: Group,
    heap: RefCell<Heap>,
}

impl Buffers {
    /// Allocates both groups. With a ring they are registered there as groups 0 and 1, and the kernel takes buffers by
    /// itself; without, the driver takes them by [`Buffers::take`].
    pub(crate) fn new(
        small: GroupPlan,
        large: GroupPlan,
        ring: Option<&Submitter<'_>>,
    ) -> io::Result<Buffers> {
        Ok(Buffers {
            small: Group::new(0, small, ring)?,
            large: Group::new(u32::from(small.count), large, ring)?,
            heap: RefCell::default(),
        })
    }

    /// The kernel filled buffer `id` of a group with `len` bytes. Under pressure the bytes move to the heap, so that
    /// connections which hold on to leases can never use up what the others receive into.
    pub(crate) fn filled(&self, size: Size, id: u16, len: u32) -> Lease {
        let group = self.group(size);
        group.last_was_full.set(len >= group.plan.bytes_each);
        group.offered.set(group.offered.get() - 1);
        let slot = &group.leases[id as usize];
        debug_assert_eq!(slot.get(), 0, "a buffer on offer has no lease");
        slot.set(1);
        let lease =
            Lease::new(group.buffer(id), len.min(group.plan.bytes_each), group.first_home + u32::from(id));
        if !group.scarce() {
            return lease;
        }
        let mut copy = Vec::with_capacity(lease.len());
        copy.extend_from_slice(&lease);
        let start = NonNull::new(copy.as_mut_ptr()).expect("a Vec's pointer is never null");
        let home = self.heap.borrow_mut().adopt(copy);
        drop_home(self, lease, start, home)
    }

    /// Takes a buffer on offer, for a driver that fills buffers itself: its number, where it is and how long. Follow
    /// with [`Buffers::filled`] or [`Buffers::give_back`].
    pub(crate) fn take(&self, size: Size) -> Option<(u16, NonNull<u8>, u32)> {
        let group = self.group(size);
        let Offers::Own(offers) = &group.offers else { return None };
        let id = offers.borrow_mut().pop()?;
        Some((id, group.buffer(id), group.plan.bytes_each))
    }

    /// Nothing was put into a buffer that was taken: it is on offer again.
    pub(crate) fn give_back(&self, size: Size, id: u16) {
        if let Offers::Own(offers) = &self.group(size).offers {
            offers.borrow_mut().push(id);
        }
    }

    /// Offers free buffers up to each group's window; the kernel sees them at once. Called once a turn.
    pub(crate) fn offer(&self) {
        self.small.narrow();
        self.small.offer();
        self.large.offer();
    }

    /// Gives back the memory of some of the buffers that nobody has needed since the last call: after a burst a core grows
    /// small again.
    pub(crate) fn trim(&self) {
        self.small.trim();
        self.large.trim();
        self.heap.borrow_mut().spare.trim();
    }

    /// A receive found the small group empty: from now on more are on offer. Not if it was long bodies that used it up:
    /// they would only spread over more memory than the caches hold.
    pub(crate) fn widen_small(&self) {
        let group = &self.small;
        group.calm_turns.set(0);
        if !group.last_was_full.get() {
            group.window.set(group.window.get().saturating_mul(2).min(group.plan.count));
        }
    }

    /// How many receives from this group would find a buffer now.
    pub(crate) fn on_offer(&self, size: Size) -> u16 {
        self.group(size).offered.get()
    }

    /// Whether a receive that is submitted at the end of this turn would find a buffer.
    pub(crate) fn any_left(&self, size: Size) -> bool {
        let group = self.group(size);
        group.offered.get() > 0 || !group.free.borrow().is_empty()
    }

    pub(crate) fn bytes_each(&self, size: Size) -> u32 {
        self.group(size).plan.bytes_each
    }

    /// Buffers that somebody holds a lease on (both groups and the heap).
    pub(crate) fn leased(&self) -> usize {
        let heap = self.heap.borrow();
        self.small.leased() + self.large.leased() + (heap.slots.len() - heap.free.len())
    }

    /// Buffers of a group that somebody holds a lease on.
    #[cfg(test)]
    pub(crate) fn held(&self, size: Size) -> usize {
        self.group(size).leased()
    }

    /// How much memory the buffers of a group take up.
    #[cfg(test)]
    pub(crate) fn resident_bytes(&self, size: Size) -> usize {
        self.group(size).memory.resident_bytes()
    }

    fn group(&self, size: Size) -> &Group {
        match size {
            Size::Small => &self.small,
            Size::Large => &self.large,
        }
    }

    fn owner(&self, home: u32) -> (&Group, u16) {
        let group = if home < self.large.first_home { &self.small } else { &self.large };
        (group, (home - group.first_home) as u16)
    }

    #[inline]
    fn retain(&self, home: u32) {
        if home < HEAP_BASE {
            let (group, id) = self.owner(home);
            let leases = &group.leases[id as usize];
            leases.set(leases.get() + 1);
        } else {
            self.heap.borrow_mut().slots[(home - HEAP_BASE) as usize].leases += 1;
        }
    }

    #[inline]
    fn release(&self, home: u32) {
        if home >= HEAP_BASE {
            return self.heap.borrow_mut().release(home - HEAP_BASE);
        }
        let (group, id) = self.owner(home);
        let leases = &group.leases[id as usize];
        leases.set(leases.get() - 1);
        if leases.get() == 0 {
            group.free.borrow_mut().push(id);
        }
    }
}

/// Gives the ring buffer of `lease` back and returns the copy in its place (the core is borrowed already).
fn drop_home(buffers: &Buffers, lease: Lease, start: NonNull<u8>, home: u32) -> Lease {
    // Not dropped as usual: its drop would look for the core, which may not be running yet or any more.
    let lease = std::mem::ManuallyDrop::new(lease);
    let copy = Lease::new(start, lease.len, home);
    buffers.release(lease.home);
    copy
}

/// One group of equal buffers and those of them on offer.
struct Group {
    plan: GroupPlan,
    first_home: u32,
    memory: Region,
    offers: Offers,
    leases: Box<[Cell<u32>]>,
    free: RefCell<Vec<u16>>,
    /// So many at the bottom of `free` have stayed there since the last trim.
    unused: Cell<usize>,
    /// Has been on offer since its memory was given back.
    resident: Box<[Cell<bool>]>,
    offered: Cell<u16>,
    window: Cell<u16>,
    /// Turns since a receive ran dry, while the window is wider than at first.
    calm_turns: Cell<u32>,
    /// The last buffer that was filled was filled to the brim.
    last_was_full: Cell<bool>,
}

/// Where the filler of buffers finds those on offer.
enum Offers {
    /// The kernel, in a ring that we share with it; the tail that we have published.
    Kernel { ring: Region, tail: Cell<u16> },
    /// A driver in our own process.
    Own(RefCell<Vec<u16>>),
}

impl Group {
    fn new(first_home: u32, plan: GroupPlan, ring: Option<&Submitter<'_>>) -> io::Result<Group> {
        assert!(plan.count.is_power_of_two() && plan.window <= plan.count);
        let memory = Region::new(plan.count as usize * plan.bytes_each as usize)?;
        let offers = match ring {
            Some(submitter) => Offers::register(submitter, u16::from(first_home != 0), plan.count)?,
            None => Offers::Own(RefCell::new(Vec::with_capacity(plan.count as usize))),
        };
        Ok(Group {
            plan,
            first_home,
            memory,
            offers,
            leases: (0..plan.count).map(|_| Cell::new(0)).collect(),
            free: RefCell::new((0..plan.count).rev().collect()),
            unused: Cell::new(0),
            resident: (0..plan.count).map(|_| Cell::new(false)).collect(),
            offered: Cell::new(0),
            window: Cell::new(plan.window),
            calm_turns: Cell::new(0),
            last_was_full: Cell::new(false),
        })
    }

    fn buffer(&self, id: u16) -> NonNull<u8> {
        debug_assert!(id < self.plan.count);
        // SAFETY: `id` is below `count`, so the offset lies inside the region.
        unsafe { self.memory.start.add(id as usize * self.plan.bytes_each as usize) }
    }

    fn offer(&self) {
        if self.offered.get() >= self.window.get() {
            return;
        }
        let mut free = self.free.borrow_mut();
        while self.offered.get() < self.window.get() {
            let Some(id) = free.pop() else { break };
            self.offered.set(self.offered.get() + 1);
            self.resident[id as usize].set(true);
            match &self.offers {
                Offers::Own(offers) => offers.borrow_mut().push(id),
                Offers::Kernel { ring, tail } => self.write_offer(ring, tail, id),
            }
        }
        self.unused.set(self.unused.get().min(free.len()));
        self.offers.publish();
    }

    fn trim(&self) {
        let free = self.free.borrow();
        let unused = self.unused.replace(free.len()).min(free.len());
        let resident = |id: &&u16| self.resident[**id as usize].get();
        for id in free[..unused].iter().filter(resident).take(trimmed(unused)) {
            let bytes = self.plan.bytes_each as usize;
            self.memory.forget(*id as usize * bytes, bytes);
            self.resident[*id as usize].set(false);
        }
    }

    /// Takes the window back step by step once receives find buffers again.
    fn narrow(&self) {
        if self.window.get() <= self.plan.window {
            return;
        }
        self.calm_turns.set(self.calm_turns.get() + 1);
        if self.calm_turns.get() >= CALM_TURNS {
            self.calm_turns.set(0);
            self.window.set((self.window.get() / 2).max(self.plan.window));
        }
    }

    /// Writes one entry behind the tail, for the kernel to see with the next [`Offers::publish`].
    fn write_offer(&self, ring: &Region, tail: &Cell<u16>, id: u16) {
        let at = (tail.get() & (self.plan.count - 1)) as usize;
        // SAFETY: `at` is below `count`; the kernel reads entries only below the published tail, and this one is not
        // yet published. Writing addr, len and bid leaves the tail, which overlays entry 0's last field, alone.
        let entry = unsafe { &mut *ring.start.as_ptr().cast::<BufRingEntry>().add(at) };
        entry.set_addr(self.buffer(id).as_ptr() as u64);
        entry.set_len(self.plan.bytes_each);
        entry.set_bid(id);
        tail.set(tail.get().wrapping_add(1));
    }

    /// Fewer than a quarter of all buffers are neither leased nor on offer, though the window is fully open.
    fn scarce(&self) -> bool {
        let idle = self.free.borrow().len() + self.offered.get() as usize;
        idle < self.plan.count as usize / 4
    }

    fn leased(&self) -> usize {
        self.plan.count as usize - self.free.borrow().len() - self.offered.get() as usize
    }
}

impl Offers {
    fn register(submitter: &Submitter<'_>, group: u16, count: u16) -> io::Result<Offers> {
        let ring = Region::new(count as usize * size_of::<BufRingEntry>())?;
        // SAFETY: `ring` is page-aligned, zeroed, large enough for `count` entries and lives in the same struct as the
        // driver, which is closed before its buffers are freed (or they are leaked, see `Core::shut`).
        unsafe { submitter.register_buf_ring_with_flags(ring.start.as_ptr() as u64, count, group, 0)? };
        Ok(Offers::Kernel { ring, tail: Cell::new(0) })
    }

    fn publish(&self) {
        let Offers::Kernel { ring, tail } = self else { return };
        let entries = ring.start.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the address of the ring's tail inside our own region; the kernel only reads it.
        let shared = unsafe { &*BufRingEntry::tail(entries).cast::<AtomicU16>() };
        shared.store(tail.get(), Ordering::Release);
    }
}

/// Buffers that we fill: forwarded heads, chunk heads, answers, copies.
#[derive(Default)]
struct Heap {
    slots: Vec<HeapSlot>,
    free: Vec<u32>,
    spare: Spare<Vec<u8>, HEAP_SPARE_MAX>,
}

struct HeapSlot {
    leases: u32,
    buf: Vec<u8>,
}

impl Heap {
    fn adopt(&mut self, buf: Vec<u8>) -> u32 {
        let slot = HeapSlot { leases: 1, buf };
        let Some(index) = self.free.pop() else {
            self.slots.push(slot);
            return HEAP_BASE + (self.slots.len() - 1) as u32;
        };
        self.slots[index as usize] = slot;
        HEAP_BASE + index
    }

    fn release(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.leases -= 1;
        if slot.leases == 0 {
            let buf = std::mem::take(&mut slot.buf);
            self.free.push(index);
            self.keep(buf);
        }
    }

    fn keep(&mut self, mut buf: Vec<u8>) {
        if (HEAP_CAPACITY..=HEAP_SPARE_CAPACITY_MAX).contains(&buf.capacity()) {
            buf.clear();
            self.spare.keep(buf);
        }
    }
}

const _: () = assert!(size_of::<Lease>() == 16);
