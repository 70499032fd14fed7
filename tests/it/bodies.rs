//! Bodies arrive as they were sent, in both directions, framed anew on each side.

use harness::{Origin, Response, proxy};

/// Bytes that no repetition hides: each depends on its place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn chunked(body: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for part in body.chunks(piece) {
        out.extend(format!("{:x}\r\n", part.len()).into_bytes());
        out.extend(part);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// Two threads, because a large body must be sent while the answer is read.
fn exchange(pinion: &harness::Pinion, wire: Vec<u8>) -> Response {
    pinion.client().send(wire).response()
}

#[test]
fn request_bodies_arrive_whole() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let sizes = [0, 1, 2, 100, 4_096, 65_535, 65_536, 1_000_003];
    for (at, size) in sizes.into_iter().enumerate() {
        let body = pattern(size);
        let mut wire =
            format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n").into_bytes();
        wire.extend(&body);
        assert_eq!(exchange(&pinion, wire).status, 200);
        let request = origin.wait_requests(2 * at + 1)[2 * at].clone();
        assert!(request.body == body, "{size} bytes with a length");
        assert_eq!(request.fields.length(), Some(size));

        let head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(exchange(&pinion, [head.as_slice(), &chunked(&body, 1_000)].concat()).status, 200);
        let request = origin.wait_requests(2 * at + 2)[2 * at + 1].clone();
        assert!(request.body == body, "{size} bytes in chunks");
        assert_eq!(request.fields.all("transfer-encoding"), ["chunked"]);
        assert_eq!(request.fields.length(), None);
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn response_bodies_arrive_whole() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let (kind, size) = request.target[1..].split_once('/').expect("a path of two parts");
            let body = pattern(size.parse().expect("a size"));
            match kind {
                "length" => {
                    conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
                    conn.send(body);
                }
                "chunks" => {
                    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    conn.send(chunked(&body, 777));
                }
                _ => {
                    conn.send("HTTP/1.1 200 OK\r\n\r\n");
                    conn.send(body);
                    return;
                }
            }
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for size in [0, 1, 100, 4_096, 65_536, 1_000_003] {
        for kind in ["length", "chunks", "close"] {
            let response = client.get(&format!("/{kind}/{size}"));
            assert_eq!(response.status, 200);
            assert!(response.body == pattern(size), "{size} bytes, {kind}");
            assert!(!response.says_close(), "{kind}");
            let declared = (kind == "length").then_some(size);
            assert_eq!(response.fields.length(), declared, "{size} bytes, {kind}");
        }
    }
}

#[test]
fn http_1_0_client_gets_no_chunks() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let response = client.send("GET / HTTP/1.0\r\nHost: test\r\nConnection: keep-alive\r\n\r\n").response();
    assert_eq!(response.text(), "hello");
    assert_eq!(response.field("transfer-encoding"), None);
    assert_eq!(response.fields.length(), None, "the end of the connection is the end of the body");
    client.closed();
}

#[test]
fn declared_trailers_pass_both_ways() {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.send(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
            );
        }
    });
    let pinion = proxy(&origin);
    let response = pinion
        .client()
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: X-Check\r\n\r\n\
             2\r\nhi\r\n0\r\nX-Check: 9\r\n\r\n",
        )
        .response();
    assert_eq!(response.trailers.one("x-sum"), Some("7"));
    assert_eq!(origin.only_request().trailers.one("x-check"), Some("9"));
}

#[test]
fn forbidden_trailers_never_pass() {
    // RFC 9110 6.5.1: framing, routing and authentication have no place after the body.
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for name in ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "X-Forwarded-For"] {
        let mut one = pinion.client();
        let _ = one.try_send(format!(
            "POST /{name} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: {name}\r\n\r\n\
             0\r\n{name}: 1\r\n\r\n"
        ));
        // Refused or dropped: both are safe, forwarding is not.
        let _ = one.try_response();
    }
    assert_eq!(client.get("/").text(), "ok");
    for request in origin.requests() {
        assert!(request.trailers.0.is_empty(), "{request:?}");
    }
}

#[test]
fn bodies_stream_before_they_are_whole() {
    let seen = harness::Gate::new();
    let first_half = seen.clone();
    let origin = Origin::start(move |conn| {
        if conn.head().is_some() {
            assert_eq!(conn.exactly(4), b"half");
            first_half.open();
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            assert_eq!(conn.exactly(4), b"rest");
            conn.send("rest");
            conn.closed();
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nhalf");
    seen.wait();
    assert_eq!(client.head().status, 200);
    assert_eq!(client.exactly(4), b"half");
    client.send("rest");
    assert_eq!(client.exactly(4), b"rest");
    drop(pinion);
}

#[test]
fn large_bodies_flow_both_ways_at_once() {
    const LEN: usize = 20_000_003;
    let origin = Origin::start(|conn| {
        if conn.head().is_some() {
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n"));
            // Sends back what has come so far, long before the request is whole.
            let mut left = LEN;
            while left > 0 {
                let piece = conn.some(left);
                left -= piece.len();
                conn.send(piece);
            }
            conn.closed();
        }
    });
    let pinion = proxy(&origin);
    let body = pattern(LEN);
    let mut client = pinion.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {LEN}\r\n\r\n"));
    let (mut sent, mut back) = (0, Vec::new());
    while back.len() < LEN {
        let piece = &body[sent..LEN.min(sent + 65_536)];
        match client.send_some(piece).expect("the proxy stays") {
            0 if back.is_empty() => {
                assert_eq!(client.head().status, 200);
                back.extend(client.some());
            }
            0 => back.extend(client.some()),
            count => sent += count,
        }
    }
    assert!(back == body);
    drop(pinion);
}

#[test]
fn large_heads_pass_both_ways() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let value = request.field("x-long").unwrap_or_default().to_owned();
            conn.send(format!("HTTP/1.1 200 OK\r\nX-Long: {value}\r\nContent-Length: 2\r\n\r\nok"));
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for len in [1_000, 4_000, 8_191, 16_384, 30_000] {
        let value: String = (0..len).map(|at| char::from(b'a' + (at % 26) as u8)).collect();
        client.send(format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {value}\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status, response.text().as_str()), (200, "ok"), "{len}");
        assert_eq!(response.field("x-long"), Some(value.as_str()), "{len}");
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn early_answer_reaches_a_client_that_still_sends() {
    let origin = Origin::start(|conn| {
        if conn.head().is_some() {
            conn.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            conn.until_closed();
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000000\r\n\r\nbeginning");
    let response = client.response();
    assert_eq!((response.status, response.text().as_str()), (403, "no"));
    // What the rest of the body would be is unknown, so the connection cannot carry another request.
    client.rest();
}

#[test]
fn client_that_leaves_in_its_body_takes_the_backend_connection_along() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("POST /cut HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\npart");
    harness::wait::until("the head has reached the origin", || origin.connections() == 1);
    drop(client);
    harness::wait::until("the half-sent request is cut at the backend", || origin.live() == 0);
    assert_eq!(pinion.client().get("/next").text(), "ok");
    assert!(origin.requests().iter().all(|request| request.target == "/next"));
}
