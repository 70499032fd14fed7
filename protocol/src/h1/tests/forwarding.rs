//! What an origin gets to see of a request: rows of a client's head and the head that is forwarded.

use super::world::request;
use crate::h1::client::Client;
use crate::{Forward, Limits, RequestHead, SetFields, Upgrade};

const OURS: Forward<'static> = Forward {
    client_ip: "192.0.2.1",
    scheme: "https",
    client_cert: None,
    request_id: b"our-id",
    trusted: false,
    via_name: "pinion",
    host: None,
    upgrade: false,
    target: None,
    origin: None,
    set: None,
};

fn forwarded(wire: &str, forward: &Forward<'_>) -> String {
    let head = request(wire.as_bytes());
    let mut out = Vec::new();
    Client::new().write_request(&mut out, wire.as_bytes(), &head, forward);
    String::from_utf8(out).expect("text in, text out")
}

/// The lines that every request of these tests ends with.
fn tail(host: &str) -> String {
    format!(
        "X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n\
         X-Forwarded-Host: {host}\r\nX-Request-Id: our-id\r\nVia: 1.1 pinion\r\n"
    )
}

#[test]
fn ends_at_this_hop_what_must_and_nothing_else() {
    // Client's lines behind `Host: a`, lines forwarded behind it before ours.
    let rows = [
        // RFC 9110 7.6.1
        ("Connection: close\r\nA: b\r\n", "A: b\r\n"),
        ("Connection: keep-alive, a\r\nA: b\r\nB: c\r\n", "B: c\r\n"),
        ("A: b\r\nB: c\r\nConnection: A\r\nA: d\r\nC: e\r\n", "B: c\r\nC: e\r\n"),
        ("Keep-Alive: 5\r\nProxy-Connection: a\r\nTE: gzip\r\nB: c\r\n", "B: c\r\n"),
        ("Proxy-Authorization: a\r\nProxy-Authenticate: b\r\n", ""),
        // Never at a client's wish.
        (
            "Connection: host, content-length, authorization, cookie\r\nAuthorization: a\r\nCookie: b\r\n",
            "Authorization: a\r\nCookie: b\r\n",
        ),
        (
            "Connection: x-forwarded-for, forwarded, x-real-ip, via, x-request-id\r\nVia: 1.0 x\r\n",
            "Via: 1.0 x\r\n",
        ),
        // RFC 9110 7.8: nothing but WebSocket, and that only where the route wants it.
        (
            "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\nA: b\r\n",
            "A: b\r\n",
        ),
        ("Connection: upgrade\r\nUpgrade: websocket\r\nA: b\r\n", "A: b\r\n"),
        ("HTTP2-Settings: AAM\r\n", ""),
        // RFC 9110 10.1.1: nobody waits without a body.
        ("Expect: 100-continue\r\nA: b\r\n", "A: b\r\n"),
        // RFC 9110 6.6.2: no trailers without chunks.
        ("Trailer: A\r\nB: c\r\n", "B: c\r\n"),
        // Spelling and order stay; padding does not.
        ("x-A:  b \t\r\nx-C:\r\nx-D:e\r\nx-F: g\r\n", "x-A: b\r\nx-C: \r\nx-D: e\r\nx-F: g\r\n"),
    ];
    for (lines, expected) in rows {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let expected = format!("GET / HTTP/1.1\r\nHost: a\r\n{}{}\r\n", expected, tail("a"));
        assert_eq!(forwarded(&wire, &OURS), expected, "{lines}");
    }
}

#[test]
fn nobody_untrusted_speaks_for_another() {
    let lines = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Host: evil\r\n\
                 X-Forwarded-Port: 1\r\nX-Real-IP: 1.1.1.1\r\nX-Request-Id: theirs\r\nForwarded: for=1.1.1.1\r\n\
                 X_Forwarded_For: 1.1.1.1\r\nx_real-ip: 1.1.1.1\r\nX_REQUEST_ID: x\r\nContent_Length: 5\r\n\
                 X-Forwarded_Port: 2\r\nmy_field: stays\r\n";
    let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let expected = format!("GET / HTTP/1.1\r\nHost: a\r\nmy_field: stays\r\n{}\r\n", tail("a"));
    assert_eq!(forwarded(&wire, &OURS), expected);
}

