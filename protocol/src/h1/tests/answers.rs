//! What a client gets to see of an answer, whose framing it is, and whether the connection lives on.

use crate::h1::client::{Client, ResponseEvent};
use crate::h1::encode::BodyEncoder;
use crate::h1::server::{RequestEvent, Server};
use crate::{Forward, Limits, Method, RequestError, RequestHead, ResponseHead, Status};

/// A server machine that has read all of `request`.
fn asked(request: &str) -> Server {
    let mut server = Server::new(0);
    let mut head = RequestHead::new();
    let mut at = 0;
    while at < request.len() {
        let used =
            server.feed(0, &Limits::default(), &request.as_bytes()[at..], &mut head).expect("a good request");
        at += used;
        while server.next_event().is_some() {}
        assert!(used > 0, "a whole request");
    }
    server
}

fn response(wire: &str, method: Method) -> ResponseHead {
    let mut head = ResponseHead::new();
    head.parse(wire.as_bytes(), &Limits::default(), method).expect("a good response").expect("a whole head");
    head
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const GET_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const GET_OLD: &str = "GET / HTTP/1.0\r\n\r\n";
const GET_OLD_KEEP: &str = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
const VIA: &str = "Via: 1.1 pinion\r\n";

#[test]
fn what_is_left_of_a_request_is_told_where_its_length_is() {
    let left = |request: &str| asked(request).request_body_left();
    assert_eq!(left(GET), Some(0));
    assert_eq!(left("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"), Some(3));
    assert_eq!(left("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde"), Some(0));
    assert_eq!(left("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"), None);
}

#[test]
fn framing_and_connection_fields_are_written_anew() {
    const NONE: BodyEncoder = BodyEncoder::None;
    const LENGTH: BodyEncoder = BodyEncoder::Length(5);
    const CHUNKED: BodyEncoder = BodyEncoder::Chunked { open: false };
    // Request, origin's head, client's head without its status line and Via, framing, lives on.
    let rows = [
        // RFC 9112 6.3
        (GET, "200 OK\r\nA: b\r\nContent-Length: 5\r\n", "A: b\r\nContent-Length: 5\r\n", LENGTH, true),
        (GET, "200 OK\r\nTransfer-Encoding: Chunked\r\n", "Transfer-Encoding: chunked\r\n", CHUNKED, true),
        (GET, "200 OK\r\n", "Transfer-Encoding: chunked\r\n", CHUNKED, true),
        (HEAD, "200 OK\r\nContent-Length: 5\r\n", "Content-Length: 5\r\n", NONE, true),
        (HEAD, "200 OK\r\nTransfer-Encoding: chunked\r\n", "", NONE, true),
        (GET, "204 No Content\r\nContent-Length: 0\r\n", "", NONE, true),
        (GET, "304 Not Modified\r\nContent-Length: 5\r\n", "Content-Length: 5\r\n", NONE, true),
        // RFC 9112 9.3
        (
            GET_CLOSE,
            "200 OK\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nConnection: close\r\n",
            LENGTH,
            false,
        ),
        (
            GET_OLD,
            "200 OK\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nConnection: close\r\n",
            LENGTH,
            false,
        ),
        (
            GET_OLD_KEEP,
            "200 OK\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\nConnection: keep-alive\r\n",
            LENGTH,
            true,
        ),
        (
            GET_OLD_KEEP,
            "200 OK\r\nTransfer-Encoding: chunked\r\n",
            "Connection: close\r\n",
            BodyEncoder::UntilClose,
            false,
        ),
        // RFC 9110 7.6.1: the origin's connection is not the client's.
        (
            GET,
            "200 OK\r\nConnection: close, x-a\r\nX-A: b\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nContent-Length: 5\r\n",
            "Content-Length: 5\r\n",
            LENGTH,
            true,
        ),
        // RFC 9110 6.6.2
        (GET, "200 OK\r\nTrailer: A\r\nContent-Length: 5\r\n", "Content-Length: 5\r\n", LENGTH, true),
        (
            GET,
            "200 OK\r\nTrailer: A\r\nTransfer-Encoding: chunked\r\n",
            "Trailer: A\r\nTransfer-Encoding: chunked\r\n",
            CHUNKED,
            true,
        ),
    ];
    for (request, answer, expected, framing, lives_on) in rows {
        let mut server = asked(request);
        let wire = format!("HTTP/1.1 {answer}\r\n");
        let method = if request == HEAD { Method::Head } else { Method::Get };
        let mut out = Vec::new();
        server.write_response(&mut out, wire.as_bytes(), &response(&wire, method), b"", false);
        let status_line = format!("HTTP/1.1 {}\r\n", answer.split("\r\n").next().expect("a status"));
        let got = String::from_utf8(out).expect("text").replace(VIA, "");
        assert_eq!(got, format!("{status_line}{expected}\r\n"), "{request}{wire}");
        assert_eq!(*server.body(), framing, "{request}{wire}");
        if framing != NONE {
            assert!(!server.keep_alive(), "not before the body has ended");
        }
        server.body().piece(if framing == NONE { 0 } else { 5 }, &mut Vec::new()).expect("the length fits");
        server.body().end(&mut Vec::new(), None).expect("the length fits");
        assert_eq!(server.keep_alive(), lives_on, "{request}{wire}");
    }
}

#[test]
fn closing_is_the_engines_to_decide() {
    let wire = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut server = asked(GET);
    let mut out = Vec::new();
    server.write_response(&mut out, wire.as_bytes(), &response(wire, Method::Get), b"", true);
    assert!(String::from_utf8_lossy(&out).contains("\r\nConnection: close\r\n"));
    assert!(!server.keep_alive());
}

#[test]
fn a_reason_is_kept_if_it_is_plain() {
    for (line, expected) in
        [("200 Fine", "200 Fine"), ("200", "200 OK"), ("404 \u{e4}", "404 Not Found"), ("299", "299 ")]
    {
        let wire = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
        let mut out = Vec::new();
        asked(GET).write_response(&mut out, wire.as_bytes(), &response(&wire, Method::Get), b"", false);
        assert!(out.starts_with(format!("HTTP/1.1 {expected}\r\n").as_bytes()), "{line}");
    }
}

#[test]
fn our_own_answers_have_the_right_length() {
    let fields = [("Content-Type", "text/plain")];
    let rows = [
        (GET, Status::NOT_FOUND, false, "Content-Length: 2\r\n\r\nno", true),
        (HEAD, Status::NOT_FOUND, false, "Content-Length: 2\r\n\r\n", true),
        (GET, Status::BAD_GATEWAY, true, "Content-Length: 2\r\nConnection: close\r\n\r\nno", false),
        (GET_OLD, Status::OK, false, "Content-Length: 2\r\nConnection: close\r\n\r\nno", false),
        (GET, Status::NO_CONTENT, false, "\r\n", true),
        (GET, Status::NOT_MODIFIED, false, "\r\n", true),
    ];
    for (request, status, close, expected, lives_on) in rows {
        let mut server = asked(request);
        let mut out = Vec::new();
        server.write_answer(&mut out, status, &fields, b"no", close);
        let start = format!("HTTP/1.1 {} {}\r\nContent-Type: text/plain\r\n", status.code(), status.reason());
        assert_eq!(String::from_utf8(out).expect("text"), format!("{start}{expected}"), "{request}");
        assert_eq!(server.keep_alive(), lives_on, "{request}");
    }
}

#[test]
fn an_answer_after_an_error_closes() {
    let mut server = Server::new(0);
    let mut head = RequestHead::new();
    let wire = b"HEAD / HTTP/1.1\r\nHost : a\r\n\r\n";
    let error = server.feed(0, &Limits::default(), wire, &mut head).expect_err("whitespace before the colon");
    let mut out = Vec::new();
    server.write_answer(&mut out, error.status().expect("a reply"), &[], b"body", false);
    let expected = "HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(out).expect("text"), expected, "no body after HEAD");
    assert!(!server.keep_alive());
}

#[test]
fn interim_responses_reach_only_those_who_know_them() {
    let wire = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\nX: y\r\nContent-Length: 9\r\n\r\n";
    let head = response(wire, Method::Get);
    let mut out = Vec::new();
    assert!(asked(GET).write_interim(&mut out, wire.as_bytes(), &head));
    assert_eq!(out, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    out.clear();
    assert!(!asked(GET_OLD).write_interim(&mut out, wire.as_bytes(), &head));
    assert!(out.is_empty());
}

#[test]
fn a_101_keeps_what_the_websocket_needs() {
    let wire = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: k\r\nSec-WebSocket-Protocol: chat\r\nContent-Length: 4\r\n\r\n";
    let mut out = Vec::new();
    asked(GET).write_upgrade(&mut out, wire.as_bytes(), &response(wire, Method::Get), b"");
    let expected = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: k\r\nSec-WebSocket-Protocol: chat\r\n\
                    Via: 1.1 pinion\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(String::from_utf8(out).expect("text"), expected);
}

#[test]
fn a_client_that_waits_for_100_never_stalls_and_never_desyncs() {
    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    let begin = || {
        let mut server = Server::new(0);
        let mut head = RequestHead::new();
        server.feed(0, &Limits::default(), wire, &mut head).expect("a good head");
        assert_eq!(server.next_event(), Some(RequestEvent::Head));
        assert_eq!(server.next_event(), None);
        assert!(head.expect_continue);
        (server, head)
    };
    let body = |server: &mut Server, head: &mut RequestHead| {
        server.feed(0, &Limits::default(), b"ok", head).expect("the body");
        while server.next_event().is_some() {}
    };
    // Our 100, once; then the answer, and the connection lives on.
    let (mut server, mut head) = begin();
    let mut out = Vec::new();
    assert!(server.write_continue(&mut out));
    assert!(!server.write_continue(&mut out));
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    body(&mut server, &mut head);
    server.write_answer(&mut out, Status::OK, &[], b"", false);
    assert!(server.keep_alive());
    // A final answer without 100: whether the body comes is uncertain, so the connection must end.
    let (mut server, _) = begin();
    out.clear();
    server.write_answer(&mut out, Status::NOT_FOUND, &[], b"", false);
    assert!(String::from_utf8_lossy(&out).contains("Connection: close\r\n"));
    assert!(!server.keep_alive());
    // A client that sent the body without waiting is not punished.
    let (mut server, mut head) = begin();
    body(&mut server, &mut head);
    server.write_answer(&mut out, Status::OK, &[], b"", false);
    assert!(server.keep_alive());
}

#[test]
fn deadlines_follow_the_time_table() {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let mut server = Server::new(1000);
    assert_eq!(server.deadline(&limits), Some(61_000));
    assert_eq!(server.on_deadline(60_999, &limits), Ok(()));
    let wire = [b"GET / HTTP/1.1\r\nHost: a\r\nA: ".as_slice(), &[b'b'; 20_000]].concat();
    // Bytes so far, deadline: 1 s at least, 500 bytes a second, 10 s at most.
    for (len, deadline) in [(1, 6_000), (500, 6_000), (1_000, 7_000), (2_500, 10_000), (6_000, 15_000)] {
        assert_eq!(server.feed(5_000, &limits, &wire[..len], &mut head), Ok(0));
        assert_eq!(server.deadline(&limits), Some(deadline), "{len} bytes");
        assert_eq!(server.on_deadline(deadline - 1, &limits), Ok(()));
    }
    assert_eq!(server.on_deadline(15_000, &limits), Err(RequestError::HeadTimeout));
    assert_eq!(server.deadline(&limits), None);
    assert_eq!(RequestError::HeadTimeout.status(), Some(Status::REQUEST_TIMEOUT));

    let mut server = Server::new(0);
    assert_eq!(server.on_deadline(60_000, &limits), Err(RequestError::IdleTimeout));
    assert_eq!(RequestError::IdleTimeout.status(), None);

    // An empty line behind a body is still idleness.
    let mut server = Server::new(0);
    assert_eq!(server.feed(5_000, &limits, b"\r\n\r", &mut head), Ok(2));
    assert!(server.is_idle());
    assert_eq!(server.deadline(&limits), Some(60_000));
    assert_eq!(server.feed(6_000, &limits, b"\r\nG", &mut head), Ok(2));
    assert!(!server.is_idle());
    assert_eq!(server.deadline(&limits), Some(7_000));

    let unhurried = Limits { request_head_bytes_per_second_min: 0, ..Limits::default() };
    let mut server = Server::new(0);
    assert_eq!(server.feed(0, &unhurried, b"G", &mut head), Ok(0));
    assert_eq!(server.deadline(&unhurried), Some(10_000));

    let mut server = asked(GET);
    assert_eq!(server.deadline(&limits), None);
    server.write_answer(&mut Vec::new(), Status::OK, &[], b"", false);
    server.next_request(70_000);
    assert_eq!(server.deadline(&limits), Some(130_000));
}

#[test]
fn an_origin_connection_is_reused_only_after_a_clean_exchange() {
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n";
    // Request, body bytes sent, response, reusable.
    let rows = [
        (GET, 0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (GET, 0, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", false),
        (GET, 0, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false),
        (GET, 0, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        (GET, 0, "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", true),
        (GET, 0, "HTTP/1.1 200 OK\r\n\r\n", false),
        (post, 2, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        (post, 1, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", false),
    ];
    for (request, sent, answer, reusable) in rows {
        let mut head = RequestHead::new();
        head.parse(request.as_bytes(), &Limits::default()).expect("good").expect("whole");
        let mut client = Client::new();
        let mut response_head = ResponseHead::new();
        client.write_request(&mut Vec::new(), request.as_bytes(), &head, &Forward::default());
        client.request_body().piece(sent, &mut Vec::new()).expect("within the length");
        assert!(client.awaits_head());
        client.feed(&Limits::default(), answer.as_bytes(), &mut response_head).expect("a good answer");
        assert_eq!(client.next_event(), Some(ResponseEvent::Head));
        while client.next_event().is_some() {}
        assert_eq!(client.reusable(), reusable, "{request}{answer}");
    }
    let mut idle = Client::new();
    let unasked = idle.feed(&Limits::default(), b"H", &mut ResponseHead::new());
    assert_eq!(unasked, Err(crate::ResponseError::Unsolicited));
}

#[test]
fn machines_stay_small() {
    assert!(std::mem::size_of::<Server>() <= 96, "{}", std::mem::size_of::<Server>());
    assert!(std::mem::size_of::<Client>() <= 96, "{}", std::mem::size_of::<Client>());
}
