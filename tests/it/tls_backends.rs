//! TLS towards backends: who is verified and how, what they are shown, sessions, and ends that nobody announced.

use std::sync::Arc;

use harness::certs::Authority;
use harness::ws::{self, client_frame, opcode, server_frame};
use harness::{Origin, Settings, wait};

fn answering(config: rustls::ServerConfig) -> Origin {
    Origin::start_tls(config, |conn| conn.answer_all("ok"))
}

#[test]
fn a_backend_is_reached_only_if_its_certificate_is_good_for_its_name() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let trusting = |line: &str| format!("backend_tls = {{ ca = {:?}{line} }}", authority.file());
    let good = authority.issue(&["localhost"]);
    let rows = [
        (&good, trusting(""), 200),
        (&authority.issue(&["other.test"]), trusting(""), 502),
        (&authority.issue(&["other.test"]), trusting(", server_name = \"other.test\""), 200),
        (&authority.issue_expired(&["localhost"]), trusting(""), 502),
        (&stranger.issue(&["localhost"]), trusting(""), 502),
        (&stranger.issue(&["localhost"]), "secure = false".to_owned(), 200),
        (&stranger.issue_expired(&["other.test"]), "secure = false".to_owned(), 200),
    ];
    for (certificate, line, status) in rows {
        let origin = answering(certificate.server(None));
        let pinion = Settings::to(&origin).route(&line).route("retries = 0").start();
        let mut client = pinion.client();
        let response = client.get("/");
        assert_eq!(response.status, status, "{line} {:?}", certificate.cert);
        assert_eq!(client.get("/").status, status, "{line}");
        if status == 200 {
            assert_eq!(origin.connections(), 1, "kept and used again: {line}");
        } else {
            assert!(origin.requests().is_empty(), "nothing of a request was sent");
        }
    }
}

#[test]
fn nobody_is_trusted_whom_the_system_does_not_trust() {
    let authority = Authority::new();
    let origin = answering(authority.issue(&["localhost"]).server(None));
    let pinion = Settings::to(&origin).route("retries = 0").start();
    assert_eq!(pinion.client().get("/").status, 502);
}

#[test]
fn a_rule_may_trust_whom_the_route_does_not() {
    let authority = Authority::new();
    let origin = answering(authority.issue(&["localhost"]).server(None));
    let settings = Settings::to(&origin).route("retries = 0");
    let rule = "paths = [{ match = \"prefix\", pattern = \"/lax\", secure = false }]";
    let pinion = settings.route(rule).start();
    let mut client = pinion.client();
    assert_eq!(client.get("/lax").status, 200);
    assert_eq!(client.get("/strict").status, 502, "the connection that nobody verified is not for this one");
    assert_eq!(client.get("/lax").status, 200);
}

#[test]
fn a_backend_that_asks_is_shown_our_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let own = clients.issue(&["proxy.test"]);
    let config = authority.issue(&["localhost"]).server(Some(&clients));
    let origin = Origin::start_tls(config, |conn| {
        let shown = conn.tls().peer_certificates().map_or(0, <[_]>::len);
        let alpn = String::from_utf8_lossy(conn.tls().alpn_protocol().unwrap_or_default()).into_owned();
        conn.answer_all(if shown == 1 && alpn == "http/1.1" { "known" } else { "unknown" });
    });
    let with = format!("backend_tls = {{ ca = {:?}, {} }}", authority.file(), own.toml());
    let pinion = Settings::to(&origin).route(&with).start();
    assert_eq!(pinion.client().get("/").text(), "known");
    let without = format!("backend_tls = {{ ca = {:?} }}", authority.file());
    let pinion = Settings::to(&origin).route(&without).route("retries = 0").start();
    assert_eq!(pinion.client().get("/").status, 502);
}

#[test]
fn sessions_with_backends_are_resumed() {
    let authority = Authority::new();
    let config = authority.issue(&["localhost"]).server(None);
    let origin = Origin::start_tls(config, |conn| {
        let kind = format!("{:?}", conn.tls().handshake_kind());
        conn.request();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{kind}",
            kind.len()
        ));
    });
    let trusting = format!("backend_tls = {{ ca = {:?} }}", authority.file());
    let pinion = Settings::to(&origin).route(&trusting).start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "Some(Full)");
    for _ in 0..3 {
        assert_eq!(client.get("/").text(), "Some(Resumed)");
    }
}

