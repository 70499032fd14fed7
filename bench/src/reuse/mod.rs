//! `bench reuse`: how many backend connections pools that belong to cores open, compared with one pool for all.
//!
//! One core is one pool, so it stands for the shared one; the same clients then meet as many cores as the machine has.
//! It counts at the backend and takes no times, so other work on the machine does no harm.

mod clients;
mod origin;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::machine::Machine;
use crate::peers::{Running, free_address};
use clients::{Connecting, Crowd};
use origin::Origin;

/// How long each client of each run asks, and how long it pauses in the mean.
const LENGTH: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(20);
/// A backend that does not keep idle connections for long. Real ones take 5 s and more and are asked less often: what
/// counts is how this compares with the clients' pause.
const SHORT_KEEP: Duration = Duration::from_millis(60);

/// One row of the report.
struct Case {
    clients: usize,
    connecting: Connecting,
    keep: Option<Duration>,
}

const CASES: [Case; 9] = [
    Case { clients: 1, connecting: Connecting::Anew, keep: None },
    Case { clients: 4, connecting: Connecting::Anew, keep: None },
    Case { clients: 20, connecting: Connecting::Anew, keep: None },
    Case { clients: 4, connecting: Connecting::Once, keep: None },
    Case { clients: 20, connecting: Connecting::Once, keep: None },
    Case { clients: 1, connecting: Connecting::Anew, keep: Some(SHORT_KEEP) },
    Case { clients: 4, connecting: Connecting::Anew, keep: Some(SHORT_KEEP) },
    Case { clients: 4, connecting: Connecting::Once, keep: Some(SHORT_KEEP) },
    Case { clients: 20, connecting: Connecting::Once, keep: Some(SHORT_KEEP) },
];

/// What one run showed.
struct Count {
    requests: usize,
    most_at_once: usize,
    opened: usize,
}

/// Measures `pinion`, and `before` beside it if there is one; returns the report and the machine's date.
pub(crate) fn report(pinion: &Path, before: Option<&PathBuf>) -> io::Result<(String, String)> {
    let machine = Machine::read();
    let cores = thread::available_parallelism()?.get();
    let mut text = head(&machine, cores, before.is_some());
    for case in &CASES {
        let one = case.run(pinion, 1)?;
        let many = case.run(pinion, cores)?;
        let apart = before.map(|before| case.run(before, cores)).transpose()?;
        let row = case.row(&one, &many, apart.as_ref());
        eprint!("{row}");
        text += &row;
    }
    Ok((text, machine.date))
}

impl Case {
    fn run(&self, pinion: &Path, cores: usize) -> io::Result<Count> {
        let origin = Origin::start(self.keep)?;
        let listen = free_address()?;
        let command = [
            pinion.display().to_string(),
            format!("--target=http://{}", origin.address()),
            format!("--listen={listen}"),
            format!("--cores={cores}"),
        ];
        let log = std::env::temp_dir().join(format!("pinion-reuse-{}.log", std::process::id()));
        let running = Running::start_anywhere(&command, listen, &log)?;
        let crowd = Crowd { count: self.clients, connecting: self.connecting, pause: PAUSE, length: LENGTH };
        let answers = clients::ask(running.address(), crowd)?;
        running.end();
        let _ = std::fs::remove_file(&log);
        let count = Count {
            requests: origin.requests(),
            most_at_once: origin.most_working(),
            opened: origin.opened(),
        };
        if answers > count.requests {
            return Err(io::Error::other("more answers than requests at the backend"));
        }
        Ok(count)
    }

    fn row(&self, one: &Count, many: &Count, apart: Option<&Count>) -> String {
        let connecting = match self.connecting {
            Connecting::Anew => "for each request",
            Connecting::Once => "once",
        };
        let keep = self.keep.map_or("for ever".to_owned(), |keep| format!("{} ms", keep.as_millis()));
        let mut row = format!(
            "| {} | {connecting} | {keep} | {} | {} | {} | {} | {} |",
            self.clients,
            many.requests,
            many.most_at_once,
            per_request(one),
            per_request(many),
            extra(one, many),
        );
        if let Some(apart) = apart {
            let _ = write!(row, " {} | {} |", per_request(apart), extra(one, apart));
        }
        row + "\n"
    }
}

