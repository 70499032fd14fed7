//! One proxy and what the kernel says about it: descriptors, memory, processor time, at work and at rest.
//!
//! Used by `run.rs`. At rest means: no client is connected, and every deadline has had time to pass.

use std::time::{Duration, Instant};

use harness::Pinion;

use crate::pause;

/// How long the proxy may take until everything that clients left behind is gone: above every deadline.
pub(crate) const REST_PATIENCE: Duration = Duration::from_secs(25);
/// How long a resting proxy's processor time is watched.
const IDLE_WATCH: Duration = Duration::from_millis(1_500);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Between two looks at memory, which cost the kernel something.
const MEMORY_STEP: Duration = Duration::from_millis(500);

/// A proxy at rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    pub(crate) files: usize,
    pub(crate) memory_kib: u64,
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

/// Waits until the proxy has at most `files` descriptors open, but not for longer than `patience`; then looks at
/// everything else. `None` if it ended.
pub(crate) fn rest(pinion: &mut Pinion, files: usize, patience: Duration) -> Option<Rest> {
    let begun = Instant::now();
    while begun.elapsed() < patience && pinion.open_files() > files {
        pause(LOOK_AGAIN);
    }
    let took = begun.elapsed();
    let (watched, spent) = (Instant::now(), pinion.processor_time());
    pause(IDLE_WATCH);
    if !pinion.is_running() {
        return None;
    }
    let busy = (pinion.processor_time() - spent).as_secs_f64() / watched.elapsed().as_secs_f64();
    Some(Rest { files: pinion.open_files(), memory_kib: pinion.memory_kib(), busy, took })
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
