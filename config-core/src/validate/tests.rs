//! Rules of the configuration as tables: what is written, and what must be said about it.

use crate::builder::ProxyConfig;
use crate::error::{ConfigError, ConfigErrors};
use crate::model::{Cores, EncodedPolicy, LogFormat, LogLevel, Model, Route, Runtime, Strategy};
use crate::origin::Origin;
use crate::raw::Draft;

fn only(model: &Model) -> &Route {
    model.routes.iter().next().expect("one route")
}

/// A route that nothing is wrong with, on the first three lines of a file.
const ROUTE: &str = "[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://10.0.0.1:3000\" }]\n";

fn read(text: &str) -> Result<ProxyConfig, ConfigErrors> {
    let mut draft = Draft::new();
    draft.add_toml("pinion.toml", text, &|name| (name == "HOST").then(|| "10.0.0.9".to_owned()));
    draft.validate()
}

fn errors(text: &str) -> Vec<ConfigError> {
    read(text).expect_err(text).iter().cloned().collect()
}

fn line_and_column(error: &ConfigError) -> (u32, u32) {
    match &error.place {
        Origin::File { file, line, column } => {
            assert_eq!(&**file, "pinion.toml");
            (*line, *column)
        }
        other => panic!("{error}: placed at {other:?}"),
    }
}

#[test]
fn a_route_alone_is_a_configuration_with_every_default() {
    let config = read(ROUTE).expect("valid");
    let model = config.model();
    assert_eq!(model.server.listen[0].to_string(), "0.0.0.0:8080");
    assert_eq!(model.server.max_connections, 10_000);
    assert_eq!(model.server.idle_timeout_ms, 60_000);
    assert_eq!(model.server.cores, Cores::Auto);
    assert_eq!(model.server.runtime, Runtime::Auto);
    assert_eq!(model.limits.request_line_bytes_max, 8_192);
    assert_eq!(model.limits.head_bytes_max, 32_768);
    assert_eq!(model.limits.fields_max, 100);
    assert_eq!(model.limits.body_bytes_max, None);
    assert_eq!(model.limits.encoded_nul, EncodedPolicy::Reject);
    assert_eq!(model.timeouts.request_head_ms, 10_000);
    assert_eq!(model.timeouts.request_head_bytes_per_second_min, 500);
    assert_eq!(model.timeouts.connect_ms, 3_000);
    assert_eq!(model.timeouts.first_byte_ms, 30_000);
    assert_eq!(model.timeouts.websocket_idle_ms, 60_000);
    assert_eq!(model.pool.max_size, 10);
    assert_eq!(model.shutdown.timeout_ms, 30_000);
    assert_eq!(model.shutdown.idle_grace_ms, 2_000);
    assert_eq!(model.shutdown.restart_timeout_ms, 30_000);
    assert_eq!(only(model).retries, 2);
    assert_eq!(only(model).upstream.strategy, Strategy::RoundRobin);
}

