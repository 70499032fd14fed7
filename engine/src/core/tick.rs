//! What a core does once a second: trims its pools, checks its table, publishes what the loop counts.

use crate::io;
use crate::local::Local;

/// One tick.
pub(crate) fn tick(local: &Local) {
    let view = local.view();
    let now_ms = io::now_ms();
    for backend in &view.backends {
        backend.pool.tick(&view.model().pool, now_ms);
    }
    local.verify_table();
    let gauges = io::gauges();
    local.counters().task_panics.set(gauges.task_panics);
    local.counters().buffer_starvations.set(gauges.starvations);
}
