//! Parts of the engine by themselves, for `bench` to measure and `fuzz` to try. No product turns the feature `internals` on.

pub mod router;
pub mod strategies;
pub mod tls;
