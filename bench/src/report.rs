//! From samples to figures to Markdown: medians, spread, ratios, met or missed. Pure; `main` prints and saves.
//!
//! A figure with faults in any of its runs is marked, never left out: a wrong answer is the news.

use std::fmt::Write as _;
use std::path::Path;

use crate::machine::Machine;
use crate::peers::Proxy;
use crate::profile;
use crate::targets::{TO_BARE_MAX, Target, target};
use crate::turns::{Findings, Sample};
use load::Outcome;
use load::Work;

/// One measured quantity. Lower is better for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Figure {
    /// CPU microseconds per request or echo.
    CpuUs,
    /// KiB per idle session.
    SessionKib,
    /// Latency percentiles in microseconds, as the clients saw them.
    P50,
    P99,
    P999,
    /// The same less what the load has without a proxy.
    AddedP99,
    AddedP999,
}

impl Figure {
    /// The figures that a kind of work gives.
    pub(crate) fn of(work: Work) -> &'static [Figure] {
        match work {
            Work::Idle { .. } | Work::SecureIdle { .. } => &[Figure::SessionKib],
            Work::Storm { .. } => &[Figure::P50, Figure::P99],
            Work::Latency { .. } => {
                &[Figure::P50, Figure::P99, Figure::P999, Figure::AddedP99, Figure::AddedP999, Figure::CpuUs]
            }
            _ => &[Figure::CpuUs],
        }
    }

    fn title(self) -> &'static str {
        match self {
            Figure::CpuUs => "CPU µs each",
            Figure::SessionKib => "KiB each",
            Figure::P50 => "p50 µs",
            Figure::P99 => "p99 µs",
            Figure::P999 => "p99.9 µs",
            Figure::AddedP99 => "added p99 µs",
            Figure::AddedP999 => "added p99.9 µs",
        }
    }

    /// The quantity in one outcome, without regard to other proxies.
    fn read(self, outcome: &Outcome) -> Option<f64> {
        let us = |q| outcome.latency.as_ref().map(|latency| latency.value_at_quantile(q) as f64 / 1_000.0);
        match self {
            Figure::CpuUs => outcome.cpu_us_per_request(),
            Figure::SessionKib => outcome.session_kib,
            Figure::P50 => us(0.5),
            Figure::P99 | Figure::AddedP99 => us(0.99),
            Figure::P999 | Figure::AddedP999 => us(0.999),
        }
    }

    fn is_added(self) -> bool {
        matches!(self, Figure::AddedP99 | Figure::AddedP999)
    }
}

/// Median and spread of one figure of one proxy.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
    /// A run behind it had faults, lost a thread or could not keep the rate.
    doubtful: bool,
}

/// Whose figure is divided by whose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// Pinion by the better of nginx and HAProxy, with targets.
    Peers {
        /// Over TLS.
        tls: bool,
    },
    /// Every relay by the first.
    Runtimes,
    /// Pinion on epoll by Pinion on io_uring.
    Drivers,
    /// Pinion among 100,000 routes by Pinion with one.
    Routes,
}

/// The whole report in Markdown.
pub(crate) fn markdown(
    comparison: Comparison,
    machine: &Machine,
    settings: &str,
    pinion: &Path,
    findings: &Findings,
) -> String {
    let Findings { samples, profiles } = findings;
    let proxies = proxies_in(samples);
    let mut text = String::new();
    let title = match comparison {
        Comparison::Peers { tls: false } => "Pinion, nginx and HAProxy",
        Comparison::Peers { tls: true } => "Pinion, nginx and HAProxy over TLS",
        Comparison::Runtimes => "The bare relay on each runtime",
        Comparison::Drivers => "Pinion on io_uring and on epoll",
        Comparison::Routes => "Pinion with one route, and with 100,000 more",
    };
    let _ = writeln!(text, "# {title}, {}\n", machine.date);
    let _ = writeln!(
        text,
        "{} cores, {}, kernel {}, TCP {}; commit {}; load average before: {}.",
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.congestion_control,
        machine.commit,
        machine.load
    );
    let versions: Vec<String> = proxies.iter().map(|proxy| proxy.version(pinion)).collect();
    let _ = writeln!(text, "{}.\n\n{settings}\n", versions.join("; "));
    let _ = writeln!(
        text,
        "Median (lowest–highest) of the rounds; **!** marks a figure with faults or doubts.\n"
    );
    figures_table(&mut text, comparison, &proxies, samples);
    let _ = writeln!(
        text,
        "\nRequests per second and how busy the proxy's core was (medians; in a storm: handshakes per second):\n"
    );
    rates_table(&mut text, &proxies, samples);
    faults_list(&mut text, samples);
    text + &profile::markdown(profiles)
}

