//! The events never depend on how the bytes were cut: every wire whole, at every cut, and byte by byte.

use super::world::{Seen, requests, responses};
use crate::Limits;

/// Good wires, each with the number of requests in it.
const REQUESTS: &[(&[u8], usize)] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
    (b"GET /a/../b?c=d HTTP/1.0\r\n\r\n", 1),
    (b"\r\n\r\nPOST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok", 1),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", 2),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n", 2),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
          5\r\nhello\r\nA;name=\"value\"\r\n0123456789\r\n0\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
        2,
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
          00003\r\nabc\r\n000;x\r\nX-Sum: 1\r\nContent-Length: 9\r\nX-More:  2 \r\n\r\n",
        1,
    ),
    (
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\nX-Undeclared: 1\r\n\r\n\
          DELETE /3 HTTP/1.1\r\nHost: a\r\nEmpty:\r\nPadded: \t v \t\r\nConnection: close, padded\r\n\r\n",
        2,
    ),
    (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        1,
    ),
];

#[test]
fn every_split_of_requests_gives_the_same_events() {
    let limits = Limits::default();
    for (wire, count) in REQUESTS {
        let whole = requests(&[wire], &limits);
        let ends = whole.iter().filter(|seen| **seen == Seen::End).count();
        assert_eq!(ends, *count, "{whole:?}");
        assert!(!whole.iter().any(|seen| matches!(seen, Seen::BadRequest(_) | Seen::Left(_))), "{whole:?}");
        for cut in 1..wire.len() {
            let (left, right) = wire.split_at(cut);
            assert_eq!(requests(&[left, right], &limits), whole, "cut at {cut}");
        }
        for size in 1..8 {
            let pieces: Vec<&[u8]> = wire.chunks(size).collect();
            assert_eq!(requests(&pieces, &limits), whole, "pieces of {size}");
        }
    }
}

/// Request, good response, whether the origin closes behind it, and whether an end is to be seen.
type Answer = (&'static [u8], &'static [u8], bool, bool);

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
const WEBSOCKET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

const RESPONSES: &[Answer] = &[
    (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, true),
    (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false, true),
    (GET, b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, true),
    (GET, b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", false, true),
    (
        GET,
        b"HTTP/1.1 404 Not \xe4 Found\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\n\r\n",
        false,
        true,
    ),
    (
        GET,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
          3\r\nabc\r\n0\r\nX-Sum: 9\r\nSet-Cookie: no\r\n\r\n",
        false,
        true,
    ),
    (GET, b"HTTP/1.1 200 OK\r\n\r\nuntil the close", true, true),
    (GET, b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", true, true),
    (GET, b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab", true, true),
    (
        GET,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 7\r\n\r\n\
          HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        false,
        true,
    ),
    (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", false, true),
    (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, true),
    (HEAD, b"HTTP/1.1 200 OK\r\n\r\n", false, true),
    (GET, b"HTTP/1.1 204 No Content\r\n\r\n", false, true),
    (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5000\r\nETag: \"a\"\r\n\r\n", false, true),
    (
        WEBSOCKET,
        b"HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n\x81\x01a",
        false,
        false,
    ),
    (WEBSOCKET, b"HTTP/1.1 400 No\r\nContent-Length: 2\r\n\r\nno", false, true),
];

#[test]
fn every_split_of_responses_gives_the_same_events() {
    let limits = Limits::default();
    for (request, wire, eof, ends) in RESPONSES {
        let whole = responses(request, &[wire], *eof, &limits);
        assert_eq!(whole.contains(&Seen::End), *ends, "{whole:?}");
        assert!(!whole.iter().any(|seen| matches!(seen, Seen::BadResponse(_))), "{whole:?}");
        for cut in 1..wire.len() {
            let (left, right) = wire.split_at(cut);
            assert_eq!(responses(request, &[left, right], *eof, &limits), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(responses(request, &bytes, *eof, &limits), whole, "byte by byte");
    }
}

#[test]
fn bytes_behind_a_101_belong_to_the_relay() {
    let seen = responses(WEBSOCKET, &[RESPONSES[15].1], false, &Limits::default());
    assert!(matches!(seen.first(), Some(Seen::Upgraded(_))), "{seen:?}");
    assert_eq!(seen.last(), Some(&Seen::Left(b"\x81\x01a".to_vec())));
}

#[test]
fn bodies_and_trailers_arrive_as_they_were_sent() {
    let seen = requests(&[REQUESTS[6].0], &Limits::default());
    let expected = [Seen::Body(b"abc".to_vec()), Seen::Trailers("X-Sum=1\nX-More=2\n".into()), Seen::End];
    assert_eq!(seen[1..], expected, "declared trailers pass, forbidden ones do not");
    let seen = requests(&[REQUESTS[7].0], &Limits::default());
    assert_eq!(seen[1], Seen::End, "undeclared trailers do not pass");
    let seen = requests(&[REQUESTS[5].0], &Limits::default());
    assert_eq!(seen[1..3], [Seen::Body(b"hello0123456789".to_vec()), Seen::End]);
    let seen = responses(GET, &[RESPONSES[5].1], false, &Limits::default());
    assert_eq!(seen[1..], [Seen::Body(b"abc".to_vec()), Seen::Trailers("X-Sum=9\n".into()), Seen::End]);
    let seen = responses(GET, &[RESPONSES[6].1], true, &Limits::default());
    assert_eq!(seen[1..], [Seen::Body(b"until the close".to_vec()), Seen::End]);
}

#[test]
fn what_one_side_frames_the_other_side_reads() {
    use crate::h1::encode::BodyEncoder;
    let body: Vec<u8> = (0..70_000u32).map(|number| (number % 251) as u8).collect();
    for size in [1, 9, 10, 15, 16, 17, 255, 256, 4096, 65_535, 70_000] {
        let mut wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        let mut encoder = BodyEncoder::Chunked { open: false };
        for piece in body.chunks(size) {
            encoder.piece(piece.len() as u64, &mut wire).expect("chunks have any length");
            wire.extend_from_slice(piece);
        }
        encoder.end(&mut wire, None).expect("chunks always end");
        let received: Vec<&[u8]> = wire.chunks(1000).collect();
        let seen = responses(GET, &received, false, &Limits::default());
        assert_eq!(seen[1..], [Seen::Body(body.clone()), Seen::End], "pieces of {size}");
    }
}
