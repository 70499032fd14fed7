//! The word: every state by every event, the times, and what several cores may do at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::thread;

use config_core::model::Probe;

use super::*;

fn breaker() -> CircuitBreaker {
    CircuitBreaker {
        failure_threshold: 3,
        failure_ratio_percent: None,
        window_ms: 10_000,
        window_requests_min: 20,
        reset_timeout_ms: 30_000,
        reset_timeout_ms_max: 300_000,
        failure_statuses: vec![502],
    }
}

fn check() -> ActiveCheck {
    ActiveCheck {
        probe: Probe::Tcp,
        interval_ms: 10_000,
        timeout_ms: 5_000,
        unhealthy_threshold: 2,
        healthy_threshold: 2,
    }
}

fn fail(health: &HealthState, times: u32, now_ms: u64) -> Option<Opened> {
    (0..times).filter_map(|_| health.on_failure(None, now_ms, &breaker())).last()
}

/// A backend whose circuit opened at 0, so that its trial is at 30,000.
fn open() -> Arc<HealthState> {
    let health = Arc::new(HealthState::new(0));
    assert_eq!(fail(&health, 3, 0), Some(Opened { timeout_ms: 30_000, openings: 1 }));
    health
}

#[test]
fn words_survive_packing() {
    for phase in [Phase::Alive, Phase::Open, Phase::Trial] {
        for bits in 0..4 {
            for (failures, openings, at_ms) in
                [(0, 0, 0), (1, 1, 1), (4_095, 63, Word::AT_MAX), (7, 5, 86_400_000)]
            {
                let word = Word {
                    phase,
                    maintenance: bits & 1 != 0,
                    probe_dead: bits & 2 != 0,
                    failures,
                    openings,
                    at_ms,
                };
                assert_eq!(Word::unpack(word.pack()), word);
                let is_alive = phase == Phase::Alive && bits == 0;
                assert_eq!(word.pack() & Word::NOT_ALIVE == 0, is_alive);
                assert_eq!(word.availability(0) == Availability::Usable, is_alive);
            }
        }
    }
    let beyond = Word { failures: u32::MAX, openings: u32::MAX, at_ms: u64::MAX, ..Word::alive(0) };
    let kept = Word { failures: 4_095, openings: 63, at_ms: Word::AT_MAX, ..Word::alive(0) };
    assert_eq!(Word::unpack(beyond.pack()), kept);
}

#[test]
fn failures_in_a_row_open_the_circuit_and_a_success_between_them_does_not() {
    let health = HealthState::new(0);
    assert_eq!(fail(&health, 2, 5), None);
    health.on_success(None, 6);
    assert_eq!(fail(&health, 2, 7), None);
    assert_eq!(health.availability(7), Availability::Usable);
    assert_eq!(fail(&health, 1, 8), Some(Opened { timeout_ms: 30_000, openings: 1 }));
    assert_eq!(health.availability(8), Availability::No);
    assert_eq!(health.condition(8), Condition::Open { for_ms: 30_000 });
    assert_eq!(fail(&health, 9, 9), None, "those that began before it opened change nothing");
    assert_eq!(health.condition(9), Condition::Open { for_ms: 29_999 });
}

#[test]
fn a_threshold_of_none_never_opens_and_one_beyond_the_word_opens_at_its_end() {
    let off = CircuitBreaker { failure_threshold: 0, ..breaker() };
    let health = HealthState::new(0);
    assert!((0..10_000).all(|_| health.on_failure(None, 0, &off).is_none()));
    let high = CircuitBreaker { failure_threshold: u32::MAX, ..breaker() };
    assert_eq!((1..=4_095).find(|_| health.on_failure(None, 0, &high).is_some()), Some(4_095));
}

#[test]
fn while_all_is_well_nobody_writes() {
    let health = HealthState::new(0);
    let before = health.word.load(Ordering::Relaxed);
    health.on_success(None, 1_000);
    assert_eq!(health.word.load(Ordering::Relaxed), before);
    assert_eq!(HealthState::new(70).alive_since_ms(), 70);
    let health = open();
    assert_eq!(health.alive_since_ms(), 0);
    let before = health.word.load(Ordering::Relaxed);
    health.on_success(None, 1_000);
    assert_eq!(health.word.load(Ordering::Relaxed), before, "a late success closes nothing");
}

#[test]
fn after_the_wait_one_exchange_tries_it_out_and_brings_it_back() {
    let health = open();
    assert_eq!(health.availability(29_999), Availability::No);
    assert!(health.try_trial(29_999).is_none());
    assert_eq!(health.availability(30_000), Availability::Trial);
    let trial = health.try_trial(30_000).expect("it is time");
    assert_eq!(health.availability(30_000), Availability::No);
    assert_eq!(health.condition(30_000), Condition::HalfOpen);
    assert!(health.try_trial(30_001).is_none(), "one at a time");
    health.on_success(None, 30_001);
    assert_eq!(fail(&health, 5, 30_001), None, "only the trial decides");
    assert_eq!(health.condition(30_001), Condition::HalfOpen);
    health.on_success(Some(trial), 30_002);
    assert_eq!(health.availability(30_002), Availability::Usable);
    assert_eq!(health.alive_for_ms(30_005), Some(3), "slow start begins here");
    assert_eq!(fail(&health, 3, 30_006).map(|opened| opened.openings), Some(1), "its past is forgotten");
}

