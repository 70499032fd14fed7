//! The load: what drives a server, and an origin to put behind a proxy. `bench` compares Pinion with its peers by it.
//!
//! It runs on `engine::io`, and on nothing else of the engine or of `protocol`: framing, masks and the checks of
//! answers are its own, since the instrument must not share a mistake with what it measures.
#![forbid(unsafe_code)]

mod aim;
mod answer;
mod client;
mod frame;
mod generator;
pub mod measure;
mod open;
mod origin;
mod session;
mod tally;
mod work;

pub use aim::{Aim, Outcome};
pub use generator::Generator;
pub use work::Work;
