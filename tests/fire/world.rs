//! One proxy and what the kernel says about it: descriptors, memory, processor time, at work and at rest.
//!
//! Used by `run.rs`. At rest means: no client is connected, and every deadline has had time to pass.

use std::time::{Duration, Instant};

use harness::Pinion;

use crate::pause;

/// How long the proxy may take until everything that clients left behind is gone: above every deadline.
const REST_PATIENCE: Duration = Duration::from_secs(25);
/// How long a resting proxy's processor time is watched.
const IDLE_WATCH: Duration = Duration::from_millis(1_500);
/// How long memory may take to come back after a stage that was long enough to ask for it.
const SETTLING_MAX: Duration = Duration::from_secs(40);
/// Stages from which on it is asked.
const LONG_STAGE: Duration = Duration::from_secs(30);
/// Memory is back when it has not fallen by so much ...
const FALL_KIB: u64 = 256;
/// ... for so long.
const SETTLED: Duration = Duration::from_secs(6);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Between two looks at memory, which cost the kernel something.
const MEMORY_STEP: Duration = Duration::from_millis(500);

/// A proxy at rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    pub(crate) files: usize,
    pub(crate) memory_kib: u64,
    /// Memory had come back: it fell no more.
    pub(crate) settled: bool,
    /// Share of one processor.
    pub(crate) busy: f64,
    /// How long it took until descriptors were back.
    pub(crate) took: Duration,
}

/// A proxy at work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub(crate) files_max: usize,
    pub(crate) memory_kib_max: u64,
    /// Share of one processor.
    pub(crate) busy: f64,
}

/// Looks at a proxy that has had no client yet.
pub(crate) fn start(pinion: &mut Pinion) -> Option<Rest> {
    look(pinion, Duration::ZERO, false)
}

/// Waits until the proxy has at most `files` descriptors open and, after a long stage, its memory has come back, but for
/// neither longer than it may take; then looks at everything else. `None` if it ended.
pub(crate) fn rest(pinion: &mut Pinion, files: usize, played: Duration) -> Option<Rest> {
    let begun = Instant::now();
    while begun.elapsed() < REST_PATIENCE && pinion.open_files() > files {
        pause(LOOK_AGAIN);
    }
    let took = begun.elapsed();
    let settled = played >= LONG_STAGE && pinion.is_running() && settle(pinion);
    look(pinion, took, settled)
}

/// Whether memory comes to stand still in time.
fn settle(pinion: &Pinion) -> bool {
    let begun = Instant::now();
    let (mut least, mut fell) = (pinion.memory_kib(), begun);
    while begun.elapsed() < SETTLING_MAX && fell.elapsed() < SETTLED {
        pause(MEMORY_STEP);
        let now = pinion.memory_kib();
        if now + FALL_KIB <= least {
            (least, fell) = (now, Instant::now());
        }
    }
    fell.elapsed() >= SETTLED
}

fn look(pinion: &mut Pinion, took: Duration, settled: bool) -> Option<Rest> {
    let (watched, spent) = (Instant::now(), pinion.processor_time());
    pause(IDLE_WATCH);
    if !pinion.is_running() {
        return None;
    }
    let busy = (pinion.processor_time() - spent).as_secs_f64() / watched.elapsed().as_secs_f64();
    Some(Rest { files: pinion.open_files(), memory_kib: pinion.memory_kib(), settled, busy, took })
}

/// Watches the proxy at work for so long; `None` if it ended.
pub(crate) fn work(pinion: &mut Pinion, lasts: Duration) -> Option<Work> {
    let (begun, spent) = (Instant::now(), pinion.processor_time());
    let mut work = Work::default();
    let mut memory_at = begun;
    while begun.elapsed() < lasts {
        pause(LOOK_AGAIN.min(lasts.saturating_sub(begun.elapsed())));
        if !pinion.is_running() {
            return None;
        }
        work.files_max = work.files_max.max(pinion.open_files());
        if memory_at <= Instant::now() {
            work.memory_kib_max = work.memory_kib_max.max(pinion.memory_kib());
            memory_at = Instant::now() + MEMORY_STEP;
        }
    }
    work.busy = (pinion.processor_time() - spent).as_secs_f64() / begun.elapsed().as_secs_f64();
    Some(work)
}
