//! `cores`: `auto`, a count, or a list of processors such as `0-3,6`.

use std::str::FromStr;

use super::bounds;
use super::section::{Findings, Written};
use crate::model::Cores;

/// Highest processor number that a list may name: what `CPU_SETSIZE` holds.
const PROCESSOR_MAX: usize = 1023;

pub(crate) fn cores(written: &Written, findings: &mut Findings) -> Cores {
    if let Some(cores) = parse(written.text.trim()) {
        return cores;
    }
    let problem = format!("found {:?}", written.text);
    findings.refuse(&written.origin, &written.path, problem, allowed());
    Cores::Auto
}

fn allowed() -> String {
    format!(
        "allowed: \"auto\", a count from 1 to {}, or processors such as \"0-3,6\" (\"0\" or \"0-0\" for processor 0 alone)",
        bounds::CORES.max
    )
}

impl FromStr for Cores {
    /// What is allowed.
    type Err = String;

    fn from_str(text: &str) -> Result<Cores, String> {
        parse(text.trim()).ok_or_else(allowed)
    }
}

fn parse(text: &str) -> Option<Cores> {
    if text.eq_ignore_ascii_case("auto") {
        return Some(Cores::Auto);
    }
    match number(text) {
        // No cores cannot be meant: `--cores 0` is processor 0.
        Some(0) => return Some(Cores::List(vec![0])),
        Some(count) => return bounds::CORES.contains(count as u64).then_some(Cores::Count(count)),
        None => {}
    }
    let mut list = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first.trim())?, number(last.trim())?);
        if first > last || last > PROCESSOR_MAX {
            return None;
        }
        list.extend(first..=last);
    }
    list.sort_unstable();
    list.dedup();
    Some(Cores::List(list))
}

/// Digits only: `usize::from_str` would also take a plus sign.
fn number(text: &str) -> Option<usize> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_auto_a_count_or_a_list() {
        let rows = [
            ("auto", Some(Cores::Auto)),
            ("AUTO", Some(Cores::Auto)),
            ("2", Some(Cores::Count(2))),
            ("0-0", Some(Cores::List(vec![0]))),
            ("0-3,6", Some(Cores::List(vec![0, 1, 2, 3, 6]))),
            ("3, 1, 1-2", Some(Cores::List(vec![1, 2, 3]))),
            ("0", Some(Cores::List(vec![0]))),
            ("1025", None),
            ("", None),
            ("-1", None),
            ("3-1", None),
            ("1,", None),
            ("0-1024", None),
            ("+1", None),
            ("a", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same() {
        for cores in [Cores::Auto, Cores::Count(3), Cores::List(vec![1]), Cores::List(vec![0, 2])] {
            assert_eq!(parse(&cores.to_string()), Some(cores));
        }
    }
}
