//! What the kernel says about a proxy while it works: CPU time, memory, and the machine it ran on.
//!
//! Called by the load loop (at both ends of a window) and by the report. Nothing here sleeps or spawns; every
//! figure is read from `/proc` by the caller's own thread, so that counts and figures belong to one instant.

pub(crate) mod cpu;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod others;
pub(crate) mod process;
