//! The statistics that `pinion` writes into its log, one line per core.
//!
//! Used by `Pinion::statistics`, and by tests that read those of the end of a process. Reads the JSON form of the log,
//! which is the default.

use std::collections::BTreeMap;

/// What one core has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreStatistics {
    /// Processor that the core is pinned to.
    pub core: u64,
    /// Client connections that it holds.
    pub connections: u64,
    counters: BTreeMap<String, u64>,
}

impl CoreStatistics {
    /// A counter's value, by its name without `pinion_` and `_total`; one that is not written is 0.
    pub fn counter(&self, name: &str) -> u64 {
        self.counters.get(&format!("pinion_{name}_total")).copied().unwrap_or(0)
    }

    fn parse(line: &str) -> Option<CoreStatistics> {
        let counters = text(line, "counters")?;
        let counters = counters.split(' ').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Some(CoreStatistics {
            core: number(line, "core")?,
            connections: number(line, "connections")?,
            counters: counters.collect::<Option<_>>()?,
        })
    }
}

/// A counter's sum over `cores`.
pub fn sum(cores: &[CoreStatistics], name: &str) -> u64 {
    cores.iter().map(|core| core.counter(name)).sum()
}

/// Every line of statistics in a log, in order.
pub fn in_log(log: &str) -> Vec<CoreStatistics> {
    // A last line without its end may not be whole yet.
    let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines
        .filter(|line| line.contains("\"message\":\"statistics\""))
        .map(|line| CoreStatistics::parse(line).unwrap_or_else(|| panic!("not a line of statistics: {line}")))
        .collect()
}

fn number(line: &str, key: &str) -> Option<u64> {
    let (_, rest) = line.split_once(&format!("\"{key}\":"))?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    rest[..end].parse().ok()
}

fn text<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
    rest.split_once('"').map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_and_read() {
        let log = "start screen\n\
            {\"level\":\"INFO\",\"message\":\"statistics\",\"core\":3,\"epoch\":1,\"connections\":12,\
            \"counters\":\"pinion_requests_total=7 pinion_retries_total=1\"}\n\
            {\"message\":\"statistics\",\"core\":4,\"epoch\":1,\"connections\":0,\"counters\":\"\"}\n\
            {\"message\":\"statis";
        let cores = in_log(log);
        assert_eq!(cores.len(), 2);
        assert_eq!((cores[0].core, cores[0].connections), (3, 12));
        assert_eq!((cores[0].counter("requests"), cores[0].counter("sessions")), (7, 0));
        assert_eq!((cores[1].core, sum(&cores, "retries")), (4, 1));
    }
}
