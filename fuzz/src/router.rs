//! Which route serves a host and which rule a path, against models that look at everything, one after another.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

use config_core::model::{Action, Forward, Pattern, Redirect, Route, Routes, Rule, VirtualHost};
use config_core::{Draft, RouteId};
use engine::internals::router::{Hosts, PathRules};
use protocol::{Limits, RequestHead};
use regex::{Regex, RegexBuilder};

/// Lines of a program that are looked at.
const LINES_MAX: usize = 48;
/// Rules at once.
const RULES_MAX: usize = 64;
/// Ids of routes, so that routes change their hosts and hosts their routes.
const IDS: usize = 6;
/// Longest pattern or template, and automaton of an expression: larger ones are slow and no different.
const TEXT_BYTES_MAX: usize = 64;
const EXPRESSION_BYTES_MAX: usize = 64 << 10;

/// A program of changes and requests, one to a line:
///
/// ```text
/// +3 *.example.com                 route 3 has this virtual host      -3  it is gone      !  the changes are published
/// @A.Example.com:80                a request for this host
/// =GET,PUT /a => /b                a rule: = exact, < prefix, ~ expression, with methods; => a rewrite, -> a redirect
/// #12                              the last rule so many times, with the number in place of each @
/// ?GET /a?b                        a request with this target
/// ```
///
/// Promises: a host finds the route that a look at every route finds, also in a table that was built from the one before; a
/// path finds the rule that comes first, expressions being those of the `regex` crate; every expression that the crate
/// takes is taken; a rewritten target begins with a slash, has only visible ASCII, no dot segment, and ends with the query;
/// a location has only visible ASCII, and leads elsewhere only where its template does.
pub fn router(data: &[u8]) {
    let mut world = World::default();
    for line in data.split(|byte| *byte == b'\n').take(LINES_MAX) {
        let Some((operation, text)) = line.split_first() else { continue };
        match (operation, std::str::from_utf8(text)) {
            (b'@', _) => world.ask_host(text),
            (b'?', _) => world.ask_path(text),
            (b'+', Ok(text)) => world.add_route(text),
            (b'-', Ok(text)) => world.remove_route(text),
            (b'!', _) => world.publish(),
            (b'#', Ok(text)) => world.repeat_rule(text),
            (b'=' | b'<' | b'~', Ok(text)) => world.add_rule(*operation, text),
            _ => {}
        }
    }
    world.publish();
    for host in ["a", "a.b", "x.a.b", "[::1]"] {
        world.ask_host(host.as_bytes());
    }
}

struct World {
    /// Virtual hosts as validation reads them: few are met in one input, many of them again.
    known_hosts: BTreeMap<String, Option<Route>>,
    next: Routes,
    running: Routes,
    hosts: Hosts,
    rules: Vec<(Rule, Option<Regex>)>,
    /// `rules`, compiled; `None` after a change.
    compiled: Option<PathRules>,
}

impl Default for World {
    fn default() -> World {
        let none = Routes::new();
        World {
            known_hosts: BTreeMap::new(),
            hosts: Hosts::build(&none, None),
            next: none.clone(),
            running: none,
            rules: Vec::new(),
            compiled: None,
        }
    }
}

impl World {
    fn add_route(&mut self, text: &str) {
        let (number, vhost) = text.split_once(' ').unwrap_or(("0", text));
        let read = || read_route(vhost);
        let Some(route) = self.known_hosts.entry(vhost.to_owned()).or_insert_with(read) else { return };
        let changed = Route { id: id(number), ..route.clone() };
        if let Ok(next) = self.next.with(Arc::new(changed)) {
            self.next = next;
        }
    }

    fn remove_route(&mut self, number: &str) {
        self.next = self.next.without(&id(number));
    }

    fn publish(&mut self) {
        self.hosts = Hosts::build(&self.next, Some((&self.running, &self.hosts)));
        self.running = self.next.clone();
    }

