//! A WebSocket upgrade is checked, forwarded, and becomes a relay only after a real 101.

use harness::ws::{self, KEY, client_frame, opcode, server_frame};
use harness::{Origin, proxy};

fn handshake(lines: &str) -> String {
    format!("GET /ws HTTP/1.1\r\nHost: test\r\n{lines}\r\n")
}

const GOOD: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Upgrades everything, then echoes bytes.
fn echo() -> Origin {
    Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            conn.echo_bytes();
        }
    })
}

#[test]
fn handshake_passes_and_the_relay_begins() {
    let origin = echo();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let response = client.send(ws::upgrade("/chat?room=1")).response();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert!(response.fields.has_token("connection", "upgrade"));
    assert!(response.fields.has_token("upgrade", "websocket"));
    let request = origin.only_request();
    assert_eq!(request.target, "/chat?room=1");
    assert_eq!(request.field("sec-websocket-key"), Some(KEY));
    assert_eq!(request.field("sec-websocket-version"), Some("13"));
    assert!(request.fields.has_token("connection", "upgrade"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn bad_handshakes_are_refused() {
    // RFC 6455 4.2.1, 4.4.
    let rows = [
        ("no key", GOOD.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400),
        ("short key", GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400),
        ("key that is no base64", GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", "????????????????????????"), 400),
        ("two keys", format!("{GOOD}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400),
        ("no version", GOOD.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("version 8", GOOD.replace("Version: 13", "Version: 8"), 426),
    ];
    let origin = echo();
    let pinion = proxy(&origin);
    for (what, lines, status) in rows {
        let mut client = pinion.client();
        let response = client.send(handshake(&lines)).response();
        assert_eq!(response.status, status, "{what}");
        if status == 426 {
            assert_eq!(response.field("sec-websocket-version"), Some("13"), "{what}");
        }
    }
    let post = handshake(GOOD).replace("GET", "POST");
    let response = pinion.client().send(post).response();
    assert_eq!(response.status, 400, "POST is no handshake");
    assert_eq!(origin.requests(), [], "nothing of these reaches the backend");
    assert_eq!(pinion.client().send(ws::upgrade("/")).response().status, 101);
}

#[test]
fn answer_that_is_no_101_is_an_ordinary_response() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/no" => conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
                _ => conn.answer("ok"),
            }
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let response = client.send(ws::upgrade("/no")).response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    assert_eq!(client.get("/next").text(), "ok", "the connection goes on");
}

#[test]
fn false_101_is_a_bad_gateway() {
    let real = ws::switch(KEY);
    let rows = [
        ("wrong accept", real.replace("s3pP", "S3pP")),
        ("no accept", real.replace("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "")),
        ("no upgrade", real.replace("Upgrade: websocket\r\n", "")),
        ("no connection", real.replace("Connection: Upgrade\r\n", "")),
        ("another protocol", real.replace("Upgrade: websocket", "Upgrade: h2c")),
    ];
    for (what, answer) in rows {
        let origin = Origin::start(move |conn| {
            conn.request();
            conn.send(&answer);
            conn.until_closed();
        });
        let pinion = proxy(&origin);
        let mut client = pinion.client();
        assert_eq!(client.send(ws::upgrade("/")).response().status, 502, "{what}");
        harness::wait::until("the false session's connection ends", || origin.live() == 0);
    }
}

#[test]
fn unasked_101_is_a_bad_gateway() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(ws::switch(KEY));
        conn.until_closed();
    });
    let pinion = proxy(&origin);
    assert_eq!(pinion.client().get("/").status, 502);
}

#[test]
fn early_frame_reaches_the_client() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            let mut wire = ws::switch(request.field("sec-websocket-key").unwrap_or_default()).into_bytes();
            wire.extend(server_frame(opcode::TEXT, b"welcome"));
            conn.send(wire);
            conn.until_closed();
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    let welcome = server_frame(opcode::TEXT, b"welcome");
    assert_eq!(client.exactly(welcome.len()), welcome);
}

#[test]
fn early_frame_reaches_the_backend() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            let early = client_frame(opcode::TEXT, b"impatient");
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            assert_eq!(conn.exactly(early.len()), early);
            conn.send(server_frame(opcode::TEXT, b"got it"));
            conn.until_closed();
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send([ws::upgrade("/").as_bytes(), &client_frame(opcode::TEXT, b"impatient")].concat());
    assert_eq!(client.response().status, 101);
    let answer = server_frame(opcode::TEXT, b"got it");
    assert_eq!(client.exactly(answer.len()), answer);
}

#[test]
fn extensions_and_subprotocols_pass_end_to_end() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            let key = request.field("sec-websocket-key").unwrap_or_default().to_owned();
            conn.send(ws::switch_with(
                &key,
                "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n",
            ));
            // A compressed message has its first reserved bit set (RFC 7692 6).
            conn.send(ws::frame(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00", None));
            conn.until_closed();
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let lines = "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let response = client.send(handshake(&format!("{GOOD}{lines}"))).response();
    assert_eq!(response.status, 101);
    assert_eq!(response.field("sec-websocket-protocol"), Some("b"));
    assert_eq!(response.field("sec-websocket-extensions"), Some("permessage-deflate"));
    assert_eq!(client.exactly(9)[0], 0xc1);
    let request = origin.only_request();
    assert_eq!(request.field("sec-websocket-protocol"), Some("a, b"));
    assert_eq!(request.field("sec-websocket-extensions"), Some("permessage-deflate; client_max_window_bits"));
}

#[test]
fn backend_that_is_down_is_answered_before_the_upgrade() {
    let refusing = harness::ports::Refusing::new();
    let pinion = harness::Settings::to_url(&format!("ws://{}", refusing.addr())).start();
    assert_eq!(pinion.client().send(ws::upgrade("/")).response().status, 502);
}
