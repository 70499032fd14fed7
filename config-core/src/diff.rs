//! What changed between two models, setting by setting, and which of it needs a restart. Called by the control
//! plane before it publishes, for the log and the audit trail.

use std::collections::BTreeMap;

use crate::model::{Model, PemFile, Route};

/// One setting that differs. A missing side means that there is no such thing there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Key path; routes are named by id: `route[api].backends[1].url`.
    pub key: String,
    /// Value before, in its TOML spelling.
    pub before: Option<String>,
    /// Value after.
    pub after: Option<String>,
}

impl Change {
    /// Whether the running process keeps the old value until it is restarted: sockets, cores and the log
    /// are set up once.
    pub fn needs_restart(&self) -> bool {
        RESTART_KEYS.iter().any(|key| self.key == *key)
    }
}

/// Settings that are read once, at start.
const RESTART_KEYS: [&str; 11] = [
    "logging.destination",
    "logging.format",
    "logging.level",
    "server.backlog",
    "server.busy_poll_us",
    "server.congestion_control",
    "server.cores",
    "server.listen",
    "server.runtime",
    "server.tcp_keepalive_ms",
    "server.tcp_user_timeout_ms",
];

/// Puts the settings that only a restart changes back to what `running` has, so that a published model says
/// what really runs.
pub fn keep_until_restart(running: &Model, next: &mut Model) {
    let (old, new) = (&running.server, &mut next.server);
    new.listen.clone_from(&old.listen);
    new.cores.clone_from(&old.cores);
    new.runtime = old.runtime;
    new.busy_poll_us = old.busy_poll_us;
    new.backlog = old.backlog;
    new.tcp_keepalive_ms = old.tcp_keepalive_ms;
    new.tcp_user_timeout_ms = old.tcp_user_timeout_ms;
    new.congestion_control.clone_from(&old.congestion_control);
    next.logging = running.logging;
}

/// The settings that differ, in the order of their keys. A route that is new or gone is one change, with what it serves
/// as its value; of one that is there before and after, each setting is. What both models share is not looked at, so that
/// the cost is that of what changed, whatever the number of routes.
pub fn diff(before: &Model, after: &Model) -> Vec<Change> {
    let mut changes = Vec::new();
    add_settings(before.settings(), after.settings(), &mut changes);
    add_contents(before.tls.files(), after.tls.files(), &mut changes);
    for change in after.routes.changes_since(&before.routes) {
        match (change.before, change.after) {
            (Some(before), Some(after)) => {
                add_settings(before.settings(), after.settings(), &mut changes);
                add_contents(before.files(), after.files(), &mut changes);
            }
            (before, after) => {
                let Some(route) = before.as_ref().or(after.as_ref()) else { continue };
                changes.push(Change {
                    key: format!("route[{}]", route.id),
                    before: before.as_deref().map(summary),
                    after: after.as_deref().map(summary),
                });
            }
        }
    }
    changes.sort_by(|left, right| left.key.cmp(&right.key));
    changes
}

fn add_settings(before: Vec<(String, String)>, after: Vec<(String, String)>, changes: &mut Vec<Change>) {
    let mut sides: BTreeMap<String, (Option<String>, Option<String>)> = BTreeMap::new();
    for (key, value) in before {
        sides.entry(key).or_default().0 = Some(value);
    }
    for (key, value) in after {
        sides.entry(key).or_default().1 = Some(value);
    }
    // What is not there and what is off are the same.
    let none = |side: &Option<String>| side.as_deref().is_none_or(|value| value == "none");
    let is_changed = |before: &_, after: &_| before != after && !(none(before) && none(after));
    let changed = sides.into_iter().filter(|(_, (before, after))| is_changed(before, after));
    changes.extend(changed.map(|(key, (before, after))| Change { key, before, after }));
}

/// Files that have the same name and hold something else.
fn add_contents(before: Vec<(String, &PemFile)>, after: Vec<(String, &PemFile)>, changes: &mut Vec<Change>) {
    let before: BTreeMap<String, &PemFile> = before.into_iter().collect();
    for (key, file) in after {
        if let Some(old) = before.get(&key).filter(|old| old.path == file.path && old.bytes != file.bytes) {
            let shown = |file: &PemFile| Some(format!("{:?} with content {}", file.path, file.fingerprint()));
            changes.push(Change { key, before: shown(old), after: shown(file) });
        }
    }
}

/// A route in a line: its host, how many rules it has, and its backends as far as they fit.
fn summary(route: &Route) -> String {
    let backends = &route.upstream.backends;
    let mut urls: Vec<&str> =
        backends.iter().take(BACKENDS_SHOWN_MAX).map(|backend| backend.url.as_str()).collect();
    if backends.len() > BACKENDS_SHOWN_MAX {
        urls.push("…");
    }
    format!("{}, {} rules, to {}", route.vhost, route.rules.len(), urls.join(" "))
}

/// A line stays a line.
const BACKENDS_SHOWN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::ProxyConfig;

    #[test]
    fn only_what_differs_is_named() {
        let one = ProxyConfig::builder().target("http://a:1").build().expect("valid");
        let two = ProxyConfig::builder().target("http://a:1").target("http://b:2").port(81);
        let two = two.build().expect("valid");
        assert_eq!(diff(one.model(), one.model()), []);
        let changes = diff(one.model(), two.model());
        let keys: Vec<(&str, bool)> = changes.iter().map(|c| (c.key.as_str(), c.needs_restart())).collect();
        let expected = [
            ("route[default].backends[1].id", false),
            ("route[default].backends[1].slow_start_ms", false),
            ("route[default].backends[1].url", false),
            ("route[default].backends[1].weight", false),
            ("server.listen", true),
        ];
        assert_eq!(keys, expected);
        assert_eq!(changes[2].before, None);
        assert_eq!(changes[2].after.as_deref(), Some("\"http://b:2\""));
    }

    #[test]
    fn what_needs_a_restart_is_exactly_what_is_kept() {
        let one = ProxyConfig::builder().target("http://a:1").build().expect("valid");
        let two = ProxyConfig::from_json(
            r#"{"server": {"listen": ["[::1]:1"], "cores": "1", "runtime": "epoll", "busyPollUs": 1, "backlog": 1,
                    "tcpKeepaliveMs": 60000, "tcpUserTimeoutMs": 5000, "congestionControl": "bbr",
                    "maxConnections": 1, "idleTimeoutMs": 1, "trustedProxies": ["::1"]},
                "logging": {"level": "warn", "format": "text", "destination": "stderr"},
                "limits": {"fieldsMax": 50}, "pool": {"maxSize": 1},
                "route": [{"vHost": "*", "backends": [{"url": "http://b:1"}]}]}"#,
        )
        .expect("valid");
        let all = diff(one.model(), two.model());
        let (restart, at_once): (Vec<Change>, Vec<Change>) = all.into_iter().partition(Change::needs_restart);
        assert_eq!(restart.len(), RESTART_KEYS.len());
        let mut kept = two.model().clone();
        keep_until_restart(one.model(), &mut kept);
        assert_eq!(diff(one.model(), &kept), at_once);
    }

    #[test]
    fn every_restart_key_is_a_setting() {
        let draft = ProxyConfig::from_json(
            r#"{"server": {"congestionControl": "bbr", "tcpKeepaliveMs": 60000, "tcpUserTimeoutMs": 5000},
                "route": [{"vHost": "*", "backends": [{"url": "http://a:1"}]}]}"#,
        );
        let settings = draft.expect("valid").model().settings();
        for key in RESTART_KEYS {
            assert!(settings.iter().any(|(name, _)| name == key), "{key}");
        }
    }
}
