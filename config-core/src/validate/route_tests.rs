//! Routes, rules and health as tables: what is written, and what must be said about it.

use std::fmt::Write as _;

use crate::builder::ProxyConfig;
use crate::error::ConfigErrors;
use crate::ids::RouteId;
use crate::model::{
    Action, CircuitBreaker, Field, HashKey, LimitOverrides, Model, Pattern, Probe, Redirect, Respond, Route,
    Strategy, TimeoutOverrides, VirtualHost,
};
use crate::raw::Draft;

/// Three lines of a route that nothing is wrong with.
const ROUTE: &str = "[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://10.0.0.1:3000\" }]\n";

/// Every setting of a route, with another value than its default.
const ALL: &str = r#"
[health]
active = "tcp"
interval_ms = 1000
[circuit_breaker]
failure_threshold = 3
failure_ratio_percent = 50
window_ms = 5000
window_requests_min = 10
reset_timeout_ms = 1000
reset_timeout_ms_max = 8000
failure_statuses = [503, 500, 503]
[dns]
servers = ["10.0.0.2", "[::1]:5353"]

[[route]]
id = "api"
vhost = "API.Example.com."
strategy = "IP_HASH"
hash_key = "cookie:Session"
panic_threshold = 30
retries = 1
sticky = "lb"
req_active_length = 100
req_queue_length = 50
queue_timeout_ms = 250
headers = { X-Team = "blue", Host = "inner.example:81" }
response_headers = { X-Frame-Options = " DENY " }
timeouts = { connect_ms = 1, first_byte_ms = 2, body_progress_ms = 3, write_stall_ms = 4, websocket_idle_ms = 5 }
limits = { body_bytes_max = "1KiB", message_bytes_max = 500 }
health = { active = "http", endpoint = "/up?x=1", interval_ms = 100, timeout_ms = 50, unhealthy_threshold = 3, healthy_threshold = 2 }
backends = [
  { url = "http://10.0.0.1:3000", weight = 1000, max_connections = 5, slow_start_ms = 30000 },
  { url = "unix:/run/a.sock", id = "b" },
]
[[route.paths]]
match = "regex"
pattern = '^/api/v(\d+)/(?P<rest>.*)$'
methods = ["GET", "purge"]
target = "ws://other:9/base"
rewrite = "/version/$1/$rest"
change_origin = true
headers = { X-Rule = "1" }
[[route.paths]]
match = "exact"
pattern = "/old"
redirect = { status = 301, location = "https://new.example/" }
[[route.paths]]
match = "PREFIX"
pattern = "/status"
respond = { status = 503, body = "down", content_type = "text/html" }
[[route.paths]]
match = "prefix"
pattern = "/again"
target = "ws://other:9/base"

[[route]]
vhost = "*.example.com"
strategy = "LEAST_LATENCY"
health = { active = "off" }
backends = [{ url = "http://10.0.0.1:3000" }]

[[route]]
vhost = "*"
backends = [{ url = "http://10.0.0.1:3000" }]
"#;

fn read(text: &str) -> Result<ProxyConfig, ConfigErrors> {
    let mut draft = Draft::new();
    draft.add_toml("pinion.toml", text, &|name| (name == "HOST").then(|| "10.0.0.9".to_owned()));
    draft.validate()
}

fn route<'a>(model: &'a Model, id: &str) -> &'a Route {
    model.routes.get(&RouteId::new(id)).unwrap_or_else(|| panic!("no route {id}"))
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value: value.to_owned() }
}

