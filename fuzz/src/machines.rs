//! The two HTTP/1 machines: whole against split, chunks against a reference, encoder against decoder.

use protocol::h1::client::{Client, ResponseEvent};
use protocol::h1::encode::BodyEncoder;
use protocol::h1::server::{RequestEvent, Server};
use protocol::{Forward, Limits, RequestHead, ResponseHead};

use crate::h1::limits;
use crate::input::Input;

/// What a machine said, with neighbouring body pieces joined.
#[derive(Debug, Default, PartialEq)]
struct Told {
    lines: Vec<String>,
    body: Vec<u8>,
    error: Option<String>,
    /// Bytes left unread at the end: of an unfinished head, or after the last message.
    unread: usize,
}

impl Told {
    fn line(&mut self, line: String) {
        self.end_body();
        self.lines.push(line);
    }

    fn end_body(&mut self) {
        if !self.body.is_empty() {
            let body = std::mem::take(&mut self.body);
            self.lines.push(format!("body {}", body.escape_ascii()));
        }
    }
}

/// A connection's worth of bytes to either machine: pipelined requests, or answers to requests.
///
/// Promises: events, texts and the refusal are the same however the bytes are cut; a machine that can go on does
/// so with every byte it was given; no event comes after a refusal.
pub fn h1_split(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let limits = limits(input.switches);
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        if input.switches & 1 == 0 {
            requests(pieces, &limits, input.switches)
        } else {
            responses(pieces, &limits, input.switches)
        }
    };
    let whole = run(&mut std::iter::once(input.wire));
    let cut = run(&mut input.pieces());
    assert_eq!(cut, whole, "{}", input.wire.escape_ascii());
}

fn requests(pieces: &mut dyn Iterator<Item = &[u8]>, limits: &Limits, switches: u8) -> Told {
    let mut server = Server::new(0);
    let mut head = RequestHead::new();
    let mut told = Told::default();
    let mut kept = Vec::new();
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let used = match server.feed(0, limits, &kept, &mut head) {
                Ok(used) => used,
                Err(error) => {
                    assert!(server.next_event().is_none(), "an event after a refusal");
                    told.line(String::new());
                    told.error = Some(format!("{error:?}"));
                    return told;
                }
            };
            let mut events = 0;
            while let Some(event) = server.next_event() {
                events += 1;
                match event {
                    RequestEvent::Head => told.line(request_line(&kept, &head)),
                    RequestEvent::Body(span) => told.body.extend_from_slice(span.of(&kept)),
                    RequestEvent::Trailers => told.line(format!("trailers {}", head.fields.len())),
                    RequestEvent::End => {
                        told.line("end".to_owned());
                        server.next_request(0);
                    }
                }
                // A route's limit comes in right behind the head.
                if event == RequestEvent::Head
                    && switches & 2 != 0
                    && let Err(error) = server.limit_body(12)
                {
                    told.error = Some(format!("{error:?}"));
                    return told;
                }
            }
            kept.drain(..used);
            if used == 0 && events == 0 {
                break;
            }
        }
    }
    told.end_body();
    told.unread = kept.len();
    told
}

fn request_line(input: &[u8], head: &RequestHead) -> String {
    format!(
        "{} {} {:?} {:?} {} {:?} {} {} {:?}",
        head.method_text(input).escape_ascii(),
        head.path(input).escape_ascii(),
        head.query(input).map(|query| query.escape_ascii().to_string()),
        head.version,
        head.host(input).escape_ascii(),
        head.framing,
        head.keep_alive,
        head.fields.len(),
        head.upgrade,
    )
}

fn responses(pieces: &mut dyn Iterator<Item = &[u8]>, limits: &Limits, switches: u8) -> Told {
    let mut client = Client::new();
    let mut head = ResponseHead::new();
    let mut told = Told::default();
    let mut kept = Vec::new();
    ask(&mut client, switches);
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let used = match client.feed(limits, &kept, &mut head) {
                Ok(used) => used,
                Err(error) => {
                    assert!(client.next_event().is_none(), "an event after a refusal");
                    assert!(!client.reusable());
                    told.line(String::new());
                    told.error = Some(format!("{error:?}"));
                    return told;
                }
            };
            let mut events = 0;
            while let Some(event) = client.next_event() {
                events += 1;
                if let ResponseEvent::Body(span) = event {
                    told.body.extend_from_slice(span.of(&kept));
                    continue;
                }
                // Behind the end the caller's head is free for the next one, so its fields say nothing.
                let fields = if event == ResponseEvent::End { 0 } else { head.fields.len() };
                told.line(format!("{event:?} {:?} {:?} {fields}", head.status, head.framing));
                if event == ResponseEvent::Upgraded {
                    told.unread = usize::MAX;
                    return told;
                }
            }
            kept.drain(..used);
            if client.reusable() {
                client = Client::new();
                ask(&mut client, switches);
            }
            if used == 0 && events == 0 {
                break;
            }
        }
    }
    let outcome = client.on_eof();
    assert!(outcome.is_ok() || !client.reusable());
    told.line(format!("eof {outcome:?} {:?}", client.next_event()));
    told.unread = kept.len();
    told
}

