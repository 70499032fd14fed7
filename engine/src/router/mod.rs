//! Which route serves a host, and which of its rules a path. Everything here is compiled off the cores, then only read.
//!
//! ```text
//!  Host ──► host.rs: one normal form ──► build.rs: Router ──► what was compiled of the route
//!  path ──► rules.rs: Rules ──┬─► path.rs: exact paths and prefixes, sorted
//!                             ├─► regex.rs: all expressions at once
//!                             └─► rewrite.rs: the target or the location that the rule asks for
//! ```
//!
//! What must hold: a look-up costs the same however many routes there are, work on a hostile host or path is linear in its
//! length, and the first rule in the order written wins, whatever its kind.

mod build;
mod host;
mod path;
mod regex;
mod rewrite;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use build::Router;
pub(crate) use regex::RuleCache;
pub(crate) use rewrite::RewriteError;
pub(crate) use rules::{RuleError, RuleMatch, Rules};
