//! The command line: `fire [--minutes N] [--seconds N] [--seed S] [--only NAME[,NAME]] [--short] [--save]`.

use std::time::Duration;

/// How to use it.
pub(crate) const HELP: &str = "\
cargo x fire            the real proxy under attack on loopback; exit code 1 if it breaks a promise

  --minutes N           length of the soak (default 10; 0.5 is half a minute)
  --seconds N           length of each single attack (default 12)
  --seed S              another seed plays other attackers
  --only NAME[,NAME]    only these stages, and the calm ones around them; `soak` is both halves of the soak
  --short               calm and a soak of 12 s, as a part of `cargo x test`
  --save                write bench/reports/<date>-fire.md
";

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    pub(crate) soak: Duration,
    pub(crate) each: Duration,
    pub(crate) seed: u64,
    /// Stages to play; empty for all.
    pub(crate) only: Vec<String>,
    pub(crate) save: bool,
}

impl Options {
    /// Reads the arguments; `Err` is what to tell the person.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options {
            soak: Duration::from_secs(600),
            each: Duration::from_secs(12),
            seed: 1,
            only: Vec::new(),
            save: false,
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} needs a value"));
            match arg.as_str() {
                "--minutes" => options.soak = duration(&value()?, 60.0)?,
                "--seconds" => options.each = duration(&value()?, 1.0)?,
                "--seed" => {
                    options.seed = value()?.parse().map_err(|_| "--seed needs a number".to_owned())?
                }
                "--only" => options.only.extend(value()?.split(',').map(str::to_owned)),
                "--save" => options.save = true,
                "--short" => {
                    options.soak = Duration::from_secs(12);
                    options.each = Duration::from_millis(1_500);
                    options.only = vec!["soak".to_owned()];
                }
                other => return Err(format!("no option `{other}`")),
            }
        }
        Ok(options)
    }

    /// Whether a stage was asked for. `soak` means both halves of it.
    pub(crate) fn wants(&self, stage: &str) -> bool {
        let asked = |name: &String| name == stage || (name == "soak" && stage.starts_with("soak-"));
        self.only.is_empty() || self.only.iter().any(asked)
    }
}

fn duration(text: &str, seconds_each: f64) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a length of time");
    let count: f64 = text.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(count * seconds_each).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Options, String> {
        Options::parse(text.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn arguments_are_read() {
        let all = parse("--minutes 0.5 --seconds 3 --seed 9 --only calm,soak --save").expect("all are known");
        assert_eq!(all.soak, Duration::from_secs(30));
        assert_eq!(all.each, Duration::from_secs(3));
        assert_eq!((all.seed, all.save), (9, true));
        assert!(all.wants("soak-1") && all.wants("soak-2") && !all.wants("churn"));
        assert!(parse("").expect("nothing is needed").wants("churn"));
        for wrong in ["--minutes", "--minutes x", "--seconds -1", "--seed x", "--sed 1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
