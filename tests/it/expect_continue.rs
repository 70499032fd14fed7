//! `Expect: 100-continue` never stalls, and other interim responses pass.

use harness::{Gate, Origin, proxy, wait};

const HEAD: &str = "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

#[test]
fn client_that_waits_is_told_to_go_on() {
    let origin = Origin::start(|conn| {
        while conn.head().is_some() {
            conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            assert_eq!(conn.exactly(5), b"hello");
            conn.answer("ok");
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for _ in 0..3 {
        assert_eq!(client.send(HEAD).response().status, 100);
        assert_eq!(client.send("hello").response().text(), "ok");
    }
}

#[test]
fn backend_that_ignores_the_field_stalls_nobody() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            conn.answer(&String::from_utf8_lossy(&request.body));
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    // RFC 9110 10.1.1: a client may send its body without waiting for long.
    client.send(HEAD).send("hello");
    let mut response = client.response();
    if response.status == 100 {
        response = client.response();
    }
    assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    assert_eq!(client.get("/next").text(), "");
}

#[test]
fn refusal_comes_instead_of_the_body() {
    let origin = Origin::start(|conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
            conn.until_closed();
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let response = client.send(HEAD).response();
    assert_eq!((response.status, response.text().as_str()), (401, "no"));
}

#[test]
fn early_hints_pass() {
    let go_on = Gate::new();
    let seen = go_on.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
            conn.send("HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n");
            seen.wait();
            conn.answer("ok");
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let first = client.get("/");
    assert_eq!((first.status, first.field("link")), (103, Some("</a.css>")));
    let second = client.response();
    assert_eq!((second.status, second.field("link")), (103, Some("</b.css>")));
    go_on.open();
    assert_eq!(client.response().text(), "ok");
    let mut old = pinion.client();
    let response = old.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n").response();
    assert_eq!(response.status, 200, "HTTP/1.0 knows no interim responses (RFC 9110 15.2)");
}

#[test]
fn interim_responses_have_an_end() {
    let origin = Origin::start(|conn| {
        if conn.request().is_some() {
            while conn.try_send("HTTP/1.1 102 Processing\r\n\r\n".repeat(100)).is_ok() {}
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let mut interim = 0;
    let last = loop {
        let response = client.response();
        if response.status >= 200 {
            break response;
        }
        interim += 1;
        assert!(interim < 10_000, "a backend cannot answer with interim responses for ever");
    };
    assert_eq!(last.status, 502);
    wait::until("the endless answer's connection ends", || origin.live() == 0);
}
