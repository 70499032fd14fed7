//! The PROXY protocol: read from trusted peers alone, and written to backends that want it.

use std::sync::Arc;

use harness::certs::Authority;
use harness::{Client, End, Origin, Pinion, Settings};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc6\x33\x64\x01\xdc\x04\x01\xbb";
const ASK: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

fn settings(origin: &Origin) -> Settings {
    Settings::to(origin).set("server", "proxy_protocol = true")
}

fn trusting(origin: &Origin) -> Settings {
    settings(origin).set("server", "trusted_proxies = [\"127.0.0.1\"]")
}

#[test]
fn a_trusted_peer_says_who_the_client_is() {
    let origin = Origin::echo();
    let pinion = trusting(&origin).start();
    for (header, client) in [(V1, "192.0.2.7"), (V2, "192.0.2.8")] {
        for cut in [0, 1, 6, header.len() - 1, header.len()] {
            let mut conn = pinion.client();
            conn.send(&header[..cut]);
            conn.send([&header[cut..], ASK.as_bytes()].concat());
            let told = conn.response().text();
            assert!(told.contains(&format!("X-Forwarded-For: {client}\r\n")), "cut at {cut}: {told}");
            assert!(told.contains(&format!("X-Real-IP: {client}\r\n")), "{told}");
            // The second request on the connection is the same client's.
            assert!(conn.send(ASK).response().text().contains(client));
        }
    }
    // The client itself is not trusted because its proxy is.
    let mut conn = pinion.client();
    conn.send(V1).send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    assert!(!conn.response().text().contains("203.0.113.9"));
    let mut local = pinion.client();
    local.send("PROXY UNKNOWN\r\n").send(ASK);
    assert!(local.response().text().contains("X-Forwarded-For: 127.0.0.1\r\n"));
}

#[test]
fn a_trusted_peer_without_a_good_header_is_closed_without_a_word() {
    let origin = Origin::echo();
    let pinion = trusting(&origin).start();
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200]].concat();
    for bad in
        [ASK.as_bytes(), b"PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", &long]
    {
        let mut conn = pinion.client();
        conn.send(bad);
        let (said, _) = conn.rest();
        assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn from_a_stranger_a_header_is_no_request() {
    let origin = Origin::echo();
    let pinion = settings(&origin).start();
    let mut conn = pinion.client();
    conn.send(V1).send(ASK);
    assert_eq!(conn.response().status, 400);
    assert_eq!(conn.closed(), End::Closed);
    assert_eq!(pinion.client().get("/").status, 200, "without one it is a client");
}

#[test]
fn the_header_stands_before_the_handshake() {
    let origin = Origin::echo();
    let authority = Authority::new();
    let pinion = trusting(&origin).tls(&[authority.issue(&["a.example"]).toml()]).start();
    let addr = *pinion.addrs().last().expect("a TLS listener");
    let mut conn = Client::connect_tls(addr, "a.example", &Arc::new(authority.client(None)));
    conn.send_plain(V1);
    let told = conn.send(ASK).response().text();
    assert!(told.contains("X-Forwarded-For: 192.0.2.7\r\n"), "{told}");
    assert!(told.contains("X-Forwarded-Proto: https\r\n"), "{told}");
}

#[test]
fn a_backend_that_wants_it_is_told_who_the_client_is() {
    for (version, len) in [("v1", 0), ("v2", 28)] {
        let origin = Origin::start(move |conn| {
            let header = if len == 0 { conn.line() } else { conn.exactly(len) };
            let text = format!("{header:?}");
            conn.answer_all(&text);
        });
        let pinion: Pinion = Settings::to(&origin).route(&format!("send_proxy = \"{version}\"")).start();
        let mut first = pinion.client();
        let own = first.addr();
        let told = first.get("/").text();
        let expected = match version {
            "v1" => format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), pinion.addr().port())
                .into_bytes(),
            _ => {
                let mut wire = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01".to_vec();
                wire.extend(own.port().to_be_bytes());
                wire.extend(pinion.addr().port().to_be_bytes());
                wire
            }
        };
        assert_eq!(told, format!("{expected:?}"));
        let mut second = pinion.client();
        assert_ne!(second.get("/").text(), told, "no connection serves two clients");
    }
}
