//! A model as a document: the same tables and keys that a file has, every default filled in.
//!
//! Used by `ProxyConfig::to_json`, `pinion check --dump`, `diff` and the registry hash, so that none of them
//! can forget a setting that the others show.

use super::{ActiveCheck, Model, PemFile, Probe};
use crate::origin::Origin;
use crate::raw::{Node, Table, Value};

impl Model {
    /// Every setting but those of routes with its value, flat: `("server.max_connections", "10000")`, in the order of the
    /// keys. Values are in their TOML spelling; a setting that is off and has no spelling for it is `none`.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        flatten("", &self.settings_document(), &mut settings);
        settings
    }

    /// The document of this model.
    pub(crate) fn document(&self) -> Table {
        let mut root = self.settings_document();
        let routes = self.routes.iter().map(|route| Value::Table(route.document()));
        put_list(&mut root, "route", routes.collect());
        root
    }

    /// The document of this model without its routes.
    fn settings_document(&self) -> Table {
        let mut root = Table::default();
        put_table(&mut root, "server", self.server_table());
        put_table(&mut root, "limits", self.limits_table());
        put_table(&mut root, "timeouts", self.timeouts_table());
        put_table(&mut root, "pool", self.pool_table());
        put_table(&mut root, "shutdown", self.shutdown_table());
        put_table(&mut root, "logging", self.logging_table());
        put_table(&mut root, "websocket", self.websocket_table());
        put_table(&mut root, "health", ActiveCheck::document(self.health.as_ref()));
        put_table(&mut root, "circuit_breaker", self.circuit_breaker_table());
        let servers = self.dns.servers.iter().map(|server| Value::Text(server.to_string()));
        let mut dns = Table::default();
        put_list(&mut dns, "servers", servers.collect());
        put_table(&mut root, "dns", dns);
        put_table(&mut root, "tls", self.tls_table());
        let mut admin = Table::default();
        put_text(&mut admin, "listen", "off");
        put_table(&mut root, "admin", admin);
        root
    }

    fn tls_table(&self) -> Table {
        let tls = &self.tls;
        let mut table = Table::default();
        if !tls.certificates.is_empty() {
            let certificates = tls.certificates.iter().map(|certificate| {
                let mut table = Table::default();
                put_text(&mut table, "cert", &certificate.cert.path);
                put_text(&mut table, "key", &certificate.key.path);
                put_file(&mut table, "ocsp", certificate.ocsp.as_ref());
                put(&mut table, "default", Value::Bool(certificate.is_default));
                Value::Table(table)
            });
            put_list(&mut table, "certificates", certificates.collect());
        }
        put_text(&mut table, "client_auth", tls.client_auth.as_str());
        put_file(&mut table, "client_ca", tls.client_ca.as_ref());
        put_file(&mut table, "client_crl", tls.client_crl.as_ref());
        put_text(&mut table, "min_version", tls.min_version.as_str());
        put_number(&mut table, "handshake_timeout_ms", tls.handshake_timeout_ms);
        put_number(&mut table, "handshakes_max", tls.handshakes_max);
        put_optional(&mut table, "hsts_max_age_s", tls.hsts_max_age_s);
        table
    }

    fn circuit_breaker_table(&self) -> Table {
        let breaker = &self.circuit_breaker;
        let mut table = Table::default();
        put_number(&mut table, "failure_threshold", breaker.failure_threshold);
        put_optional(&mut table, "failure_ratio_percent", breaker.failure_ratio_percent);
        put_number(&mut table, "window_ms", breaker.window_ms);
        put_number(&mut table, "window_requests_min", breaker.window_requests_min);
        put_number(&mut table, "reset_timeout_ms", breaker.reset_timeout_ms);
        put_number(&mut table, "reset_timeout_ms_max", breaker.reset_timeout_ms_max);
        let statuses = breaker.failure_statuses.iter().map(|status| Value::Integer((*status).into()));
        put_list(&mut table, "failure_statuses", statuses.collect());
        table
    }

    fn server_table(&self) -> Table {
        let server = &self.server;
        let mut table = Table::default();
        let texts = |items: Vec<String>| items.into_iter().map(Value::Text).collect();
        put_list(&mut table, "listen", texts(server.listen.iter().map(ToString::to_string).collect()));
        put_number(&mut table, "max_connections", server.max_connections);
        put_number(&mut table, "idle_timeout_ms", server.idle_timeout_ms);
        put_text(&mut table, "cores", &server.cores.to_string());
        put_text(&mut table, "runtime", server.runtime.as_str());
        put_number(&mut table, "busy_poll_us", server.busy_poll_us);
        let trusted = server.trusted_proxies.iter().map(ToString::to_string).collect();
        put_list(&mut table, "trusted_proxies", texts(trusted));
        put(&mut table, "proxy_protocol", Value::Bool(server.proxy_protocol));
        put_number(&mut table, "backlog", server.backlog);
        put_optional(&mut table, "tcp_keepalive_ms", server.tcp_keepalive_ms);
        put_optional(&mut table, "tcp_user_timeout_ms", server.tcp_user_timeout_ms);
        let congestion_control = server.congestion_control.clone().map_or(Value::Null, Value::Text);
        put(&mut table, "congestion_control", congestion_control);
        table
    }

    fn limits_table(&self) -> Table {
        let limits = &self.limits;
        let mut table = Table::default();
        put_number(&mut table, "request_line_bytes_max", limits.request_line_bytes_max);
        put_number(&mut table, "head_bytes_max", limits.head_bytes_max);
        put_number(&mut table, "fields_max", limits.fields_max);
        put_optional(&mut table, "body_bytes_max", limits.body_bytes_max);
        put_number(&mut table, "chunk_extension_bytes_max", limits.chunk_extension_bytes_max);
        put_text(&mut table, "encoded_slash", limits.encoded_slash.as_str());
        put_text(&mut table, "encoded_nul", limits.encoded_nul.as_str());
        put_number(&mut table, "high_water_bytes", limits.high_water_bytes);
        put_number(&mut table, "low_water_bytes", limits.low_water_bytes);
        table
    }

    fn timeouts_table(&self) -> Table {
        let timeouts = &self.timeouts;
        let mut table = Table::default();
        put_number(&mut table, "request_head_ms", timeouts.request_head_ms);
        let pace = timeouts.request_head_bytes_per_second_min;
        put_number(&mut table, "request_head_bytes_per_second_min", pace);
        put_number(&mut table, "connect_ms", timeouts.connect_ms);
        put_number(&mut table, "first_byte_ms", timeouts.first_byte_ms);
        put_number(&mut table, "body_progress_ms", timeouts.body_progress_ms);
        put_number(&mut table, "write_stall_ms", timeouts.write_stall_ms);
        put_number(&mut table, "websocket_idle_ms", timeouts.websocket_idle_ms);
        table
    }

    fn pool_table(&self) -> Table {
        let mut table = Table::default();
        put_number(&mut table, "min_size", self.pool.min_size);
        put_number(&mut table, "max_size", self.pool.max_size);
        put_number(&mut table, "idle_timeout_ms", self.pool.idle_timeout_ms);
        table
    }

    fn shutdown_table(&self) -> Table {
        let mut table = Table::default();
        put_number(&mut table, "timeout_ms", self.shutdown.timeout_ms);
        put_number(&mut table, "idle_grace_ms", self.shutdown.idle_grace_ms);
        put_optional(&mut table, "drain_per_second", self.shutdown.drain_per_second);
        put_number(&mut table, "restart_timeout_ms", self.shutdown.restart_timeout_ms);
        table
    }

    fn logging_table(&self) -> Table {
        let mut table = Table::default();
        put_text(&mut table, "level", self.logging.level.as_str());
        put_text(&mut table, "format", self.logging.format.as_str());
        put_text(&mut table, "destination", self.logging.destination.as_str());
        table
    }

    fn websocket_table(&self) -> Table {
        let mut table = Table::default();
        put_optional(&mut table, "message_bytes_max", self.websocket.message_bytes_max);
        table
    }
}

