//! Which route serves a host, and which of its rules a path. Everything here is compiled off the cores, then only read.
//!
//! ```text
//!  Host ──► host.rs: one normal form ──► build.rs: Router ──► shard.rs ──► what was compiled of the route
//!                                        ├─► depths.rs: how many labels it can have
//!                                        └─► domains.rs: what many names need not repeat
//!  path ──► rules.rs: Rules ──┬─► path.rs: exact paths and prefixes, sorted
//!                             ├─► regex.rs: all expressions at once, or behind a
//!                             │   └─► sieve.rs: those that need texts (required.rs) which the path has
//!                             └─► rewrite.rs: the target or the location that the rule asks for
//! ```
//!
//! What must hold: a look-up costs the same however many routes there are, work on a hostile host or path is linear in its
//! length, and the first rule in the order written wins, whatever its kind.

mod build;
mod depths;
mod domains;
mod host;
mod path;
mod regex;
mod required;
mod rewrite;
mod rules;
mod shard;
mod sieve;
#[cfg(test)]
mod tests;

pub(crate) use build::Router;
pub(crate) use regex::RuleCache;
pub(crate) use rewrite::RewriteError;
pub(crate) use rules::{RuleError, RuleMatch, Rules};
