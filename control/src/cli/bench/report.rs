//! The figures of a bench as text and as JSON, and the line that tells how far it is. Pure.
//!
//! Called by the binary's `bench.rs`, which fills a [`Report`].

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The percentiles of every report, as shares.
pub const PERCENTILES: [f64; 6] = [0.5, 0.75, 0.9, 0.99, 0.999, 0.9999];
/// Widest bar of the histogram.
const BAR_CHARS: u64 = 40;
/// A sender as busy as this may be what was measured.
const BUSY_MAX: f64 = 0.9;

/// What a bench found.
#[derive(Debug, Clone)]
pub struct Report {
    /// As it was written.
    pub url: String,
    /// Messages over WebSocket, not requests.
    pub is_websocket: bool,
    /// Connections asked for.
    pub connections: usize,
    /// Threads that sent.
    pub threads: usize,
    /// What their event loop stood on.
    pub driver: String,
    /// Requests per second asked for.
    pub rate: Option<f64>,
    /// The operator ended it.
    pub was_stopped: bool,
    /// Seconds in which requests were sent.
    pub seconds: f64,
    /// Requests sent.
    pub sent: u64,
    /// Requests answered, whatever the status.
    pub answered: u64,
    /// Those answered before the time was up.
    pub answered_in_time: u64,
    /// Requests sent that failed.
    pub failed: u64,
    /// Requests without an answer when the bench ended.
    pub unfinished: u64,
    /// Requests due and never sent.
    pub overdue: u64,
    /// Answers by hundreds of their status.
    pub statuses: [u64; 6],
    /// Failures by kind, only those that there were.
    pub failures: Vec<(&'static str, u64)>,
    /// The first failure's cause.
    pub first_failure: Option<String>,
    /// Connections opened.
    pub connections_opened: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// Share of its processors' time that the sender took.
    pub busy: f64,
    /// `None` if nothing was answered.
    pub latency: Option<Latency>,
}

/// From due (or sent) to answered.
#[derive(Debug, Clone)]
pub struct Latency {
    /// Shortest, mean and longest, in nanoseconds.
    pub min_ns: u64,
    /// See `min_ns`.
    pub mean_ns: u64,
    /// See `min_ns`.
    pub max_ns: u64,
    /// One for each of [`PERCENTILES`], in nanoseconds.
    pub percentiles_ns: [u64; PERCENTILES.len()],
    /// One for each of [`bounds_ns`].
    pub bars: Vec<Bar>,
}

/// One line of the histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Answers above the bound before and up to this.
    pub up_to_ns: u64,
    /// How many.
    pub count: u64,
}

/// Upper bounds of the histogram's bars: 1, 2, 5, 10 … from the first that takes in `min_ns` to the first that takes in
/// `max_ns`.
pub fn bounds_ns(min_ns: u64, max_ns: u64) -> Vec<u64> {
    let mut bounds = Vec::new();
    let mut decade: u64 = 1_000;
    loop {
        for step in [1, 2, 5] {
            let bound = decade.saturating_mul(step);
            if bound >= min_ns {
                bounds.push(bound);
            }
            if bound >= max_ns {
                return bounds;
            }
        }
        decade = decade.saturating_mul(10);
    }
}

