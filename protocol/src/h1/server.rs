//! The client-facing machine: reads requests, writes answers, and knows whether another request may follow.
//! One per client connection, small because there are many; the head's memory is the caller's.
//!
//! ```text
//!             first byte           whole head              last byte
//! Idle ──────────────────► Head ───────────────► Body ───────────────────► Done
//!   ▲                                 └── no body ────────────────────────► │
//!   └──────────────────────────── next_request ─────────────────────────────┘
//! ```
//! Any error ends the reading side for good (`Failed`); an answer can still be written.

use crate::error::{EncodeError, RequestError};
use crate::h1::decode::{BodyDecoder, BodyError, Piece};
use crate::h1::encode::{self, BodyEncoder};
use crate::h1::head;
use crate::h1::syntax::Scan;
use crate::head::{Framing, RequestHead, ResponseFraming, ResponseHead};
use crate::header::name::{Name, NameSet, set_of};
use crate::limits::{BLANK_LINE_BYTES_MAX, Limits};
use crate::method::Method;
use crate::rules::forwarded::{self, VIA_NAME};
use crate::rules::hop_by_hop::HOP_BY_HOP;
use crate::span::Span;
use crate::status::Status;
use crate::version::Version;

/// What a feed found. Spans name bytes of that feed's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestEvent {
    /// A whole head, now in the caller's [`RequestHead`].
    Head,
    /// Some bytes of the body.
    Body(Span),
    /// The declared trailers, now in the head's fields.
    Trailers,
    /// The request has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Head,
    Body,
    Done,
    Failed,
}

/// The machine of one client connection.
#[derive(Debug)]
pub struct Server {
    since_ms: u64,
    body_left: u64,
    decoder: BodyDecoder,
    encoder: BodyEncoder,
    event: Option<RequestEvent>,
    scan: Scan,
    state: State,
    version: Version,
    blank_line_bytes: u8,
    end_pending: bool,
    to_head: bool,
    keep_alive: bool,
    continue_awaited: bool,
    trailers_declared: bool,
}

impl Server {
    /// Waits for the first head of a new connection.
    pub fn new(now_ms: u64) -> Server {
        Server {
            since_ms: now_ms,
            body_left: u64::MAX,
            decoder: BodyDecoder::Ended,
            encoder: BodyEncoder::None,
            event: None,
            scan: Scan::default(),
            state: State::Idle,
            version: Version::Http11,
            blank_line_bytes: 0,
            end_pending: false,
            to_head: false,
            keep_alive: false,
            continue_awaited: false,
            trailers_declared: false,
        }
    }

    /// Reads up to the next event and gives the number of bytes used. Unused bytes must come again, with more
    /// behind them. Take all events before the next feed.
    pub fn feed(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        input: &[u8],
        head: &mut RequestHead,
    ) -> Result<usize, RequestError> {
        debug_assert!(self.event.is_none() && !self.end_pending, "events of the last feed are still there");
        let result = match self.state {
            State::Idle | State::Head => self.feed_head(now_ms, limits, input, head),
            State::Body => self.feed_body(limits, input, head),
            State::Done | State::Failed => Ok(0),
        };
        if result.is_err() {
            self.state = State::Failed;
            self.keep_alive = false;
        }
        result
    }

    /// The next event of the last feed.
    #[inline]
    pub fn next_event(&mut self) -> Option<RequestEvent> {
        if let Some(event) = self.event.take() {
            return Some(event);
        }
        std::mem::take(&mut self.end_pending).then_some(RequestEvent::End)
    }

    /// Sets the route's limit; call it at the head. A longer length is refused at once, a longer chunked body
    /// by the feed that meets the chunk.
    pub fn limit_body(&mut self, bytes_max: u64) -> Result<(), RequestError> {
        self.body_left = bytes_max;
        match self.decoder {
            BodyDecoder::Length(length) if length > bytes_max => {
                self.state = State::Failed;
                self.keep_alive = false;
                Err(RequestError::BodyTooLarge)
            }
            _ => Ok(()),
        }
    }

