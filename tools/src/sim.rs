//! `cargo x sim ARGS…`: the seeded simulation (`tests/sim/`) for longer than within the tests, or one seed of it again.

use std::path::Path;
use std::process::Command;

use crate::command;

const USAGE: &str = "cargo x sim [--seeds N] [--minutes N] [--first SEED] | --seed SEED";

/// Runs worlds on every processor; true when every promise was kept.
pub(crate) fn run(root: &Path, args: &[String]) -> bool {
    let mut cargo = command::cargo(root);
    cargo.args(["test", "--quiet", "--package", "tests", "--test", "sim", "--"]);
    if !told(&mut cargo, args) {
        eprintln!("{USAGE}");
        return false;
    }
    cargo.args(["--exact", "worlds_keep_the_promises", "--nocapture"]);
    command::succeeds(&mut cargo)
}

/// Hands the arguments on as variables; false for arguments that there are not.
fn told(cargo: &mut Command, args: &[String]) -> bool {
    for pair in args.chunks(2) {
        let [name, value] = pair else { return false };
        let variable = match name.as_str() {
            "--seed" => "PINION_SIM_SEED",
            "--seeds" => "PINION_SIM_SEEDS",
            "--minutes" => "PINION_SIM_MINUTES",
            "--first" => "PINION_SIM_FIRST",
            _ => return false,
        };
        if value.parse::<u64>().is_err() {
            return false;
        }
        cargo.env(variable, value);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_variables() {
        let rows: &[(&[&str], bool, &[&str])] = &[
            (&[], true, &[]),
            (&["--seed", "7"], true, &["PINION_SIM_SEED"]),
            (&["--seeds", "7", "--first", "9"], true, &["PINION_SIM_FIRST", "PINION_SIM_SEEDS"]),
            (&["--minutes", "x"], false, &[]),
            (&["--minutes"], false, &[]),
            (&["--hours", "1"], false, &[]),
        ];
        for (args, expected, variables) in rows {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            let mut cargo = Command::new("cargo");
            assert_eq!(told(&mut cargo, &args), *expected, "{args:?}");
            let names: Vec<_> =
                cargo.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
            if *expected {
                assert_eq!(names, *variables, "{args:?}");
            }
        }
    }
}
