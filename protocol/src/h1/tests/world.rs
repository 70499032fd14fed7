//! What a connection does with the machines, without the connection: keeps unused bytes, feeds, collects events.

use crate::h1::client::{Client, ResponseEvent};
use crate::h1::server::{RequestEvent, Server};
use crate::{Fields, Forward, Limits, RequestError, RequestHead, ResponseError, ResponseHead};

/// One event with its bytes; neighbouring body pieces are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Head(String),
    Interim(String),
    Upgraded(String),
    Body(Vec<u8>),
    Trailers(String),
    End,
    BadRequest(RequestError),
    BadResponse(ResponseError),
    /// Bytes that nobody used.
    Left(Vec<u8>),
}

fn note_body(seen: &mut Vec<Seen>, bytes: &[u8]) {
    match seen.last_mut() {
        Some(Seen::Body(body)) => body.extend_from_slice(bytes),
        _ => seen.push(Seen::Body(bytes.to_vec())),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn fields_text(input: &[u8], fields: &Fields) -> String {
    let line = |field: &crate::Field| {
        let hop = if field.hop { " (hop)" } else { "" };
        format!("{}={}{hop}\n", text(field.name_span.of(input)), text(field.value.of(input)))
    };
    fields.iter().map(line).collect()
}

fn request_text(input: &[u8], head: &RequestHead) -> String {
    format!(
        "{} {:?} {} ? {:?} {:?} {:?} keep {} expect {} {:?}\n{}",
        text(head.method_text(input)),
        text(head.host(input)),
        text(head.path(input)),
        head.query(input).map(text),
        head.version,
        head.framing,
        head.keep_alive,
        head.expect_continue,
        head.upgrade,
        fields_text(input, &head.fields)
    )
}

fn response_text(input: &[u8], head: &ResponseHead) -> String {
    format!(
        "{} {} {:?} {:?} keep {} {:?}\n{}",
        head.status.code(),
        text(head.reason.of(input)),
        head.version,
        head.framing,
        head.keep_alive,
        head.upgrade,
        fields_text(input, &head.fields)
    )
}

/// Everything that a client's bytes, coming in these pieces, mean to the server machine. Each request is taken
/// as answered once it has ended.
pub(super) fn requests(pieces: &[&[u8]], limits: &Limits) -> Vec<Seen> {
    let mut server = Server::new(0);
    let mut head = RequestHead::new();
    let mut seen = Vec::new();
    let mut buf: Vec<u8> = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let used = match server.feed(0, limits, &buf, &mut head) {
                Ok(used) => used,
                Err(error) => {
                    seen.push(Seen::BadRequest(error));
                    assert_eq!(server.feed(0, limits, &buf, &mut head), Ok(0), "an error is final");
                    return seen;
                }
            };
            assert!(used <= buf.len(), "used more than there was");
            let mut is_idle = used == 0;
            while let Some(event) = server.next_event() {
                is_idle = false;
                match event {
                    RequestEvent::Head => seen.push(Seen::Head(request_text(&buf, &head))),
                    RequestEvent::Body(span) => note_body(&mut seen, span.of(&buf)),
                    RequestEvent::Trailers => seen.push(Seen::Trailers(fields_text(&buf, &head.fields))),
                    RequestEvent::End => {
                        seen.push(Seen::End);
                        assert_eq!(
                            server.feed(0, limits, &buf, &mut head),
                            Ok(0),
                            "nothing is read past the end"
                        );
                        server.next_request(0);
                    }
                }
            }
            buf.drain(..used);
            if is_idle {
                break;
            }
        }
    }
    if !buf.is_empty() {
        seen.push(Seen::Left(buf));
    }
    seen
}

/// Everything that an origin's bytes, coming in these pieces, mean to the client machine as the answer to
/// `request`; with `eof`, the origin closes behind them.
pub(super) fn responses(request: &[u8], pieces: &[&[u8]], eof: bool, limits: &Limits) -> Vec<Seen> {
    let mut client = Client::new();
    let mut request_head = RequestHead::new();
    request_head.parse(request, limits).expect("a good request").expect("a whole request");
    let forward = Forward { upgrade: true, ..Forward::default() };
    client.write_request(&mut Vec::new(), request, &request_head, &forward);
    let mut head = ResponseHead::new();
    let mut seen = Vec::new();
    let mut buf: Vec<u8> = Vec::new();
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let used = match client.feed(limits, &buf, &mut head) {
                Ok(used) => used,
                Err(error) => {
                    seen.push(Seen::BadResponse(error));
                    assert!(!client.reusable());
                    return seen;
                }
            };
            assert!(used <= buf.len(), "used more than there was");
            let mut is_idle = used == 0;
            while let Some(event) = client.next_event() {
                is_idle = false;
                note_response(&mut seen, event, &buf, &head);
            }
            buf.drain(..used);
            if is_idle {
                break;
            }
        }
    }
    if eof {
        match client.on_eof() {
            Ok(()) => {}
            Err(error) => seen.push(Seen::BadResponse(error)),
        }
        while let Some(event) = client.next_event() {
            note_response(&mut seen, event, &buf, &head);
        }
        assert!(!client.reusable(), "a closed connection is never used again");
    }
    if !buf.is_empty() {
        seen.push(Seen::Left(buf));
    }
    seen
}

fn note_response(seen: &mut Vec<Seen>, event: ResponseEvent, input: &[u8], head: &ResponseHead) {
    match event {
        ResponseEvent::Interim => seen.push(Seen::Interim(response_text(input, head))),
        ResponseEvent::Upgraded => seen.push(Seen::Upgraded(response_text(input, head))),
        ResponseEvent::Head => seen.push(Seen::Head(response_text(input, head))),
        ResponseEvent::Body(span) => note_body(seen, span.of(input)),
        ResponseEvent::Trailers => seen.push(Seen::Trailers(fields_text(input, &head.fields))),
        ResponseEvent::End => seen.push(Seen::End),
    }
}

/// A request head parsed from `wire`.
pub(super) fn request(wire: &[u8]) -> RequestHead {
    let mut head = RequestHead::new();
    head.parse(wire, &Limits::default()).expect("a good head").expect("a whole head");
    head
}
