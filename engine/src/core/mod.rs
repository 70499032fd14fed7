//! One core from start to end: pinned thread, ring, listeners, tick, drain.

pub(crate) mod drain;
pub(crate) mod listen;
pub(crate) mod shared;
pub(crate) mod start;
pub(crate) mod tick;
