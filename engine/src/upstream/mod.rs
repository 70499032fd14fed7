//! Connections to backends: opening them, keeping idle ones, and the machine that speaks on each.

pub(crate) mod board;
pub(crate) mod connect;
#[cfg_attr(not(test), expect(dead_code, reason = "wired in by the exchange when it knows its route"))]
pub(crate) mod gate;
pub(crate) mod lease;
pub(crate) mod pool;