#[test]
fn a_trusted_peers_word_is_kept_and_added_to() {
    let trusted = Forward { trusted: true, ..OURS };
    let wire = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2, 3.3.3.3\r\n\
                X-Forwarded-Proto: http\r\nX-Forwarded-Host: public\r\nX-Forwarded-Port: 8\r\nX-Real-IP: 1.1.1.1\r\n\
                X-Request-Id: theirs-1.2_3\r\nForwarded: for=1.1.1.1\r\nVia: 1.1 edge\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Port: 8\r\nForwarded: for=1.1.1.1\r\nVia: 1.1 edge\r\n\
                    X-Forwarded-For: 1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.1\r\nX-Real-IP: 1.1.1.1\r\n\
                    X-Forwarded-Proto: http\r\nX-Forwarded-Host: public\r\nX-Request-Id: theirs-1.2_3\r\n\
                    Via: 1.1 pinion\r\n\r\n";
    assert_eq!(forwarded(wire, &trusted), expected);

    let rows =
        [("X-Request-Id: a b\r\n", false), ("X-Request-Id: a\r\nX-Request-Id: a\r\n", false), ("", false)];
    let long = format!("X-Request-Id: {}\r\n", "a".repeat(129));
    for (lines, kept) in rows.into_iter().chain([(long.as_str(), false), ("X-Request-Id: a\r\n", true)]) {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let head = request(wire.as_bytes());
        assert_eq!(head.request_id(wire.as_bytes(), true).is_some(), kept, "{lines}");
        assert_eq!(head.request_id(wire.as_bytes(), false), None);
        assert_eq!(forwarded(&wire, &trusted).contains("X-Request-Id: our-id\r\n"), !kept, "{lines}");
    }
}

#[test]
fn a_trusted_peer_that_says_nothing_is_not_taken_at_its_word() {
    // Found by the fuzzer: an empty field hid the client's address from the origin.
    let trusted = Forward { trusted: true, ..OURS };
    for name in ["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id"] {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{name}:\r\n\r\n");
        let expected = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", tail("a"));
        assert_eq!(forwarded(&wire, &trusted), expected, "{name}");
    }
}

#[test]
fn what_was_matched_is_what_is_forwarded() {
    // Request line, host, path, query, forwarded line.
    let rows = [
        ("GET /a/b?c=%2e%", "h", "/a/b", Some("c=%2e%"), "GET /a/b?c=%2e%"),
        ("GET /a/../b/./%7Ec?", "h", "/b/~c", Some(""), "GET /b/~c?"),
        ("GET /%2e%2e/%2E%2e/x", "h", "/x", None, "GET /x"),
        ("GET /a?b?c", "h", "/a", Some("b?c"), "GET /a?b?c"),
        ("GET /a?/../b", "h", "/a", Some("/../b"), "GET /a?/../b"),
        ("GET /a.b/c.d", "h", "/a.b/c.d", None, "GET /a.b/c.d"),
        // RFC 9112 3.2.2: the absolute target replaces Host.
        ("GET http://Other:81/a?b", "Other:81", "/a", Some("b"), "GET /a?b"),
        ("GET HTTPS://other", "other", "/", None, "GET /"),
        ("GET http://other?q", "other", "/", Some("q"), "GET /?q"),
        ("GET http://[::1]:8/%41", "[::1]:8", "/A", None, "GET /A"),
        // RFC 9112 3.2.4
        ("OPTIONS *", "h", "*", None, "OPTIONS *"),
        ("OPTIONS http://other", "other", "*", None, "OPTIONS *"),
        ("OPTIONS /a", "h", "/a", None, "OPTIONS /a"),
        ("PROPFIND /a", "h", "/a", None, "PROPFIND /a"),
    ];
    for (line, host, path, query, expected) in rows {
        let wire = format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n");
        let input = wire.as_bytes();
        let head = request(input);
        assert_eq!(head.host(input), host.as_bytes(), "{line}");
        assert_eq!(head.path(input), path.as_bytes(), "{line}");
        assert_eq!(head.query(input), query.map(str::as_bytes), "{line}");
        let expected = format!("{expected} HTTP/1.1\r\nHost: {host}\r\n{}\r\n", tail(host));
        assert_eq!(forwarded(&wire, &OURS), expected, "{line}");
    }
    let head = request(b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n");
    assert_eq!(head.host_name(b"GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n"), b"a.example");
}

#[test]
fn the_engine_may_replace_target_and_host() {
    let forward = Forward { target: Some(b"/new?x"), host: Some("backend:1"), ..OURS };
    let expected = format!("GET /new?x HTTP/1.1\r\nHost: backend:1\r\n{}\r\n", tail("a"));
    assert_eq!(forwarded("GET /old HTTP/1.1\r\nHost: a\r\n\r\n", &forward), expected);
}

#[test]
fn what_the_operator_sets_takes_the_place_of_what_was_sent() {
    let set = SetFields::new([("X-Team", "proxy"), ("Accept", "*/*"), ("X-Forwarded-Proto", "https")]);
    let wire = "GET / HTTP/1.1\r\nHost: a\r\nx-team: client\r\nAccept: text/html\r\nOrigin: http://a\r\nX-Own: 1\r\n\r\n";
    let mut head = request(wire.as_bytes());
    set.withhold_from(wire.as_bytes(), &mut head.fields);
    let forward = Forward { set: Some(&set), origin: Some("http://backend:1"), ..OURS };
    let mut out = Vec::new();
    Client::new().write_request(&mut out, wire.as_bytes(), &head, &forward);
    let sent = String::from_utf8(out).expect("text");
    for gone in ["client", "text/html", "http://a\r\n", "X-Forwarded-Proto: http\r\n"] {
        assert!(!sent.contains(gone), "{gone}: {sent}");
    }
    for (field, times) in [
        ("X-Team: proxy\r\n", 1),
        ("Accept: */*\r\n", 1),
        ("X-Forwarded-Proto: https\r\n", 1),
        ("Origin: http://backend:1\r\n", 1),
        ("X-Own: 1\r\n", 1),
    ] {
        assert_eq!(sent.matches(field).count(), times, "{field}: {sent}");
    }
    let silent = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(!forwarded(silent, &forward).contains("Origin"), "nobody asked where the client comes from");
}

#[test]
fn framing_and_version_are_ours() {
    let rows = [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nA: b\r\n\r\n",
            "A: b\r\nContent-Length: 3\r\n",
            "1.1",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
            "Content-Length: 3\r\n",
            "1.1",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "Content-Length: 0\r\n", "1.1"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
            "Trailer: X\r\nTransfer-Encoding: chunked\r\n",
            "1.1",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\n",
            "Expect: 100-Continue\r\nContent-Length: 1\r\n",
            "1.1",
        ),
        (
            "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
            "Content-Length: 1\r\n",
            "1.0",
        ),
        ("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "", "1.0"),
    ];
    for (wire, lines, version) in rows {
        let method = wire.split(' ').next().expect("a method");
        let tail = tail("a").replace("Via: 1.1", &format!("Via: {version}"));
        let expected = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}{tail}\r\n");
        assert_eq!(forwarded(wire, &OURS), expected, "{wire}");
    }
    let hostless = forwarded("GET / HTTP/1.0\r\n\r\n", &OURS);
    assert!(hostless.starts_with("GET / HTTP/1.1\r\nHost: \r\nX-Forwarded-For"), "{hostless}");
    assert!(!hostless.contains("X-Forwarded-Host"));
}

