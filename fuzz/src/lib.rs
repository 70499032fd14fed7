//! The bodies of all fuzz targets, as plain functions: a fuzzer calls them from `fuzz_targets/`, and
//! `tests/corpus.rs` calls them over every corpus file and seeded mutations where no fuzzer can be built.
//!
//! A body panics when a promise of the product is broken; it never checks only that nothing crashes. It drives
//! operations, not only bytes: where the wire is cut and what the machine is asked for come from the input too.
#![forbid(unsafe_code)]

mod config;
mod forwarding;
mod h1;
mod handshake;
mod input;
mod machines;
mod proxy_header;
mod router;
mod target;
mod tls;
mod ws;

pub use config::config;
pub use forwarding::forwarding;
pub use h1::{h1_request, h1_response};
pub use handshake::ws_handshake;
pub use machines::{chunked, h1_split};
pub use proxy_header::proxy_header;
pub use router::router;
pub use target::target;
pub use tls::tls_bytes;
pub use ws::ws_frames;