#[test]
fn what_is_written_is_what_is_read() {
    let config = read(&format!(
        "[server]\nlisten = [\"127.0.0.1:80\", \"[::1]:0\", \"[::1]:0\"]\ncores = 2\nruntime = \"epoll\"\n\
         trusted_proxies = [\"10.1.2.3/8\", \"::1\"]\ntcp_keepalive_ms = 60_000\n\
         [limits]\nhead_bytes_max = \"16KiB\"\nencoded_slash = \"decode\"\nbody_bytes_max = 0\n\
         [logging]\nlevel = \"DEBUG\"\nformat = \"text\"\naccess_log = false\n\
         [admin]\nlisten = \"off\"\n\
         [shutdown]\ndrain_per_second = 5\nidle_grace_ms = 0\nrestart_timeout_ms = 100\n{ROUTE}strategy = \"ROUND_ROBIN\"\nretries = 0\n"
    ))
    .expect("valid");
    let model = config.model();
    assert_eq!(model.server.listen.len(), 3);
    assert_eq!(model.server.cores, Cores::Count(2));
    let trusted: Vec<String> = model.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(trusted, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(model.server.tcp_keepalive_ms, Some(60_000));
    assert_eq!(model.limits.head_bytes_max, 16_384);
    assert_eq!(model.limits.encoded_slash, EncodedPolicy::Decode);
    assert_eq!(model.limits.body_bytes_max, Some(0));
    assert_eq!((model.logging.level, model.logging.format), (LogLevel::Debug, LogFormat::Text));
    assert_eq!(model.shutdown.drain_per_second, Some(5));
    assert_eq!((model.shutdown.idle_grace_ms, model.shutdown.restart_timeout_ms), (0, 100));
    assert_eq!(only(model).retries, 0);
}

/// Text before [`ROUTE`]; line and column; key; part of the message.
#[test]
fn every_error_names_its_place_its_key_and_what_is_allowed() {
    let rows: [(&str, (u32, u32), &str, &str); 43] = [
        (
            "[server]\nmax_conections = 1\n",
            (2, 1),
            "server.max_conections",
            "nearest known key is \"max_connections\"",
        ),
        ("[sever]\nx = 1\n", (1, 2), "sever", "nearest known key is \"server\""),
        ("[server]\nzzz = 1\n", (2, 1), "server.zzz", "known keys: listen, cores"),
        (
            "[server]\nmax_connections = 0\n",
            (2, 19),
            "server.max_connections",
            "found 0; allowed: 1 to 1000000, because",
        ),
        ("[server]\nmax_connections = -1\n", (2, 19), "server.max_connections", "found -1"),
        ("[server]\nmax_connections = 1.5\n", (2, 19), "server.max_connections", "found a fraction"),
        ("[server]\nmax_connections = \"9\"\n", (2, 19), "server.max_connections", "found \"9\""),
        (
            "[server]\nmax_connections = 99999999999999999999\n",
            (2, 19),
            "server.max_connections",
            "beyond 64 bits",
        ),
        ("[server]\nmax_connections = 2024-01-01\n", (2, 19), "server.max_connections", "found a date"),
        ("[server]\nlisten = \"0.0.0.0:80\"\n", (2, 10), "server.listen", "list of texts"),
        ("[server]\nlisten = []\n", (2, 10), "server.listen", "at least one"),
        ("[server]\nlisten = [\"a:1\", \"localhost:80\"]\n", (2, 18), "server.listen[1]", "ADDR:PORT"),
        ("[server]\nlisten = [\"[::]:1\", 7]\n", (2, 21), "server.listen[1]", "found 7; text"),
        ("[server]\nlisten = [\"[::]:1\", \"[::]:1\"]\n", (2, 21), "server.listen[1]", "twice"),
        (
            "[server]\nlisten = [\"tls:0.0.0.0:8443\"]\n[tls]\nmin_version = \"1.2\"\n",
            (3, 1),
            "tls.certificates",
            "no certificate for the listener tls:0.0.0.0:8443",
        ),
        ("[server]\ncores = \"x\"\n", (2, 9), "server.cores", "found \"x\"; allowed: \"auto\""),
        ("[server]\ncores = 1025\n", (2, 9), "server.cores", "\"0-0\" for processor 0"),
        (
            "[server]\nruntime = \"tokio\"\n",
            (2, 11),
            "server.runtime",
            "allowed: \"auto\", \"uring\", \"epoll\"",
        ),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]\n", (2, 20), "server.trusted_proxies[0]", "network"),
        ("[server]\ncongestion_control = \"a b\"\n", (2, 22), "server.congestion_control", "cubic"),
        ("server = 1\n", (1, 10), "server", "found 1; a table"),
        (
            "[limits]\nlow_water_bytes = 262144\n",
            (2, 19),
            "limits.low_water_bytes",
            "not below high_water_bytes",
        ),
        (
            "[limits]\nhead_bytes_max = 4096\n",
            (2, 18),
            "limits.request_line_bytes_max",
            "above head_bytes_max 4096",
        ),
        ("[limits]\nhead_bytes_max = \"64KiB\"\n", (2, 18), "limits.head_bytes_max", "1024 to 65535 bytes"),
        (
            "[limits]\nencoded_nul = \"no\"\n",
            (2, 15),
            "limits.encoded_nul",
            "\"reject\", \"keep\", \"decode\"",
        ),
        ("[timeouts]\nconnect_ms = 0\n", (2, 14), "timeouts.connect_ms", "allowed: 1 to 86400000"),
        ("[pool]\nmin_size = 11\n", (2, 12), "pool.min_size", "above max_size 10"),
        (
            "[logging]\ndestination = \"file\"\n",
            (2, 15),
            "logging.destination",
            "not available in this version",
        ),
        ("[logging]\nrotation = \"daily\"\n", (2, 1), "logging.rotation", "not available in this version"),
        ("[logging]\naccess_log = true\n", (2, 14), "logging.access_log", "not available in this version"),
        ("[logging]\naccess_log = 1\n", (2, 14), "logging.access_log", "true or false"),
        ("[admin]\nlisten = \"127.0.0.1:4873\"\n", (2, 10), "admin.listen", "not available in this version"),
        ("[tls]\nmin_version = \"1.1\"\n", (2, 15), "tls.min_version", "allowed: \"1.2\", \"1.3\""),
        ("[tls]\ncertificates = []\n", (2, 16), "tls.certificates", "allowed: 1 to"),
        (
            "[tls]\ncertificates = [{ cert = \"/nope\" }]\n",
            (2, 26),
            "tls.certificates[0].cert",
            "/nope: No such",
        ),
        ("[tls]\ncertificates = [{ cert = \"/nope\" }]\n", (2, 17), "tls.certificates[0].key", "missing"),
        (
            "[tls]\ncertificates = [{ cert = \"/dev/zero\" }]\n",
            (2, 26),
            "tls.certificates[0].cert",
            "regular",
        ),
        ("[tls]\nclient_auth = \"required\"\n", (2, 15), "tls.client_auth", "write client_ca"),
        ("[server]\nlisten = [\"[::]:1\", \"tls:[::]:1\"]\n", (2, 21), "server.listen[1]", "twice"),
        ("[rate_limit]\nmax_requests = 1\n", (1, 2), "rate_limit", "not available in this version"),
        ("[[endpoint]]\nname = \"a\"\n", (1, 3), "endpoint", "not available in this version"),
        ("[server]\nlisten = [\"${NOPE}:80\"]\n", (2, 11), "server.listen[0]", "\"NOPE\""),
        ("[server]\nlisten = [\"${HOST:80\"]\n", (2, 11), "server.listen[0]", "without \"}\""),
    ];
    for (text, place, key, part) in rows {
        let found = errors(&format!("{text}{ROUTE}"));
        let found =
            found.iter().find(|error| error.key == key).unwrap_or_else(|| panic!("{text}: {found:?}"));
        assert_eq!(line_and_column(found), place, "{text}: {found}");
        assert!(found.to_string().contains(part), "{text}: {found}");
    }
}

