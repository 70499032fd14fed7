//! The load: what drives a server, and an origin to put behind a proxy. The crate `bench` compares Pinion with its peers
//! by [`Generator`]; `pinion bench` drives any server by [`bench`].
//!
//! It runs on `engine::io`, and on nothing else of the engine or of `protocol`: framing, masks and the checks of
//! answers are its own, since the instrument must not share a mistake with what it measures.
#![forbid(unsafe_code)]

mod aim;
mod answer;
pub mod bench;
mod client;
mod frame;
mod generator;
pub mod measure;
mod open;
mod open_files;
mod origin;
mod session;
mod slices;
mod storm;
mod tally;
mod tls;
mod wire;
mod work;

pub use aim::{Aim, Outcome};
pub use generator::Generator;
pub use open_files::raise_open_files;
pub use tls::{Secured, Trust};
pub use work::Work;
