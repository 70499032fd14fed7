//! `pinion explain`: which route, rule and backend a request would get, and why. It asks the same router, rules and strategies
//! that serve requests; no core is started, no name is resolved.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use config_core::model::{
    Action, Backend, HashKey, Model, Pattern, Route, Rule, Strategy, Upstream, VirtualHost,
};
use protocol::{Limits, RequestHead};

use crate::balance::{Backends, Balancer, Moment, Plan, hash_of};
use crate::router::{RewriteError, Router, RuleCache, RuleMatch, Rules};

/// What is asked about.
#[derive(Clone, Debug)]
pub struct Question {
    /// `Host`, with or without a port.
    pub host: String,
    /// Path and query, as a client would send them.
    pub target: String,
    /// Method.
    pub method: String,
    /// Address of the client, for strategies that look at it.
    pub client: Option<IpAddr>,
}

/// Rules that did not match are told up to so many.
const MISSES_TOLD_MAX: usize = 20;
/// Backends are listed up to so many.
const BACKENDS_TOLD_MAX: usize = 20;

/// Answers in lines for a person.
///
/// # Errors
/// When such a request would be refused before any route is looked for; says why.
pub fn explain(model: &Model, question: &Question) -> Result<String, String> {
    let wire = format!("{} {} HTTP/1.1\r\nHost: {}\r\n\r\n", question.method, question.target, question.host);
    let mut head = RequestHead::new();
    let parsed = head.parse(wire.as_bytes(), &Limits::default());
    let whole = parsed.map_err(|error| format!("such a request is refused: {}", error.reason()))?;
    whole.ok_or("such a request is no whole request: a line break in it?")?;
    let mut text = String::new();
    let (host, path) = (head.host(wire.as_bytes()), head.path(wire.as_bytes()));
    let shown = String::from_utf8_lossy(path);
    let line = |text: &mut String, label: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{label:<9}{value}");
    };
    line(&mut text, "request", &format!("{} {} for {}", question.method, question.target, question.host));
    if shown != question.target.split('?').next().unwrap_or_default() {
        line(&mut text, "path", &format!("{shown}, normalised"));
    }
    let compile = |route: &Arc<Route>| Ok::<_, std::convert::Infallible>(Arc::clone(route));
    let Ok(router) = Router::build(&model.routes, None, compile);
    let Some(route) = router.find(host) else {
        line(&mut text, "route", "none serves this host: 404");
        return Ok(text);
    };
    let why = match &route.vhost {
        VirtualHost::Exact(_) => "exactly this host",
        VirtualHost::Wildcard(_) => "the longest wildcard for it; no route has exactly this host",
        VirtualHost::Any => "every host; no route has this one, nor a wildcard for it",
    };
    line(&mut text, "route", &format!("{} (vhost {}): {why}", route.id, route.vhost));
    let rules =
        Rules::compile(&route.rules).map_err(|error| format!("paths[{}]: {}", error.rule, error.reason))?;
    let mut cache = RuleCache::new();
    let found = rules.find(&mut cache, question.method.as_bytes(), path);
    tell_misses(&mut text, route, found, &question.method, line);
    let Some(found) = found else {
        let why = if route.rules.is_empty() { "the route has none" } else { "none matches" };
        line(&mut text, "rule", &format!("{why}: the route's backends"));
        tell_backends(&mut text, &route.upstream, path, head.query(wire.as_bytes()), question, line);
        return Ok(text);
    };
    let rule = &route.rules[found.rule];
    line(&mut text, "rule", &format!("paths[{}] ({}): the first that matches", found.rule, describe(rule)));
    let mut made = Vec::new();
    let query = head.query(wire.as_bytes());
    match rules.rewrite(&mut cache, found, path, query, &mut made) {
        Ok(_) => {}
        Err(RewriteError::DotSegments) => {
            line(&mut text, "answer", "400: what the rule makes of the path has dot segments");
            return Ok(text);
        }
        Err(RewriteError::TooLong) => {
            line(&mut text, "answer", "414: what the rule makes of the path is too long");
            return Ok(text);
        }
    }
    let made_text = String::from_utf8_lossy(&made);
    match &rule.action {
        Action::Respond(respond) => line(
            &mut text,
            "answer",
            &format!("{} with {} bytes of {}", respond.status, respond.body.len(), respond.content_type),
        ),
        Action::Redirect(redirect) => {
            line(&mut text, "answer", &format!("{} to {made_text}", redirect.status))
        }
        Action::Forward(forward) => {
            if !made.is_empty() {
                line(&mut text, "rewrite", &made_text);
            }
            let (path, query) = match (made.is_empty(), made_text.split_once('?')) {
                (true, _) => (path, query),
                (false, Some((path, query))) => (path.as_bytes(), Some(query.as_bytes())),
                (false, None) => (made.as_slice(), None),
            };
            let upstream = forward.target.as_ref().unwrap_or(&route.upstream);
            tell_backends(&mut text, upstream, path, query, question, line);
            if forward.change_origin {
                line(&mut text, "origin", "Host and Origin become the backend's");
            }
        }
    }
    Ok(text)
}

