//! Connections are kept where both sides may keep them, and closed where one of them says so.

use harness::{Origin, Settings, proxy, wait};

#[test]
fn keeps_client_and_backend_connections() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for _ in 0..50 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "ok"));
        assert!(!response.says_close());
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn backend_connection_serves_the_next_client() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    for _ in 0..10 {
        assert_eq!(pinion.client().get("/").status, 200);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn closes_when_the_client_says_so() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    for value in ["close", "Close", "x, close"] {
        let mut client = pinion.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nConnection: {value}\r\n\r\n"));
        let response = client.response();
        assert_eq!(response.status, 200);
        assert!(response.says_close(), "{value}");
        client.closed();
    }
    assert_eq!(origin.connections(), 1, "the client's wish is not the backend's");
}

#[test]
fn http_1_0_is_kept_only_on_request() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut once = pinion.client();
    let response = once.send("GET / HTTP/1.0\r\nHost: test\r\n\r\n").response();
    assert_eq!(response.text(), "ok");
    assert!(!response.fields.has_token("connection", "keep-alive"));
    once.closed();

    let mut kept = pinion.client();
    for _ in 0..3 {
        let response = kept.send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n").response();
        assert_eq!(response.text(), "ok");
        assert!(response.fields.has_token("connection", "keep-alive"));
    }
}

#[test]
fn keeps_connection_after_responses_without_a_body() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/204" => conn.send("HTTP/1.1 204 No Content\r\n\r\n"),
                "/304" => conn.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
                "/head" => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
                "/head-chunked" => conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                _ => conn.answer("ok"),
            }
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for (method, path, status) in
        [("GET", "/204", 204), ("GET", "/304", 304), ("HEAD", "/head", 200), ("HEAD", "/head-chunked", 200)]
    {
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        let response = client.response_to(method);
        assert_eq!(response.status, status, "{path}");
        assert_eq!(client.get("/next").text(), "ok", "after {path}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn head_keeps_the_length_that_get_would_have() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let response = client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").response_to("HEAD");
    assert_eq!(response.field("content-length"), Some("7"));
}

#[test]
fn backend_that_closes_is_not_used_again() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for _ in 0..5 {
        let response = client.get("/");
        assert_eq!(response.text(), "ok");
        assert!(!response.says_close(), "the backend's wish is not the client's");
    }
    assert_eq!(origin.connections(), 5);
}

#[test]
fn http_1_0_backend_is_understood() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "until the end");
    assert_eq!(client.get("/").text(), "until the end");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn pool_keeps_no_more_than_its_size() {
    let gate = harness::Gate::new();
    let opened = gate.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            opened.wait();
            conn.answer("ok");
        }
    });
    let pinion = Settings::to(&origin).set("pool", "max_size = 2").start();
    let mut clients: Vec<_> = (0..6).map(|_| pinion.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    origin.wait_requests(6);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().text(), "ok");
    }
    wait::until("only two backend connections stay", || origin.live() == 2);
}

#[test]
fn idle_backend_connection_ends_in_time() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).set("pool", "idle_timeout_ms = 200").start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "ok");
    wait::until("the idle connection ends", || origin.live() == 0);
    assert_eq!(client.get("/").text(), "ok");
    assert_eq!(origin.connections(), 2);
}