#[test]
fn a_body_that_ends_with_the_connection_is_whole_only_if_the_backend_says_so() {
    let authority = Authority::new();
    let config = authority.issue(&["localhost"]).server(None);
    let origin = Origin::start_tls(config, |conn| {
        let Some(request) = conn.request() else { return };
        conn.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it?");
        if request.target == "/cut" {
            conn.truncate();
        }
    });
    let trusting = format!("backend_tls = {{ ca = {:?} }}", authority.file());
    let pinion = Settings::to(&origin).route(&trusting).start();
    assert_eq!(pinion.client().get("/whole").text(), "all of it?");
    let mut client = pinion.client();
    client.send("GET /cut HTTP/1.1\r\nHost: test\r\n\r\n");
    client.try_response().expect_err("it must not look whole");
}

#[test]
fn long_bodies_pass_both_ways_through_tls_on_both_sides() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"]);
    let origin = Origin::start_tls(certificate.server(None), |conn| {
        while let Some(request) = conn.request() {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len()));
            conn.send(request.body);
        }
    });
    let trusting = format!("backend_tls = {{ ca = {:?} }}", authority.file());
    let pinion = Settings::to(&origin).route(&trusting).tls(&[certificate.toml()]).start();
    let addr = *pinion.addrs().last().expect("a TLS listener");
    let config = Arc::new(authority.client(None));
    let body: Vec<u8> =
        (0..5_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for len in [0, 1, 1_000, 16_383, 16_384, 16_385, 70_000, 5_000_000] {
        let mut client = harness::Client::connect_tls(addr, "localhost", &config);
        client.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n"));
        client.send(&body[..len]);
        let response = client.response();
        assert_eq!(response.body.len(), len);
        assert!(response.body == body[..len], "{len} bytes as they were");
    }
}

#[test]
fn a_session_over_wss_is_relayed_and_closed_in_order() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"]);
    let origin = Origin::start_tls(certificate.server(None), |conn| {
        let Some(request) = conn.request() else { return };
        conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
        while let Some(frame) = conn.next_frame() {
            if frame.first().is_some_and(|first| first & 0x0f == opcode::CLOSE) {
                conn.send(server_frame(opcode::CLOSE, &1000_u16.to_be_bytes()));
                return;
            }
            conn.send(server_frame(opcode::TEXT, b"heard"));
        }
    });
    let url = origin.url().replace("https://", "wss://");
    let settings = Settings::to_url(&url).route(&format!("backend_tls = {{ ca = {:?} }}", authority.file()));
    let pinion = settings.tls(&[certificate.toml()]).start();
    let addr = *pinion.addrs().last().expect("a TLS listener");
    let mut client = harness::Client::connect_tls(addr, "localhost", &Arc::new(authority.client(None)));
    client.send(ws::upgrade("/").replace("Host: test", "Host: localhost"));
    assert_eq!(client.response().status, 101);
    for _ in 0..3 {
        client.send(client_frame(opcode::TEXT, b"hello"));
        assert_eq!(client.exactly(7), server_frame(opcode::TEXT, b"heard"));
    }
    client.send(client_frame(opcode::CLOSE, &1000_u16.to_be_bytes()));
    let (rest, end) = client.rest();
    assert_eq!(rest, server_frame(opcode::CLOSE, &1000_u16.to_be_bytes()));
    assert_eq!(end, harness::End::Closed, "close_notify after the last frame");
}

#[test]
fn idle_connections_behind_tls_change_cores() {
    let authority = Authority::new();
    let origin = answering(authority.issue(&["localhost"]).server(None));
    let trusting = format!("backend_tls = {{ ca = {:?} }}", authority.file());
    // A core that is kept from running for a millisecond lends too late, and each then has a connection of its own: a few
    // starts, so that a busy machine proves nothing.
    let borrows = || {
        let pinion = Settings::to(&origin).cores("2").route(&trusting).start();
        // One client after the other: each core has one of them now and then, and one connection is enough for both.
        for _ in 0..40 {
            let mut client = pinion.client();
            assert_eq!(client.get("/").text(), "ok");
        }
        pinion.statistics().iter().map(|core| core.counter("backend_borrows")).sum::<u64>()
    };
    assert!((0..5).any(|_| borrows() > 0), "no core has ever borrowed: {} opened", origin.connections());
}

#[test]
fn a_backend_behind_tls_is_probed_over_tls() {
    let authority = Authority::new();
    let origin = answering(authority.issue(&["localhost"]).server(None));
    let trusting = format!("backend_tls = {{ ca = {:?} }}", authority.file());
    let settings = Settings::to(&origin).route(&trusting).set("health", "active = \"http\"");
    let _pinion =
        settings.set("health", "endpoint = \"/health\"").set("health", "interval_ms = 1000").start();
    wait::until("a probe arrives", || origin.requests().iter().any(|request| request.target == "/health"));
}
