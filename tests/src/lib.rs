//! The harness of the whole-process tests: the real `pinion` binary between a raw-bytes client and a scripted
//! origin, so that each test reads as one script of client, proxy and origin together.
//!
//! Used by `tests/it` (and by anyone who wants a scripted origin). What must always hold: it shares no code
//! with the product, so that a mistake there is not repeated here; every wait has a deadline; every process
//! that it starts is ended by its own id.

#![forbid(unsafe_code)]

pub mod certs;
pub mod client;
pub mod dns;
pub mod files;
pub mod message;
pub mod origin;
pub mod ports;
pub mod process;
pub mod services;
pub mod settings;
pub mod statistics;
mod successors;
pub mod wait;
pub mod wire;
pub mod ws;

pub use client::Client;
pub use message::{Request, Response};
pub use origin::{Conn, Origin};
pub use process::Pinion;
pub use settings::Settings;
pub use statistics::CoreStatistics;
pub use wait::Gate;
pub use wire::End;

/// A started proxy with default settings in front of `origin`.
pub fn proxy(origin: &Origin) -> Pinion {
    Settings::to(origin).start()
}
