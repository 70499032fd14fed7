//! What the kernel says about processes while they work: CPU time, memory, and the rest of the machine.
//!
//! Called by the generator (at both ends of a window) and by the comparison. Nothing here sleeps or spawns; every
//! figure is read from `/proc` by the caller's own thread, so that counts and figures belong to one instant.

pub mod cpu;
pub mod memory;
pub mod others;
pub mod process;
