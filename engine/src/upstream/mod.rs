//! Connections to backends: opening them, keeping idle ones, and the machine that speaks on each.

pub(crate) mod board;
pub(crate) mod connect;
pub(crate) mod lease;
pub(crate) mod pool;
