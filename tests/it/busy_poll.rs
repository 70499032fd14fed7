//! `busy_poll_us`: a core that has just had something to do waits awake, and one that has not sleeps.

use std::time::{Duration, Instant};

use harness::{Origin, Settings, wait};

/// Lets so much time pass.
fn pause(time: Duration) {
    let begun = Instant::now();
    wait::until("some time", || begun.elapsed() >= time);
}

/// Processor time of a proxy for exchanges whose backend takes its time, and for a while without any.
fn busy_and_quiet(busy_poll_us: u32, quiet_for: Duration) -> (Duration, Duration) {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            pause(Duration::from_millis(4));
            conn.answer(&request.target);
        }
    });
    let pinion = Settings::to(&origin).set("server", &format!("busy_poll_us = {busy_poll_us}")).start();
    let mut client = pinion.client();
    assert_eq!(client.get("/first").text(), "/first");
    let before = pinion.processor_time();
    for number in 0..50 {
        let target = format!("/{number}");
        assert_eq!(client.get(&target).text(), target);
    }
    let busy = pinion.processor_time() - before;
    // What it still spins after the last answer is no time without exchanges.
    pause(Duration::from_micros(busy_poll_us.into()));
    let before = pinion.processor_time();
    pause(quiet_for);
    (busy, pinion.processor_time() - before)
}

#[test]
fn a_core_waits_awake_for_so_long_and_then_sleeps() {
    let quiet_for = Duration::from_millis(600);
    let (sleeping, _) = busy_and_quiet(0, Duration::ZERO);
    let (spinning, quiet) = busy_and_quiet(10_000, quiet_for);
    // Not a speed: the 4 ms of each backend's pause are spent in one case and not in the other.
    assert!(spinning > sleeping * 4, "spinning {spinning:?}, sleeping {sleeping:?}");
    assert!(quiet < quiet_for / 4, "{quiet:?} of {quiet_for:?} while nothing happened");
}