#[test]
fn upgrades_and_trailers_are_asked_for_when_wanted() {
    let wire = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c, WebSocket\r\n\
                Sec-WebSocket-Key: k\r\n\r\n";
    let forward = Forward { upgrade: true, ..OURS };
    let expected = format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\n{}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        tail("a")
    );
    assert_eq!(forwarded(wire, &forward), expected);

    // Nothing is upgraded without both halves of the request, in HTTP/1.0, or behind a body.
    let rows = [
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", Upgrade::None),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n", Upgrade::None),
        ("GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", Upgrade::None),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\n",
            Upgrade::None,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", Upgrade::Other),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            Upgrade::WebSocket,
        ),
    ];
    for (wire, expected) in rows {
        assert_eq!(request(wire.as_bytes()).upgrade, expected, "{wire}");
        let is_asked = forwarded(wire, &forward).contains("\r\nConnection: upgrade\r\n");
        assert_eq!(is_asked, expected == Upgrade::WebSocket, "{wire}");
    }

    let wire = "GET / HTTP/1.1\r\nHost: a\r\nConnection: te\r\nTE: trailers, deflate\r\n\r\n";
    let expected =
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}Connection: te\r\nTE: trailers\r\n\r\n", tail("a"));
    assert_eq!(forwarded(wire, &OURS), expected);
}

#[test]
fn a_client_cannot_smuggle_a_second_request_through_any_field() {
    // Everything a client controls is in one forwarded head: it must parse to exactly that, again.
    let wire = "POST /a%0d%0aX:b?c HTTP/1.1\r\nHost: a\r\nX: \tb\r\nTransfer-Encoding: chunked\r\n\r\n";
    let out = forwarded(wire, &OURS);
    let mut head = RequestHead::new();
    let len = head.parse(out.as_bytes(), &Limits::default()).expect("good").expect("whole");
    assert_eq!(len, out.len());
    assert_eq!(head.path(out.as_bytes()), b"/a%0D%0AX:b");
    assert_eq!(head.framing, crate::Framing::Chunked);
}
