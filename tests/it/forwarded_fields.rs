//! What the backend is told about the client: ours, unless a trusted proxy told it before.

use std::collections::BTreeSet;

use harness::{Origin, Request, Settings, proxy};

/// What a client would send to pass for another one.
const FORGED: &str = "X-Forwarded-For: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\nX-Request-Id: 018f3a5e-0000-7000-8000-000000000000\r\n\
    X_Forwarded_For: 1.2.3.4\r\nX_Real_IP: 1.2.3.4\r\nX-Forwarded_Proto: https\r\nX_Request_Id: a\r\n";

fn forwarded(settings: &Settings, origin: &Origin, lines: &str) -> Request {
    let pinion = settings.start();
    pinion.client().send(format!("GET / HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).response();
    origin.only_request()
}

#[test]
fn untrusted_client_cannot_forge_them() {
    let origin = Origin::answering("ok");
    let request = forwarded(&Settings::to(&origin), &origin, FORGED);
    let rows = [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "test"),
    ];
    for (name, value) in rows {
        assert_eq!(request.fields.all(name), [value], "{name}");
    }
    assert_eq!(request.fields.all("x-request-id").len(), 1);
    assert_ne!(request.field("x-request-id"), Some("018f3a5e-0000-7000-8000-000000000000"));
    assert_eq!(request.field("forwarded"), None);
    let underscored: Vec<_> = request.fields.0.iter().filter(|(name, _)| name.contains('_')).collect();
    assert!(underscored.is_empty(), "{underscored:?}");
}

#[test]
fn trusted_proxy_is_believed() {
    let origin = Origin::answering("ok");
    let settings = Settings::to(&origin).set("server", "trusted_proxies = [\"127.0.0.0/8\"]");
    let request = forwarded(&settings, &origin, FORGED);
    assert_eq!(request.fields.all("x-forwarded-for").join(", "), "1.2.3.4, 127.0.0.1");
    assert_eq!(request.fields.all("x-request-id"), ["018f3a5e-0000-7000-8000-000000000000"]);
    assert_eq!(request.fields.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.fields.all("x-forwarded-host"), ["evil"]);
}

#[test]
fn via_names_the_proxy_on_both_sides() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let pinion = proxy(&origin);
    let response = pinion.client().send("GET / HTTP/1.1\r\nHost: test\r\nVia: 1.0 outer\r\n\r\n").response();
    // RFC 9110 7.6.3: appended, in order, with the protocol of the hop before.
    let request_via = origin.only_request().fields.all("via").join(", ");
    assert!(request_via.starts_with("1.0 outer, 1.1 "), "{request_via}");
    let response_via = response.fields.all("via").join(", ");
    assert!(response_via.starts_with("1.1 inner, 1.1 "), "{response_via}");
}

#[test]
fn every_request_has_its_own_id() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for _ in 0..200 {
        client.get("/");
    }
    let ids: Vec<String> = origin
        .requests()
        .iter()
        .filter_map(|request| request.field("x-request-id").map(str::to_owned))
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 200);
    for id in &ids {
        // RFC 9562 5.7: UUID version 7, variant 10.
        let parts: Vec<&str> = id.split('-').collect();
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
        assert!(id.chars().all(|c| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c)), "{id}");
        assert!(parts[2].starts_with('7'), "{id}");
        assert!(parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
    }
    assert!(ids.is_sorted_by_key(|id| id.split('-').take(2).collect::<String>()), "ids grow with time");
}

#[test]
fn host_is_the_clients() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: Example.com:8080\r\n\r\n").response();
    client.send("GET http://absolute.example/a?b HTTP/1.1\r\nHost: other\r\n\r\n").response();
    client.send("OPTIONS * HTTP/1.1\r\nHost: test\r\n\r\n").response();
    let requests = origin.wait_requests(3);
    assert_eq!(requests[0].fields.all("host"), ["Example.com:8080"]);
    // RFC 9112 3.2.2: the target's authority replaces Host, and origin form goes to the backend.
    assert_eq!(requests[1].fields.all("host"), ["absolute.example"]);
    assert_eq!(requests[1].target, "/a?b");
    assert_eq!(requests[1].fields.all("x-forwarded-host"), ["absolute.example"]);
    assert_eq!((requests[2].method.as_str(), requests[2].target.as_str()), ("OPTIONS", "*"));
}

#[test]
fn own_fields_of_the_client_pass_untouched() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    pinion
        .client()
        .send(
            "GET / HTTP/1.1\r\nHost: test\r\nAccept: a\r\nCookie: x=1; y=2\r\nX-Mixed-Case: Value\r\nAccept: b\r\n\
             Authorization: Basic eDp5\r\nX-Empty:\r\nX-Spaces:   a  b \t\r\nX-High: caf\u{e9}\r\n\r\n",
        )
        .response();
    let request = origin.only_request();
    assert_eq!(request.fields.all("accept"), ["a", "b"]);
    assert_eq!(request.field("cookie"), Some("x=1; y=2"));
    assert_eq!(request.field("authorization"), Some("Basic eDp5"));
    assert_eq!(request.field("x-mixed-case"), Some("Value"));
    assert_eq!(request.field("x-empty"), Some(""));
    assert_eq!(request.field("x-spaces"), Some("a  b"));
    assert_eq!(request.field("x-high"), Some("caf\u{e9}"));
}

#[test]
fn target_path_of_the_backend_comes_first() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to_url(&format!("{}/base", origin.url())).start();
    let mut client = pinion.client();
    for path in ["/", "/a", "/a/../b?c=%20d"] {
        client.get(path);
    }
    let targets: Vec<String> = origin.wait_requests(3).into_iter().map(|request| request.target).collect();
    assert_eq!(targets[1..], ["/base/a", "/base/b?c=%20d"]);
    assert!(targets[0] == "/base" || targets[0] == "/base/", "{}", targets[0]);
}

#[test]
fn a_client_that_was_gone_before_it_was_let_in_asks_nothing() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).set("server", "max_connections = 1").start();
    let mut first = pinion.client();
    assert_eq!(first.get("/first").status, 200);
    // It waits for a place with a whole request, and resets: the kernel still has its bytes, but not its address.
    for _ in 0..5 {
        let mut ghost = pinion.client();
        ghost.send("POST /ghost HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
        ghost.reset();
    }
    drop(first);
    assert_eq!(pinion.client().get("/last").status, 200);
    let targets: Vec<String> = origin.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/first", "/last"], "nobody's request");
}