/// Opened connections, and how many that is for 1,000 requests.
fn per_request(count: &Count) -> String {
    format!("{} ({:.1} ‰)", count.opened, share(count) * 1_000.0)
}

fn share(count: &Count) -> f64 {
    count.opened as f64 / count.requests.max(1) as f64
}

/// How much more `many` opened than `one`, for as many requests.
fn extra(one: &Count, many: &Count) -> String {
    format!("{:+.0} %", (share(many) / share(one).max(f64::MIN_POSITIVE) - 1.0) * 100.0)
}

fn head(machine: &Machine, cores: usize, has_before: bool) -> String {
    let mut text = format!(
        "# Reuse of backend connections, {}\n\n\
         Linux {}, {}, {} cores; commit {}. Written by `cargo x bench reuse`.\n\n\
         Clients pause for {} ms in the mean between two requests (exponentially, by a seed) for {} s; the backend takes \
         2 ms for each, and closes connections that were idle for as long as the table says. One core has one pool, so \
         it stands for a pool that all cores share. *Most at once* is how many requests the backend had at once: so many \
         connections are needed in any case. Counted at the backend; no time is measured.\n\n",
        machine.date,
        machine.kernel,
        machine.processor,
        machine.cores,
        machine.commit,
        PAUSE.as_millis(),
        LENGTH.as_secs(),
    );
    text += "| clients | connect | backend keeps | requests | most at once | opened, 1 core ";
    let _ = write!(text, "| opened, {cores} cores | more ");
    if has_before {
        let _ = write!(text, "| opened, {cores} cores, nothing lent | more ");
    }
    let columns = if has_before { 10 } else { 8 };
    let _ = writeln!(text, "|\n|{}", "---|".repeat(columns));
    text
}

/// Lets time pass on a thread of its own: neither clients nor backend have anything else to do.
#[expect(clippy::disallowed_methods, reason = "not a core of the engine, and no async is running here")]
fn pause(time: Duration) {
    thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_kept_is_opened_once_and_one_not_kept_for_each_request() {
        // Without a proxy: the clients' own connections are counted.
        for (connecting, expected) in [(Connecting::Once, 3), (Connecting::Anew, 0)] {
            let origin = Origin::start(None).expect("a port is free");
            let crowd = Crowd {
                count: 3,
                connecting,
                pause: Duration::from_millis(5),
                length: Duration::from_millis(300),
            };
            let answers = clients::ask(origin.address(), crowd).expect("the origin answers");
            assert_eq!(origin.requests(), answers);
            assert!(answers > 10 && (1..=3).contains(&origin.most_working()));
            let expected = if expected == 0 { answers } else { expected };
            assert_eq!(origin.opened(), expected, "{connecting:?}");
        }
    }

    #[test]
    fn idle_connections_are_closed_by_a_backend_that_does_not_keep_them() {
        let origin = Origin::start(Some(Duration::from_millis(1))).expect("a port is free");
        let crowd = Crowd {
            count: 1,
            connecting: Connecting::Once,
            pause: Duration::from_millis(100),
            length: Duration::from_secs(5),
        };
        let closed = clients::ask(origin.address(), crowd);
        assert!(closed.is_err(), "a client without a proxy cannot go on: {closed:?}");
    }

    #[test]
    fn more_is_told_for_as_many_requests() {
        let count = |requests, opened| Count { requests, opened, most_at_once: 1 };
        assert_eq!(extra(&count(100, 10), &count(200, 30)), "+50 %");
        assert_eq!(extra(&count(100, 10), &count(100, 10)), "+0 %");
        assert_eq!(per_request(&count(200, 3)), "3 (15.0 ‰)");
    }
}
