//! Every refusal as a row: what comes in, what is wrong with it, where that is written. Each row is also fed in
//! all pairs of pieces and byte by byte: the verdict must not depend on how the bytes were cut.

use super::world::{Seen, requests, responses};
use crate::error::{ChunkError, FramingError, HeadError, TargetError};
use crate::{Limits, RequestError, RequestHead, ResponseError};

use RequestError::{Chunk, Framing, Head, Target, Trailer};

fn verdict(pieces: &[&[u8]], limits: &Limits) -> Option<RequestError> {
    match requests(pieces, limits).pop() {
        Some(Seen::BadRequest(error)) => Some(error),
        _ => None,
    }
}

fn assert_refused(wire: &[u8], limits: &Limits, expected: RequestError, status: u16) {
    let name = String::from_utf8_lossy(wire.get(..wire.len().min(200)).unwrap_or(wire));
    assert_eq!(verdict(&[wire], limits), Some(expected), "{name}");
    assert_eq!(expected.status().map(crate::Status::code), Some(status), "{name}");
    assert!(!expected.reason().is_empty());
    assert!(!expected.title().is_empty());
    if wire.len() < 1000 {
        for cut in 1..wire.len() {
            let (left, right) = wire.split_at(cut);
            assert_eq!(verdict(&[left, right], limits), Some(expected), "{name} cut at {cut}");
        }
    }
    let bytes: Vec<&[u8]> = wire.chunks(1).collect();
    assert_eq!(verdict(&bytes, limits), Some(expected), "{name} byte by byte");
}

