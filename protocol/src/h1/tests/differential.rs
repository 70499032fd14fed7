//! Our parsers beside httparse on seeded mutations. httparse is the more lenient of the two, so: what we accept it
//! must accept, with the same meaning, and what it refuses we must refuse. A failure prints the seed and the bytes.

use super::world::{Seen, requests, responses};
use crate::{Limits, Method, RequestHead, ResponseHead, Version};

const CASES: u64 = 120_000;

/// A small generator (xorshift64*): one seed is one input.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

const FIELDS: &[&[u8]] = &[
    b"Host: a\r\n",
    b"Host: example.com:80\r\n",
    b"A: b\r\n",
    b"Empty:\r\n",
    b"Padded: \t x y \t\r\n",
    b"Obs: \xe4\xff\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: keep-alive, x-a\r\n",
    b"X-A: 12345678901234567890123456789012345678901234567890\r\n",
    b"Tabbed: a\tb\tc\td\te\tf\tg\th\r\n",
    b"!#$%&'*+-.^_`|~09: token\r\n",
];

const ODD: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b"\x7f",
    b"\x80",
    b"\x01",
    b"(",
    b"\"",
    b"%41",
    b"?",
    b"#",
    b"/../",
    b"\r\n ",
    b" : ",
    b"HTTP/1.1",
    b"_",
];

fn mutate(random: &mut Random, wire: &mut Vec<u8>) {
    for _ in 0..random.below(3) {
        let at = random.below(wire.len().max(1)).min(wire.len());
        match random.below(5) {
            0 => wire.truncate(at),
            1 if at < wire.len() => wire[at] = random.next() as u8,
            2 if at < wire.len() => drop(wire.remove(at)),
            _ => {
                let odd = random.pick(ODD);
                wire.splice(at..at, odd.iter().copied());
            }
        }
    }
}

fn push_fields(random: &mut Random, wire: &mut Vec<u8>) {
    for _ in 0..random.below(5) {
        wire.extend_from_slice(random.pick(FIELDS));
    }
    wire.extend_from_slice(b"\r\n");
    if random.below(4) == 0 {
        wire.extend_from_slice(b"hello");
    }
}

fn request_wire(random: &mut Random) -> Vec<u8> {
    let methods: &[&[u8]] = &[b"GET", b"POST", b"HEAD", b"OPTIONS", b"M-SEARCH", b"get"];
    let targets: &[&[u8]] = &[b"/", b"/a/b?c=d", b"/%7e/../x", b"http://b/c", b"*", b"/a\"<>\\^`{|}"];
    let versions: &[&[u8]] = &[b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2"];
    let mut wire =
        [random.pick(methods), b" ", random.pick(targets), b" ", random.pick(versions), b"\r\n"].concat();
    if random.below(8) != 0 {
        wire.extend_from_slice(b"Host: a\r\n");
    }
    push_fields(random, &mut wire);
    mutate(random, &mut wire);
    wire
}

fn response_wire(random: &mut Random) -> Vec<u8> {
    let lines: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 404 Not Found\r\n",
        b"HTTP/1.1 200\r\n",
        b"HTTP/1.1 204 \r\n",
        b"HTTP/1.1 599 odd \xe4 reason\r\n",
        b"HTTP/1.1 100 Continue\r\n",
    ];
    let mut wire = random.pick(lines).to_vec();
    push_fields(random, &mut wire);
    mutate(random, &mut wire);
    wire
}