/// Sends a request of the method that the switches say, so that its answer is awaited.
fn ask(client: &mut Client, switches: u8) {
    let wire: &[u8] = match switches & 0xC {
        0x4 => b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
        0x8 => {
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        }
        _ => b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    };
    let mut head = RequestHead::new();
    assert_eq!(head.parse(wire, &Limits::default()), Ok(Some(wire.len())));
    let forward = Forward { client_ip: "192.0.2.7", upgrade: switches & 0xC == 0x8, ..Forward::default() };
    client.write_request(&mut Vec::new(), wire, &head, &forward);
}

/// A chunked body as a peer sends it, and any body as we chunk it.
///
/// Promises: what we accept a reference reading with httparse's chunk sizes accepts, with the same body and the
/// same end; what our encoder writes our decoder reads as the same body, and the request behind it is found.
pub fn chunked(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    decode(&input);
    encode(&input);
}

const CHUNKED_HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

fn decode(input: &Input<'_>) {
    let limits = limits(input.switches);
    let wire = [CHUNKED_HEAD, input.wire].concat();
    let mut pieces = std::iter::once(CHUNKED_HEAD).chain(input.pieces());
    let Some((body, used)) = first_body(&mut pieces, &limits) else { return };
    let reference = reference(input.wire);
    let (expected, last_chunk) = reference.unwrap_or_else(|| panic!("accepted {}", wire.escape_ascii()));
    assert_eq!(body, expected, "{}", wire.escape_ascii());
    assert!(used >= CHUNKED_HEAD.len() + last_chunk, "the trailer section is part of the body");
}

/// Reads one request; its body and how many bytes of the connection it took, or `None` if it was refused or
/// did not end.
fn first_body(pieces: &mut dyn Iterator<Item = &[u8]>, limits: &Limits) -> Option<(Vec<u8>, usize)> {
    // The head under test is fixed, so tight limits apply to the body only.
    let mut server = Server::new(0);
    let mut head = RequestHead::new();
    let mut body = Vec::new();
    let mut kept = Vec::new();
    let mut taken = 0;
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let used = server.feed(0, limits, &kept, &mut head).ok()?;
            let mut events = 0;
            while let Some(event) = server.next_event() {
                events += 1;
                match event {
                    RequestEvent::Body(span) => body.extend_from_slice(span.of(&kept)),
                    RequestEvent::End => return Some((body, taken + used)),
                    RequestEvent::Head | RequestEvent::Trailers => {}
                }
            }
            kept.drain(..used);
            taken += used;
            if used == 0 && events == 0 {
                break;
            }
        }
    }
    None
}

/// RFC 9112 7.1 in its plainest form: the body, and where the last chunk's line ends.
fn reference(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(wire.get(at..)?) else {
            return None;
        };
        at += line;
        if size == 0 {
            return Some((body, at));
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(wire.get(at..end)?);
        if wire.get(end..end.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
}

fn encode(input: &Input<'_>) {
    let mut encoder = BodyEncoder::Chunked { open: false };
    let mut wire = CHUNKED_HEAD.to_vec();
    for piece in input.pieces() {
        encoder.piece(piece.len() as u64, &mut wire).expect("a chunked body may have any length");
        wire.extend_from_slice(piece);
    }
    encoder.end(&mut wire, None).expect("a chunked body may end anywhere");
    let len = wire.len();
    wire.extend_from_slice(b"GET /next HTTP/1.1\r\n");
    let limits = Limits::default();
    for cut in [wire.len(), 1, 7] {
        let read = first_body(&mut wire.chunks(cut), &limits);
        assert_eq!(read.as_ref().map(|(body, used)| (body.as_slice(), *used)), Some((input.wire, len)));
    }
}
