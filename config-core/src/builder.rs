//! `ProxyConfig`: a validated configuration in the hands of whoever starts a proxy, with a builder for
//! embedders. The command line uses it too, through `Draft`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::ConfigErrors;
use crate::model::Model;
use crate::origin::Origin;
use crate::raw::{Draft, Node, Table, Value, to_json};
use crate::snapshot::Snapshot;
use crate::validate;

/// A validated configuration.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// What was written: updates are laid over it.
    draft: Draft,
    model: Model,
    origins: BTreeMap<String, Origin>,
}

/// One line of the effective configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveValue {
    /// Key path, such as `server.max_connections`.
    pub key: String,
    /// Value in its TOML spelling.
    pub value: String,
    /// Where it was written; [`Origin::Default`] where it was not.
    pub origin: Origin,
}

impl ProxyConfig {
    /// Starts a configuration from its most common settings.
    pub fn builder() -> ProxyConfigBuilder {
        ProxyConfigBuilder::default()
    }

    /// Reads a JSON document with the camelCase spelling of the file's keys.
    pub fn from_json(text: &str) -> Result<Self, ConfigErrors> {
        let mut draft = Draft::new();
        draft.add_json(text);
        draft.validate()
    }

    pub(crate) fn from_draft(draft: Draft) -> Result<Self, ConfigErrors> {
        let found = validate::validate(draft.root());
        let errors = match &found {
            Ok(_) => draft.all_errors(Vec::new()),
            Err(errors) => draft.all_errors(errors.clone()),
        };
        match found {
            Ok(valid) if errors.is_empty() => Ok(Self { draft, model: valid.model, origins: valid.origins }),
            _ => Err(ConfigErrors::new(errors)),
        }
    }

    /// Lays a JSON document over this configuration. Either all of it takes effect, or nothing and every
    /// mistake is returned. Lists (listeners, routes) are replaced as a whole.
    pub fn update(&mut self, json: &str) -> Result<(), ConfigErrors> {
        let mut draft = self.draft.clone();
        draft.add_json(json);
        *self = draft.validate()?;
        Ok(())
    }

    /// The whole effective configuration as JSON, defaults included. Reading it back gives an equal model.
    pub fn to_json(&self) -> String {
        let document = to_json(&Value::Table(self.model.document()));
        format!("{document:#}")
    }

    /// The validated settings.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// A snapshot of this configuration for publication number `epoch`; a start publishes number 1.
    pub fn snapshot(&self, epoch: u32) -> Arc<Snapshot> {
        Arc::new(Snapshot::new(self.model.clone(), epoch))
    }

    /// Every setting with its value and where that was written, in the order of the keys.
    pub fn effective(&self) -> Vec<EffectiveValue> {
        let settings = self.model.settings().into_iter();
        settings.map(|(key, value)| EffectiveValue { origin: self.origin(&key), key, value }).collect()
    }

    /// Where the value of a key was written. A value inside a list of tables that was derived and not written
    /// (a backend's id) has no place of its own and counts as default.
    fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Whether any listener speaks TLS. None does in this version.
    pub fn is_tls_enabled(&self) -> bool {
        self.model.feature_flags().contains(crate::flags::FeatureFlags::TLS)
    }

    /// Whether requests are authenticated. None are in this version.
    pub fn is_authentication_enabled(&self) -> bool {
        self.model.feature_flags().contains(crate::flags::FeatureFlags::AUTH)
    }
}

/// Builds a [`ProxyConfig`]. Nothing is checked before [`Self::build`], which then reports every mistake.
///
/// ```
/// let config = config_core::ProxyConfig::builder()
///     .target("http://localhost:8080")
///     .port(3000)
///     .max_connections(500)
///     .build()?;
/// assert_eq!(config.model().server.max_connections, 500);
/// # Ok::<(), config_core::ConfigErrors>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProxyConfigBuilder {
    targets: Vec<String>,
    listen: Vec<String>,
    draft: Draft,
}

impl ProxyConfigBuilder {
    /// Adds a backend by URL; several take turns.
    pub fn target(mut self, url: &str) -> Self {
        self.targets.push(url.to_owned());
        self
    }

    /// Listens on every address at `port`; 0 takes any free one.
    pub fn port(self, port: u16) -> Self {
        self.listen(&format!("0.0.0.0:{port}"))
    }

    /// Adds a listener, `ADDR:PORT`.
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(address.to_owned());
        self
    }

    /// Client connections at once.
    pub fn max_connections(self, count: u32) -> Self {
        self.set(&["server", "max_connections"], Value::Integer(i64::from(count)))
    }

    /// Which processors get a core: `auto`, a count, or a list such as `0-3,6`.
    pub fn cores(self, cores: &str) -> Self {
        self.set(&["server", "cores"], Value::Text(cores.to_owned()))
    }

    /// Which event loop runs: `auto`, `uring` or `epoll`.
    pub fn runtime(self, runtime: &str) -> Self {
        self.set(&["server", "runtime"], Value::Text(runtime.to_owned()))
    }

    /// Lays a JSON document over what has been set so far, for every setting without a method of its own.
    pub fn json(mut self, text: &str) -> Self {
        self.draft.add_json(text);
        self
    }

    /// Checks everything.
    pub fn build(mut self) -> Result<ProxyConfig, ConfigErrors> {
        if !self.listen.is_empty() {
            let list = Node::list(self.listen.iter().map(String::as_str), &Origin::Program);
            self.draft.set(&["server", "listen"], list);
        }
        if !self.targets.is_empty() {
            set_targets(&mut self.draft, self.targets.iter().map(String::as_str), &Origin::Program);
        }
        self.draft.validate()
    }

    fn set(mut self, path: &[&str], value: Value) -> Self {
        self.draft.set(path, Node { value, origin: Origin::Program, loose: false });
        self
    }
}

