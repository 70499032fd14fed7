//! The control plane: everything around the data plane that the operator touches. It never names the engine:
//! `main.rs` joins the two through the traits of `config-core`.
#![forbid(unsafe_code)]

pub mod cli;
pub mod demo;
pub mod expiry;
pub mod log;
pub mod notify;
pub mod reload;
pub mod restart;
pub mod screen;
pub mod settings;
pub mod signals;
pub mod statistics;
