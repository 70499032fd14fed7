//! `ProxyConfig`: a validated configuration in the hands of whoever starts a proxy, with a builder for
//! embedders. The command line uses it too, through `Draft`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{ConfigError, ConfigErrors};
use crate::ids::RouteId;
use crate::model::{Model, Route};
use crate::origin::Origin;
use crate::publish::PublishError;
use crate::raw::{Draft, Node, Table, Value, to_json};
use crate::snapshot::Snapshot;
use crate::validate::{self, Findings, ROUTES_MAX};

/// A validated configuration. Cloning it shares the routes.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// What was written, without the routes: updates are laid over it.
    settings: Draft,
    /// The routes as they were written, which is where their places are.
    written_routes: Arc<Table>,
    /// Routes that were put since then, and have no such place.
    put_routes: BTreeSet<RouteId>,
    model: Model,
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

    pub(crate) fn from_draft(mut draft: Draft) -> Result<Self, ConfigErrors> {
        let mut findings = Findings::default();
        let written_routes = draft.take("route");
        let settings = validate::settings(draft.root(), &mut findings);
        let routes = validate::routes(&written_routes, &mut findings);
        let errors = draft.all_errors(findings.errors);
        match routes {
            Some((routes, _)) if errors.is_empty() => Ok(Self {
                settings: draft,
                written_routes: Arc::new(written_routes),
                put_routes: BTreeSet::new(),
                model: Model { routes, ..settings },
            }),
            _ => Err(ConfigErrors::new(errors)),
        }
    }

    /// Lays a JSON document over this configuration. Either all of it takes effect, or nothing and every
    /// mistake is returned. Lists (listeners, routes) are replaced as a whole; a document without `route` leaves every
    /// route as it is, those that were put included.
    pub fn update(&mut self, json: &str) -> Result<(), ConfigErrors> {
        let mut layer = Draft::new();
        layer.add_json(json);
        let replaces_routes = layer.root().entry("route").is_some();
        let mut draft = self.settings.clone();
        draft.lay(layer);
        if replaces_routes {
            *self = draft.validate()?;
            return Ok(());
        }
        let mut findings = Findings::default();
        let settings = validate::settings(draft.root(), &mut findings);
        let errors = draft.all_errors(findings.errors);
        if !errors.is_empty() {
            return Err(ConfigErrors::new(errors));
        }
        self.settings = draft;
        self.model = Model { routes: self.model.routes.clone(), ..settings };
        Ok(())
    }

    /// Reads one route from JSON, in the spelling that a list of them has. Its health settings do not depend on
    /// `[health]`, nor anything else of it on any configuration, so that it may be put into each.
    pub fn route_from_json(json: &str) -> Result<Route, ConfigErrors> {
        let mut draft = Draft::new();
        draft.add_json(json);
        let mut findings = Findings::default();
        let route = validate::route(draft.root(), &mut findings);
        let syntax = draft.all_errors(Vec::new());
        match route {
            Some(route) if syntax.is_empty() => Ok(route),
            _ if syntax.is_empty() => Err(ConfigErrors::new(findings.errors)),
            _ => Err(ConfigErrors::new(syntax)),
        }
    }

    /// Puts a route in the place of the one with the same id, which is returned, or adds it. No other route is touched
    /// or looked at, so that the cost does not grow with their number. `route` comes from [`Self::route_from_json`] or from
    /// another model.
    ///
    /// # Errors
    /// When another route has its virtual host, or when there would be too many. Nothing changes then.
    pub fn put_route(&mut self, route: impl Into<Arc<Route>>) -> Result<Option<Arc<Route>>, ConfigErrors> {
        let route = route.into();
        let before = self.model.routes.get(&route.id).cloned();
        if before.is_none() && self.model.routes.len() >= ROUTES_MAX {
            let problem = format!("there are {ROUTES_MAX} routes, and more are not allowed");
            return Err(refusal("route", problem, "remove one first"));
        }
        let id = route.id.clone();
        match self.model.routes.with(Arc::clone(&route)) {
            Ok(routes) => self.model.routes = routes,
            Err(conflict) => {
                let problem = format!(
                    "{:?} is served by route {:?} already",
                    route.vhost.to_string(),
                    conflict.with.as_str()
                );
                return Err(refusal("route.vhost", problem, "one route per host, with rules for its paths"));
            }
        }
        self.put_routes.insert(id);
        Ok(before)
    }

    /// Removes the route of this id and returns it, if there is one. No other route is touched.
    ///
    /// # Errors
    /// When it is the last one: a configuration has at least one route.
    pub fn remove_route(&mut self, id: &RouteId) -> Result<Option<Arc<Route>>, ConfigErrors> {
        let Some(route) = self.model.routes.get(id).cloned() else { return Ok(None) };
        if self.model.routes.len() == 1 {
            let problem = format!("{:?} is the only route", id.as_str());
            return Err(refusal("route", problem, "a configuration has at least one; put another first"));
        }
        self.model.routes = self.model.routes.without(id);
        self.put_routes.remove(id);
        Ok(Some(route))
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

    /// Every setting with its value and where that was written: first those that are not of routes, in the order of the
    /// keys, then the routes in the order in which they are written (those that were put later, last). A value that was
    /// derived and not written (a backend's id) counts as default.
    pub fn effective(&self) -> Vec<EffectiveValue> {
        let written = self.look_again();
        let mut effective = Vec::new();
        for (key, value) in self.model.settings() {
            let origin = written.findings.origins.get(&key).cloned().unwrap_or(Origin::Default);
            effective.push(EffectiveValue { key, value, origin });
        }
        let indexes: BTreeMap<&RouteId, usize> = written.order.iter().zip(0..).collect();
        let place = |route: &&Arc<Route>| match indexes.get(&route.id) {
            Some(index) if !self.put_routes.contains(&route.id) => (*index, None),
            _ => (usize::MAX, Some(route.id.clone())),
        };
        let mut routes: Vec<&Arc<Route>> = self.model.routes.iter().collect();
        routes.sort_by_cached_key(place);
        for route in routes {
            let index = place(&route).0;
            let (here, there) = (format!("route[{}]", route.id), format!("route[{index}]"));
            for (key, value) in route.settings() {
                let written_key = key.strip_prefix(&here).map(|rest| format!("{there}{rest}"));
                let known = written_key.and_then(|key| written.findings.origins.get(&key)).cloned();
                let otherwise = if index == usize::MAX { Origin::Program } else { Origin::Default };
                effective.push(EffectiveValue { key, value, origin: known.unwrap_or(otherwise) });
            }
        }
        effective
    }

    /// What the data plane says against this configuration, with the place where it is written.
    pub fn locate(&self, error: &PublishError) -> ConfigError {
        let written = self.effective().into_iter().find(|value| value.key == error.key);
        let place = written.map_or(Origin::Default, |value| value.origin);
        ConfigError { place, key: error.key.clone(), problem: error.reason.clone(), allowed: String::new() }
    }

    /// What can run and is hardly meant so, in what was written: rules that never decide, settings without effect. Each is
    /// found by reading everything again, which is for people who ask, and not for every start.
    pub fn warnings(&self) -> Vec<ConfigError> {
        let mut warnings = self.look_again().findings.warnings;
        warnings.sort();
        warnings
    }

    /// Reads what was written once more, with all places and warnings.
    fn look_again(&self) -> Written {
        let mut findings = Findings::thorough();
        validate::settings(self.settings.root(), &mut findings);
        let routes = validate::routes(&self.written_routes, &mut findings);
        // It was right before; only a file that it names may have gone since.
        Written { order: routes.map(|(_, order)| order).unwrap_or_default(), findings }
    }

    /// Whether any listener speaks TLS.
    pub fn is_tls_enabled(&self) -> bool {
        self.model.feature_flags().contains(crate::flags::FeatureFlags::TLS)
    }

    /// Whether requests are authenticated. None are in this version.
    pub fn is_authentication_enabled(&self) -> bool {
        self.model.feature_flags().contains(crate::flags::FeatureFlags::AUTH)
    }
}

