//! What each core has counted, as log lines: on `SIGUSR1` and when the process ends. Called by `bootstrap.rs`.
//!
//! One line per core, and one for each route with a limit that has exchanges. Counters that are 0 are left out; the others
//! stand under the names by which they will be found in Prometheus, so that a line can be searched for either. It reads the
//! same `StatusSource` as everything else that shows counters (decision 0017). On `SIGUSR1` there is also a line for each
//! certificate, with how long it is good for.

use std::fmt::Write;

use config_core::status::{Count, GateStatus, StatusSource};
use tracing::info;

use crate::expiry::Shown;

/// Routes with a limit and exchanges are told of up to this many: a log is read by people.
const GATES_LOGGED_MAX: usize = 100;

/// Writes one line per core, and one per route that limits its exchanges and has any.
pub fn log(source: &dyn StatusSource) {
    for core in &source.status().cores {
        let counters = text(&core.counters);
        info!(core = core.core, epoch = core.epoch, connections = core.connections, counters, "statistics");
    }
    let gates = source.gates();
    for gate in gates.iter().filter(|gate| gate.active + gate.waiting > 0).take(GATES_LOGGED_MAX) {
        let GateStatus { route, active, waiting, active_max, queue_max } = gate;
        info!(%route, active, waiting, active_max, queue_max, "exchanges of a route with a limit");
    }
}

/// Certificates are told of up to this many.
const CERTIFICATES_LOGGED_MAX: usize = 100;

/// Writes one line per certificate, those that end first: how long it is good for, at `now_s` seconds since 1970. Of one that
/// has ended the number is negative.
pub fn log_certificates(mut shown: Vec<Shown>, now_s: i64) {
    shown.sort_by_key(|one| one.expires_s);
    for one in shown.iter().take(CERTIFICATES_LOGGED_MAX) {
        let (path, names) = (&one.path, one.names.join(", "));
        info!(path, names, pinion_certificate_expiry_seconds = one.expires_s - now_s, "certificate");
    }
}

/// `name=value` for each counter that is not 0, separated by spaces.
fn text(counters: &[Count]) -> String {
    let mut text = String::new();
    for (name, value) in counters.iter().filter(|(_, value)| *value > 0) {
        let space = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{space}{name}={value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_count_something_are_written() {
        assert_eq!(text(&[("a_total", 3), ("b_total", 0), ("c_total", 12)]), "a_total=3 c_total=12");
        assert_eq!(text(&[("a_total", 0)]), "");
    }
}
