//! The data plane: pinned cores, each with its own io_uring loop.
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "the one room that talks to the kernel; each use has its SAFETY note")]
pub mod io;