fn figures_table(text: &mut String, comparison: Comparison, proxies: &[Proxy], samples: &[Sample]) {
    let names: Vec<String> = proxies.iter().map(Proxy::to_string).collect();
    let extra = match comparison {
        Comparison::Peers { .. } => {
            &["pinion ÷ better peer", "first version", "product", "pinion ÷ bare ring"][..]
        }
        Comparison::Runtimes | Comparison::Drivers | Comparison::Routes => &["each ÷ first"][..],
    };
    let _ = writeln!(text, "| work | figure | {} | {} |", names.join(" | "), extra.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(2 + names.len() + extra.len()));
    for work in works_in(samples) {
        for &figure in Figure::of(work) {
            let cells: Vec<Option<Spread>> =
                proxies.iter().map(|&proxy| spread(samples, proxy, work, figure)).collect();
            let shown: Vec<String> = cells.iter().map(|cell| cell.map_or("—".to_owned(), show)).collect();
            let tail = match comparison {
                Comparison::Peers { .. } => compare_peers(proxies, &cells, target(work, figure), figure),
                Comparison::Runtimes | Comparison::Drivers | Comparison::Routes => compare_with_first(&cells),
            };
            let _ =
                writeln!(text, "| {} | {} | {} | {tail} |", work.title(), figure.title(), shown.join(" | "));
        }
    }
}

/// Pinion's ratio to the better peer, and whether each target is met. An idle session's target is absolute.
fn compare_peers(
    proxies: &[Proxy],
    cells: &[Option<Spread>],
    target: Option<Target>,
    figure: Figure,
) -> String {
    let median_of = |wanted: &dyn Fn(&Proxy) -> bool| {
        let medians = proxies.iter().zip(cells).filter(|(proxy, _)| wanted(proxy));
        medians.filter_map(|(_, cell)| cell.map(|spread| spread.median)).reduce(f64::min)
    };
    let ours = median_of(&|proxy| *proxy == Proxy::Pinion);
    let better = median_of(&|proxy| proxy.is_peer());
    let ratio = ours.zip(better).filter(|(_, better)| *better > 0.0).map(|(ours, better)| ours / better);
    let judged = if figure == Figure::SessionKib { ours } else { ratio };
    let verdict = |bound: Option<f64>| match (bound, judged) {
        (None, _) => "—".to_owned(),
        (Some(bound), None) => format!("≤ {bound:.2}"),
        (Some(bound), Some(value)) if value <= bound => format!("≤ {bound:.2} met"),
        (Some(bound), Some(_)) => format!("≤ {bound:.2} **missed**"),
    };
    let ratio = ratio.map_or("—".to_owned(), |ratio| format!("{ratio:.2}"));
    let bare = median_of(&|proxy| matches!(proxy, Proxy::Relay(_)));
    let to_bare = ours.zip(bare).filter(|(_, bare)| *bare > 0.0).map(|(ours, bare)| ours / bare);
    let to_bare = to_bare.map_or("—".to_owned(), |to_bare| {
        let verdict = if to_bare <= TO_BARE_MAX { "met" } else { "**missed**" };
        format!("{to_bare:.2}, ≤ {TO_BARE_MAX:.2} {verdict}")
    });
    let [first, product] = [target.and_then(|t| t.first), target.map(|t| t.product)].map(verdict);
    format!("{ratio} | {first} | {product} | {to_bare}")
}

fn compare_with_first(cells: &[Option<Spread>]) -> String {
    let Some(first) = cells.first().copied().flatten().filter(|first| first.median > 0.0) else {
        return "—".to_owned();
    };
    let ratio =
        |cell: &Option<Spread>| cell.map_or("—".to_owned(), |s| format!("{:.2}", s.median / first.median));
    cells.iter().map(ratio).collect::<Vec<_>>().join(" / ")
}

