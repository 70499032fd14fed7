//! Alarms and sleeps: never early, moved freely, silent once cleared.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::super::{Alarm, gauges, now_ms, sleep, spawn};
use super::{on_core, until};

#[test]
fn the_shortest_sleep_lets_others_work() {
    on_core(async {
        let worked = Rc::new(Cell::new(false));
        let told = Rc::clone(&worked);
        spawn(async move { told.set(true) });
        sleep(Duration::from_nanos(1)).await;
        assert!(worked.get());
    });
}

#[test]
fn a_core_with_nothing_but_its_end_to_come_ends() {
    // No socket, no message, no further timer: nothing would wake a core that slept after its main task.
    on_core(async { sleep(Duration::from_millis(2)).await });
}

#[test]
fn thousands_of_sleeps_end_and_none_early() {
    on_core(async {
        const SLEEPS: u64 = 5_000;
        let ended = Rc::new(Cell::new(0));
        for n in 0..SLEEPS {
            let ended = Rc::clone(&ended);
            spawn(async move {
                let (time, from, at) = (Duration::from_millis(n * 7 % 300), now_ms(), Instant::now());
                sleep(time).await;
                assert!(u128::from(now_ms() - from) >= time.as_millis());
                // The core's clock is read once per turn: up to a millisecond is lost to rounding.
                assert!(at.elapsed() + Duration::from_millis(50) >= time);
                ended.set(ended.get() + 1);
            });
        }
        until(|| gauges().tasks == 1).await;
        assert_eq!(ended.get(), SLEEPS);
    });
}

#[test]
fn an_alarm_is_moved_later_and_earlier_and_cleared() {
    on_core(async {
        let alarm = Alarm::new();
        alarm.set(Some(now_ms() + 5));
        alarm.set(Some(now_ms() + 60));
        let from = now_ms();
        poll_fn(|_| alarm.poll()).await;
        assert!(now_ms() - from >= 60, "later");

        alarm.set(Some(now_ms() + 3_600_000));
        alarm.set(Some(now_ms() + 5));
        poll_fn(|_| alarm.poll()).await;
        assert!(now_ms() - from < 3_600_000, "earlier");

        alarm.set(Some(now_ms() + 5));
        alarm.set(None);
        sleep(Duration::from_millis(30)).await;
        assert!(poll_fn(|_| std::task::Poll::Ready(alarm.poll().is_pending())).await, "cleared");
    });
}
