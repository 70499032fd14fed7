//! Futures in rooms of their core: used again, given back however the future ends.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::super::pooled::pooled;
use super::super::ring::ring::with_core;
use super::super::{trim_buffers, yield_now};
use super::on_core;

/// Rooms that wait for the next future.
fn spare_rooms() -> usize {
    with_core(|core| core.rooms.borrow().len()).expect("on a core")
}

/// Counts how often it is dropped.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Keeps a reference to its own memory over an await, as only a future that does not move may.
async fn sums(numbers: [u64; 16], _held: Counted) -> u64 {
    let total = Cell::new(0);
    let (first, rest) = numbers.split_first().expect("not empty");
    total.set(*first);
    yield_now().await;
    for number in rest {
        total.set(total.get() + number);
    }
    total.get()
}

#[test]
fn a_future_in_a_room_runs_to_its_end_wherever_its_owner_moves() {
    on_core(async {
        let dropped = Rc::new(Cell::new(0));
        let held = Counted(Rc::clone(&dropped));
        let mut owner = pooled(|| sums(std::array::from_fn(|at| at as u64), held));
        assert!(Pin::new(&mut owner).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let moved = Box::new(owner);
        assert_eq!(moved.await, (0..16).sum::<u64>());
        assert_eq!(dropped.get(), 1);
    });
}

#[test]
fn a_room_is_used_again_whether_its_future_has_ended_or_not() {
    on_core(async {
        let dropped = Rc::new(Cell::new(0));
        for round in 1..=3 {
            let held = Counted(Rc::clone(&dropped));
            drop(pooled(|| sums([round; 16], held)));
            let held = Counted(Rc::clone(&dropped));
            assert_eq!(pooled(|| sums([round; 16], held)).await, 16 * round);
            assert_eq!(spare_rooms(), 1, "one at a time needs one room");
        }
        assert_eq!(dropped.get(), 6, "each future is dropped once");
        drop((pooled(|| async { 1 }), pooled(|| async { 2 })));
        assert_eq!(spare_rooms(), 2);
    });
}

#[test]
fn a_room_goes_back_even_if_the_end_of_its_future_panics() {
    struct Breaks;
    impl Drop for Breaks {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    on_core(async {
        let future = pooled(|| {
            let breaks = Breaks;
            async move {
                std::future::pending::<()>().await;
                drop(breaks)
            }
        });
        let outcome = catch_unwind(AssertUnwindSafe(|| drop(future)));
        assert!(outcome.is_err());
        assert_eq!(spare_rooms(), 1);
    });
}

#[test]
fn rooms_that_nobody_needs_are_given_back() {
    on_core(async {
        let many: Vec<_> = (0..40).map(|number| pooled(|| async move { number })).collect();
        drop(many);
        trim_buffers();
        assert_eq!(spare_rooms(), 40, "they were needed since the last trim");
        trim_buffers();
        assert!(spare_rooms() < 40);
    });
}

#[test]
fn a_thread_that_is_no_core_has_rooms_too() {
    let mut owner = pooled(|| async { vec![1, 2, 3] });
    let polled = Pin::new(&mut owner).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(vec![1, 2, 3]));
}