#[test]
fn every_setting_of_a_route_is_read() {
    let config = read(ALL).expect("valid");
    let model = config.model();
    assert_eq!(model.routes.len(), 3);
    let api = route(model, "api");
    assert_eq!(api.vhost, VirtualHost::Exact("api.example.com".into()));
    assert_eq!(api.upstream.strategy, Strategy::IpHash);
    assert_eq!(api.upstream.hash_key, HashKey::Cookie("Session".to_owned()));
    assert_eq!(api.upstream.panic_threshold_percent, 30);
    assert_eq!((api.retries, api.sticky.as_deref()), (1, Some("lb")));
    assert_eq!((api.req_active_length, api.req_queue_length, api.queue_timeout_ms), (Some(100), 50, 250));
    assert_eq!(api.headers, [field("Host", "inner.example:81"), field("X-Team", "blue")]);
    assert_eq!(api.response_headers, [field("X-Frame-Options", "DENY")]);
    let timeouts = TimeoutOverrides {
        connect_ms: Some(1),
        first_byte_ms: Some(2),
        body_progress_ms: Some(3),
        write_stall_ms: Some(4),
        websocket_idle_ms: Some(5),
    };
    assert_eq!(api.timeouts, timeouts);
    assert_eq!(api.limits, LimitOverrides { body_bytes_max: Some(1024), message_bytes_max: Some(500) });
    let check = api.health.clone().flatten().expect("a check of its own");
    assert_eq!(check.probe, Probe::Http { endpoint: "/up?x=1".to_owned() });
    assert_eq!((check.interval_ms, check.timeout_ms), (100, 50));
    assert_eq!((check.unhealthy_threshold, check.healthy_threshold), (3, 2));
    let [first, second] = &api.upstream.backends[..] else { panic!("two backends") };
    assert_eq!((first.weight, first.max_connections, first.slow_start_ms), (1000, Some(5), 30_000));
    assert_eq!((second.id.as_str(), second.weight, second.max_connections), ("b", 1, None));

    let wildcard = route(model, "*.example.com");
    assert_eq!(wildcard.vhost, VirtualHost::Wildcard("example.com".into()));
    assert_eq!(wildcard.upstream.strategy, Strategy::LeastLatency);
    assert_eq!(wildcard.health, Some(None));
    assert_eq!(route(model, "default").vhost, VirtualHost::Any);
    assert_eq!(route(model, "default").health, None);
}

#[test]
fn every_rule_is_read() {
    let config = read(ALL).expect("valid");
    let api = route(config.model(), "api");
    let [versions, old, status, again] = &api.rules[..] else { panic!("four rules") };
    assert_eq!(versions.pattern, Pattern::Regex(r"^/api/v(\d+)/(?P<rest>.*)$".to_owned()));
    assert_eq!(versions.methods, ["GET", "purge"]);
    let Action::Forward(forward) = &versions.action else { panic!("forwards") };
    let target = forward.target.as_ref().expect("its own");
    assert_eq!(target.id.as_str(), "api>ws://other:9/base");
    assert_eq!(target.backends[0].path_prefix, "/base");
    assert_eq!(forward.rewrite.as_deref(), Some("/version/$1/$rest"));
    assert!(forward.change_origin);
    assert_eq!(forward.headers, [field("X-Rule", "1")]);
    let redirect = Redirect { status: 301, location: "https://new.example/".to_owned() };
    assert_eq!(old.action, Action::Redirect(redirect));
    let respond = Respond { status: 503, body: "down".to_owned(), content_type: "text/html".to_owned() };
    assert_eq!(
        (&status.pattern, &status.action),
        (&Pattern::Prefix("/status".to_owned()), &Action::Respond(respond))
    );
    let Action::Forward(forward) = &again.action else { panic!("forwards") };
    assert!(
        std::sync::Arc::ptr_eq(forward.target.as_ref().expect("its own"), target),
        "one target, one upstream"
    );
}

