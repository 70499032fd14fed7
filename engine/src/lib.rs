//! The data plane: pinned cores, each with its own io_uring loop, listeners, pools and counters.
//!
//! Embedders and the control plane use [`ProxyServer`]; all else is the path of a request (`docs/request-path.md`).
//! Rooms from low to high: `io`, `metrics`, `dns`, `tls`, `upstream`, `balance`, `table`, `local`, `exchange`, `session`, `h1`,
//! `conn`, `acceptor`, `core`.
#![deny(unsafe_code)]

mod acceptor;
mod balance;
mod conn;
mod core;
pub mod dns;
mod error;
mod exchange;
pub mod explain;
mod h1;
mod health;
mod ids;
#[cfg(any(test, feature = "internals"))]
pub mod internals;
#[allow(unsafe_code, reason = "the one room that talks to the kernel; each use has its SAFETY note")]
pub mod io;
mod local;
mod metrics;
mod router;
mod server;
mod session;
#[cfg(feature = "simulation")]
pub mod simulation;
mod table;
mod tls;
mod upstream;

pub use core::listen::Sockets;

pub use error::Error;
pub use server::{DrainOutcome, Maintenance, Pace, ProxyServer, Stats};
pub use tls::certs::Expiry;
pub use tls::check::check as check_tls;