impl Report {
    /// Answers per second.
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.answered_in_time as f64 / self.seconds } else { 0.0 }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        let noun = if self.is_websocket { "messages" } else { "requests" };
        let early = if self.was_stopped { ", stopped early" } else { "" };
        let (connections, threads) = (plural(self.connections, "connection"), plural(self.threads, "thread"));
        writeln!(
            text,
            "{}: {:.1} s{early}, {connections}, {threads}, {}",
            self.url,
            self.seconds,
            self.pace()
        )?;
        writeln!(text, "sent from {}\n", self.driver)?;
        let mib = self.bytes as f64 / f64::from(1 << 20) / self.seconds.max(f64::MIN_POSITIVE);
        let per_second = grouped(self.per_second().round() as u64);
        writeln!(
            text,
            "{noun:<11} {} answered, {per_second} a second, {mib:.1} MiB/s",
            grouped(self.answered)
        )?;
        let classes = self.statuses.iter().enumerate().filter(|(_, count)| **count > 0 && !self.is_websocket);
        let classes: Vec<String> =
            classes.map(|(class, count)| format!("{class}xx {}", grouped(*count))).collect();
        if !classes.is_empty() {
            writeln!(text, "statuses    {}", classes.join(", "))?;
        }
        let kinds: Vec<String> =
            self.failures.iter().map(|(kind, count)| format!("{kind} {}", grouped(*count))).collect();
        writeln!(
            text,
            "errors      {}",
            if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
        )?;
        if let Some(first) = &self.first_failure {
            writeln!(text, "            the first: {}", first.escape_debug())?;
        }
        if self.unfinished > 0 {
            writeln!(text, "unfinished  {}", grouped(self.unfinished))?;
        }
        if self.connections_opened > self.connections as u64 {
            writeln!(text, "connections {} opened", grouped(self.connections_opened))?;
        }
        if let Some(latency) = &self.latency {
            latency.write_text(text)?;
        }
        for warning in self.warnings() {
            writeln!(text, "\nwarning: {warning}")?;
        }
        Ok(())
    }

    fn pace(&self) -> String {
        match self.rate {
            Some(rate) => format!("{rate} a second (open loop)"),
            None => "each waits for its answer (closed loop)".to_owned(),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.overdue > 0 {
            let count = grouped(self.overdue);
            warnings.push(format!("{count} requests fell due and were never sent: the rate is more than the server, or that many connections, can do"));
        }
        // With a rate, the sender watches the clock without a pause: it is always busy.
        if self.rate.is_none() && self.busy > BUSY_MAX {
            let percent = self.busy * 100.0;
            warnings.push(format!(
                "the sender was {percent:.0} % busy: it may be the slower side; give it more --cores"
            ));
        }
        warnings
    }

    /// One object; times in microseconds.
    pub fn json(&self) -> Value {
        let classes =
            (1..).zip(&self.statuses[1..]).map(|(class, count)| (format!("{class}xx"), json!(count)));
        let errors = self.failures.iter().map(|(kind, count)| ((*kind).to_owned(), json!(count)));
        json!({
            "url": self.url,
            "connections": self.connections,
            "threads": self.threads,
            "driver": self.driver,
            "rate_asked": self.rate,
            "stopped_early": self.was_stopped,
            "seconds": self.seconds,
            "sent": self.sent,
            "answered": self.answered,
            "failed": self.failed,
            "unfinished": self.unfinished,
            "overdue": self.overdue,
            "answered_per_second": self.per_second(),
            "statuses": classes.collect::<serde_json::Map<_, _>>(),
            "errors": errors.collect::<serde_json::Map<_, _>>(),
            "first_error": self.first_failure,
            "connections_opened": self.connections_opened,
            "bytes_received": self.bytes,
            "sender_busy": self.busy,
            "latency_us": self.latency.as_ref().map(Latency::json),
            "warnings": self.warnings(),
        })
    }
}

impl Latency {
    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\nlatency     min {}, mean {}", time(self.min_ns), time(self.mean_ns))?;
        for (share, ns) in PERCENTILES.iter().zip(self.percentiles_ns) {
            writeln!(text, "  {:<8}{:>10}", percentile_name(*share), time(ns))?;
        }
        writeln!(text, "  {:<8}{:>10}\n", "max", time(self.max_ns))?;
        let all: u64 = self.bars.iter().map(|bar| bar.count).sum();
        let longest = self.bars.iter().map(|bar| bar.count).max().unwrap_or(0).max(1);
        for bar in &self.bars {
            let chars = (bar.count * BAR_CHARS).div_ceil(longest) as usize;
            let percent = bar.count as f64 * 100.0 / all.max(1) as f64;
            let (up_to, count) = (time(bar.up_to_ns), grouped(bar.count));
            writeln!(text, "  up to {up_to:>8} {:<40} {count:>12} {percent:6.2} %", "#".repeat(chars))?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let us = |ns: u64| ns as f64 / 1_000.0;
        let mut object = serde_json::Map::new();
        object.insert("min".to_owned(), json!(us(self.min_ns)));
        object.insert("mean".to_owned(), json!(us(self.mean_ns)));
        for (share, ns) in PERCENTILES.iter().zip(self.percentiles_ns) {
            object.insert(percentile_name(*share), json!(us(ns)));
        }
        object.insert("max".to_owned(), json!(us(self.max_ns)));
        let bars = self.bars.iter().map(|bar| json!({ "up_to": us(bar.up_to_ns), "count": bar.count }));
        object.insert("histogram".to_owned(), bars.collect());
        Value::Object(object)
    }
}

/// How far a bench is, in one line.
pub fn progress(seconds: f64, answered: u64, per_second: f64, failures: u64) -> String {
    let per_second = grouped(per_second.round() as u64);
    format!(
        "{seconds:5.0} s {:>14} answered {per_second:>11} a second {:>9} errors",
        grouped(answered),
        grouped(failures)
    )
}

