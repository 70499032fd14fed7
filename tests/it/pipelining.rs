//! Pipelined requests are answered in order, each with its own answer.

use harness::{Client, Origin, Settings, proxy, wait};

fn targets() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            conn.answer(&format!("{}{body}", request.target));
        }
    })
}

#[test]
fn answers_come_in_order() {
    let origin = targets();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let wire: String = (0..100).map(|at| format!("GET /{at} HTTP/1.1\r\nHost: test\r\n\r\n")).collect();
    client.send(wire);
    for at in 0..100 {
        assert_eq!(client.response().text(), format!("/{at}"));
    }
}

#[test]
fn every_split_gives_the_same_answers() {
    let origin = targets();
    let pinion = proxy(&origin);
    let wire: &[u8] = b"POST /a HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nok\
        POST /b HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: t\r\n\r\n";
    for cut in 1..wire.len() {
        let mut client = pinion.client();
        // TCP_NODELAY makes two writes two segments, most of the time.
        client.send(&wire[..cut]);
        client.send(&wire[cut..]);
        for expected in ["/aok", "/byes", "/c"] {
            assert_eq!(client.response().text(), expected, "cut at {cut}");
        }
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn long_pipelines_cross_every_buffer_border() {
    let origin = targets();
    let pinion = proxy(&origin);
    // Heads and bodies of many sizes, so that every kind of border falls into every kind of buffer end.
    let mut wire = Vec::new();
    let mut expected = Vec::new();
    for at in 0..600_usize {
        let padding = "p".repeat(at * 37 % 5_000);
        let body = "b".repeat(at * 61 % 3_000);
        wire.extend(format!("POST /{at} HTTP/1.1\r\nHost: t\r\nX-Padding: {padding}\r\n").into_bytes());
        if at % 2 == 0 {
            wire.extend(format!("Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes());
        } else {
            let chunk =
                if body.is_empty() { String::new() } else { format!("{:x}\r\n{body}\r\n", body.len()) };
            wire.extend(format!("Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n").into_bytes());
        }
        expected.push(format!("/{at}{body}"));
    }
    for piece_len in [1_447, 4_096, 65_536] {
        let mut client = pinion.client();
        let mut answers = expected.iter();
        let mut sent = 0;
        // The answers must be read while the requests are sent, else both sides rightly stop.
        while sent < wire.len() {
            let piece = &wire[sent..wire.len().min(sent + piece_len)];
            match client.send_some(piece).expect("the proxy stays") {
                0 => assert_eq!(&client.response().text(), answers.next().expect("no answer too many")),
                count => sent += count,
            }
        }
        for answer in answers {
            assert_eq!(&client.response().text(), answer, "pieces of {piece_len}");
        }
    }
}

#[test]
fn one_byte_at_a_time_is_a_request_too() {
    let origin = targets();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for byte in
        b"POST /slow HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nyes\r\n0\r\n\r\n"
    {
        client.send([*byte]);
    }
    assert_eq!(client.response().text(), "/slowyes");
}

#[test]
fn bad_request_behind_a_good_one_gets_its_own_refusal() {
    let origin = targets();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("GET /good HTTP/1.1\r\nHost: test\r\n\r\nGET /bad HTTP/1.1\r\n\r\nGET /never HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.response().text(), "/good");
    assert_eq!(client.response().status, 400);
    let (more, _) = client.rest();
    assert!(more.is_empty());
    assert_eq!(origin.only_request().target, "/good");
}

#[test]
fn nothing_is_answered_after_close() {
    let origin = targets();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send(
        "GET /last HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: test\r\n\r\n",
    );
    assert_eq!(client.response().text(), "/last");
    let (more, _) = client.rest();
    assert!(more.is_empty());
    assert_eq!(origin.only_request().target, "/last");
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    // RFC 9112 2.2.
    let origin = targets();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    assert_eq!(client.send("\r\n\r\nGET /a HTTP/1.1\r\nHost: t\r\n\r\n").response().text(), "/a");
    assert_eq!(client.send("\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n").response().text(), "/b");
}

#[test]
fn half_closed_client_still_gets_its_answers() {
    let origin = targets();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    client.send("GET /a HTTP/1.1\r\nHost: t\r\n\r\nGET /b HTTP/1.1\r\nHost: t\r\n\r\n").half_close();
    assert_eq!(client.response().text(), "/a");
    assert_eq!(client.response().text(), "/b");
    client.closed();
}

#[test]
fn client_that_reads_no_answers_is_not_served_for_ever() {
    const BODY_BYTES: usize = 2_000;
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.answer(&"b".repeat(BODY_BYTES));
        }
    });
    let pinion = Settings::to(&origin).set("timeouts", "write_stall_ms = 300").start();
    let idle = pinion.open_sockets();
    let mut client = Client::connect_small(pinion.addr(), 4_096);
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n".repeat(4_000));
    wait::until("it is served at first", || !origin.requests().is_empty());
    // The backend's connection may stay in the pool; the client's own is gone long before any other deadline.
    wait::until("it is cut", || pinion.open_sockets() <= idle + 1);
    let served = origin.requests().len();
    assert!(served < 4_000, "{served} answers for a client that reads none");
    let (received, _) = client.rest();
    assert!(received.len() < 4_000 * BODY_BYTES, "it was cut");
    assert_eq!(pinion.client().get("/").status, 200);
}
