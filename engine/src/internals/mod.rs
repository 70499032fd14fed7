//! Parts of the engine by themselves, for `bench` to measure. No product turns the feature `internals` on.

pub mod strategies;
