//! Alarms.

use std::time::Duration;

use super::super::ring::ring::with_core;
use super::super::{now_ms, sleep};
use super::on_core;

#[test]
fn a_sleep_ends() {
    on_core(async {
        for n in 0..5 {
            let next = with_core(|core| core.timers.borrow().next_expiry());
            eprintln!("{n}: now {} next {next:?}", now_ms());
            sleep(Duration::from_millis(1)).await;
        }
    });
}
