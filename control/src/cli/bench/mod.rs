//! `pinion bench`: what can be typed, and that it makes sense. Pure; the binary's own `bench.rs` runs it, and has the
//! figures written by [`report`].

pub mod report;
mod target;

use std::time::Duration;

use clap::Args;
use config_core::model::Cores;

pub use target::{Scheme, Target};

/// Flags of `pinion bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchFlags {
    /// What to measure: http://HOST[:PORT][/PATH], or ws://… of a server that echoes messages
    #[arg(value_name = "URL")]
    pub url: Target,
    /// Requests (messages) per second, each sent when it is due; without it, a connection sends its next when it has its
    /// answer
    #[arg(long, value_name = "N", value_parser = rate)]
    pub rate: Option<f64>,
    /// Connections (sessions) to keep open
    #[arg(long, value_name = "N", default_value = "64", value_parser = connections)]
    pub connections: usize,
    /// How long to send: 500ms, 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub duration: Duration,
    /// How long to wait for a connection, and for an answer
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub timeout: Duration,
    /// Processors to send from, one thread pinned to each: auto, a count, or a list such as 0-3,6; without it, one thread
    /// that is not pinned
    #[arg(long, value_name = "auto|N|0-3,6")]
    pub cores: Option<Cores>,
    /// Method of an HTTP request [default: GET]
    #[arg(long, value_name = "METHOD", value_parser = method)]
    pub method: Option<String>,
    /// A further field of the request or handshake (repeatable); replaces ours of that name
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = field)]
    pub headers: Vec<(String, String)>,
    /// Body of an HTTP request
    #[arg(long, value_name = "TEXT")]
    pub body: Option<String>,
    /// Length of each WebSocket message [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=i64::from(MESSAGE_BYTES_MAX)))]
    pub message_bytes: Option<u32>,
    /// Send text messages instead of binary ones
    #[arg(long)]
    pub text: bool,
    /// Print one JSON object instead of the report
    #[arg(long)]
    pub json: bool,
}

/// Length of a WebSocket message unless told otherwise.
pub const MESSAGE_BYTES: u32 = 64;
/// Longer messages measure memory, not a server.
const MESSAGE_BYTES_MAX: u32 = 1 << 20;
/// More connections than one client address has ports for one server.
const CONNECTIONS_MAX: usize = 60_000;
/// More than any server answers.
const RATE_MAX: f64 = 10_000_000.0;
const TIME_MAX: Duration = Duration::from_secs(24 * 60 * 60);

impl BenchFlags {
    /// What a single flag cannot know: whether it suits the URL.
    ///
    /// # Errors
    /// What does not fit together, for the operator.
    pub fn check(&self) -> Result<(), String> {
        let (flags, scheme): (&[(&str, bool)], &str) = match self.url.scheme {
            Scheme::WebSocket => {
                (&[("--method", self.method.is_some()), ("--body", self.body.is_some())], "http://")
            }
            Scheme::Http => {
                (&[("--message-bytes", self.message_bytes.is_some()), ("--text", self.text)], "ws://")
            }
        };
        match flags.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(format!("{flag} is for {scheme} URLs")),
            None => Ok(()),
        }
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (f64::MIN_POSITIVE..=RATE_MAX).contains(rate));
    rate.filter(|rate| *rate >= 0.001).ok_or_else(|| format!("a number from 0.001 to {RATE_MAX} is needed"))
}

fn connections(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=CONNECTIONS_MAX).contains(count));
    count.ok_or_else(|| format!("a count from 1 to {CONNECTIONS_MAX} is needed"))
}

/// `500ms`, `10s`, `2m`, `1h`, or plain seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => Some(1),
        "s" | "" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let ms = unit_ms.zip(count.parse::<u64>().ok()).and_then(|(unit_ms, count)| count.checked_mul(unit_ms));
    let time = ms.map(Duration::from_millis).filter(|time| !time.is_zero() && *time <= TIME_MAX);
    time.ok_or_else(|| "a time such as 500ms, 10s or 2m is needed, at most 24h".to_owned())
}