    /// Begins to wait for the next request, once the answer has been sent.
    pub fn next_request(&mut self, now_ms: u64) {
        debug_assert!(self.state == State::Done, "the request has not ended");
        *self = Server::new(now_ms);
    }

    /// When the client must have shown up, or finished its head. None while a body is read or an answer awaited:
    /// progress there is the engine's to watch.
    pub fn deadline(&self, limits: &Limits) -> Option<u64> {
        match self.state {
            State::Idle => Some(self.since_ms.saturating_add(limits.idle_ms)),
            State::Head => Some(self.since_ms.saturating_add(self.head_ms(limits))),
            State::Body | State::Done | State::Failed => None,
        }
    }

    /// Tells what a passed deadline means; `Ok` if none has passed.
    pub fn on_deadline(&mut self, now_ms: u64, limits: &Limits) -> Result<(), RequestError> {
        if self.deadline(limits).is_none_or(|deadline| now_ms < deadline) {
            return Ok(());
        }
        let is_idle = self.state == State::Idle;
        self.state = State::Failed;
        self.keep_alive = false;
        Err(if is_idle { RequestError::IdleTimeout } else { RequestError::HeadTimeout })
    }

    /// Time for the whole head, or less for a client that is behind the slowest rate: the bytes so far are
    /// paid for at that rate, the first second is free.
    fn head_ms(&self, limits: &Limits) -> u64 {
        let received = (self.scan.bytes() as u64).saturating_mul(1000);
        match received.checked_div(limits.request_head_bytes_per_second_min) {
            Some(earned_ms) => limits.request_head_ms.min(earned_ms.max(1000)),
            None => limits.request_head_ms,
        }
    }

    fn feed_head(
        &mut self,
        now_ms: u64,
        limits: &Limits,
        input: &[u8],
        head: &mut RequestHead,
    ) -> Result<usize, RequestError> {
        let start = if self.scan.bytes() == 0 { self.skip_blank_lines(input)? } else { 0 };
        let unread = input.get(start..).unwrap_or(&[]);
        if unread.is_empty() || unread == b"\r" {
            // The empty line of an old client is not the start of a request.
            return Ok(start);
        }
        if self.state == State::Idle {
            self.state = State::Head;
            self.since_ms = now_ms;
        }
        let line_cap = (limits.request_line_bytes_max as usize).saturating_add(2);
        if self.scan.is_news(unread, &[line_cap, limits.head_bytes_max as usize]) {
            match head::read_request(input, start, limits, head) {
                Ok(Some(end)) => {
                    self.begin_request(head);
                    return Ok(end);
                }
                Ok(None) => {}
                Err(error) => {
                    self.to_head = head.method == Method::Head;
                    return Err(error);
                }
            }
        }
        self.scan.note(unread);
        Ok(start)
    }

    /// RFC 9112 2.2: some clients end a body with an empty line.
    fn skip_blank_lines(&mut self, input: &[u8]) -> Result<usize, RequestError> {
        let mut start = 0;
        while let Some([b'\r', b'\n']) = input.get(start..start + 2) {
            start += 2;
            self.blank_line_bytes += 2;
            if self.blank_line_bytes > BLANK_LINE_BYTES_MAX {
                return Err(RequestError::BadRequestLine);
            }
        }
        match input.get(start..) {
            Some([b'\r', next, ..]) if *next != b'\n' => Err(RequestError::Head(crate::HeadError::BareCr)),
            _ => Ok(start),
        }
    }

    fn begin_request(&mut self, head: &RequestHead) {
        self.scan = Scan::default();
        self.version = head.version;
        self.to_head = head.method == Method::Head;
        self.keep_alive = head.keep_alive;
        self.continue_awaited = head.expect_continue;
        self.trailers_declared = head.trailers_declared;
        self.decoder = match head.framing {
            Framing::None | Framing::Length(0) => BodyDecoder::Ended,
            Framing::Length(length) => BodyDecoder::Length(length),
            Framing::Chunked => BodyDecoder::Chunked(Default::default()),
        };
        self.event = Some(RequestEvent::Head);
        self.state = State::Body;
        self.end_if_complete();
    }