/// Text after `[[route]]`; line and column; key; part of the message.
#[test]
fn every_error_of_a_route_names_its_place() {
    let rows = [
        ("vhost = \"*\"", (1, 1), "route[0].backends", "no backends"),
        ("vhost = \"*\"\nbackends = []", (3, 12), "route[0].backends", "no backends"),
        ("backends = [{ url = \"http://a:1\" }]", (1, 1), "route[0].vhost", "missing"),
        ("vhost = \"*\"\nstrategy = \"x\"", (3, 12), "route[0].strategy", "allowed: \"round_robin\""),
        ("vhost = \"*\"\nretry = 2", (3, 1), "route[0].retry", "nearest known key is \"retries\""),
        ("vhost = \"*\"\nretries = 11", (3, 11), "route[0].retries", "0 to 10"),
        ("id = \"a b\"", (2, 6), "route[0].id", "letters"),
        (
            "backends = [{ url = \"ftp://a:1\" }]",
            (2, 21),
            "route[0].backends[0].url",
            "unknown scheme \"ftp\"",
        ),
        ("backends = [{ url = \"a:1\" }]", (2, 21), "route[0].backends[0].url", "unix:/run"),
        (
            "backends = [{ uri = \"http://a:1\" }]",
            (2, 15),
            "route[0].backends[0].uri",
            "nearest known key is \"url\"",
        ),
        (
            "backends = [{ url = \"http://a:1\", weight = 0 }]",
            (2, 44),
            "route[0].backends[0].weight",
            "1 to 1000",
        ),
        (
            "backends = [{ url = \"http://a:1\", max_connections = 0 }]",
            (2, 53),
            "route[0].backends[0].max_connections",
            "leave the key out",
        ),
        ("backends = [{ weight = 1 }]", (2, 13), "route[0].backends[0].url", "missing"),
        ("backends = [{ hostname = \"a\" }]", (2, 13), "route[0].backends[0].port", "needs a port"),
        (
            "backends = [{ url = \"http://a:1\", port = 2 }]",
            (2, 42),
            "route[0].backends[0].port",
            "beside url",
        ),
        (
            "backends = [{ url = \"http://a:1\", id = \"x\" }, { url = \"http://b:1\", id = \"x\" }]",
            (2, 74),
            "route[0].backends[1].id",
            "twice",
        ),
    ];
    for (text, place, key, part) in rows {
        let found = errors(&format!("[[route]]\n{text}\n"));
        let found =
            found.iter().find(|error| error.key == key).unwrap_or_else(|| panic!("{text}: {found:?}"));
        assert_eq!(line_and_column(found), place, "{text}: {found}");
        assert!(found.to_string().contains(part), "{text}: {found}");
    }
}