/// `p99.9` and the like.
fn percentile_name(share: f64) -> String {
    // Two digits behind the point are what the list has.
    format!("p{}", (share * 10_000.0).round() / 100.0)
}

/// Three digits and a unit.
fn time(ns: u64) -> String {
    let us = ns as f64 / 1_000.0;
    match us {
        _ if us < 1_000.0 => format!("{us:.0} us"),
        _ if us < 1_000_000.0 => format!("{:.*} ms", if us < 100_000.0 { 1 } else { 0 }, us / 1_000.0),
        _ => format!("{:.2} s", us / 1_000_000.0),
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            url: "http://a.example/".to_owned(),
            is_websocket: false,
            connections: 64,
            threads: 1,
            driver: "io_uring".to_owned(),
            rate: None,
            was_stopped: false,
            seconds: 2.0,
            sent: 2_468_013,
            answered: 2_468_010,
            answered_in_time: 2_468_000,
            failed: 2,
            unfinished: 1,
            overdue: 0,
            statuses: [0, 0, 2_468_000, 0, 0, 10],
            failures: vec![("timeout", 2)],
            first_failure: Some("timeout: nothing\r\n".to_owned()),
            connections_opened: 66,
            bytes: 4 << 20,
            busy: 0.5,
            latency: Some(Latency {
                min_ns: 8_000,
                mean_ns: 21_000,
                max_ns: 1_500_000_000,
                percentiles_ns: [11_000, 12_000, 13_000, 999_400, 12_340_000, 123_400_000],
                bars: vec![Bar { up_to_ns: 10_000, count: 1 }, Bar { up_to_ns: 20_000, count: 1_000 }],
            }),
        }
    }

    #[test]
    fn text_says_all_that_was_found() {
        let text = report().text();
        for line in [
            "http://a.example/: 2.0 s, 64 connections, 1 thread, each waits for its answer (closed loop)",
            "sent from io_uring",
            "requests    2,468,010 answered, 1,234,000 a second, 2.0 MiB/s",
            "statuses    2xx 2,468,000, 5xx 10",
            "errors      timeout 2",
            "            the first: timeout: nothing\\r\\n",
            "unfinished  1",
            "connections 66 opened",
            "latency     min 8 us, mean 21 us",
            "  p50          11 us",
            "  p99         999 us",
            "  p99.9      12.3 ms",
            "  p99.99      123 ms",
            "  max         1.50 s",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} in\n{text}");
        }
        assert!(text.contains("up to    10 us #  ") && text.contains("0.10 %"), "{text}");
        assert!(text.contains(&"#".repeat(40)) && !text.contains(&"#".repeat(41)));
        assert!(!text.contains("warning"));
    }

    #[test]
    fn figures_that_may_be_the_senders_own_are_told() {
        let busy = Report { busy: 0.97, ..report() };
        assert!(busy.text().contains("warning: the sender was 97 % busy"));
        let open = Report { rate: Some(1000.0), overdue: 5, ..busy };
        assert!(!open.text().contains("busy"));
        assert!(open.text().contains("warning: 5 requests fell due and were never sent"));
        assert_eq!(open.json()["warnings"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn json_has_the_same_figures() {
        let json = report().json();
        assert_eq!(json["answered"], 2_468_010);
        assert_eq!(json["answered_per_second"], 1_234_000.0);
        assert_eq!(json["statuses"]["5xx"], 10);
        assert_eq!(json["errors"]["timeout"], 2);
        assert_eq!(json["latency_us"]["p99.9"], 12_340.0);
        assert_eq!(json["latency_us"]["histogram"][1]["count"], 1_000);
        let nothing = Report { latency: None, ..report() };
        assert!(nothing.json()["latency_us"].is_null());
        assert!(!nothing.text().contains("latency"));
    }

    #[test]
    fn bounds_take_in_all_latencies() {
        assert_eq!(bounds_ns(8_000, 21_000), [10_000, 20_000, 50_000]);
        assert_eq!(bounds_ns(10_000, 10_000), [10_000]);
        assert_eq!(bounds_ns(0, 0), [1_000]);
        assert_eq!(bounds_ns(900_000, 1_100_000), [1_000_000, 2_000_000]);
        assert_eq!(bounds_ns(u64::MAX - 1, u64::MAX).last(), Some(&u64::MAX));
    }

    #[test]
    fn a_progress_line_stays_in_one_line() {
        let line = progress(3.4, 123_456, 41_152.0, 0);
        assert!(
            line.contains("3 s") && line.contains("123,456 answered") && line.contains("41,152 a second"),
            "{line}"
        );
        assert!(line.len() < 80 && !line.contains('\n'));
    }
}