#[test]
fn each_failed_trial_doubles_the_wait_up_to_the_cap() {
    let health = open();
    let mut now_ms = 0;
    for (wait_ms, next_ms) in
        [(30_000, 60_000), (60_000, 120_000), (120_000, 240_000), (240_000, 300_000), (300_000, 300_000)]
    {
        assert!(health.try_trial(now_ms + wait_ms - 1).is_none());
        now_ms += wait_ms;
        let trial = health.try_trial(now_ms).expect("it is time");
        let opened = health.on_failure(Some(trial), now_ms, &breaker()).expect("it fails");
        assert_eq!(opened.timeout_ms, next_ms);
    }
}

#[test]
fn a_trial_that_is_dropped_makes_room_for_another_at_once() {
    let health = open();
    drop(health.try_trial(30_000));
    assert_eq!(health.condition(30_000), Condition::Open { for_ms: 0 });
    let trial = health.try_trial(30_000).expect("there is room");
    assert_eq!(
        health.on_failure(Some(trial), 30_000, &breaker()).map(|opened| opened.openings),
        Some(2),
        "it did not count as a failure"
    );
}

#[test]
fn a_trial_that_hangs_gives_way_and_its_outcome_no_longer_counts() {
    let health = open();
    let hangs = health.try_trial(30_000).expect("it is time");
    assert!(health.try_trial(30_000 + TRIAL_MS_MAX - 1).is_none());
    let second = health.try_trial(30_000 + TRIAL_MS_MAX).expect("the first one hangs");
    assert_eq!(health.on_failure(Some(hangs), 90_001, &breaker()), None);
    assert_eq!(health.condition(90_001), Condition::HalfOpen, "the second still runs");
    health.on_success(Some(second), 90_002);
    assert_eq!(health.condition(90_002), Condition::Alive);

    let health = open();
    let slow = health.try_trial(30_000).expect("it is time");
    health.on_success(Some(slow), 200_000);
    assert_eq!(health.condition(200_000), Condition::Alive, "slow, but nobody had taken its place");
}

#[test]
fn the_ratio_opens_the_circuit_once() {
    let health = HealthState::new(0);
    assert_eq!(health.trip(10, &breaker()), Some(Opened { timeout_ms: 30_000, openings: 1 }));
    assert_eq!(health.trip(10, &breaker()), None);
}

#[test]
fn probes_kill_and_revive_by_their_thresholds() {
    let health = HealthState::new(0);
    let probe = |ok, now_ms| health.on_probe(ok, Some(&check()), &breaker(), now_ms);
    assert_eq!([probe(false, 1), probe(true, 2), probe(false, 3)], [None; 3]);
    assert_eq!(health.availability(3), Availability::Usable);
    assert_eq!(probe(false, 4), Some(Probed::Died));
    assert_eq!(health.condition(4), Condition::DeadByProbe);
    assert_eq!(health.availability(1_000_000), Availability::No, "time alone does not revive it");
    assert_eq!([probe(false, 5), probe(true, 6), probe(false, 7), probe(true, 8)], [None; 4]);
    assert_eq!(probe(true, 9), Some(Probed::CameBack));
    assert_eq!(health.alive_for_ms(12), Some(3));
    assert_eq!(probe(true, 10), None, "no news");

    assert_eq!([probe(false, 11), probe(false, 12)], [None, Some(Probed::Died)]);
    health.forget_probes(20);
    assert_eq!(health.alive_for_ms(25), Some(5), "checks were switched off");
}

#[test]
fn a_good_probe_takes_back_the_doublings_and_closes_no_circuit() {
    let health = open();
    assert_eq!(health.on_probe(true, None, &breaker(), 1_000), None, "the first wait stays");
    let trial = health.try_trial(30_000).expect("it is time");
    assert!(health.on_failure(Some(trial), 30_000, &breaker()).is_some());
    assert_eq!(health.condition(40_000), Condition::Open { for_ms: 50_000 });
    assert_eq!(health.on_probe(false, None, &breaker(), 40_000), None);
    assert_eq!(health.on_probe(true, None, &breaker(), 40_000), Some(Probed::TrialSooner));
    assert_eq!(health.condition(40_000), Condition::Open { for_ms: 20_000 }, "30 s after the trial");
    assert_eq!(health.on_probe(true, None, &breaker(), 41_000), None);
    assert_eq!(health.availability(60_000), Availability::Trial);
}

#[test]
fn only_the_operator_ends_maintenance() {
    let health = open();
    assert!(health.set_maintenance(true, 1));
    assert!(!health.set_maintenance(true, 2));
    assert_eq!(health.availability(60_000), Availability::No);
    assert!(health.try_trial(60_000).is_none());
    for now_ms in [3, 4, 5] {
        health.on_probe(true, Some(&check()), &breaker(), now_ms);
    }
    assert_eq!(health.condition(60_000), Condition::Maintenance);
    assert!(health.set_maintenance(false, 7));
    assert_eq!(health.alive_for_ms(10), Some(3), "his word ends the open circuit, too");
    assert!(!health.set_maintenance(false, 11));
    assert_eq!(health.alive_for_ms(11), Some(4), "it is alive: nothing begins anew");
}

