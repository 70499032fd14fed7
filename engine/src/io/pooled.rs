//! Futures that live shorter than the task that awaits them, each in a room that its core uses again and again.
//!
//! A connection waits for most of its life. If its own future had room for an exchange, each of thousands of connections
//! would bring memory that no cache holds when its request comes. Exchanges in flight are far fewer, and the room that was
//! given back last is taken next. Decision 0039.

use std::future::Future;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::ring::ring::with_core;

/// Bytes of a room: an exchange's future, and a little.
const ROOM_BYTES: usize = 960;

/// Memory for one future after the other; nothing is said of what is in it.
#[repr(align(64))]
pub(crate) struct Room {
    _bytes: MaybeUninit<[u8; ROOM_BYTES]>,
}

/// A room that somebody has. Dropped, it goes back to the core.
struct Taken(NonNull<Room>);

impl Taken {
    fn take() -> Taken {
        let spare = with_core(|core| core.rooms.borrow_mut().take()).flatten();
        let room = spare.unwrap_or_else(|| Box::new(Room { _bytes: MaybeUninit::uninit() }));
        Taken(NonNull::from(Box::leak(room)))
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box in `take`, and only here does it become one again.
        let room = unsafe { Box::from_raw(self.0.as_ptr()) };
        with_core(|core| core.rooms.borrow_mut().keep(room));
    }
}

/// A future in a room of its core; see [`pooled`].
pub(crate) struct Pooled<F> {
    room: Taken,
    future: PhantomData<F>,
}

/// Puts the future that `make` gives into a room, where it stays until it is dropped. Like `Box::pin`, without the allocation.
#[inline]
pub(crate) fn pooled<F: Future>(make: impl FnOnce() -> F) -> Pooled<F> {
    const {
        assert!(size_of::<F>() <= size_of::<Room>(), "no room is large enough for this future");
        assert!(align_of::<F>() <= align_of::<Room>());
    }
    let room = Taken::take();
    // SAFETY: the room is ours alone, and large enough and aligned for an `F`, as was just asserted.
    unsafe { room.0.cast::<F>().write(make()) };
    Pooled { room, future: PhantomData }
}

/// The future's place is the room: to move this moves a pointer.
impl<F> Unpin for Pooled<F> {}

impl<F: Future> Future for Pooled<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `pooled` wrote an `F` there, which only `drop` ends, in place: it never moves, as `Pin` demands. The one
        // reference to it is this one, made from the only reference to its owner.
        let future = unsafe { Pin::new_unchecked(self.get_mut().room.0.cast::<F>().as_mut()) };
        future.poll(context)
    }
}

impl<F> Drop for Pooled<F> {
    fn drop(&mut self) {
        // SAFETY: `pooled` wrote an `F` there, and it is dropped only here; the room goes back after it, even if it panics.
        unsafe { self.room.0.cast::<F>().drop_in_place() };
    }
}
