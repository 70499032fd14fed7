//! A route as a document: the same keys that a file has.
//!
//! In full it has every setting: for JSON, dumps and differences. Brief it leaves out what is as it is by default: the
//! registry hash covers that form, so that a setting which is new in one version changes no hash where nobody uses it.

use super::document::{flatten, put, put_list, put_number, put_optional, put_table, put_text};
use super::{
    Action, ActiveCheck, Backend, Field, Forward, HashKey, Location, PemFile, ProxyVersion, Redirect,
    Respond, Route, Rule, Upstream,
};
use crate::defaults;
use crate::raw::{Table, Value, to_json};

/// Which settings a document has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Full,
    Brief,
}

impl Route {
    /// This route as JSON, defaults included. Reading it back gives an equal route.
    pub fn to_json(&self) -> String {
        format!("{:#}", to_json(&Value::Table(self.document())))
    }

    /// Every setting with its value, flat: `("route[api].retries", "2")`, in the order of the keys.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        flatten(&format!("route[{}]", self.id), &self.document(), &mut settings);
        settings
    }

    /// The document of this route.
    pub(crate) fn document(&self) -> Table {
        self.document_in(Form::Full)
    }

    /// What the registry hash covers.
    pub(crate) fn canonical_document(&self) -> Table {
        self.document_in(Form::Brief)
    }

    fn document_in(&self, form: Form) -> Table {
        let mut table = Table::default();
        put_text(&mut table, "id", self.id.as_str());
        put_text(&mut table, "vhost", &self.vhost.to_string());
        put_number(&mut table, "retries", self.retries);
        self.upstream.write_into(&mut table, form);
        let mut optional = Optional { table: &mut table, form };
        let rules = self.rules.iter().map(|rule| Value::Table(rule.document(form)));
        optional.list("paths", rules.collect());
        optional.fields("headers", &self.headers);
        optional.fields("response_headers", &self.response_headers);
        optional.value("auto_https", Value::Bool(self.auto_https), &Value::Bool(false));
        let send_proxy = self.send_proxy.map_or("off", ProxyVersion::as_str);
        optional.text("send_proxy", send_proxy.to_owned(), "off");
        optional.value("secure", Value::Bool(self.backend_tls.verify), &Value::Bool(true));
        optional.table("backend_tls", self.backend_tls_document(form));
        optional.value("sticky", self.sticky.clone().map_or(Value::Null, Value::Text), &Value::Null);
        optional.number("req_active_length", self.req_active_length.unwrap_or(0).into(), 0);
        optional.number("req_queue_length", self.req_queue_length.into(), 0);
        optional.number("queue_timeout_ms", self.queue_timeout_ms, defaults::QUEUE_TIMEOUT_MS);
        optional.table("timeouts", self.timeouts_document(form));
        optional.table("limits", self.limits_document(form));
        let health = self.health.as_ref().map(|check| Value::Table(ActiveCheck::document(check.as_ref())));
        optional.value("health", health.unwrap_or(Value::Null), &Value::Null);
        table
    }

    fn backend_tls_document(&self, form: Form) -> Table {
        let tls = &self.backend_tls;
        let mut table = Table::default();
        let client = tls.client.as_ref();
        let server_name = tls.server_name.clone().map_or(Value::Null, Value::Text);
        let mut optional = Optional { table: &mut table, form };
        optional.value("server_name", server_name, &Value::Null);
        optional.file("ca", tls.ca.as_ref());
        optional.file("cert", client.map(|(cert, _)| cert));
        optional.file("key", client.map(|(_, key)| key));
        table
    }

    fn timeouts_document(&self, form: Form) -> Table {
        let timeouts = &self.timeouts;
        let mut table = Table::default();
        let mut optional = Optional { table: &mut table, form };
        optional.number_or_none("connect_ms", timeouts.connect_ms);
        optional.number_or_none("first_byte_ms", timeouts.first_byte_ms);
        optional.number_or_none("body_progress_ms", timeouts.body_progress_ms);
        optional.number_or_none("write_stall_ms", timeouts.write_stall_ms);
        optional.number_or_none("websocket_idle_ms", timeouts.websocket_idle_ms);
        table
    }

    fn limits_document(&self, form: Form) -> Table {
        let mut table = Table::default();
        let mut optional = Optional { table: &mut table, form };
        optional.number_or_none("body_bytes_max", self.limits.body_bytes_max);
        optional.number_or_none("message_bytes_max", self.limits.message_bytes_max);
        table
    }
}

