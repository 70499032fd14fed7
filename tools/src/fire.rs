//! `cargo x fire ARGS…`: the real proxy under attack (`tests/fire/`), and its short version within `cargo x test`.
//!
//! The proxy is the release build where there is one, else the debug build: figures need the former, promises hold in
//! both. Either is brought up to date first, so that no old binary is praised.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command;

/// Builds what is needed and runs it; true when no promise was broken.
pub(crate) fn run(root: &Path, args: &[String]) -> bool {
    let release = command::target().join("release").join("pinion");
    let (profile, binary) = match std::env::var_os("PINION_BIN") {
        Some(binary) => (None, PathBuf::from(binary)),
        None if release.is_file() => (Some("release"), release),
        None => (Some("dev"), command::target().join("debug").join("pinion")),
    };
    let built = profile.is_none_or(|profile| {
        let args = ["build", "--profile", profile, "--package", "control", "--bin", "pinion"];
        command::succeeds(command::cargo(root).args(args))
    });
    built && start(root, &binary, args)
}

/// The short version against the debug build, which `cargo x test` has just built.
pub(crate) fn short(root: &Path) -> bool {
    start(root, &command::target().join("debug").join("pinion"), &["--short".to_owned()])
}

/// Built with the whole workspace, as the tests are: by itself it has other features, and all below it would be compiled anew.
fn start(root: &Path, binary: &Path, args: &[String]) -> bool {
    let build = ["build", "--quiet", "--workspace", "--bin", "fire"];
    let mut fire = Command::new(command::target().join("debug").join("fire"));
    fire.current_dir(root).env("PINION_BIN", binary).args(args);
    command::succeeds(command::cargo(root).args(build)) && command::succeeds(&mut fire)
}
