//! `cargo x <task>`: the project's own tasks, so that nobody has to remember a command line.
//!
//! Called by people and by `.ci/run`. Depends on nothing but the standard library, so that it builds in a
//! second on a clean checkout. Every task runs from the root of the workspace, wherever it was called.

#![forbid(unsafe_code)]

mod bench;
mod command;
mod counts;
mod fire;
mod fuzz;
mod release;
mod run;
mod sim;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo x <task>

  run ARGS…     build the release binary and start it: cargo x run demo
  test          format, clippy, tidy, every test, half a minute under fire, a few seconds of every fuzzer; last line
                `N passed, M failed`
  tidy          sizes, crate arrows, banned calls, documents that name files
  fuzz ARGS…    every fuzzer in turn, corpora grown and made small again: cargo x fuzz --minutes 20 [TARGET…]
  bench ARGS…   measurements: cargo x bench peers
  release       the binary to deploy, optimised by a profile that it takes first; about a quarter of an hour
  sim ARGS…     the engine in simulated worlds: cargo x sim --minutes 10, --seeds 100000, or one again: --seed 7
  fire ARGS…    the real proxy under attack: cargo x fire --minutes 10
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let root = workspace_root();
    let done = match task.as_str() {
        "run" => run::run(&root, &rest),
        "test" => test::run(&root),
        "tidy" => tidy::run(&root),
        "fuzz" => fuzz::task(&root, &rest),
        "bench" => bench::run(&root, &rest),
        "release" => release::run(&root),
        "sim" => sim::run(&root, &rest),
        "fire" => fire::run(&root, &rest),
        "" | "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        other => {
            eprint!("no task `{other}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The folder of the root manifest: the parent of this crate's.
fn workspace_root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}
