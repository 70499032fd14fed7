//! What a core does once a second: trims its pools, buffers and memory, checks its table, publishes what the loop counts.

use super::drain;
use crate::io;
use crate::local::Local;

/// One tick.
pub(crate) fn tick(local: &Local) {
    let view = local.view();
    let now_ms = io::now_ms();
    local.backends.tick(&view.model().pool, now_ms);
    local.verify_table();
    drain::tick(local);
    io::trim_buffers();
    io::give_back_freed();
    publish_gauges(local);
}

/// Writes what the loop itself counts to where others read it. Also done when the core ends.
pub(crate) fn publish_gauges(local: &Local) {
    let gauges = io::gauges();
    local.counters().task_panics.set(gauges.task_panics);
    local.counters().buffer_starvations.set(gauges.starvations);
}
