//! `cargo x bench ARGS…`: hands over to the `bench` crate, always in release.

use std::path::Path;

use crate::command;

/// Runs the bench binary with `args`; true when it ended well.
pub(crate) fn run(root: &Path, args: &[String]) -> bool {
    let mut cargo = command::cargo(root);
    cargo.args(["run", "--release", "--package", "bench", "--"]).args(args);
    command::succeeds(&mut cargo)
}
