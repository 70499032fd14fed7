//! Fields that belong to one connection stay there; fields that a client must not remove stay too.

use harness::{Origin, proxy};

#[test]
fn hop_by_hop_fields_are_removed_from_requests() {
    // RFC 9110 7.6.1.
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    pinion
        .client()
        .send(
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: keep-alive, X-Named\r\nConnection: X-Other\r\nX-Named: 1\r\n\
             X-Other: 1\r\nX-Kept: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\n\
             Proxy-Authorization: Basic eDp5\r\n\r\n",
        )
        .response();
    let request = origin.only_request();
    for name in ["x-named", "x-other", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(request.field(name), None, "{name}");
    }
    assert_eq!(request.field("x-kept"), Some("1"));
    assert!(!request.fields.has_token("connection", "x-named"));
}

#[test]
fn protected_fields_survive_a_clients_wish() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let protected = "Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, Forwarded, \
                     Authorization, Cookie";
    pinion
        .client()
        .send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\nConnection: {protected}\r\nContent-Length: 2\r\n\
             Authorization: Basic eDp5\r\nCookie: a=b\r\n\r\nok"
        ))
        .response();
    let request = origin.only_request();
    assert_eq!(request.field("host"), Some("test"));
    assert_eq!(request.field("authorization"), Some("Basic eDp5"));
    assert_eq!(request.field("cookie"), Some("a=b"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(request.body, b"ok");
}

#[test]
fn hop_by_hop_fields_are_removed_from_responses() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
                 Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    let pinion = proxy(&origin);
    let response = pinion.client().get("/");
    for name in ["x-named", "keep-alive", "proxy-connection"] {
        assert_eq!(response.field(name), None, "{name}");
    }
    assert_eq!(response.field("x-kept"), Some("1"));
    assert_eq!(response.text(), "ok");
}

#[test]
fn set_cookie_lines_stay_apart() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let pinion = proxy(&origin);
    assert_eq!(pinion.client().get("/").fields.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn trailers_are_the_only_te_that_passes() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n")
        .response();
    let te = origin.only_request().fields.all("te").join(",");
    assert!(te.is_empty() || te == "trailers", "{te}");
}

#[test]
fn h2c_upgrade_is_removed() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let response = pinion
        .client()
        .send(
            "GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
        )
        .response();
    assert_eq!(response.text(), "ok");
    let request = origin.only_request();
    assert_eq!(request.field("upgrade"), None);
    assert_eq!(request.field("http2-settings"), None);
    assert!(!request.fields.has_token("connection", "upgrade"));
}