#[test]
fn its_share_grows_while_it_starts_slowly() {
    let health = HealthState::new(10_000);
    for (now_ms, slow_start_ms, expected) in [
        (10_000, 0, 1.0),
        (10_000, 1_000, 0.05),
        (10_500, 1_000, 0.5),
        (11_000, 1_000, 1.0),
        (9_000, 1_000, 0.05),
    ] {
        assert_eq!(health.share(now_ms, slow_start_ms), expected, "{now_ms}");
    }
    assert_eq!(HealthState::new(0).share(1_000_000, 60_000), 1.0);
    assert_eq!(open().share(30_000, 60_000), 1.0, "a trial is not held back");
}

/// Every order of every few events, from the start: what must always hold does.
#[test]
fn every_sequence_of_events_keeps_the_rules() {
    const EVENTS: u32 = 9;
    const LENGTH: u32 = 6;
    for sequence in 0..EVENTS.pow(LENGTH) {
        let health = Arc::new(HealthState::new(0));
        let mut trials: Vec<Trial> = Vec::new();
        let (mut now_ms, mut maintained) = (0, false);
        let mut rest = sequence;
        for _ in 0..LENGTH {
            let (event, before) = (rest % EVENTS, health.condition(now_ms));
            rest /= EVENTS;
            match event {
                0 => health.on_success(None, now_ms),
                1 => drop(fail(&health, 3, now_ms)),
                2 => {
                    let trial = health.try_trial(now_ms);
                    assert_eq!(trial.is_some(), before == Condition::Open { for_ms: 0 }, "{sequence}");
                    trials.extend(trial);
                }
                3 => health.on_success(trials.pop(), now_ms),
                4 => drop(health.on_failure(trials.pop(), now_ms, &breaker())),
                5 => drop(trials.pop()),
                6 => now_ms += 30_000,
                7 => {
                    health.on_probe(false, Some(&check()), &breaker(), now_ms);
                    health.on_probe(false, Some(&check()), &breaker(), now_ms);
                }
                _ => {
                    maintained = !maintained;
                    health.set_maintenance(maintained, now_ms);
                }
            }
            let after = health.condition(now_ms);
            assert_eq!(after == Condition::Maintenance, maintained, "{sequence}");
            let was_dead = !matches!(before, Condition::Alive);
            let revives = event == 8 || (event == 3 && before == Condition::HalfOpen);
            // A trial that hung and was not replaced may still succeed.
            let hung = event == 3 && before == Condition::Open { for_ms: 0 };
            if was_dead && after == Condition::Alive {
                assert!(revives || hung, "{sequence}: {before:?} by event {event}");
            }
        }
    }
}

#[test]
fn cores_that_want_the_trial_at_once_get_one() {
    const CORES: usize = 4;
    const ROUNDS: u64 = 3_000;
    let health = open();
    let (barrier, running) = (Barrier::new(CORES), AtomicUsize::new(0));
    let (granted, closed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for core in 0..CORES as u64 {
            let (health, barrier, running, granted, closed) =
                (&health, &barrier, &running, &granted, &closed);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Far enough apart that each round's trial is due, whatever became of the last.
                    let now_ms = 1_000_000 * (round + 1);
                    barrier.wait();
                    if let Some(trial) = health.try_trial(now_ms) {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        granted.fetch_add(1, Ordering::Relaxed);
                        running.fetch_sub(1, Ordering::SeqCst);
                        match round % 3 {
                            0 => drop(trial),
                            1 => drop(health.on_failure(Some(trial), now_ms, &breaker())),
                            _ => health.on_success(Some(trial), now_ms),
                        }
                    }
                    barrier.wait();
                    // Back to open, by exactly one of all.
                    let opened = fail(health, 3, now_ms);
                    closed.fetch_add(usize::from(opened.is_some()), Ordering::Relaxed);
                    barrier.wait();
                    assert_ne!(health.condition(now_ms), Condition::Alive, "core {core} round {round}");
                }
            });
        }
    });
    assert!(granted.into_inner() >= ROUNDS as usize);
    assert_eq!(closed.into_inner(), ROUNDS as usize / 3, "who opens it is told, and nobody else");
}

#[test]
fn failures_of_all_cores_are_counted_together() {
    const CORES: u32 = 4;
    const EACH: u32 = 1_000;
    let high = CircuitBreaker { failure_threshold: CORES * EACH, ..breaker() };
    let (health, opened) = (HealthState::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CORES {
            scope.spawn(|| {
                for _ in 0..EACH {
                    if health.on_failure(None, 1, &high).is_some() {
                        assert!(!opened.swap(true, Ordering::Relaxed), "once");
                    }
                }
            });
        }
    });
    assert!(opened.into_inner(), "not one was lost");
}