impl Upstream {
    /// A route's own upstream stands among the settings of the route.
    fn write_into(&self, table: &mut Table, form: Form) {
        put_text(table, "strategy", self.strategy.as_str());
        let backends = self.backends.iter().map(|backend| Value::Table(backend.document(form)));
        put_list(table, "backends", backends.collect());
        let hash_key = match &self.hash_key {
            HashKey::ClientIp => "ip".to_owned(),
            HashKey::Header(name) => format!("header:{name}"),
            HashKey::Cookie(name) => format!("cookie:{name}"),
        };
        let mut optional = Optional { table, form };
        optional.text("hash_key", hash_key, "ip");
        optional.number("panic_threshold", self.panic_threshold_percent.into(), 0);
    }
}

impl Backend {
    fn document(&self, form: Form) -> Table {
        let mut table = Table::default();
        put_text(&mut table, "id", self.id.as_str());
        put_text(&mut table, "url", &self.url);
        debug_assert!(
            matches!(self.location, Location::Unix { .. }) == self.url.starts_with("unix:"),
            "the URL says all that the location does"
        );
        let mut optional = Optional { table: &mut table, form };
        optional.number("weight", self.weight.into(), 1);
        optional.number_or_none("max_connections", self.max_connections);
        optional.number("slow_start_ms", self.slow_start_ms, 0);
        table
    }
}

impl Rule {
    fn document(&self, form: Form) -> Table {
        let mut table = Table::default();
        put_text(&mut table, "match", self.pattern.kind());
        put_text(&mut table, "pattern", self.pattern.text());
        let methods = self.methods.iter().cloned().map(Value::Text);
        Optional { table: &mut table, form }.list("methods", methods.collect());
        match &self.action {
            Action::Forward(forward) => forward.write_into(&mut table, form),
            Action::Redirect(redirect) => put_table(&mut table, "redirect", redirect.document()),
            Action::Respond(respond) => put_table(&mut table, "respond", respond.document()),
        }
        table
    }
}

impl Forward {
    fn write_into(&self, table: &mut Table, form: Form) {
        let target = self.target.as_ref().filter(|_| self.has_target);
        let target = target.and_then(|upstream| upstream.backends.first());
        let target = target.map_or(Value::Null, |backend| Value::Text(backend.url.clone()));
        let mut optional = Optional { table, form };
        optional.value("target", target, &Value::Null);
        optional.value("secure", self.secure.map_or(Value::Null, Value::Bool), &Value::Null);
        optional.value("rewrite", self.rewrite.clone().map_or(Value::Null, Value::Text), &Value::Null);
        optional.value("change_origin", Value::Bool(self.change_origin), &Value::Bool(false));
        optional.fields("headers", &self.headers);
    }
}

impl Redirect {
    fn document(&self) -> Table {
        let mut table = Table::default();
        put_number(&mut table, "status", self.status);
        put_text(&mut table, "location", &self.location);
        table
    }
}

impl Respond {
    fn document(&self) -> Table {
        let mut table = Table::default();
        put_number(&mut table, "status", self.status);
        put_text(&mut table, "body", &self.body);
        put_text(&mut table, "content_type", &self.content_type);
        table
    }
}

/// Writes settings that a brief document leaves out where they are as they are by default.
struct Optional<'a> {
    table: &'a mut Table,
    form: Form,
}

impl Optional<'_> {
    fn value(&mut self, key: &str, value: Value, default: &Value) {
        if self.form == Form::Full || value != *default {
            put(self.table, key, value);
        }
    }

    fn text(&mut self, key: &str, text: String, default: &str) {
        if self.form == Form::Full || text != default {
            put(self.table, key, Value::Text(text));
        }
    }

    fn number(&mut self, key: &str, number: u64, default: u64) {
        if self.form == Form::Full || number != default {
            put_number(self.table, key, number);
        }
    }

    fn number_or_none(&mut self, key: &str, number: Option<impl Into<u64>>) {
        if self.form == Form::Full || number.is_some() {
            put_optional(self.table, key, number);
        }
    }

    fn file(&mut self, key: &str, file: Option<&PemFile>) {
        self.value(key, file.map_or(Value::Null, |file| Value::Text(file.path.clone())), &Value::Null);
    }

    fn list(&mut self, key: &str, items: Vec<Value>) {
        if self.form == Form::Full || !items.is_empty() {
            put_list(self.table, key, items);
        }
    }

    fn table(&mut self, key: &str, table: Table) {
        if self.form == Form::Full || table.entries().next().is_some() {
            put_table(self.table, key, table);
        }
    }

    fn fields(&mut self, key: &str, fields: &[Field]) {
        let mut table = Table::default();
        fields.iter().for_each(|field| put_text(&mut table, &field.name, &field.value));
        self.table(key, table);
    }
}