fn rates_table(text: &mut String, proxies: &[Proxy], samples: &[Sample]) {
    let names: Vec<String> = proxies.iter().map(Proxy::to_string).collect();
    let _ = writeln!(text, "| work | {} |", names.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(1 + names.len()));
    for work in works_in(samples)
        .into_iter()
        .filter(|work| !matches!(work, Work::Idle { .. } | Work::SecureIdle { .. }))
    {
        let cells = proxies.iter().map(|&proxy| {
            let of =
                |read: &dyn Fn(&Outcome) -> f64| median(outcomes(samples, proxy, work).map(read).collect());
            match of(&|outcome| outcome.rate()).zip(of(&|outcome| outcome.busy())) {
                Some((rate, busy)) => format!("{rate:.0}, {:.0} %", busy * 100.0),
                None => "—".to_owned(),
            }
        });
        let _ = writeln!(text, "| {} | {} |", work.title(), cells.collect::<Vec<_>>().join(" | "));
    }
}

fn faults_list(text: &mut String, samples: &[Sample]) {
    let mut is_first = true;
    for Sample { proxy, work, outcome } in samples.iter().filter(|sample| sample.outcome.is_doubtful()) {
        if std::mem::take(&mut is_first) {
            let _ = writeln!(text, "\nFaults and doubts:\n");
        }
        let cause = outcome.first_fault.as_deref().unwrap_or("no fault");
        let _ = writeln!(
            text,
            "- {proxy}, {work}: {} faults ({cause}), {} threads ended in the window, {} due requests \
            never sent, other work took {:.0} % of the machine",
            outcome.faults,
            outcome.threads_lost,
            outcome.backlog,
            outcome.others * 100.0
        );
    }
}

/// Median and spread of `figure` over the rounds. An added latency is taken round by round against the latency
/// without a proxy in the same round.
fn spread(samples: &[Sample], proxy: Proxy, work: Work, figure: Figure) -> Option<Spread> {
    let mut values: Vec<f64> =
        outcomes(samples, proxy, work).filter_map(|outcome| figure.read(outcome)).collect();
    if proxy == Proxy::Direct && (figure.is_added() || figure == Figure::CpuUs) {
        return None;
    }
    if figure.is_added() {
        let direct: Vec<f64> =
            outcomes(samples, Proxy::Direct, work).filter_map(|outcome| figure.read(outcome)).collect();
        if direct.len() != values.len() {
            return None;
        }
        values = values.iter().zip(&direct).map(|(value, direct)| value - direct).collect();
    }
    let min = values.iter().copied().reduce(f64::min)?;
    let max = values.iter().copied().reduce(f64::max)?;
    let doubtful = outcomes(samples, proxy, work).any(Outcome::is_doubtful);
    Some(Spread { median: median(values)?, min, max, doubtful })
}

fn show(spread: Spread) -> String {
    let Spread { median, min, max, doubtful } = spread;
    let digits = if median.abs() < 100.0 { 1 } else { 0 };
    let mark = if doubtful { " **!**" } else { "" };
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$}){mark}")
}

fn outcomes(samples: &[Sample], proxy: Proxy, work: Work) -> impl Iterator<Item = &Outcome> {
    samples.iter().filter(move |s| s.proxy == proxy && s.work == work).map(|sample| &sample.outcome)
}

fn proxies_in(samples: &[Sample]) -> Vec<Proxy> {
    let mut proxies: Vec<Proxy> = samples.iter().map(|sample| sample.proxy).collect();
    proxies.sort_unstable();
    proxies.dedup();
    proxies
}

/// Kinds of work in the order in which they were first done.
fn works_in(samples: &[Sample]) -> Vec<Work> {
    let mut works = Vec::new();
    for sample in samples {
        if !works.contains(&sample.work) {
            works.push(sample.work);
        }
    }
    works
}