#[test]
fn every_malformed_request_line_is_refused() {
    let rows: &[(&[u8], RequestError, u16)] = &[
        // RFC 9112 2.2, 3
        (b"GET / HTTP/1.1\nHost: a\n\n", Head(HeadError::BareLf), 400),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", Head(HeadError::BareCr), 400),
        (b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", Head(HeadError::BareCr), 400),
        (b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Head(HeadError::Nul), 400),
        (b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", Head(HeadError::Nul), 400),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Head(HeadError::BareLf), 400),
        (b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Head(HeadError::BareCr), 400),
        (b"\0GET / HTTP/1.1\r\n", Head(HeadError::Nul), 400),
        (b" GET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET / HTTP/1.1\x0b\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET /\r\n", RequestError::BadRequestLine, 400),
        (b"GET\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"\x16\x03\x01\x02\x00\x01", RequestError::BadRequestLine, 400),
        (b"\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        // RFC 9112 2.3
        (b"GET / http/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET / HTTP/11\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET / HTTP/1.10\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET / HTTP/1.x\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET / HTTPS/1.1\r\nHost: a\r\n\r\n", RequestError::BadRequestLine, 400),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", RequestError::VersionNotSupported, 505),
        (b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", RequestError::VersionNotSupported, 505),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", RequestError::VersionNotSupported, 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", RequestError::VersionNotSupported, 505),
    ];
    for (wire, expected, status) in rows {
        assert_refused(wire, &Limits::default(), *expected, *status);
    }
}

#[test]
fn every_malformed_target_is_refused() {
    let rows: &[(&str, RequestError, u16)] = &[
        // RFC 9112 3.2
        ("GET a", Target(TargetError::BadForm), 400),
        ("GET *", Target(TargetError::BadForm), 400),
        ("POST *", Target(TargetError::BadForm), 400),
        ("OPTIONS **", Target(TargetError::BadForm), 400),
        ("OPTIONS *?a", Target(TargetError::BadForm), 400),
        ("GET ?a", Target(TargetError::BadForm), 400),
        ("GET a:80", Target(TargetError::BadForm), 400),
        ("GET ftp://a/", Target(TargetError::BadForm), 400),
        ("GET http:/a", Target(TargetError::BadForm), 400),
        ("GET http://", Target(TargetError::BadAuthority), 400),
        ("GET http:///a", Target(TargetError::BadAuthority), 400),
        // RFC 9110 4.2.4
        ("GET http://user@a/", Target(TargetError::BadAuthority), 400),
        ("GET http://a:b/", Target(TargetError::BadAuthority), 400),
        ("GET http://a\\b/", Target(TargetError::BadAuthority), 400),
        // RFC 3986 2.1
        ("GET /%", Target(TargetError::BadPercent), 400),
        ("GET /%g1", Target(TargetError::BadPercent), 400),
        ("GET http://a/%1", Target(TargetError::BadPercent), 400),
        ("GET /a%00b", Target(TargetError::EncodedNul), 400),
        // RFC 9110 9.3.6
        ("CONNECT a:443", RequestError::ConnectRefused, 501),
        ("CONNECT /", RequestError::ConnectRefused, 501),
    ];
    for (line, expected, status) in rows {
        let wire = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_refused(wire.as_bytes(), &Limits::default(), *expected, *status);
    }
    let allowed = Limits { connect_allowed: true, ..Limits::default() };
    for target in ["a", "/", "a:", "http://a:1/", "a:99999", "*"] {
        let wire = format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_refused(wire.as_bytes(), &allowed, Target(TargetError::BadAuthority), 400);
    }
    let strict = Limits { encoded_slash: crate::PercentPolicy::Reject, ..Limits::default() };
    assert_refused(
        b"GET /a%2Fb HTTP/1.1\r\nHost: a\r\n\r\n",
        &strict,
        Target(TargetError::EncodedSlash),
        400,
    );
}

#[test]
fn every_malformed_field_is_refused() {
    let rows: &[(&[u8], RequestError, u16)] = &[
        // RFC 9112 2.2
        (b"Host: a\nB: c\r\n", Head(HeadError::BareLf), 400),
        (b"Host: a\r\nB: c\rd\r\n", Head(HeadError::BareCr), 400),
        (b"Host: a\r\nB: c\r\r\n", Head(HeadError::BareCr), 400),
        (b"Host: a\r\nB\r: c\r\n", Head(HeadError::BareCr), 400),
        (b"Host: a\r\nB: c\n\r\n", Head(HeadError::BareLf), 400),
        (b"Host: a\r\n\n", Head(HeadError::BareLf), 400),
        // RFC 9110 5.5
        (b"Host: a\r\nB: c\0d\r\n", Head(HeadError::Nul), 400),
        (b"Host: a\r\nB\0: c\r\n", Head(HeadError::Nul), 400),
        (b"Host: a\r\nB: c\x01d\r\n", Head(HeadError::BadValue), 400),
        (b"Host: a\r\nB: \x1b[0m\r\n", Head(HeadError::BadValue), 400),
        (b"Host: a\r\nB: c\x7f\r\n", Head(HeadError::BadValue), 400),
        (b"Host: a\r\nB: 12345678901234567\x0b\r\n", Head(HeadError::BadValue), 400),
        // RFC 9112 5.1
        (b"Host : a\r\n", Head(HeadError::SpaceBeforeColon), 400),
        (b"Host: a\r\nB\t: c\r\n", Head(HeadError::SpaceBeforeColon), 400),
        // RFC 9110 5.1, 5.6.2
        (b"Host: a\r\n: c\r\n", Head(HeadError::BadName), 400),
        (b"Host: a\r\nB\r\n", Head(HeadError::BadName), 400),
        (b"Host: a\r\nB(c): d\r\n", Head(HeadError::BadName), 400),
        (b"Host: a\r\nB\xc3\xa9: d\r\n", Head(HeadError::BadName), 400),
        (b"Host: a\r\nB/c: d\r\n", Head(HeadError::BadName), 400),
        (b"Host: a\r\n\"B\": d\r\n", Head(HeadError::BadName), 400),
        // RFC 9112 5.2
        (b"Host: a\r\nB: c\r\n d\r\n", Head(HeadError::FoldedLine), 400),
        (b"Host: a\r\nB: c\r\n\td\r\n", Head(HeadError::FoldedLine), 400),
        (b" Host: a\r\n", Head(HeadError::FoldedLine), 400),
        (b"Host: a\r\nB: c\r\n \r\n", Head(HeadError::FoldedLine), 400),
        // RFC 9112 3.2
        (b"B: c\r\n", RequestError::HostMissing, 400),
        (b"", RequestError::HostMissing, 400),
        (b"Host: a\r\nHost: a\r\n", RequestError::HostRepeated, 400),
        (b"Host: a\r\nhOST: b\r\n", RequestError::HostRepeated, 400),
        (b"Host:\r\n", RequestError::HostMalformed, 400),
        (b"Host: a b\r\n", RequestError::HostMalformed, 400),
        (b"Host: a, b\r\n", RequestError::HostMalformed, 400),
        (b"Host: a:b\r\n", RequestError::HostMalformed, 400),
        (b"Host: a:80:80\r\n", RequestError::HostMalformed, 400),
        (b"Host: a/b\r\n", RequestError::HostMalformed, 400),
        (b"Host: u@a\r\n", RequestError::HostMalformed, 400),
        (b"Host: \xc3\xa9\r\n", RequestError::HostMalformed, 400),
        (b"Host: [::1\r\n", RequestError::HostMalformed, 400),
        // RFC 9110 10.1.1
        (b"Host: a\r\nExpect: 200-ok\r\n", RequestError::ExpectationUnknown, 417),
        (b"Host: a\r\nExpect: 100-continue, b\r\n", RequestError::ExpectationUnknown, 417),
        // RFC 9112 6.1, 6.2, 6.3
        (b"Host: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n", Framing(FramingError::TwoLengths), 400),
        (b"Host: a\r\nContent-Length: 1, 1\r\n", Framing(FramingError::BadLength), 400),
        (b"Host: a\r\nContent-Length: +1\r\n", Framing(FramingError::BadLength), 400),
        (b"Host: a\r\nContent-Length:\r\n", Framing(FramingError::BadLength), 400),
        (
            b"Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            Framing(FramingError::LengthAndCoding),
            400,
        ),
        (b"Host: a\r\nTransfer-Encoding: gzip, chunked\r\n", Framing(FramingError::BadCoding), 400),
        (b"Host: a\r\nTransfer-Encoding: identity\r\n", Framing(FramingError::BadCoding), 400),
    ];
    for (fields, expected, status) in rows {
        let wire = [b"GET / HTTP/1.1\r\n".as_slice(), fields, b"\r\n"].concat();
        assert_refused(&wire, &Limits::default(), *expected, *status);
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_refused(old, &Limits::default(), Framing(FramingError::CodingInHttp10), 400);
    let names: Vec<String> = (0..65).map(|index| format!("x{index}")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", names.join(","));
    assert_refused(many.as_bytes(), &Limits::default(), RequestError::ConnectionTooLong, 400);
}

#[test]
fn every_malformed_chunk_is_refused() {
    let small = Limits { chunk_extension_bytes_max: 10, ..Limits::default() };
    let rows: &[(&[u8], RequestError, u16)] = &[
        // RFC 9112 7.1
        (b"\r\n", Chunk(ChunkError::BadSize), 400),
        (b"g\r\n", Chunk(ChunkError::BadSize), 400),
        (b"0x1\r\n", Chunk(ChunkError::BadSize), 400),
        (b"+1\r\n", Chunk(ChunkError::BadSize), 400),
        (b"-1\r\n", Chunk(ChunkError::BadSize), 400),
        (b" 1\r\n", Chunk(ChunkError::BadSize), 400),
        (b"1 \r\na\r\n", Chunk(ChunkError::BadSize), 400),
        (b"1\t;a\r\na\r\n", Chunk(ChunkError::BadSize), 400),
        (b";a\r\n", Chunk(ChunkError::BadSize), 400),
        (b"10000000000000000\r\n", Chunk(ChunkError::BadSize), 400),
        (b"00000000000000001\r\na\r\n", Chunk(ChunkError::BadSize), 400),
        (b"1\na\r\n", Chunk(ChunkError::BadSize), 400),
        (b"1\r\r\na\r\n", Chunk(ChunkError::BadLineEnd), 400),
        (b"1\rXa\r\n", Chunk(ChunkError::BadLineEnd), 400),
        (b"1\r\nab\r\n", Chunk(ChunkError::BadLineEnd), 400),
        (b"1\r\na\n0\r\n\r\n", Chunk(ChunkError::BadLineEnd), 400),
        (b"1\r\na\rX", Chunk(ChunkError::BadLineEnd), 400),
        (b"1\r\na0\r\n\r\n", Chunk(ChunkError::BadLineEnd), 400),
        // RFC 9112 7.1.1
        (b"1;a\nb\r\na\r\n", Chunk(ChunkError::BadExtension), 400),
        (b"1;a\0\r\na\r\n", Chunk(ChunkError::BadExtension), 400),
        (b"1;\x7f\r\na\r\n", Chunk(ChunkError::BadExtension), 400),
        (b"1;a\rb\r\na\r\n", Chunk(ChunkError::BadLineEnd), 400),
        (b"1;aaaaaaaaaaa\r\na\r\n", Chunk(ChunkError::ExtensionsTooLong), 400),
        (b"1;aaaaa\r\na\r\n1;aaaaaa\r\nb\r\n", Chunk(ChunkError::ExtensionsTooLong), 400),
        // RFC 9112 7.1.2
        (b"0\r\nA : b\r\n\r\n", Trailer(HeadError::SpaceBeforeColon), 400),
        (b"0\r\n\n", Trailer(HeadError::BareLf), 400),
        (b"0\r\nA: b\r\n c\r\n\r\n", Trailer(HeadError::FoldedLine), 400),
        (b"0\r\nA: b\0\r\n\r\n", Trailer(HeadError::Nul), 400),
        (b"1\r\na\r\n0\r\nX\r\n\r\n", Trailer(HeadError::BadName), 400),
    ];
    for (body, expected, status) in rows {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
        assert_refused(&[head, body].concat(), &small, *expected, *status);
    }
}

#[test]
fn every_cap_is_kept_to_the_byte() {
    let limits =
        Limits { request_line_bytes_max: 40, head_bytes_max: 200, fields_max: 5, ..Limits::default() };
    let request = |target_len: usize, fields: &str| {
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n{fields}\r\n", "a".repeat(target_len - 1)).into_bytes()
    };
    // "GET " and " HTTP/1.1" are 13 bytes.
    assert_eq!(verdict(&[&request(27, "")], &limits), None);
    assert_refused(&request(28, ""), &limits, RequestError::RequestLineTooLong, 414);
    assert_refused(&request(300, ""), &limits, RequestError::RequestLineTooLong, 414);
    assert_refused(&[b'A'; 42], &limits, RequestError::RequestLineTooLong, 414);
    assert_eq!(verdict(&[&request(2, "A:\r\nB:\r\nC:\r\nD:\r\n")], &limits), None);
    let many = request(2, "A:\r\nB:\r\nC:\r\nD:\r\nE:\r\n");
    assert_refused(&many, &limits, Head(HeadError::TooManyFields), 431);

    let filled = |total: usize| {
        let empty = request(2, "A: \r\n").len();
        request(2, &format!("A: {}\r\n", "b".repeat(total - empty)))
    };
    assert_eq!(filled(200).len(), 200);
    assert_eq!(verdict(&[&filled(200)], &limits), None);
    assert_refused(&filled(201), &limits, Head(HeadError::TooLarge), 431);
    assert_refused(&filled(5000), &limits, Head(HeadError::TooLarge), 431);
    // Without any end in sight, exactly when the cap is full.
    let endless = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'b'; 400]].concat();
    assert_eq!(verdict(&[&endless[..199]], &limits), None);
    assert_refused(&endless[..200], &limits, Head(HeadError::TooLarge), 431);

    let trailers = |len: usize| {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
        [head.as_slice(), b"A: ", &vec![b'b'; len - 7], b"\r\n\r\n"].concat()
    };
    assert_eq!(verdict(&[&trailers(200)], &limits), None);
    assert_refused(&trailers(201), &limits, Trailer(HeadError::TooLarge), 431);
}

#[test]
fn a_body_over_the_routes_limit_is_refused() {
    use crate::h1::server::{RequestEvent, Server};
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let mut begin = |wire: &[u8]| {
        let mut server = Server::new(0);
        let used = server.feed(0, &limits, wire, &mut head).expect("a good head");
        assert_eq!(server.next_event(), Some(RequestEvent::Head));
        (server, used)
    };
    let (mut server, _) = begin(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n");
    assert_eq!(server.limit_body(11), Ok(()));
    assert_eq!(server.limit_body(10), Err(RequestError::BodyTooLarge));
    assert!(!server.keep_alive());

    let wire = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n6\r\nabcdef\r\n0\r\n\r\n";
    for (bytes_max, expected) in [(11, Ok(())), (10, Err(RequestError::BodyTooLarge))] {
        let (mut server, mut at) = begin(wire);
        assert_eq!(server.limit_body(bytes_max), Ok(()));
        let mut result = Ok(());
        while result.is_ok() && at < wire.len() {
            let mut head = RequestHead::new();
            result = server.feed(0, &limits, &wire[at..], &mut head).map(|used| at += used);
            while server.next_event().is_some() {}
        }
        assert_eq!(result, expected, "limit {bytes_max}");
    }
    assert_eq!(RequestError::BodyTooLarge.status(), Some(crate::Status::CONTENT_TOO_LARGE));
}

#[test]
fn every_broken_response_is_refused() {
    use ResponseError as R;
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let rows: &[(&[u8], ResponseError)] = &[
        // RFC 9112 4
        (b"HTTP/1.1\r\n\r\n", R::BadStatusLine),
        (b"HTTP/1.1 20 OK\r\n\r\n", R::BadStatusLine),
        (b"HTTP/1.1 2000 OK\r\n\r\n", R::BadStatusLine),
        (b"HTTP/1.1 099 OK\r\n\r\n", R::BadStatusLine),
        (b"HTTP/1.1 600 OK\r\n\r\n", R::BadStatusLine),
        (b"HTTP/1.1  200 OK\r\n\r\n", R::BadStatusLine),
        (b"HTTP/1.1 200\tOK\r\n\r\n", R::BadStatusLine),
        (b"ICY 200 OK\r\n\r\n", R::BadStatusLine),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", R::BadStatusLine),
        (b"<html>", R::BadStatusLine),
        (b"HTTP/2.0 200 OK\r\n\r\n", R::VersionNotSupported),
        (b"HTTP/1.1 200 O\rK\r\n\r\n", R::Head(HeadError::BareCr)),
        (b"HTTP/1.1 200 OK\n\n", R::Head(HeadError::BareLf)),
        (b"HTTP/1.1 200 O\0K\r\n\r\n", R::Head(HeadError::Nul)),
        (b"HTTP/1.1 200 O\x08K\r\n\r\n", R::Head(HeadError::BadValue)),
        (b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n", R::Head(HeadError::SpaceBeforeColon)),
        (b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", R::Head(HeadError::FoldedLine)),
        // RFC 9112 6.3
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            R::Framing(FramingError::LengthAndCoding),
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            R::Framing(FramingError::TwoLengths),
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", R::Framing(FramingError::BadLength)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", R::Framing(FramingError::BadCoding)),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", R::Framing(FramingError::CodingInHttp10)),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz", R::Chunk(ChunkError::BadSize)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA\r\n\r\n",
            R::Trailer(HeadError::BadName),
        ),
        // RFC 9110 7.8
        (
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            R::UnaskedUpgrade,
        ),
        // RFC 9112 9.2
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", R::BytesAfterEnd),
        (b"HTTP/1.1 204 No Content\r\n\r\nx", R::BytesAfterEnd),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", R::BytesAfterEnd),
    ];
    for (wire, expected) in rows {
        let name = String::from_utf8_lossy(wire);
        let verdict = |pieces: &[&[u8]]| responses(get, pieces, false, &Limits::default()).pop();
        assert_eq!(verdict(&[wire]), Some(Seen::BadResponse(*expected)), "{name}");
        for cut in 1..wire.len() {
            let (left, right) = wire.split_at(cut);
            assert_eq!(verdict(&[left, right]), Some(Seen::BadResponse(*expected)), "{name} cut at {cut}");
        }
        assert_eq!(expected.status().code(), 502);
        assert!(!expected.reason().is_empty());
    }
    let interims = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17);
    let last = responses(get, &[&interims], false, &Limits::default()).pop();
    assert_eq!(last, Some(Seen::BadResponse(R::TooManyInterim)));
}

#[test]
fn a_response_that_is_cut_short_is_never_taken_for_whole() {
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    let nothing = ResponseError::ClosedBeforeHead { nothing_received: true };
    let part = ResponseError::ClosedBeforeHead { nothing_received: false };
    let rows: &[(&[u8], ResponseError)] = &[
        (b"", nothing),
        (b"H", part),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", part),
        (b"HTTP/1.1 100 Continue\r\n\r\n", part),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", ResponseError::Truncated),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", ResponseError::Truncated),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", ResponseError::Truncated),
    ];
    for (wire, expected) in rows {
        let last = responses(get, &[wire], true, &Limits::default())
            .into_iter()
            .find(|seen| matches!(seen, Seen::BadResponse(_)));
        assert_eq!(last, Some(Seen::BadResponse(*expected)), "{}", String::from_utf8_lossy(wire));
    }
}
