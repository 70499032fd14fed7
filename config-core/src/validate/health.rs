//! `[health]`, `health` of a route, and `[circuit_breaker]`.

use super::bounds;
use super::limits::narrow;
use super::section::{Findings, Section};
use crate::defaults;
use crate::model::{ActiveCheck, CircuitBreaker, Probe};

/// Longest path of a probe.
const ENDPOINT_BYTES_MAX: usize = 2_048;
/// Most statuses: there are no more that tell of a server's failure.
const STATUSES_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Active {
    Off,
    Http,
    Tcp,
}

const ACTIVE: [(&str, Option<Active>); 3] =
    [("off", Some(Active::Off)), ("http", Some(Active::Http)), ("tcp", Some(Active::Tcp))];

/// How backends are probed; what is not written is the engine's default, in a route too, so that a route can be read by
/// itself.
pub(crate) fn active_check(mut section: Section<'_>, findings: &mut Findings) -> Option<ActiveCheck> {
    let active = section.choice("active", &ACTIVE, Active::Off, findings);
    let endpoint = endpoint(&mut section, findings);
    let check = ActiveCheck {
        probe: if active == Active::Tcp { Probe::Tcp } else { Probe::Http { endpoint } },
        interval_ms: section.number(
            "interval_ms",
            bounds::PROBE_INTERVAL_MS,
            defaults::HEALTH_INTERVAL_MS,
            findings,
        ),
        timeout_ms: section.number("timeout_ms", bounds::DEADLINE_MS, defaults::HEALTH_TIMEOUT_MS, findings),
        unhealthy_threshold: narrow(section.number(
            "unhealthy_threshold",
            bounds::PROBE_THRESHOLD,
            defaults::UNHEALTHY_THRESHOLD.into(),
            findings,
        )),
        healthy_threshold: narrow(section.number(
            "healthy_threshold",
            bounds::PROBE_THRESHOLD,
            defaults::HEALTHY_THRESHOLD.into(),
            findings,
        )),
    };
    let others = ["endpoint", "interval_ms", "timeout_ms", "unhealthy_threshold", "healthy_threshold"];
    if let (false, Some(key)) = (section.has("active"), others.iter().find(|key| section.has(key))) {
        let place = section.origin(key).unwrap_or(crate::origin::Origin::Default);
        let problem = "has no effect: probes are off".to_owned();
        findings.warn(&place, &section.path_of(key), problem, "write active = \"http\" or \"tcp\" beside it");
    }
    section.finish(findings);
    (active != Active::Off).then_some(check)
}

fn endpoint(section: &mut Section<'_>, findings: &mut Findings) -> String {
    let default = defaults::HEALTH_ENDPOINT.to_owned();
    let Some(written) = section.text("endpoint", findings) else { return default };
    let text = &written.text;
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.starts_with('/') && is_visible && !text.contains('#') && text.len() <= ENDPOINT_BYTES_MAX {
        return written.text;
    }
    let allowed = "a path such as \"/health\", percent-encoded, with a query if there is one";
    findings.refuse(&written.origin, &written.path, format!("found {text:?}"), allowed);
    default
}

pub(crate) fn circuit_breaker(mut section: Section<'_>, findings: &mut Findings) -> CircuitBreaker {
    let reset_timeout_ms =
        section.number("reset_timeout_ms", bounds::DEADLINE_MS, defaults::RESET_TIMEOUT_MS, findings);
    let reset_timeout_ms_max = section.number(
        "reset_timeout_ms_max",
        bounds::DEADLINE_MS,
        defaults::RESET_TIMEOUT_MS_MAX.max(reset_timeout_ms),
        findings,
    );
    let breaker = CircuitBreaker {
        failure_threshold: narrow(section.number(
            "failure_threshold",
            bounds::FAILURE_THRESHOLD,
            defaults::FAILURE_THRESHOLD.into(),
            findings,
        )),
        failure_ratio_percent: section
            .number_or_none("failure_ratio_percent", bounds::RATIO_PERCENT, findings)
            .map(percent),
        window_ms: section.number("window_ms", bounds::WINDOW_MS, defaults::FAILURE_WINDOW_MS, findings),
        window_requests_min: narrow(section.number(
            "window_requests_min",
            bounds::WINDOW_REQUESTS_MIN,
            defaults::FAILURE_WINDOW_REQUESTS_MIN.into(),
            findings,
        )),
        reset_timeout_ms,
        reset_timeout_ms_max,
        failure_statuses: failure_statuses(&mut section, findings),
    };
    if breaker.reset_timeout_ms > breaker.reset_timeout_ms_max {
        let place = section.origin("reset_timeout_ms_max").unwrap_or(crate::origin::Origin::Default);
        let problem = format!("{reset_timeout_ms_max} is below reset_timeout_ms {reset_timeout_ms}");
        let path = section.path_of("reset_timeout_ms_max");
        findings.refuse(&place, &path, problem, "the time doubles from reset_timeout_ms up to this");
    }
    section.finish(findings);
    breaker
}

fn failure_statuses(section: &mut Section<'_>, findings: &mut Findings) -> Vec<u16> {
    let key = "failure_statuses";
    let Some(numbers) = section.numbers(key, bounds::FAILURE_STATUS, findings) else {
        return defaults::FAILURE_STATUSES.to_vec();
    };
    if numbers.len() > STATUSES_MAX {
        let place = section.origin(key).unwrap_or(crate::origin::Origin::Default);
        let problem = format!("found {} statuses", numbers.len());
        findings.refuse(&place, &section.path_of(key), problem, format!("allowed: up to {STATUSES_MAX}"));
    }
    let mut statuses: Vec<u16> = numbers.iter().filter_map(|number| u16::try_from(*number).ok()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    statuses
}

/// Numbers whose bounds end at 100.
pub(crate) fn percent(value: u64) -> u8 {
    u8::try_from(value).expect("the bounds of the key end at 100")
}
