//! Messages from other threads: none is lost, a sleeping core wakes for each, one that panics ends alone.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::super::{Runtime, Task, gauges, now_ms};
use super::{finished, on_core, options, until, within_patience};

thread_local! {
    static RECEIVED: Cell<u32> = const { Cell::new(0) };
}

/// Runs `main`, which gets the core's own remote.
fn with_remote<F: Future + 'static>(main: impl FnOnce(super::super::Remote) -> F) -> F::Output {
    let mut runtime = Runtime::new(options()).unwrap();
    let main = main(runtime.remote());
    runtime.block_on(within_patience(main)).expect("the core outlives its messages")
}

#[test]
fn messages_of_many_threads_all_arrive() {
    const THREADS: usize = 4;
    const EACH: u32 = 5_000;
    with_remote(|remote| async move {
        RECEIVED.set(0);
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let remote = remote.clone();
                std::thread::spawn(move || {
                    for _ in 0..EACH {
                        remote.post(|| RECEIVED.set(RECEIVED.get() + 1));
                    }
                })
            })
            .collect();
        for thread in threads {
            finished(thread).await;
        }
        until(|| RECEIVED.get() == THREADS as u32 * EACH).await;
    });
}

#[test]
fn a_sleeping_core_answers_every_message() {
    const ROUNDS: usize = 3_000;
    with_remote(|remote| async move {
        let task = Task::current().expect("polled as a task");
        let (answer, answers) = mpsc::channel();
        // No timer but the hang's own runs meanwhile: a lost wake is a hang.
        let poster = std::thread::spawn(move || {
            for _ in 0..ROUNDS {
                let answer = answer.clone();
                remote.post(move || answer.send(now_ms()).unwrap());
                answers.recv().unwrap();
            }
            remote.post(task_done);
        });
        DONE_TASK.set(Some(task));
        std::future::poll_fn(
            |_| if DONE.get() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending },
        )
        .await;
        finished(poster).await;
    });
}

thread_local! {
    static DONE: Cell<bool> = const { Cell::new(false) };
    static DONE_TASK: Cell<Option<Task>> = const { Cell::new(None) };
}

fn task_done() {
    DONE.set(true);
    DONE_TASK.get().expect("set before anybody posts").wake();
}

#[test]
fn a_core_gets_the_messages_that_it_posts_to_itself() {
    with_remote(|remote| async move {
        RECEIVED.set(0);
        for _ in 0..1_000 {
            remote.post(|| RECEIVED.set(RECEIVED.get() + 1));
        }
        until(|| RECEIVED.get() == 1_000).await;
    });
}

#[test]
fn a_message_that_panics_is_counted_and_the_core_goes_on() {
    with_remote(|remote| async move {
        RECEIVED.set(0);
        remote.post(|| panic!("a message of a test"));
        remote.post(|| RECEIVED.set(1));
        until(|| RECEIVED.get() == 1).await;
        assert_eq!(gauges().task_panics, 1);
    });
}

#[test]
fn messages_that_a_stopped_core_never_took_are_dropped() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut runtime = Runtime::new(options()).unwrap();
    let remote = runtime.remote();
    let (late, count) = (remote.clone(), Arc::clone(&dropped));
    runtime
        .block_on(async move {
            let held = OnDrop(count);
            late.post(move || panic!("the core stopped before this ran: {}", held.0.load(Ordering::Relaxed)));
        })
        .unwrap();
    drop(runtime);
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "left before the stop");
    let held = OnDrop(Arc::clone(&dropped));
    remote.post(move || drop(held));
    assert_eq!(dropped.load(Ordering::Relaxed), 2, "left after the stop");
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn threads_that_are_no_core_read_zeroes() {
    on_core(async {
        let other = std::thread::spawn(|| (gauges(), now_ms(), Task::current().is_some()));
        assert_eq!(finished(other).await, (super::super::Gauges::default(), 0, false));
    });
}
