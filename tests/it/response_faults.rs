//! A response that breaks the rules ends its backend connection; nothing of it reaches another client.

use harness::{Origin, proxy, wait};

/// Answers `/bad` with these bytes and then holds or closes the connection; answers everything else well.
fn origin(bytes: &[u8], close: bool) -> Origin {
    let bytes = bytes.to_vec();
    Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/bad" {
                conn.send(&bytes);
                if close {
                    return;
                }
                conn.until_closed();
                return;
            }
            conn.answer(&request.target);
        }
    })
}

#[test]
fn malformed_heads_are_answered_with_502() {
    // RFC 9112 4, 5, 6.3; RFC 9110 8.6.
    let ok = "HTTP/1.1 200 OK\r\n";
    let long_line = format!("{ok}X: {}\r\n\r\n", "a".repeat(40_000));
    let many = format!("{ok}{}\r\n", (0..101).map(|at| format!("X-{at}: a\r\n")).collect::<String>());
    let rows: Vec<(&str, String)> = vec![
        ("no HTTP", "SSH-2.0-OpenSSH\r\n\r\n".into()),
        ("no version", "200 OK\r\n\r\n".into()),
        ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("status of letters", "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("status below 100", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n".into()),
        ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n".into()),
        ("bare CR in a value", format!("{ok}X: a\rb\r\nContent-Length: 0\r\n\r\n")),
        ("NUL in a value", format!("{ok}X: a\0b\r\nContent-Length: 0\r\n\r\n")),
        ("space before the colon", format!("{ok}Content-Length : 0\r\n\r\n")),
        ("folded line", format!("{ok}X: a\r\n b\r\nContent-Length: 0\r\n\r\n")),
        ("empty name", format!("{ok}: a\r\nContent-Length: 0\r\n\r\n")),
        ("line without a colon", format!("{ok}nonsense\r\nContent-Length: 0\r\n\r\n")),
        ("two lengths", format!("{ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
        ("length that is no number", format!("{ok}Content-Length: abc\r\n\r\n")),
        ("negative length", format!("{ok}Content-Length: -1\r\n\r\n")),
        (
            "length and chunks",
            format!("{ok}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("chunked twice", format!("{ok}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n")),
        ("unknown coding", format!("{ok}Transfer-Encoding: gzip\r\n\r\nx")),
        ("head too long", long_line),
        ("too many fields", many),
    ];
    let mut wrong = Vec::new();
    for (what, bytes) in rows {
        let origin = origin(bytes.as_bytes(), false);
        let pinion = proxy(&origin);
        assert_eq!(pinion.client().get("/warm").text(), "/warm");
        let mut client = pinion.client();
        client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n");
        match client.try_response() {
            Ok(response) if response.status == 502 => {}
            other => wrong.push(format!("{what}: {other:?}")),
        }
        wait::until("the bad connection ends", || origin.live() == 0);
        let next = pinion.client().get("/next").text();
        if next != "/next" {
            wrong.push(format!("{what}: the next client got {next:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn broken_bodies_are_cut_visibly() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rows = [
        ("length cut short", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_owned(), true),
        ("chunk cut short", format!("{chunked}9\r\nhalf"), true),
        ("last chunk missing", format!("{chunked}4\r\nhalf\r\n"), true),
        ("cut in the trailers", format!("{chunked}4\r\nhalf\r\n0\r\nX: "), true),
        ("chunk size that is no number", format!("{chunked}4\r\nhalf\r\nzz\r\n"), false),
        ("chunk without its line end", format!("{chunked}4\r\nhalfX"), false),
        ("bare LF in a chunk line", format!("{chunked}4\r\nhalf\r\n4\nhalf\r\n0\r\n\r\n"), false),
        ("chunk size beyond 64 bits", format!("{chunked}4\r\nhalf\r\nfffffffffffffffff\r\n"), false),
    ];
    let mut wrong = Vec::new();
    for (what, bytes, close) in rows {
        let origin = origin(bytes.as_bytes(), close);
        let pinion = proxy(&origin);
        let mut client = pinion.client();
        client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n");
        // The head may have gone out before the fault came: then the cut must show. Else 502 is right too.
        match client.try_response() {
            Ok(response) if response.status == 502 => {}
            Ok(response) => wrong.push(format!("{what}: looks whole: {response:?}")),
            Err(_) => {}
        }
        wait::until("the bad connection ends", || origin.live() == 0);
        let next = pinion.client().get("/next").text();
        if next != "/next" {
            wrong.push(format!("{what}: the next client got {next:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn bytes_behind_a_response_reach_nobody() {
    let more = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let rows = [
        ("after a length", format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok{more}"), "ok"),
        ("garbage after a length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX".to_owned(), "ok"),
        (
            "after the last chunk",
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{more}"),
            "ok",
        ),
        ("after 204", format!("HTTP/1.1 204 No Content\r\n\r\n{more}"), ""),
        ("after 304", format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nok{more}"), ""),
    ];
    for (what, bytes, body) in rows {
        let origin = origin(bytes.as_bytes(), false);
        let pinion = proxy(&origin);
        assert_eq!(pinion.client().get("/warm").text(), "/warm");
        let mut client = pinion.client();
        assert_eq!(client.get("/bad").text(), body, "{what}");
        wait::until("the connection with more bytes ends", || origin.live() == 0);
        for path in ["/a", "/b"] {
            assert_eq!(client.get(path).text(), path, "{what}: same client");
            assert_eq!(pinion.client().get(path).text(), path, "{what}: another client");
        }
    }
}

#[test]
fn bytes_on_an_idle_backend_connection_reach_nobody() {
    let spoken = harness::Gate::new();
    let told = spoken.clone();
    let origin = Origin::start(move |conn| {
        let number = conn.number;
        while let Some(request) = conn.request() {
            conn.answer(&request.target);
            if number == 1 {
                told.wait();
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
                conn.until_closed();
                return;
            }
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    assert_eq!(client.get("/first").text(), "/first");
    spoken.open();
    wait::until("the connection that spoke unasked ends", || origin.live() == 0);
    assert_eq!(client.get("/second").text(), "/second");
}

#[test]
fn body_after_head_is_no_answer_to_the_next() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            if request.method == "HEAD" {
                // A backend that sends a body to HEAD, against RFC 9110 9.3.2.
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 37\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            } else {
                conn.answer(&request.target);
            }
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    assert_eq!(client.send("HEAD / HTTP/1.1\r\nHost: test\r\n\r\n").response_to("HEAD").status, 200);
    assert_eq!(client.get("/next").text(), "/next");
}

#[test]
fn backend_that_closes_without_a_byte_is_answered_with_502() {
    let origin = Origin::start(|conn| {
        conn.request();
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.response().status, 502);
    assert_eq!(client.get("/").status, 502, "the client's connection goes on");
}

#[test]
fn reset_in_a_body_is_a_visible_cut() {
    let cut = harness::Gate::new();
    let told = cut.clone();
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
        told.wait();
        conn.reset_on_close();
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(4), b"part");
    cut.open();
    let (more, _) = client.rest();
    assert!(more.is_empty());
}

#[test]
fn close_delimited_body_that_is_reset_is_a_visible_cut() {
    // RFC 9112 8: an end without a FIN is no end of the body.
    let cut = harness::Gate::new();
    let told = cut.clone();
    let origin = Origin::start(move |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\n\r\npart");
        told.wait();
        conn.reset_on_close();
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until("the origin was asked", || !origin.requests().is_empty());
    cut.open();
    match client.try_response() {
        Ok(response) => assert_eq!(response.status, 502, "not a whole body: {response:?}"),
        Err(cut) => assert!(cut.head.is_none_or(|head| head.status == 200)),
    }
}