    fn end_if_complete(&mut self) {
        if self.decoder.is_ended() {
            self.end_pending = true;
            self.state = State::Done;
        }
    }

    fn feed_body(
        &mut self,
        limits: &Limits,
        input: &[u8],
        head: &mut RequestHead,
    ) -> Result<usize, RequestError> {
        let step = self.decoder.step(input, limits, &mut self.body_left, &mut head.fields);
        let (used, piece) = step.map_err(|error| match error {
            BodyError::Chunk(error) => RequestError::from(error),
            BodyError::Trailer(error) => RequestError::Trailer(error),
        })?;
        self.event = match piece {
            Piece::More | Piece::End => None,
            Piece::Data(span) => Some(RequestEvent::Body(span)),
            Piece::Trailers if self.trailers_declared => Some(RequestEvent::Trailers),
            Piece::Trailers => None,
        };
        if used > 0 {
            self.continue_awaited = false;
        }
        self.end_if_complete();
        Ok(used)
    }
}

/// Response fields that are written anew. `Trailer` stays only where trailers can follow.
const REFRAMED: NameSet = HOP_BY_HOP | set_of(&[Name::ContentLength]);

/// The answering side.
impl Server {
    /// Writes the origin's final head for the client. Says `Connection: close` if `close`, or if the client or the
    /// framing demand it. `set` holds further fields, as lines; those names must have been withheld from the head.
    pub fn write_response(
        &mut self,
        out: &mut Vec<u8>,
        input: &[u8],
        head: &ResponseHead,
        set: &[u8],
        close: bool,
    ) {
        out.reserve(512);
        self.write_status_line(out, head.status, head.reason.of(input));
        let is_bodyless = self.to_head || head.status.is_bodyless();
        self.encoder = match head.framing {
            _ if is_bodyless => BodyEncoder::None,
            ResponseFraming::None => BodyEncoder::None,
            ResponseFraming::Length(length) => BodyEncoder::Length(length),
            ResponseFraming::Chunked | ResponseFraming::UntilClose if self.version == Version::Http11 => {
                BodyEncoder::Chunked { open: false }
            }
            ResponseFraming::Chunked | ResponseFraming::UntilClose => BodyEncoder::UntilClose,
        };
        let is_chunked = self.encoder.is_chunked();
        let trailer = if is_chunked { 0 } else { Name::Trailer.bit() };
        encode::copy_fields(out, input, &head.fields, REFRAMED | trailer);
        if is_chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        } else if let Some(length) = head.content_length.filter(|_| head.status != Status::NO_CONTENT) {
            encode::push_length(out, length);
        }
        forwarded::write_via(out, head.version.number(), VIA_NAME);
        out.extend_from_slice(set);
        self.write_connection(out, close);
        out.extend_from_slice(b"\r\n");
    }

    /// Forwards an interim response; nothing (and false) to an HTTP/1.0 client, which would not understand it.
    pub fn write_interim(&mut self, out: &mut Vec<u8>, input: &[u8], head: &ResponseHead) -> bool {
        if self.version == Version::Http10 {
            return false;
        }
        if head.status == Status::CONTINUE {
            self.continue_awaited = false;
        }
        self.write_status_line(out, head.status, head.reason.of(input));
        encode::copy_fields(out, input, &head.fields, REFRAMED | Name::Trailer.bit());
        out.extend_from_slice(b"\r\n");
        true
    }

    /// Writes our own 100, if the client waits for one; tells whether it does.
    pub fn write_continue(&mut self, out: &mut Vec<u8>) -> bool {
        let is_awaited = std::mem::take(&mut self.continue_awaited);
        if is_awaited {
            out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        is_awaited
    }

    /// Forwards the 101 that makes the connection a WebSocket; afterwards the machine is not used any more.
    /// `set` as for [`Server::write_response`].
    pub fn write_upgrade(&mut self, out: &mut Vec<u8>, input: &[u8], head: &ResponseHead, set: &[u8]) {
        self.write_status_line(out, Status::SWITCHING_PROTOCOLS, head.reason.of(input));
        encode::copy_fields(out, input, &head.fields, REFRAMED | Name::Trailer.bit());
        forwarded::write_via(out, head.version.number(), VIA_NAME);
        out.extend_from_slice(set);
        out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        self.encoder = BodyEncoder::None;
        self.keep_alive = false;
    }

    /// Writes a whole answer of our own. `fields` must be clean; length and connection are added. After HEAD the
    /// body's length is told but the body not sent.
    pub fn write_answer(
        &mut self,
        out: &mut Vec<u8>,
        status: Status,
        fields: &[(&str, &str)],
        body: &[u8],
        close: bool,
    ) {
        self.write_status_line(out, status, b"");
        for (name, value) in fields {
            debug_assert!(encode::is_clean(name, value), "our own field {name} is not clean");
            encode::push_field(out, name.as_bytes(), value.as_bytes());
        }
        let has_body = !status.is_bodyless();
        if has_body {
            encode::push_length(out, body.len() as u64);
        }
        self.write_connection(out, close);
        out.extend_from_slice(b"\r\n");
        if has_body && !self.to_head {
            out.extend_from_slice(body);
        }
        self.encoder = BodyEncoder::None;
    }

    /// Framing of the answer that is being written.
    pub fn body(&mut self) -> &mut BodyEncoder {
        &mut self.encoder
    }

    /// Ends the answer's body; see [`BodyEncoder::end`].
    pub fn end_body(
        &mut self,
        out: &mut Vec<u8>,
        trailers: Option<(&[u8], &crate::Fields)>,
    ) -> Result<(), EncodeError> {
        self.encoder.end(out, trailers)
    }

    /// Whether another request may follow, asked when the answer has ended: the client wants it, the whole request
    /// was read and the whole answer written.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive && self.state == State::Done && self.encoder.is_ended()
    }

    /// Whether it waits for the first byte of a request: such a connection may be closed without a word.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Whether the whole request has been read.
    pub fn is_request_read(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of the request's body that have not been read, where `Content-Length` tells how many there are.
    pub fn request_body_left(&self) -> Option<u64> {
        self.decoder.left()
    }

    /// Version of the request being answered.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Always HTTP/1.1: our own version, whatever the client's (RFC 9110 6.2). A reason that is missing or not
    /// plain is replaced by the standard one.
    fn write_status_line(&self, out: &mut Vec<u8>, status: Status, reason: &[u8]) {
        let [hundreds, tens, ones] = [100, 10, 1].map(|place| b'0' + (status.code() / place % 10) as u8);
        out.extend_from_slice(&[
            b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b' ', hundreds, tens, ones, b' ',
        ]);
        let is_plain = !reason.is_empty() && reason.iter().all(|byte| matches!(byte, b' '..=b'~'));
        out.extend_from_slice(if is_plain { reason } else { status.reason().as_bytes() });
        out.extend_from_slice(b"\r\n");
    }

    /// Decides whether the connection lives on, and says so where the version's default is the other way.
    fn write_connection(&mut self, out: &mut Vec<u8>, close: bool) {
        // RFC 9110 10.1.1: without a 100 nobody knows whether the body still comes.
        let is_ambiguous = self.continue_awaited && self.state != State::Done;
        if close || is_ambiguous || self.encoder == BodyEncoder::UntilClose {
            self.keep_alive = false;
        }
        if !self.keep_alive {
            out.extend_from_slice(b"Connection: close\r\n");
        } else if self.version == Version::Http10 {
            out.extend_from_slice(b"Connection: keep-alive\r\n");
        }
    }
}
