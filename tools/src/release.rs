//! `cargo x release`: the binary to deploy, built twice.
//!
//! ```text
//!  build that counts ──► bench drives it ──► llvm-profdata merges the counts ──► build arranged by them ──► profiled/pinion
//! ```
//!
//! What runs often is then laid out together and inlined, what never does is moved away (profile-guided optimisation).
//! All of it lies in the target folder; what it gains is in decision 0040. Needs `llvm-profdata` and two processors.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, cargo};

/// What is counted: each kind of work that a proxy does, over plain connections and over TLS.
const WORKS: [&[&str]; 2] = [
    &["--work", "http64,http512,ws64,connect,body64k,body1m"],
    &["--tls", "--work", "https64,handshake,httpsbody1m"],
];
/// Debian's names end in the version. 19 reads what this compiler writes; Debian 12 has none later.
const DEBIAN_VERSIONS: std::ops::RangeInclusive<u32> = 19..=30;

/// Builds, counts and builds again; true when the binary is there.
pub(crate) fn run(root: &Path) -> bool {
    match build(root, &command::target()) {
        Ok(binary) => {
            println!("{}", binary.display());
            true
        }
        Err(error) => {
            eprintln!("cargo x release: {error}");
            false
        }
    }
}

fn build(root: &Path, target: &Path) -> Result<PathBuf, String> {
    let host = line_of(Command::new("rustc").arg("-vV"), "host: ")?;
    let profdata = profdata(&host)?;
    let (folder, counts) = (target.join("profiled"), target.join("profiled").join("counts"));
    // Counts of an older build would be taken for this one's; and cargo does not build a crate of others anew because the
    // profile is another.
    for old in [&counts, &folder.join("arranged")] {
        let _ = fs::remove_dir_all(old);
    }
    fs::create_dir_all(&counts).map_err(|error| format!("{}: {error}", counts.display()))?;

    let flag = format!("-Cprofile-generate={}", counts.display());
    let counting = compile(build_of(root, &host, &flag), &host, &folder.join("counting"))?;
    for works in WORKS {
        eprintln!("counting: {}", works.join(" "));
        drive(root, &counting, works)?;
    }
    let profile = folder.join("pinion.profdata");
    let mut merge = Command::new(profdata);
    merge.arg("merge").arg("--output").arg(&profile).arg(&counts);
    if !command::succeeds(&mut merge) {
        return Err("the counts could not be merged".to_owned());
    }
    let mut build = build_of(root, &host, &format!("-Cprofile-use={}", profile.display()));
    build.env("PINION_PROFILED", "1");
    let arranged = compile(build, &host, &folder.join("arranged"))?;
    let binary = folder.join("pinion");
    // Moved, not copied: the one before may be running.
    fs::rename(&arranged, &binary).map_err(|error| format!("{}: {error}", binary.display()))?;
    Ok(binary)
}

/// A build of `pinion` with one more flag for the compiler. Naming the target keeps the flag from build scripts.
fn build_of(root: &Path, host: &str, flag: &str) -> Command {
    let mut build = cargo(root);
    build.args(["build", "--release", "--package", "control", "--bin", "pinion", "--target", host]);
    build.env("CARGO_ENCODED_RUSTFLAGS", flag);
    build
}

/// Builds into `folder`; gives the binary.
fn compile(mut build: Command, host: &str, folder: &Path) -> Result<PathBuf, String> {
    build.arg("--target-dir").arg(folder);
    if command::succeeds(&mut build) {
        Ok(folder.join(host).join("release").join("pinion"))
    } else {
        Err("the build failed".to_owned())
    }
}

/// Lets `binary` do one turn of each work. It writes its counts when it ends.
fn drive(root: &Path, binary: &Path, works: &[&str]) -> Result<(), String> {
    let mut bench = cargo(root);
    bench.args(["run", "--release", "--quiet", "--package", "bench", "--", "peers", "--only", "pinion"]);
    bench.args(["--rounds", "1", "--seconds", "2", "--patience", "0", "--pinion"]).arg(binary).args(works);
    let driven = command::quiet(&mut bench);
    // A turn that failed is told in its line, and would leave what it is for uncounted.
    if driven.ok && !driven.output.contains("FAULTS") {
        Ok(())
    } else {
        Err(format!("what was to be counted went wrong\n{}", driven.output))
    }
}

/// The tool that merges counts: rustup's, else the newest of Debian's.
fn profdata(host: &str) -> Result<PathBuf, String> {
    let sysroot = line_of(Command::new("rustc").args(["--print", "sysroot"]), "")?;
    let own = Path::new(&sysroot).join("lib/rustlib").join(host).join("bin/llvm-profdata");
    let debian = DEBIAN_VERSIONS.rev().map(|version| PathBuf::from(format!("llvm-profdata-{version}")));
    std::iter::once(own)
        .chain(debian)
        .find(|tool| command::answers(Command::new(tool).arg("--version")))
        .ok_or_else(|| {
            "no llvm-profdata of LLVM 19 or later: `rustup component add llvm-tools`, or Debian's package llvm-19"
                .to_owned()
        })
}

/// The rest of the first line that begins with `start`.
fn line_of(program: &mut Command, start: &str) -> Result<String, String> {
    let finished = command::quiet(program);
    let found = finished.output.lines().find_map(|line| line.strip_prefix(start));
    found.filter(|_| finished.ok).map(str::to_owned).ok_or(finished.output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_names_its_host_and_what_is_not_said_is_an_error() {
        let host = line_of(Command::new("rustc").arg("-vV"), "host: ").expect("it does");
        assert!(host.split('-').count() >= 3, "{host}");
        assert!(line_of(Command::new("rustc").arg("-vV"), "no such line: ").is_err());
        assert!(line_of(&mut Command::new("no-such-program"), "").is_err());
    }
}