/// What a second reading finds.
struct Written {
    findings: Findings,
    /// Ids of the written routes, in their order.
    order: Vec<RouteId>,
}

fn refusal(key: &str, problem: String, allowed: &str) -> ConfigErrors {
    let (key, allowed) = (key.to_owned(), allowed.to_owned());
    ConfigError { place: Origin::Program, key, problem, allowed }.into()
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
        assert_eq!(place("route[default].backends[0].url").1, "environment PROXY_TARGET_URL");
        assert_eq!(place("server.backlog"), ("4096".to_owned(), "default".to_owned()));
        assert_eq!(place("server.listen"), ("[\"0.0.0.0:8080\"]".to_owned(), "default".to_owned()));
    }

    const A: &str = r#"{"id": "a", "vHost": "a.example", "backends": [{"url": "http://a:1"}]}"#;
    const B: &str = r#"{"vHost": "b.example", "backends": [{"url": "http://b:1"}], "headers": {"X-B": "1"}}"#;

    fn put(config: &mut ProxyConfig, json: &str) -> Result<Option<Arc<Route>>, ConfigErrors> {
        config.put_route(ProxyConfig::route_from_json(json)?)
    }

    #[test]
    fn one_route_is_put_and_removed_without_the_others() {
        let mut config = ProxyConfig::builder().target("http://any:1").build().expect("valid");
        let start = config.model().clone();
        assert_eq!(put(&mut config, A).expect("no conflict"), None);
        assert_eq!(put(&mut config, B).expect("no conflict"), None);
        let before = put(&mut config, &A.replace("a:1", "c:1")).expect("its own host").expect("it was there");
        assert_eq!(before.upstream.backends[0].url, "http://a:1");
        let taken = put(&mut config, &A.replace("\"a\"", "\"other\"")).expect_err("a.example is taken");
        assert!(taken.to_string().contains("route \"a\" already"), "{taken}");
        assert_eq!(config.model().routes.len(), 3);

        let again = ProxyConfig::from_json(&config.to_json()).expect("its own output");
        assert_eq!(again.model(), config.model());
        let place = |config: &ProxyConfig, key: &str| {
            config.effective().into_iter().find(|value| value.key == key).map(|value| value.origin)
        };
        assert_eq!(place(&config, "route[a].strategy"), Some(Origin::Program));
        assert_eq!(place(&config, "route[default].strategy"), Some(Origin::Default));

        config.update(r#"{"server": {"maxConnections": 5}}"#).expect("valid");
        assert_eq!(config.model().routes.len(), 3, "an update of something else leaves the routes");
        assert_eq!(config.model().server.max_connections, 5);

        let gone = config.remove_route(&RouteId::new("a")).expect("not the last").expect("it was there");
        assert_eq!(gone.upstream.backends[0].url, "http://c:1");
        assert_eq!(config.remove_route(&RouteId::new("a")).expect("nothing to do"), None);
        config.remove_route(&RouteId::new("b.example")).expect("not the last").expect("it was there");
        assert_eq!(config.model().routes, start.routes);
        config.remove_route(&RouteId::new("default")).expect_err("the last one");

        put(&mut config, A).expect("no conflict");
        config.update(&format!(r#"{{"route": [{B}]}}"#)).expect("valid");
        assert_eq!(config.model().routes.len(), 1, "a list of routes replaces all");
        assert_eq!(place(&config, "route[b.example].headers.X-B"), Some(Origin::Program));
        config.update(r#"{"route": []}"#).expect_err("no routes");
    }

    #[test]
    fn a_route_alone_is_refused_with_every_mistake() {
        let rows = [
            ("{", "not JSON"),
            ("[]", "not a JSON object"),
            ("{}", "route.vhost: missing"),
            (r#"{"vHost": "a"}"#, "route.backends: no backends"),
            (r#"{"vHost": "a", "backends": [{"url": "http://a"}], "retry": 1}"#, "nearest known key is"),
            (
                r#"{"vHost": "a", "backends": [{"url": "x"}], "paths": [{"match": "x"}]}"#,
                "route.paths[0].match",
            ),
        ];
        for (json, part) in rows {
            let errors = ProxyConfig::route_from_json(json).expect_err(json).to_string();
            assert!(errors.contains(part), "{json}: {errors}");
        }
    }
}
