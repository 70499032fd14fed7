//! Tasks: each alone with its panic, woken from anywhere, none keeps the ring from its turn.

use std::future::{pending, poll_fn};
use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use super::super::{Task, gauges, spawn, yield_now};
use super::{finished, on_core, pair, some_turns, until};

#[test]
fn a_panic_ends_its_task_alone_and_closes_its_connection() {
    on_core(async {
        let (doomed, mut doomeds_peer) = pair().await;
        let (other, mut others_peer) = pair().await;
        spawn(async move {
            let _held = doomed.recv().await;
            panic!("a task of a test");
        });
        spawn(async move {
            while let Ok(Some(lease)) = other.recv().await {
                other.send(lease);
            }
        });
        let peers = std::thread::spawn(move || {
            doomeds_peer.write_all(b"go").unwrap();
            assert_eq!(doomeds_peer.read(&mut [0; 8]).unwrap(), 0, "the connection is closed");
            others_peer.write_all(b"still there").unwrap();
            let mut back = [0; 11];
            others_peer.read_exact(&mut back).unwrap();
        });
        finished(peers).await;
        until(|| gauges().tasks == 1).await;
        assert_eq!(gauges().task_panics, 1);
        assert_eq!(gauges().buffers_leased, 0);
    });
}

#[test]
fn a_destructor_that_panics_is_counted_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor of a test");
        }
    }
    on_core(async {
        spawn(async {
            let _held = Bomb;
        });
        until(|| gauges().task_panics == 1).await;
    });
}

#[test]
fn a_sleeping_core_is_woken_by_wakers_on_other_threads() {
    on_core(async {
        for _ in 0..500 {
            let done = Arc::new(AtomicBool::new(false));
            let mut started = None;
            poll_fn(|ctx| {
                if started.is_none() {
                    let (done, waker) = (Arc::clone(&done), ctx.waker().clone());
                    started = Some(std::thread::spawn(move || {
                        done.store(true, Ordering::Release);
                        waker.wake();
                    }));
                }
                if done.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            started.take().expect("started above").join().unwrap();
        }
    });
}

#[test]
fn a_task_is_woken_by_name_and_a_stale_name_wakes_nobody() {
    on_core(async {
        let (mut polls, main) = (0, Task::current().unwrap());
        let stale = spawn(async move { main.wake() });
        poll_fn(|_| {
            polls += 1;
            if polls > 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let successor = spawn(pending());
        stale.wake();
        successor.wake();
        some_turns(3).await;
        assert_eq!(gauges().tasks, 2);
    });
}

#[test]
fn a_task_that_is_always_ready_leaves_the_ring_its_turn() {
    on_core(async {
        let (stream, mut peer) = pair().await;
        let spinner = spawn(async {
            loop {
                yield_now().await;
            }
        });
        let writer = std::thread::spawn(move || peer.write_all(&super::pattern(1_000_000)).unwrap());
        assert!(super::read_all(&stream).await == super::pattern(1_000_000));
        finished(writer).await;
        spinner.wake();
    });
}
