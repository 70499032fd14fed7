//! `SIGUSR2`: another process takes over the listening sockets, and no client notices (decision 0016).
//!
//! ```text
//!  predecessor (successor.rs: how it sees the other)       successor (predecessor.rs: likewise)
//!
//!  SIGUSR2 ► start the executable again
//!            version, listening sockets ─────────────────► reads its configuration, starts its cores
//!                                       ◄───────── ready   (until here it has accepted nobody)
//!            go ─────────────────────────────────────────► accepts
//!                                       ◄───── accepting
//!  drains, as by SIGTERM, and ends
//! ```
//!
//! Called by `bootstrap.rs` alone. What must hold: every listening socket is open in a process that accepts from it, or is
//! about to, at any time; a successor that does not come up has taken no client, and its predecessor goes on. The two may
//! be of different versions: what stands in `channel.rs` is a contract.

mod channel;
mod predecessor;
mod successor;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

pub use predecessor::{Predecessor, inherit};
pub use successor::{Progress, Successor, hang_up, look_after};

/// Listening sockets on their way from one process to the next: each address as it is configured, with its sockets.
pub type Sockets = Vec<(SocketAddr, Vec<OwnedFd>)>;

/// Set in the environment of a successor: its standard input is the channel to its predecessor.
const SUCCESSOR_VARIABLE: &str = "PINION_SUCCESSOR";