    fn ask_host(&self, host: &[u8]) {
        let request = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat();
        let mut head = RequestHead::new();
        // What is no host finds something or nothing.
        let found = self.hosts.find(host);
        if !head.parse(&request, &Limits::default()).is_ok_and(|len| len == Some(request.len())) {
            return;
        }
        let name = head.host_name(&request);
        let expected = first_host(&self.running, name).map(|route| &route.id);
        assert_eq!(self.hosts.find(head.host(&request)), expected, "{}", host.escape_ascii());
        if head.host(&request) == host {
            assert_eq!(found, expected, "{}", host.escape_ascii());
        }
    }

    fn add_rule(&mut self, kind: u8, text: &str) {
        let (methods, rest) = text.split_once(' ').unwrap_or(("", text));
        let methods = methods.split(',').filter(|method| !method.is_empty()).map(str::to_owned).collect();
        let (pattern, action) = match (rest.split_once(" => "), rest.split_once(" -> ")) {
            (Some((pattern, rewrite)), _) => (
                pattern,
                Action::Forward(Forward { rewrite: Some(rewrite.to_owned()), ..Forward::default() }),
            ),
            (None, Some((pattern, location))) => {
                (pattern, Action::Redirect(Redirect { status: 308, location: location.to_owned() }))
            }
            (None, None) => (rest, Action::Forward(Forward::default())),
        };
        let pattern = match kind {
            b'=' => Pattern::Exact(pattern.to_owned()),
            b'<' => Pattern::Prefix(pattern.to_owned()),
            _ => Pattern::Regex(pattern.to_owned()),
        };
        self.push_rule(Rule { pattern, methods, action });
    }

    fn push_rule(&mut self, rule: Rule) {
        if self.rules.len() == RULES_MAX || rule.pattern.text().len() > TEXT_BYTES_MAX {
            return;
        }
        let expression = match &rule.pattern {
            Pattern::Regex(text) => {
                let built = RegexBuilder::new(text).size_limit(EXPRESSION_BYTES_MAX).build();
                let Ok(expression) = built else { return };
                Some(expression)
            }
            Pattern::Exact(_) | Pattern::Prefix(_) => None,
        };
        // Validation refuses templates that do not compile.
        if PathRules::compile(std::slice::from_ref(&rule)).is_ok() {
            self.rules.push((rule, expression));
            self.compiled = None;
        } else {
            let plain = Rule { action: Action::Forward(Forward::default()), ..rule };
            assert!(PathRules::compile(std::slice::from_ref(&plain)).is_ok(), "{plain:?}");
        }
    }

    fn repeat_rule(&mut self, times: &str) {
        let Some((last, _)) = self.rules.pop() else { return };
        for number in 0..times.parse::<usize>().unwrap_or(20).min(RULES_MAX) {
            let text = last.pattern.text().replace('@', &number.to_string());
            let pattern = match &last.pattern {
                Pattern::Exact(_) => Pattern::Exact(text),
                Pattern::Prefix(_) => Pattern::Prefix(text),
                Pattern::Regex(_) => Pattern::Regex(text),
            };
            self.push_rule(Rule { pattern, ..last.clone() });
        }
    }