fn assert_same_fields(theirs: &[httparse::Header<'_>], input: &[u8], ours: &crate::Fields, context: &str) {
    assert_eq!(theirs.len(), ours.len(), "{context}");
    for (their, our) in theirs.iter().zip(ours.iter()) {
        assert_eq!(their.name.as_bytes(), our.name_span.of(input), "{context}");
        assert_eq!(their.value, our.value.of(input), "{context}");
    }
}

fn version_of(number: Option<u8>) -> Option<Version> {
    match number? {
        0 => Some(Version::Http10),
        1 => Some(Version::Http11),
        _ => None,
    }
}

#[test]
fn accepts_no_request_that_httparse_refuses_or_reads_otherwise() {
    let limits = Limits::default();
    let mut head = RequestHead::new();
    let mut accepted = 0u64;
    for seed in 0..CASES {
        let wire = request_wire(&mut Random::new(seed));
        let context = format!("seed {seed}: {:?}", String::from_utf8_lossy(&wire));
        // Empty lines before the request line are the machine's job.
        let ours = head.parse(&wire, &limits);
        let mut slots = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Request::new(&mut slots);
        match (ours, theirs.parse(&wire)) {
            (Ok(Some(len)), Ok(httparse::Status::Complete(their_len))) => {
                accepted += 1;
                assert_eq!(len, their_len, "{context}");
                assert_eq!(theirs.method.map(str::as_bytes), Some(head.method_text(&wire)), "{context}");
                assert_eq!(theirs.path.map(str::as_bytes), Some(head.target(&wire)), "{context}");
                assert_eq!(version_of(theirs.version), Some(head.version), "{context}");
                assert_same_fields(theirs.headers, &wire, &head.fields, &context);
            }
            (Ok(Some(_)), other) => panic!("we accept, httparse says {other:?}: {context}"),
            (Ok(None), Ok(httparse::Status::Complete(_))) => panic!("we wait, httparse does not: {context}"),
            // We judge a line when it is there, httparse each byte; either way it is never accepted.
            (Ok(None), Ok(httparse::Status::Partial) | Err(_)) | (Err(_), _) => {}
        }
    }
    assert!(accepted > CASES / 10, "too few good cases to mean anything: {accepted}");
    assert!(accepted < CASES * 9 / 10, "too few bad cases to mean anything: {accepted}");
}

#[test]
fn accepts_no_response_that_httparse_refuses_or_reads_otherwise() {
    let limits = Limits::default();
    let mut head = ResponseHead::new();
    let mut accepted = 0u64;
    for seed in 0..CASES {
        let wire = response_wire(&mut Random::new(seed));
        let context = format!("seed {seed}: {:?}", String::from_utf8_lossy(&wire));
        let ours = head.parse(&wire, &limits, Method::Get);
        let mut slots = [httparse::EMPTY_HEADER; 100];
        let mut theirs = httparse::Response::new(&mut slots);
        match (ours, theirs.parse(&wire)) {
            (Ok(Some(len)), Ok(httparse::Status::Complete(their_len))) => {
                accepted += 1;
                assert_eq!(len, their_len, "{context}");
                assert_eq!(theirs.code, Some(head.status.code()), "{context}");
                assert_eq!(version_of(theirs.version), Some(head.version), "{context}");
                let reason = head.reason.of(&wire);
                if reason.is_ascii() {
                    assert_eq!(theirs.reason.map(str::as_bytes), Some(reason), "{context}");
                }
                assert_same_fields(theirs.headers, &wire, &head.fields, &context);
            }
            (Ok(Some(_)), other) => panic!("we accept, httparse says {other:?}: {context}"),
            (Ok(None), Ok(httparse::Status::Complete(_))) => panic!("we wait, httparse does not: {context}"),
            (Ok(None), Ok(httparse::Status::Partial) | Err(_)) | (Err(_), _) => {}
        }
    }
    assert!(accepted > CASES / 10, "too few good cases to mean anything: {accepted}");
    assert!(accepted < CASES * 9 / 10, "too few bad cases to mean anything: {accepted}");
}

#[test]
fn mutated_wires_mean_the_same_however_they_are_cut() {
    let limits =
        Limits { request_line_bytes_max: 60, head_bytes_max: 160, fields_max: 4, ..Limits::default() };
    let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice();
    for seed in 0..CASES / 10 {
        let mut random = Random::new(seed);
        let mut wire = request_wire(&mut random);
        wire.extend_from_slice(b"5;x\r\nhello\r\n0\r\nA: b\r\n\r\n");
        mutate(&mut random, &mut wire);
        let (left, right) = wire.split_at(random.below(wire.len() + 1));
        let (middle, right) = right.split_at(random.below(right.len() + 1));
        let whole = requests(&[&wire], &limits);
        let context = format!("seed {seed}: {:?}", String::from_utf8_lossy(&wire));
        assert_eq!(requests(&[left, middle, right], &limits), whole, "{context}");

        let mut wire = response_wire(&mut random);
        wire.extend_from_slice(b"5;x\r\nhello\r\n0\r\nA: b\r\n\r\n");
        let (left, right) = wire.split_at(random.below(wire.len() + 1));
        let whole = responses(get, &[&wire], false, &limits);
        let cut = responses(get, &[left, right], false, &limits);
        let context = format!("seed {seed}: {:?}", String::from_utf8_lossy(&wire));
        assert_eq!(without_tail(cut), without_tail(whole), "{context}");
    }
}

/// Unused bytes behind a 101 or an error are the engine's business.
fn without_tail(mut seen: Vec<Seen>) -> Vec<Seen> {
    seen.retain(|event| !matches!(event, Seen::Left(_)));
    seen
}