impl ActiveCheck {
    pub(super) fn document(check: Option<&ActiveCheck>) -> Table {
        let mut table = Table::default();
        let Some(check) = check else {
            put_text(&mut table, "active", "off");
            return table;
        };
        match &check.probe {
            Probe::Http { endpoint } => {
                put_text(&mut table, "active", "http");
                put_text(&mut table, "endpoint", endpoint);
            }
            Probe::Tcp => put_text(&mut table, "active", "tcp"),
        }
        put_number(&mut table, "interval_ms", check.interval_ms);
        put_number(&mut table, "timeout_ms", check.timeout_ms);
        put_number(&mut table, "unhealthy_threshold", check.unhealthy_threshold);
        put_number(&mut table, "healthy_threshold", check.healthy_threshold);
        table
    }
}

pub(super) fn flatten(prefix: &str, table: &Table, settings: &mut Vec<(String, String)>) {
    for (key, entry) in table.entries() {
        let path = if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
        flatten_value(&path, &entry.node.value, settings);
    }
}

fn flatten_value(path: &str, value: &Value, settings: &mut Vec<(String, String)>) {
    match value {
        Value::Table(inner) => flatten(path, inner, settings),
        Value::Array(items) if items.iter().any(|node| matches!(node.value, Value::Table(_))) => {
            for (index, node) in items.iter().enumerate() {
                flatten_value(&format!("{path}[{index}]"), &node.value, settings);
            }
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|node| node.value.describe()).collect();
            settings.push((path.to_owned(), format!("[{}]", items.join(", "))));
        }
        scalar => settings.push((path.to_owned(), scalar.describe())),
    }
}

pub(super) fn put(table: &mut Table, key: &str, value: Value) {
    table.set(key, Node { value, origin: Origin::Program, loose: false });
}

pub(super) fn put_table(table: &mut Table, key: &str, inner: Table) {
    put(table, key, Value::Table(inner));
}

pub(super) fn put_text(table: &mut Table, key: &str, text: &str) {
    put(table, key, Value::Text(text.to_owned()));
}

/// The path of a file: what it holds is nobody's business.
pub(super) fn put_file(table: &mut Table, key: &str, file: Option<&PemFile>) {
    put(table, key, file.map_or(Value::Null, |file| Value::Text(file.path.clone())));
}

pub(super) fn put_number(table: &mut Table, key: &str, number: impl Into<u64>) {
    let number = i64::try_from(number.into()).expect("validation bounds every number below 2^63");
    put(table, key, Value::Integer(number));
}

pub(super) fn put_optional(table: &mut Table, key: &str, number: Option<impl Into<u64>>) {
    match number {
        Some(number) => put_number(table, key, number),
        None => put(table, key, Value::Null),
    }
}

pub(super) fn put_list(table: &mut Table, key: &str, items: Vec<Value>) {
    let items = items.into_iter().map(|value| Node { value, origin: Origin::Program, loose: false });
    put(table, key, Value::Array(items.collect()));
}
