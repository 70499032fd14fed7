//! `[logging]` and `[admin]`.

use super::section::{Findings, Section};
use crate::model::{LogDestination, LogFormat, LogLevel, Logging};

const LEVELS: [(&str, Option<LogLevel>); 6] = [
    ("off", Some(LogLevel::Off)),
    ("error", Some(LogLevel::Error)),
    ("warn", Some(LogLevel::Warn)),
    ("info", Some(LogLevel::Info)),
    ("debug", Some(LogLevel::Debug)),
    ("trace", Some(LogLevel::Trace)),
];
const FORMATS: [(&str, Option<LogFormat>); 2] =
    [("json", Some(LogFormat::Json)), ("text", Some(LogFormat::Text))];
const DESTINATIONS: [(&str, Option<LogDestination>); 3] =
    [("stdout", Some(LogDestination::Stdout)), ("stderr", Some(LogDestination::Stderr)), ("file", None)];

pub(crate) fn logging(mut section: Section<'_>, findings: &mut Findings) -> Logging {
    let logging = Logging {
        level: section.choice("level", &LEVELS, LogLevel::Info, findings),
        format: section.choice("format", &FORMATS, LogFormat::Json, findings),
        destination: section.choice("destination", &DESTINATIONS, LogDestination::Stdout, findings),
    };
    if section.boolean("access_log", false, findings) {
        let place = section.origin("access_log").unwrap_or(crate::origin::Origin::Default);
        let path = section.path_of("access_log");
        let problem = "the access log is not available in this version".to_owned();
        findings.refuse(&place, &path, problem, "write false, or remove it");
    }
    section.unavailable(&["file", "rotation", "max_size", "max_files"], findings);
    section.finish(findings);
    logging
}

/// There is no admin listener in this version: it can only be off.
pub(crate) fn admin(mut section: Section<'_>, findings: &mut Findings) {
    let listen = section.text("listen", findings);
    if let Some(written) = listen.filter(|written| !written.text.eq_ignore_ascii_case("off")) {
        let problem = format!("{:?}: the admin listener is not available in this version", written.text);
        findings.refuse(&written.origin, &written.path, problem, "write \"off\", or remove it");
    }
    section.unavailable(&["expose_on_data_plane"], findings);
    section.finish(findings);
}