#[test]
fn backends_behind_tls_are_verified_unless_the_operator_says_otherwise() {
    let config = read(
        "[[route]]\nvhost = \"*\"\nbackends = [{ url = \"https://a:1\" }, { url = \"http://b:1\" }]\n\
         backend_tls = { server_name = \"A.Example\" }\npaths = [\n\
         { match = \"prefix\", pattern = \"/x\", secure = false },\n\
         { match = \"prefix\", pattern = \"/y\", secure = true },\n\
         { match = \"prefix\", pattern = \"/z\", target = \"wss://c:1\", secure = false },\n]\n",
    )
    .expect("valid");
    let route = route(config.model(), "default");
    let verify = |upstream: &crate::model::Upstream, at: usize| {
        upstream.backends[at].tls.as_ref().map(|tls| (tls.verify, tls.server_name.clone()))
    };
    let name = Some("a.example".to_owned());
    assert_eq!(verify(&route.upstream, 0), Some((true, name.clone())));
    assert_eq!(verify(&route.upstream, 1), None, "without TLS");
    let target = |at: usize| {
        let Action::Forward(forward) = &route.rules[at].action else { panic!("forwards") };
        forward.target.clone()
    };
    let insecure = target(0).expect("connections of its own");
    assert_eq!(verify(&insecure, 0), Some((false, name.clone())));
    assert_ne!(insecure.id, route.upstream.id);
    assert_eq!(target(1), None, "as the route");
    assert_eq!(verify(&target(2).expect("its own"), 0), Some((false, name)));
    let again = ProxyConfig::from_json(&config.to_json()).expect("its own output");
    assert_eq!(again.model(), config.model());
}

#[test]
fn health_circuit_breaker_and_dns_are_read_and_switch_their_flags() {
    use crate::flags::FeatureFlags as Flags;
    let config = read(ALL).expect("valid");
    let model = config.model();
    let check = model.health.as_ref().expect("on");
    assert_eq!((&check.probe, check.interval_ms, check.timeout_ms), (&Probe::Tcp, 1000, 5000));
    let breaker = CircuitBreaker {
        failure_threshold: 3,
        failure_ratio_percent: Some(50),
        window_ms: 5000,
        window_requests_min: 10,
        reset_timeout_ms: 1000,
        reset_timeout_ms_max: 8000,
        failure_statuses: vec![500, 503],
    };
    assert_eq!(model.circuit_breaker, breaker);
    let servers: Vec<String> = model.dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["10.0.0.2:53", "[::1]:5353"]);
    let all = Flags::HEALTH_CHECKS | Flags::CIRCUIT_BREAKER | Flags::RETRIES;
    assert!(model.feature_flags().contains(all));

    let flags = |text: &str| read(&format!("{text}{ROUTE}")).expect(text).model().feature_flags() & all;
    assert_eq!(flags(""), Flags::CIRCUIT_BREAKER | Flags::RETRIES, "the defaults");
    assert_eq!(flags("[circuit_breaker]\nfailure_threshold = 0\n"), Flags::RETRIES);
    let ratio_alone = "[circuit_breaker]\nfailure_threshold = 0\nfailure_ratio_percent = 1\n";
    assert_eq!(flags(ratio_alone), Flags::CIRCUIT_BREAKER | Flags::RETRIES);
    assert_eq!(flags("[health]\nactive = \"http\"\n"), all);
    let of_route = read(&format!("{ROUTE}retries = 0\nhealth = {{ active = \"tcp\" }}\n")).expect("valid");
    assert_eq!(of_route.model().feature_flags() & all, Flags::HEALTH_CHECKS | Flags::CIRCUIT_BREAKER);
    let long = read(&format!("[circuit_breaker]\nreset_timeout_ms = 600000\n{ROUTE}")).expect("valid");
    assert_eq!(long.model().circuit_breaker.reset_timeout_ms_max, 600_000, "the cap is not below");
}

#[test]
fn all_of_it_reads_back_from_json() {
    let config = read(ALL).expect("valid");
    let again = ProxyConfig::from_json(&config.to_json()).expect("its own output");
    assert_eq!(again.model(), config.model());
    assert_eq!(again.to_json(), config.to_json());
    assert!(
        config.to_json().contains("\"X-Frame-Options\""),
        "names are not respelled: {}",
        config.to_json()
    );
    for route in config.model().routes.iter() {
        let again = ProxyConfig::route_from_json(&route.to_json()).expect("its own output");
        assert_eq!(again, **route);
    }
}