/// Middle value, or the mean of the two middle ones.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Work = Work::Http { connections: 64 };

    fn sample(proxy: Proxy, work: Work, cpu_us: f64) -> Sample {
        let outcome =
            Outcome { requests: 1000, seconds: 1.0, cpu_ns: (cpu_us * 1e6) as u64, ..Outcome::empty() };
        Sample { proxy, work, outcome }
    }

    fn machine() -> Machine {
        let word = |word: &str| word.to_owned();
        Machine {
            kernel: word("6.1"),
            processor: word("P"),
            cores: 2,
            commit: word("abc"),
            date: word("2026-11-20"),
            load: word("0.1"),
            congestion_control: word("cubic"),
        }
    }

    fn report(comparison: Comparison, samples: &[Sample]) -> String {
        let findings = Findings { samples: samples.to_vec(), profiles: Vec::new() };
        markdown(comparison, &machine(), "", Path::new(""), &findings)
    }

    fn row(text: &str, start: &str) -> String {
        text.lines().find(|line| line.starts_with(start)).expect("the row is there").to_owned()
    }

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 3.0, 5.0]), Some(4.0));
    }

    #[test]
    fn ratio_is_that_of_the_medians_to_the_better_peer() {
        let mut samples = Vec::new();
        let bare = "relay-ring".parse::<Proxy>().expect("a known runtime");
        for (nginx, haproxy, pinion) in [(12.0, 13.0, 9.0), (11.0, 10.0, 8.0), (30.0, 12.0, 7.0)] {
            samples.push(sample(bare, WORK, 7.5));
            samples.push(sample(Proxy::Nginx, WORK, nginx));
            samples.push(sample(Proxy::Haproxy, WORK, haproxy));
            samples.push(sample(Proxy::Pinion, WORK, pinion));
        }
        let text = report(Comparison::Peers { tls: false }, &samples);
        let row = row(&text, "| keep-alive GET, 128 B, 64 connections | CPU");
        assert!(
            row.contains("| 12.0 (11.0–30.0) | 12.0 (10.0–13.0) | 8.0 (7.0–9.0) | 7.5 (7.5–7.5) | 0.67 |"),
            "{row}"
        );
        assert!(row.ends_with("| ≤ 0.80 met | ≤ 0.75 met | 1.07, ≤ 1.10 met |"), "{row}");
        assert!(!text.contains("**!** |"));
    }

    #[test]
    fn missed_targets_and_faults_are_told() {
        let mut bad = sample(Proxy::Pinion, WORK, 9.4);
        bad.outcome.faults = 3;
        bad.outcome.first_fault = Some("body differs".to_owned());
        let samples = [sample(Proxy::Nginx, WORK, 12.0), bad];
        let text = report(Comparison::Peers { tls: false }, &samples);
        let row = row(&text, "| keep-alive GET, 128 B, 64 connections | CPU");
        assert!(row.contains("9.4 (9.4–9.4) **!** | 0.78 | ≤ 0.80 met | ≤ 0.75 **missed** |"), "{row}");
        assert!(text.contains("- pinion, http64: 3 faults (body differs)"));
    }

    #[test]
    fn idle_target_is_absolute() {
        let work = Work::Idle { sessions: 4000 };
        let samples = [(Proxy::Haproxy, 4.8), (Proxy::Pinion, 1.2)].map(|(proxy, kib)| Sample {
            proxy,
            work,
            outcome: Outcome { session_kib: Some(kib), ..Outcome::empty() },
        });
        let text = report(Comparison::Peers { tls: false }, &samples);
        assert!(row(&text, "| idle").ends_with("| 0.25 | ≤ 1.50 met | ≤ 1.00 **missed** | — |"));
    }

    #[test]
    fn epoll_is_divided_by_io_uring() {
        let samples = [sample(Proxy::PinionEpoll, WORK, 12.0), sample(Proxy::Pinion, WORK, 8.0)];
        let text = report(Comparison::Drivers, &samples);
        assert!(text.contains("| work | figure | pinion | pinion-epoll | each ÷ first |"), "{text}");
        assert!(row(&text, "| keep-alive GET, 128 B, 64 connections | CPU").ends_with("| 1.00 / 1.50 |"));
    }

    #[test]
    fn relays_are_divided_by_the_first() {
        let relay = |runtime: &str| format!("relay-{runtime}").parse::<Proxy>().expect("a known runtime");
        let samples = [sample(relay("monoio"), WORK, 8.0), sample(relay("tokio"), WORK, 10.0)];
        let text = report(Comparison::Runtimes, &samples);
        assert!(row(&text, "| keep-alive GET, 128 B, 64 connections | CPU").contains("1.00 / 1.25"));
    }
}