#[test]
fn all_errors_are_reported_in_the_order_of_their_lines() {
    let text =
        "[server]\nmax_connections = 0\nport = 80\n[timeouts]\nconnect_ms = \"x\"\n[cache]\nttl_ms = 1\n";
    let found = errors(&format!("{text}{ROUTE}strategy = \"randem\"\n"));
    let lines: Vec<u32> = found.iter().map(|error| line_and_column(error).0).collect();
    assert_eq!(lines, [2, 3, 5, 6, 11], "{found:?}");
}

#[test]
fn a_file_that_is_not_toml_still_gets_its_other_errors() {
    let found = errors("[server]\nmax_connections = = 3\nruntime = \"x\"\ncores = \n");
    let lines: Vec<u32> = found.iter().map(|error| line_and_column(error).0).collect();
    assert!(lines.contains(&2), "{found:?}");
    assert!(lines.contains(&3), "{found:?}");
    assert!(lines.contains(&4), "{found:?}");
    assert!(found.iter().any(|error| error.to_string().contains("not TOML")), "{found:?}");
    assert!(!found.iter().any(|error| error.to_string().contains("no target")), "it may be below: {found:?}");
    let twice = errors(&format!("[server]\nbacklog = 1\nbacklog = 2\n{ROUTE}"));
    assert_eq!(line_and_column(&twice[0]).0, 3, "{twice:?}");
}

#[test]
fn nothing_to_route_to_is_an_error_that_says_how_to_give_it() {
    let found = errors("[server]\nbacklog = 1\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().contains("--target"), "{}", found[0]);
}

#[test]
fn variables_are_expanded_in_text() {
    let config = read("[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://${HOST}:1/$${x}\" }]\n");
    let config = config.expect("valid");
    assert!(only(config.model()).upstream.backends[0].url.starts_with("http://10.0.0.9:1/$"));
    let mut draft = Draft::new();
    draft.add_toml("f", &format!("[server]\nbacklog = \"${{N}}\"\n{ROUTE}"), &|_| Some("77".to_owned()));
    assert_eq!(draft.validate().expect("a number from a variable").model().server.backlog, 77);
}

#[test]
fn backends_without_ids_get_stable_ones() {
    let text = "[[route]]\nvhost = \"*\"\nbackends = [{ url = \"http://a:1\" }, { hostname = \"a\", port = 1 }, \
                { id = \"b\", hostname = \"::1\", port = 2 }]\n";
    let config = read(text).expect("valid");
    let ids: Vec<&str> = only(config.model()).upstream.backends.iter().map(|b| b.id.as_str()).collect();
    assert_eq!(ids, ["http://a:1", "http://a:1#2", "b"]);
    assert_eq!(only(config.model()).upstream.backends[2].url, "http://[::1]:2");
}

#[test]
fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
    let depth = 5_000;
    let lists = format!("x = {}{}\n{ROUTE}", "[".repeat(depth), "]".repeat(depth));
    let tables = format!("x = {}1{}\n{ROUTE}", "{ y = ".repeat(depth), " }".repeat(depth));
    let dots = format!("x{} = 1\n{ROUTE}", ".y".repeat(depth));
    let header = format!("[x{}]\n{ROUTE}", ".y".repeat(depth));
    for text in [lists, tables, dots, header] {
        assert!(!errors(&text).is_empty());
    }
}

#[test]
fn a_file_with_any_one_byte_changed_is_read_or_refused_with_a_reason() {
    let text = format!(
        "# \u{fc}\n[server]\nlisten = [\"127.0.0.1:80\"]\ncores = \"0-1\"\ntrusted_proxies = [\"10.0.0.0/8\"]\n\
         [limits]\nhead_bytes_max = \"16KiB\"\n{ROUTE}retries = 1\n"
    );
    let mut refused = 0;
    for at in 0..text.len() {
        for byte in [b'"', b'[', b']', b'{', b'=', b'.', b'\n', b'$', b'0', b'-', 0xFF, 0] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = byte;
            let changed = String::from_utf8_lossy(&bytes).into_owned();
            if let Err(errors) = read(&changed) {
                refused += 1;
                assert!(errors.iter().all(|error| !error.problem.is_empty()), "{changed}");
            }
        }
    }
    assert!(refused > text.len(), "most changes break something, yet only {refused} were refused");
}