/// Text after [`ROUTE`]; line; key; part of the message.
#[test]
fn every_error_of_a_route_or_rule_names_its_place() {
    let rows = [
        ("hash_key = \"port\"", 4, "route[0].hash_key", "\"cookie:NAME\""),
        ("hash_key = \"header:\"", 4, "route[0].hash_key", "\"header:NAME\""),
        ("panic_threshold = 101", 4, "route[0].panic_threshold", "0 to 100"),
        ("sticky = \"a b\"", 4, "route[0].sticky", "a name of up to"),
        ("queue_timeout_ms = 0", 4, "route[0].queue_timeout_ms", "a queue of zero"),
        ("timeouts = { idle_ms = 1 }", 4, "route[0].timeouts.idle_ms", "unknown key"),
        ("limits = { fields_max = 1 }", 4, "route[0].limits.fields_max", "unknown key"),
        ("headers = { Upgrade = \"x\" }", 4, "route[0].headers.Upgrade", "written by the proxy itself"),
        ("headers = { X-A = 1 }", 4, "route[0].headers.X-A", "found 1; text is expected"),
        ("headers = { X-A = \"1\", x-a = \"2\" }", 4, "route[0].headers.x-a", "the same field"),
        ("headers = \"x\"", 4, "route[0].headers", "a table of names"),
        ("response_headers = { Host = \"a\" }", 4, "route[0].response_headers.Host", "no Host"),
        ("health = { active = \"udp\" }", 4, "route[0].health.active", "\"off\", \"http\", \"tcp\""),
        ("health = { active = \"http\", endpoint = \"up\" }", 4, "route[0].health.endpoint", "/health"),
        ("health = 1", 4, "route[0].health", "a table is expected"),
        ("auto_https = 1", 4, "route[0].auto_https", "true or false"),
        ("backend_tls = { cert = \"/nope\" }", 4, "route[0].backend_tls.cert", "without key"),
        ("filters = []", 4, "route[0].filters", "not available in this version"),
        ("[[route.paths]]\npattern = \"/\"", 4, "route[0].paths[0].match", "missing"),
        ("[[route.paths]]\nmatch = \"exact\"", 4, "route[0].paths[0].pattern", "missing"),
        ("[[route.paths]]\nmatch = \"glob\"\npattern = \"/\"", 5, "route[0].paths[0].match", "\"regex\""),
        (
            "[[route.paths]]\nmatch = \"exact\"\npattern = \"a\"",
            6,
            "route[0].paths[0].pattern",
            "begins with",
        ),
        (
            "[[route.paths]]\nmatch = \"regex\"\npattern = \"^/(\"",
            6,
            "route[0].paths[0].pattern",
            "unclosed group",
        ),
        (
            "[[route.paths]]\nmatch = \"regex\"\npattern = \"^/(.*)$\"\nrewrite = \"/$2\"",
            7,
            "route[0].paths[0].rewrite",
            "no group 2: the pattern has 1",
        ),
        (
            "[[route.paths]]\nmatch = \"regex\"\npattern = \"^/(.*)$\"\nrewrite = \"/$name\"",
            7,
            "route[0].paths[0].rewrite",
            "no group \"name\"",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nrewrite = \"/$1\"",
            7,
            "route[0].paths[0].rewrite",
            "the pattern has no groups",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nrewrite = \"b\"",
            7,
            "route[0].paths[0].rewrite",
            "begins with \"/\"",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nrewrite = \"/b?c\"",
            7,
            "route[0].paths[0].rewrite",
            "cannot have a query",
        ),
        (
            "[[route.paths]]\nmatch = \"exact\"\npattern = \"/a\"\nrewrite = \"/b/%2e./c\"",
            7,
            "route[0].paths[0].rewrite",
            "dot segments",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nrewrite = \"/$\"",
            7,
            "route[0].paths[0].rewrite",
            "or $$ for a dollar sign",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nmethods = [\"get\"]",
            7,
            "route[0].paths[0].methods[0]",
            "write \"GET\"",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nmethods = [\"GET\", \"GET\"]",
            7,
            "route[0].paths[0].methods[1]",
            "twice",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\ntarget = \"ftp://a\"",
            7,
            "route[0].paths[0].target",
            "unknown scheme",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nsecure = 1",
            7,
            "route[0].paths[0].secure",
            "true or false",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nredirect = { status = 308, location = \"/\" }\ntarget = \"http://a\"",
            8,
            "route[0].paths[0].target",
            "beside redirect",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nredirect = { status = 308, location = \"/\" }\nrespond = {}",
            8,
            "route[0].paths[0].respond",
            "beside redirect",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nredirect = { status = 300, location = \"/\" }",
            7,
            "route[0].paths[0].redirect.status",
            "301, 302, 303, 307, 308",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nredirect = { location = \"javascript:\" }",
            7,
            "route[0].paths[0].redirect.location",
            "http or https",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nredirect = { }",
            7,
            "route[0].paths[0].redirect.status",
            "missing",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nrespond = { status = 101 }",
            7,
            "route[0].paths[0].respond.status",
            "200 to 599",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nrespond = { status = 204, body = \"x\" }",
            7,
            "route[0].paths[0].respond.body",
            "has no body",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nrespond = { content_type = \"a\\nb\" }",
            7,
            "route[0].paths[0].respond.content_type",
            "control",
        ),
        (
            "[[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\nmatches = 1",
            7,
            "route[0].paths[0].matches",
            "\"match\"",
        ),
        (
            "[[route]]\nvhost = \"a:80\"\nbackends = [{ url = \"http://a\" }]",
            5,
            "route[1].vhost",
            "a port has no place",
        ),
        (
            "[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://a\" }]",
            5,
            "route[1].vhost",
            "already, at pinion.toml:2:9",
        ),
        (
            "[[route]]\nvhost = \"a.example\"\nid = \"default\"\nbackends = [{ url = \"http://a\" }]",
            6,
            "route[1].id",
            "already, at pinion.toml:1:",
        ),
        ("[health]\nactive = \"http\"\ninterval_ms = 1", 6, "health.interval_ms", "100 to 86400000"),
        (
            "[circuit_breaker]\nfailure_statuses = [404]",
            5,
            "circuit_breaker.failure_statuses[0]",
            "500 to 599",
        ),
        ("[circuit_breaker]\nfailure_threshold = 4096", 5, "circuit_breaker.failure_threshold", "0 to 4095"),
        (
            "[circuit_breaker]\nfailure_ratio_percent = 0",
            5,
            "circuit_breaker.failure_ratio_percent",
            "1 to 100",
        ),
        (
            "[circuit_breaker]\nreset_timeout_ms_max = 5",
            5,
            "circuit_breaker.reset_timeout_ms_max",
            "below reset_timeout_ms 30000",
        ),
        ("[dns]\nservers = [\"dns.example\"]", 5, "dns.servers[0]", "addresses of name servers"),
        ("[dns]\nservers = [\"1.1.1.1\", \"1.1.1.1:53\"]", 5, "dns.servers[1]", "twice"),
    ];
    for (text, line, key, part) in rows {
        let found = read(&format!("{ROUTE}{text}\n")).expect_err(text);
        let found = found
            .iter()
            .find(|error| error.key == key && error.to_string().contains(part))
            .unwrap_or_else(|| panic!("{text}: {found}"));
        let place = format!("pinion.toml:{line}:");
        assert!(found.to_string().starts_with(&place), "{text}: {found}");
    }
}

#[test]
fn two_spellings_of_one_host_are_one_host() {
    let of_both = |first: &str, second: &str| {
        let route = |vhost: &str| {
            format!("[[route]]\nvhost = \"{vhost}\"\nbackends = [{{ url = \"http://10.0.0.1:3000\" }}]\n")
        };
        read(&format!("{}{}", route(first), route(second)))
    };
    let same = [
        ("[::1]", "[0::1]"),
        ("::1", "[0:0:0:0:0:0:0:1]"),
        ("[2001:db8::a]", "2001:DB8:0:0::000A"),
        ("::ffff:10.0.0.1", "[::ffff:a00:1]"),
        ("Example.com", "example.COM."),
        ("*.b\u{fc}cher.example", "*.XN--bcher-kva.example"),
    ];
    for (first, second) in same {
        let found = of_both(first, second).expect_err(second);
        let error = found.iter().next().expect("one at least");
        assert_eq!(error.key, "route[1].vhost", "{first}, {second}");
        assert!(error.to_string().contains("served by another route already"), "{first}, {second}: {found}");
    }
    assert!(of_both("[::1]", "[::2]").is_ok());
}

#[test]
fn a_target_takes_variables_and_a_rewrite_can_do_without() {
    let text = format!(
        "{ROUTE}[[route.paths]]\nmatch = \"regex\"\npattern = '^/(?<name>.*)$'\n\
         target = \"http://${{HOST}}:1\"\nrewrite = \"/x/$${{name}}\"\n"
    );
    let config = read(&text).expect("valid");
    let Action::Forward(forward) = &route(config.model(), "default").rules[0].action else {
        panic!("forwards")
    };
    assert_eq!(forward.target.as_ref().expect("its own").backends[0].url, "http://10.0.0.9:1");
    assert_eq!(forward.rewrite.as_deref(), Some("/x/${name}"));
}

#[test]
fn many_rules_and_fields_end_at_a_cap() {
    let mut text = format!("{ROUTE}paths = [\n");
    for number in 0..10_001 {
        let _ = writeln!(text, "{{ match = \"exact\", pattern = \"/{number}\" }},");
    }
    text.push_str("]\n");
    let errors = read(&text).expect_err("one too many").to_string();
    assert!(errors.contains("10001 rules") && errors.contains("up to 10000"), "{errors}");
    let fields: Vec<String> = (0..65).map(|number| format!("X-{number} = \"1\"")).collect();
    let errors = read(&format!("{ROUTE}headers = {{ {} }}\n", fields.join(", "))).expect_err("one too many");
    assert!(errors.to_string().contains("more than 64 fields"), "{errors}");
    let long = "a".repeat(4096);
    for text in [
        format!("{ROUTE}[[route.paths]]\nmatch = \"exact\"\npattern = \"/{long}\"\n"),
        format!("{ROUTE}[[route.paths]]\nmatch = \"exact\"\npattern = \"/\"\nrewrite = \"/{long}\"\n"),
        format!(
            "{ROUTE}[[route.paths]]\nmatch = \"exact\"\npattern = \"/\"\nrespond = {{ body = \"{}\" }}\n",
            "a".repeat(65_537)
        ),
    ] {
        assert!(read(&text).expect_err("too long").to_string().contains("up to"));
    }
}

/// Rules; the number of the one that is warned of, and of the one that takes everything from it; 0: none.
#[test]
fn a_rule_that_never_decides_is_told() {
    let rows: [(&[&str], usize, usize); 26] = [
        (&["exact /a", "exact /a"], 2, 1),
        (&["exact /a", "exact /b"], 0, 0),
        (&["prefix /a", "exact /a"], 2, 1),
        (&["prefix /a", "exact /a/b"], 2, 1),
        (&["prefix /a/", "exact /a/b"], 2, 1),
        (&["prefix /a/", "exact /a"], 0, 0),
        (&["prefix /a", "exact /ab"], 0, 0),
        (&["prefix /a", "prefix /a/b"], 2, 1),
        (&["prefix /a", "prefix /a/"], 2, 1),
        (&["prefix /a/", "prefix /a"], 0, 0),
        (&["prefix /a/", "prefix /a/"], 2, 1),
        (&["prefix /a/b", "prefix /a"], 0, 0),
        (&["prefix /a//", "prefix /a/b"], 0, 0),
        (&["exact /a", "prefix /a"], 0, 0),
        (&["prefix /", "prefix /a"], 2, 1),
        (&["prefix /", "regex ^/a"], 2, 1),
        (&["prefix /", "regex a"], 0, 0),
        (&["prefix /", "regex ^/a|^b"], 0, 0),
        (&["regex .*", "regex a"], 2, 1),
        (&["regex ^/", "exact /a"], 2, 1),
        (&["regex ^/(.*)$", "prefix /a"], 2, 1),
        (&["regex a", "regex a"], 2, 1),
        (&["regex ^/a", "exact /ab"], 2, 1),
        (&["exact /ab", "regex ^/a"], 0, 0),
        (&["GET prefix /", "GET exact /a"], 2, 1),
        (&["GET prefix /", "POST exact /a"], 0, 0),
    ];
    for (rules, warned, by) in rows {
        let mut text = ROUTE.to_owned();
        for rule in rules {
            let (method, rest) = match rule.split_once(' ') {
                Some((method @ ("GET" | "POST"), rest)) => (format!("\"{method}\""), rest),
                _ => (String::new(), *rule),
            };
            let (kind, pattern) = rest.split_once(' ').expect("two words");
            let _ = writeln!(
                text,
                "[[route.paths]]\nmatch = \"{kind}\"\npattern = '{pattern}'\nmethods = [{method}]"
            );
        }
        let warnings = read(&text).unwrap_or_else(|errors| panic!("{rules:?}: {errors}")).warnings();
        let line = |number: usize| format!("pinion.toml:{}:", 4 * number);
        match &warnings[..] {
            [] => assert_eq!(warned, 0, "{rules:?}: no warning"),
            [one] => {
                let text = one.to_string();
                assert!(warned > 0, "{rules:?}: {text}");
                assert!(
                    text.starts_with(&line(warned)) && text.contains(&format!(" at {}", line(by))),
                    "{rules:?}: {text}"
                );
            }
            more => panic!("{rules:?}: {more:?}"),
        }
    }
    let all = read(&format!(
        "{ROUTE}[[route.paths]]\nmatch = \"prefix\"\npattern = \"/\"\nmethods = [\"GET\"]\n\
         [[route.paths]]\nmatch = \"prefix\"\npattern = \"/a\"\n"
    ));
    assert_eq!(all.expect("valid").warnings(), [], "other methods get there");
}

#[test]
fn a_setting_without_effect_is_told() {
    let rows = [
        ("req_queue_length = 5", "route[0].req_queue_length", 4),
        ("hash_key = \"ip\"", "route[0].hash_key", 4),
        ("health = { interval_ms = 1000 }", "route[0].health.interval_ms", 4),
        ("[health]\nendpoint = \"/up\"", "health.endpoint", 5),
    ];
    for (text, key, line) in rows {
        let warnings = read(&format!("{ROUTE}{text}\n")).expect(text).warnings();
        let [warning] = &warnings[..] else { panic!("{text}: {warnings:?}") };
        assert_eq!(warning.key, key);
        assert!(warning.to_string().starts_with(&format!("pinion.toml:{line}:")), "{warning}");
    }
    let weights = "[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://a:1\", weight = 2 }]\n";
    assert!(read(weights).expect("valid").warnings()[0].to_string().contains("\"weighted\""));
    assert_eq!(read(ALL).expect("valid").warnings(), []);
}

#[test]
fn values_of_routes_know_where_they_are_written_whatever_the_order() {
    let config = read(ALL).expect("valid");
    let effective = config.effective();
    let place = |key: &str| {
        let found = effective.iter().find(|value| value.key == key).unwrap_or_else(|| panic!("no {key}"));
        found.origin.to_string()
    };
    assert_eq!(place("route[api].sticky"), "pinion.toml:23:10");
    assert_eq!(place("route[api].headers.X-Team"), "pinion.toml:27:22");
    assert_eq!(place("route[api].paths[2].respond.status"), "pinion.toml:51:22");
    assert_eq!(place("route[*.example.com].strategy"), "pinion.toml:59:12");
    assert_eq!(place("route[default].strategy"), "default");
    assert_eq!(place("route[default].vhost"), "pinion.toml:64:9");
    assert_eq!(place("circuit_breaker.failure_statuses"), "pinion.toml:12:20");
    let mut order: Vec<&str> =
        effective.iter().filter_map(|value| value.key.strip_suffix("].vhost")).collect();
    order.dedup();
    assert_eq!(order, ["route[api", "route[*.example.com", "route[default"], "as written");
}