fn method(text: &str) -> Result<String, String> {
    if is_token(text) { Ok(text.to_owned()) } else { Err("that is no method".to_owned()) }
}

fn field(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("NAME: VALUE is needed")?;
    let value = value.trim();
    if !is_token(name) {
        return Err(format!("{name:?} is no field name"));
    }
    // What would end the line would be another field.
    if value.chars().any(|c| c.is_control() && c != '\t') {
        return Err("a value has no control characters".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// RFC 9110 5.6.2.
fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Command, CommandLine};
    use super::*;

    fn parse(arguments: &[&str]) -> Result<BenchFlags, i32> {
        let line = ["pinion", "bench"].iter().chain(arguments);
        match CommandLine::try_parse_from(line) {
            Ok(CommandLine { command: Some(Command::Bench(flags)), .. }) => Ok(*flags),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.exit_code()),
        }
    }

    #[test]
    fn a_url_alone_is_enough() {
        let flags = parse(&["http://a.example/x"]).expect("valid");
        assert_eq!(flags.check(), Ok(()));
        assert_eq!((flags.connections, flags.rate), (64, None));
        assert_eq!((flags.duration, flags.timeout), (Duration::from_secs(10), Duration::from_secs(10)));
        assert!(!flags.json);
    }

    #[test]
    fn flags_are_understood() {
        let flags = parse(&[
            "ws://a.example/ws",
            "--rate",
            "0.5",
            "--connections",
            "2",
            "--duration",
            "1500ms",
            "--header",
            "X-A: b: c",
            "--header",
            "X-A:",
            "--message-bytes",
            "0",
            "--text",
            "--cores",
            "0-1",
            "--json",
        ])
        .expect("valid");
        assert_eq!(flags.check(), Ok(()));
        assert_eq!((flags.rate, flags.duration.as_millis()), (Some(0.5), 1500));
        let fields = [("X-A", "b: c"), ("X-A", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(flags.headers, fields);
        assert_eq!(flags.cores, Some(Cores::List(vec![0, 1])));
        assert_eq!(flags.message_bytes, Some(0));
    }

    #[test]
    fn what_makes_no_sense_ends_with_2() {
        let lines: [&[&str]; 20] = [
            &[],
            &["localhost:8080"],
            &["https://a.example/"],
            &["http://a", "--rate", "0"],
            &["http://a", "--rate", "-1"],
            &["http://a", "--rate", "nan"],
            &["http://a", "--rate", "1e9"],
            &["http://a", "--connections", "0"],
            &["http://a", "--connections", "60001"],
            &["http://a", "--duration", "0s"],
            &["http://a", "--duration", "5x"],
            &["http://a", "--duration", "25h"],
            &["http://a", "--duration", "99999999999999999999s"],
            &["http://a", "--method", "GE T"],
            &["http://a", "--header", "no colon"],
            &["http://a", "--header", "a b: c"],
            &["http://a", "--header", "a: b\r\nc: d"],
            &["http://a", "--cores", "x"],
            &["ws://a", "--message-bytes", "1048577"],
            &["http://a", "http://b"],
        ];
        for line in lines {
            assert_eq!(parse(line).err(), Some(2), "{line:?}");
        }
        for (line, flag) in [
            (["ws://a", "--method", "GET"], "--method"),
            (["ws://a", "--body", "x"], "--body"),
            (["http://a", "--message-bytes", "1"], "--message-bytes"),
        ] {
            let problem =
                parse(&line).expect("each flag is right").check().expect_err("but not for this URL");
            assert!(problem.starts_with(flag), "{problem}");
        }
    }

    #[test]
    fn times_have_units() {
        for (text, ms) in [("1", 1_000), ("1ms", 1), ("2s", 2_000), ("3m", 180_000), ("24h", 86_400_000)] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }
}