/// Replaces the routes of a draft by one for every host whose backends are `urls`.
pub(crate) fn set_targets<'a>(draft: &mut Draft, urls: impl IntoIterator<Item = &'a str>, origin: &Origin) {
    let mut backends = Vec::new();
    for url in urls {
        let mut backend = Table::default();
        backend.set("url", Node::loose(url, origin.clone()));
        backends.push(Node::table(backend, origin.clone()));
    }
    let list = |items| Node { value: Value::Array(items), origin: origin.clone(), loose: false };
    let mut route = Table::default();
    route.set("vhost", Node::loose("*", origin.clone()));
    route.set("backends", list(backends));
    draft.set(&["route"], list(vec![Node::table(route, origin.clone())]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_makes_what_it_says() {
        let config = ProxyConfig::builder().target("ws://localhost:8080/ws").port(3000).max_connections(7);
        let config = config.cores("0-1").runtime("epoll").build().expect("valid");
        let model = config.model();
        assert_eq!(model.server.listen[0].addr.port(), 3000);
        assert_eq!(model.server.max_connections, 7);
        assert_eq!(model.server.cores, crate::model::Cores::List(vec![0, 1]));
        assert_eq!(model.routes.iter().next().expect("one route").upstream.backends[0].path_prefix, "/ws");
        assert!(!config.is_tls_enabled());
        assert!(!config.is_authentication_enabled());
    }

    #[test]
    fn the_builder_reports_every_mistake() {
        let errors = ProxyConfig::builder().target("nonsense").listen("x").max_connections(0).build();
        let errors = errors.expect_err("three mistakes");
        assert_eq!(errors.count(), 3, "{errors}");
        assert!(ProxyConfig::builder().build().expect_err("no target").to_string().contains("--target"));
    }

    #[test]
    fn json_reads_back_as_the_same_model() {
        let builder = ProxyConfig::builder().target("http://a:1/x").target("http://a:1/x").listen("[::1]:0");
        let extra = r#"{"shutdown": {"drainPerSecond": 5}, "server": {"trustedProxies": ["10.0.0.1/8"]}}"#;
        let config = builder.json(extra).build().expect("valid");
        let again = ProxyConfig::from_json(&config.to_json()).expect("its own output");
        assert_eq!(again.model(), config.model());
        assert_eq!(again.to_json(), config.to_json());
        assert!(config.to_json().contains("\"vHost\": \"*\""));
    }

    #[test]
    fn json_reads_back_whatever_the_url_of_a_backend() {
        // Found by the fuzzer: these URLs are no ids, and the dump gave them as such.
        let long = format!("http://a:1/{}", "long/".repeat(50));
        for url in ["http://[::1]:1", "http://a===:1", "http://a:1/%41", "unix:/run/a b.sock", long.as_str()]
        {
            let config = ProxyConfig::builder().target(url).target(url).build().expect("valid");
            let again = ProxyConfig::from_json(&config.to_json()).unwrap_or_else(|e| panic!("{url}: {e}"));
            assert_eq!(again.model(), config.model(), "{url}");
        }
    }

    #[test]
    fn an_update_is_all_or_nothing() {
        let mut config = ProxyConfig::builder().target("http://a:1").port(80).build().expect("valid");
        config.update(r#"{"server": {"maxConnections": 5}}"#).expect("valid");
        assert_eq!(config.model().server.max_connections, 5);
        assert_eq!(config.model().server.listen[0].addr.port(), 80, "the rest stays");
        config.update(r#"{"limits": {"bodyBytesMax": 1}}"#).expect("valid");
        config.update(r#"{"limits": {"bodyBytesMax": null}}"#).expect("valid");
        assert_eq!(config.model().limits.body_bytes_max, None, "null takes a setting back");
        let before = config.model().clone();
        let errors = config.update(r#"{"server": {"maxConnections": 6, "maxConections": 7}}"#);
        assert!(errors.expect_err("a typo").to_string().contains("max_connections"));
        assert_eq!(config.model(), &before);
        config.update("[]").expect_err("not an object");
        config.update("{").expect_err("not JSON");
        assert_eq!(config.model(), &before);
    }

    #[test]
    fn every_value_knows_where_it_came_from() {
        let mut draft = Draft::new();
        draft.add_toml("a.toml", "[server]\n  max_connections = 3\n", &|_| None);
        draft.set(&["logging", "level"], Node::loose("debug", Origin::Flag("--log-level".into())));
        draft.set_targets(["http://a:1"], &Origin::Environment("PROXY_TARGET_URL".into()));
        let config = draft.validate().expect("valid");
        let place = |key: &str| {
            let found = config.effective().into_iter().find(|value| value.key == key);
            found.map(|value| (value.value, value.origin.to_string())).unwrap_or_else(|| panic!("no {key}"))
        };
        assert_eq!(place("server.max_connections"), ("3".to_owned(), "a.toml:2:21".to_owned()));
        assert_eq!(place("logging.level"), ("\"debug\"".to_owned(), "flag --log-level".to_owned()));
        assert_eq!(place("route[0].backends[0].url").1, "environment PROXY_TARGET_URL");
        assert_eq!(place("server.backlog"), ("4096".to_owned(), "default".to_owned()));
        assert_eq!(place("server.listen"), ("[\"0.0.0.0:8080\"]".to_owned(), "default".to_owned()));
    }
}
