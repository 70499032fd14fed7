//! Whether a backend is alive: what exchanges and probes have shown, and what the operator says.
//!
//! `state.rs` is the one word that all cores share about a backend; `breaker.rs` the arithmetic of the circuit and the
//! window of failures that each core keeps; `passive.rs` says what counts as a failure. Time comes in as an argument, of
//! the process-wide clock.

pub(crate) mod active;
pub(crate) mod breaker;
pub(crate) mod passive;
pub(crate) mod state;
