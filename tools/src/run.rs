//! `cargo x run ARGS…`: the release binary with the given arguments, as an operator would start it.

use std::path::Path;

use crate::command;

/// Builds `pinion` in release and starts it with `args`; true when it ended well.
pub(crate) fn run(root: &Path, args: &[String]) -> bool {
    let mut cargo = command::cargo(root);
    cargo.args(["run", "--quiet", "--release", "--package", "control", "--bin", "pinion", "--"]).args(args);
    command::succeeds(&mut cargo)
}