fn describe(rule: &Rule) -> String {
    let methods =
        if rule.methods.is_empty() { String::new() } else { format!(", {}", rule.methods.join(" or ")) };
    format!("{} {}{methods}", rule.pattern.kind(), rule.pattern.text())
}

/// Why the rules before the one that was found do not match.
fn tell_misses(
    text: &mut String,
    route: &Route,
    found: Option<RuleMatch>,
    method: &str,
    line: impl Fn(&mut String, &str, &str),
) {
    let count = found.map_or(route.rules.len(), |found| found.rule);
    for (index, rule) in route.rules.iter().take(count).take(MISSES_TOLD_MAX).enumerate() {
        let by_method = !rule.methods.is_empty() && !rule.methods.iter().any(|own| own == method);
        let why = match (&rule.pattern, by_method) {
            (_, true) => "not for this method",
            (Pattern::Exact(_), _) => "another path",
            (Pattern::Prefix(_), _) => "the path does not begin so",
            (Pattern::Regex(_), _) => "the expression finds nothing in the path",
        };
        line(text, "", &format!("not paths[{index}] ({}): {why}", describe(rule)));
    }
    if count > MISSES_TOLD_MAX {
        line(text, "", &format!("nor {} more", count - MISSES_TOLD_MAX));
    }
}

fn tell_backends(
    text: &mut String,
    upstream: &Upstream,
    path: &[u8],
    query: Option<&[u8]>,
    question: &Question,
    line: impl Fn(&mut String, &str, &str),
) {
    let target = |backend: &Backend| {
        let path = String::from_utf8_lossy(path);
        let whole =
            if path == "/" { backend.root_path.clone() } else { format!("{}{path}", backend.path_prefix) };
        let query = query.map(|query| format!("?{}", String::from_utf8_lossy(query))).unwrap_or_default();
        format!("{} gets {whole}{query}", backend.id)
    };
    if let [only] = upstream.backends.as_slice() {
        return line(text, "backend", &format!("{}: the only one", target(only)));
    }
    let why = match upstream.strategy {
        Strategy::RoundRobin => "each in turn",
        Strategy::Weighted => "each in turn, in proportion to its weight",
        Strategy::LeastConnections => "the one with the fewest exchanges and sessions for its weight",
        Strategy::Random => "any, in proportion to its weight",
        Strategy::LeastLatency => "the quicker of two random ones",
        Strategy::IpHash => match (&upstream.hash_key, question.client) {
            (HashKey::ClientIp, Some(client)) => {
                if let Some(index) = hashed(upstream, &client.to_string()) {
                    let chosen = target(&upstream.backends[index]);
                    return line(
                        text,
                        "backend",
                        &format!("{chosen}: {client} is there on the ring, while it is alive"),
                    );
                }
                "by a hash of the client's address"
            }
            (HashKey::ClientIp, None) => "by a hash of the client's address (say which with --client)",
            (HashKey::Header(_), _) => "by a hash of a request field",
            (HashKey::Cookie(_), _) => "by a hash of a cookie",
        },
    };
    line(text, "backends", &format!("{}: {why}", upstream.strategy.as_str()));
    for backend in upstream.backends.iter().take(BACKENDS_TOLD_MAX) {
        line(text, "", &format!("{}, weight {}", target(backend), backend.weight));
    }
    if upstream.backends.len() > BACKENDS_TOLD_MAX {
        line(text, "", &format!("and {} more", upstream.backends.len() - BACKENDS_TOLD_MAX));
    }
}

fn hashed(upstream: &Upstream, key: &str) -> Option<usize> {
    let balancer = Balancer::new(Arc::new(Plan::of(upstream)), 0);
    balancer.pick(&Everyone, &Moment { now_ms: 0, random: 0, client_hash: hash_of(key.as_bytes()) })
}

/// All backends alive and idle.
struct Everyone;

impl Backends for Everyone {
    fn is_usable(&self, _: usize) -> bool {
        true
    }

    fn share(&self, _: usize) -> f32 {
        1.0
    }

    fn in_flight(&self, _: usize) -> u32 {
        0
    }
}