    fn ask_path(&mut self, text: &[u8]) {
        let space = text.iter().position(|byte| *byte == b' ').unwrap_or_default();
        let (method, target) = (&text[..space], &text[space..]);
        let request = [method, target, b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
        let mut head = RequestHead::new();
        if !head.parse(&request, &Limits::default()).is_ok_and(|len| len == Some(request.len())) {
            return;
        }
        let path = std::str::from_utf8(head.path(&request)).expect("a path is ASCII");
        let rules = &self.rules;
        let compiled = self.compiled.get_or_insert_with(|| {
            let rules: Vec<Rule> = rules.iter().map(|(rule, _)| rule.clone()).collect();
            PathRules::compile(&rules).expect("each of them compiles")
        });
        let found = compiled.find(method, path.as_bytes());
        let expected = rules.iter().position(|rule| takes(rule, method, path));
        assert_eq!(found, expected, "{} {path}", method.escape_ascii());
        if let Some(number) = found {
            let query = head.query(&request);
            let written = compiled.rewrite(number, path.as_bytes(), query);
            written_as_promised(&rules[number].0, query, written);
        }
    }
}

fn id(number: &str) -> RouteId {
    RouteId::new(&format!("r{}", number.parse::<usize>().unwrap_or_default() % IDS))
}

/// A route for this virtual host, if it is one.
fn read_route(vhost: &str) -> Option<Route> {
    if vhost.contains(['"', '\\']) || vhost.chars().any(char::is_control) {
        return None;
    }
    let mut draft = Draft::new();
    let file = format!("[[route]]\nvhost = \"{vhost}\"\nbackends = [{{ url = \"http://10.0.0.1:1\" }}]\n");
    draft.add_toml("fuzz.toml", &file, &|_| None);
    let config = draft.validate().ok()?;
    config.model().routes.iter().next().map(|route| route.as_ref().clone())
}

/// The route that serves a host, by looking at all: the exact name, else the longest wildcard, else `*`.
fn first_host<'a>(routes: &'a Routes, host: &[u8]) -> Option<&'a Arc<Route>> {
    let lower = String::from_utf8_lossy(host).to_ascii_lowercase();
    let (name, is_name) = match lower.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => (address.parse::<Ipv6Addr>().map(|address| address.to_string()).ok(), false),
        None => (Some(lower.strip_suffix('.').unwrap_or(&lower).to_owned()), true),
    };
    let name = name.filter(|name| !name.is_empty() && name.len() <= 253);
    let rank = |route: &Route| match (&route.vhost, &name) {
        (VirtualHost::Exact(exact), Some(name)) => (**exact == **name).then_some(usize::MAX),
        (VirtualHost::Wildcard(suffix), Some(name)) if is_name => {
            let labels = name.strip_suffix(&**suffix).and_then(|rest| rest.strip_suffix('.'));
            labels.is_some_and(|labels| !labels.is_empty()).then_some(1 + suffix.len())
        }
        (VirtualHost::Any, _) => Some(0),
        _ => None,
    };
    let ranked = routes.iter().filter_map(|route| Some((rank(route)?, route)));
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, route)| route)
}

fn takes((rule, expression): &(Rule, Option<Regex>), method: &[u8], path: &str) -> bool {
    let is_path = match &rule.pattern {
        Pattern::Exact(text) => path == text,
        Pattern::Prefix(text) => path
            .strip_prefix(text.as_str())
            .is_some_and(|rest| rest.is_empty() || text.ends_with('/') || rest.starts_with('/')),
        Pattern::Regex(_) => expression.as_ref().is_some_and(|expression| expression.is_match(path)),
    };
    is_path && (rule.methods.is_empty() || rule.methods.iter().any(|known| known.as_bytes() == method))
}

fn written_as_promised(rule: &Rule, query: Option<&[u8]>, written: Result<Option<Vec<u8>>, u16>) {
    let (template, is_location) = match &rule.action {
        Action::Forward(forward) => (forward.rewrite.as_deref(), false),
        Action::Redirect(redirect) => (Some(redirect.location.as_str()), true),
        Action::Respond(_) => (None, false),
    };
    let target = match written {
        Ok(target) => target,
        Err(status) => {
            assert!(template.is_some() && matches!(status, 400 | 414), "{rule:?}: {status}");
            return;
        }
    };
    assert_eq!(target.is_some(), template.is_some(), "{rule:?}");
    let (Some(target), Some(template)) = (target, template) else { return };
    let shown = target.escape_ascii();
    assert!(target.iter().all(u8::is_ascii_graphic), "{rule:?}: {shown}");
    if is_location {
        let is_group = template.starts_with('$') && !template.starts_with("$$");
        let leads_elsewhere = !(is_group || template.starts_with('/')) || template.starts_with("//");
        let is_ours = target.starts_with(b"/") && !target.starts_with(b"//");
        assert!(is_ours || leads_elsewhere, "{rule:?}: {shown}");
        return;
    }
    assert!(target.starts_with(b"/"), "{rule:?}: {shown}");
    assert!(!target.contains(&b'#'), "{rule:?}: {shown}");
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let path = String::from_utf8_lossy(path).to_ascii_lowercase().replace("%2e", ".");
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{rule:?}: {shown}");
    if let Some(query) = query {
        assert!(target.ends_with(query), "{rule:?}: {shown}");
    }
}
