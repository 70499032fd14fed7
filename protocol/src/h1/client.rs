//! The origin-facing machine: writes forwarded requests, reads their answers, and knows whether the connection
//! may carry another request. One per backend connection.
//!
//! ```text
//!        write_request        interim (stays)     final head            last byte
//! Idle ────────────────► Head ◄──────────► Head ──────────────► Body ────────────► Done ─┐
//!   ▲                      │ 101 asked for            └── no body ──────────────────►    │
//!   │                      ▼                                                             │
//!   │                   Upgraded                                                         │
//!   └───────────────────────────────── write_request, if reusable ◄──────────────────────┘
//! ```

use crate::error::ResponseError;
use crate::h1::decode::{BodyDecoder, BodyError, Piece};
use crate::h1::encode::{self, BodyEncoder};
use crate::h1::head;
use crate::h1::syntax::Scan;
use crate::head::{Framing, RequestHead, ResponseFraming, ResponseHead, Upgrade};
use crate::header::name::{Name, NameSet, set_of};
use crate::limits::{INTERIM_MAX, Limits};
use crate::method::Method;
use crate::rules::forwarded::{self, Forward, REWRITTEN, UNTRUSTED};
use crate::rules::hop_by_hop::HOP_BY_HOP;
use crate::span::Span;
use crate::status::Status;
use crate::target::TargetForm;

/// What a feed found. Spans name bytes of that feed's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseEvent {
    /// A 1xx other than 101, now in the caller's [`ResponseHead`].
    Interim,
    /// The 101 that was asked for; what follows its head belongs to the relay.
    Upgraded,
    /// The final head, now in the caller's [`ResponseHead`].
    Head,
    /// Some bytes of the body.
    Body(Span),
    /// The declared trailers, now in the head's fields.
    Trailers,
    /// The response has ended.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Head,
    Body,
    Done,
    Upgraded,
    Failed,
}

/// The machine of one backend connection.
#[derive(Clone, Debug)]
pub struct Client {
    decoder: BodyDecoder,
    encoder: BodyEncoder,
    event: Option<ResponseEvent>,
    scan: Scan,
    state: State,
    interim_count: u8,
    end_pending: bool,
    to_head: bool,
    upgrade_asked: bool,
    keep_alive: bool,
    trailers_declared: bool,
}

impl Default for Client {
    fn default() -> Client {
        Client::new()
    }
}

impl Client {
    /// A fresh connection without a request.
    pub fn new() -> Client {
        Client {
            decoder: BodyDecoder::Ended,
            encoder: BodyEncoder::None,
            event: None,
            scan: Scan::default(),
            state: State::Idle,
            interim_count: 0,
            end_pending: false,
            to_head: false,
            upgrade_asked: false,
            keep_alive: true,
            trailers_declared: false,
        }
    }

    /// Writes the forwarded head and prepares to read its answer. `input` is what `head` was read from.
    pub fn write_request(
        &mut self,
        out: &mut Vec<u8>,
        input: &[u8],
        head: &RequestHead,
        forward: &Forward<'_>,
    ) {
        debug_assert!(self.state == State::Idle || self.reusable(), "the connection is not free");
        let upgrade = forward.upgrade && head.upgrade == Upgrade::WebSocket;
        *self = Client::new();
        self.state = State::Head;
        self.to_head = head.method == Method::Head;
        self.upgrade_asked = upgrade;
        self.encoder = match head.framing {
            Framing::None => BodyEncoder::None,
            Framing::Length(length) => BodyEncoder::Length(length),
            Framing::Chunked => BodyEncoder::Chunked { open: false },
        };
        out.reserve(1024);
        write_request_line(out, input, head, forward);
        encode::copy_fields(out, input, &head.fields, dropped(head, forward));
        match head.framing {
            Framing::None => {}
            Framing::Length(length) => encode::push_length(out, length),
            Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        forwarded::write(out, input, head, forward);
        if upgrade {
            out.extend_from_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n");
        } else if head.trailers_accepted {
            // RFC 9110 10.1.4: TE ends at the next hop, and must say so.
            out.extend_from_slice(b"Connection: te\r\nTE: trailers\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Framing of the request body that is being sent.
    pub fn request_body(&mut self) -> &mut BodyEncoder {
        &mut self.encoder
    }

    /// Reads up to the next event and gives the number of bytes used. Unused bytes must come again, with more
    /// behind them. Take all events before the next feed. Bytes that answer nothing are an error.
    pub fn feed(
        &mut self,
        limits: &Limits,
        input: &[u8],
        head: &mut ResponseHead,
    ) -> Result<usize, ResponseError> {
        debug_assert!(self.event.is_none() && !self.end_pending, "events of the last feed are still there");
        let result = match self.state {
            State::Idle if !input.is_empty() => Err(ResponseError::Unsolicited),
            State::Done if !input.is_empty() => Err(ResponseError::BytesAfterEnd),
            State::Head => self.feed_head(limits, input, head),
            State::Body => self.feed_body(limits, input, head),
            State::Idle | State::Done | State::Upgraded | State::Failed => Ok(0),
        };
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// The next event of the last feed, or of the end of the connection.
    #[inline]
    pub fn next_event(&mut self) -> Option<ResponseEvent> {
        if let Some(event) = self.event.take() {
            return Some(event);
        }
        std::mem::take(&mut self.end_pending).then_some(ResponseEvent::End)
    }

    /// The origin sent its last byte. `Ok` where that is a proper end: between responses, or of a body that only
    /// the close delimits (then `End` follows).
    pub fn on_eof(&mut self) -> Result<(), ResponseError> {
        self.keep_alive = false;
        match self.state {
            State::Idle | State::Done | State::Upgraded | State::Failed => Ok(()),
            State::Body if matches!(self.decoder, BodyDecoder::UntilClose) => {
                self.decoder = BodyDecoder::Ended;
                self.end_pending = true;
                self.state = State::Done;
                Ok(())
            }
            State::Body => {
                self.state = State::Failed;
                Err(ResponseError::Truncated)
            }
            State::Head => {
                self.state = State::Failed;
                let nothing_received = self.scan.bytes() == 0 && self.interim_count == 0;
                Err(ResponseError::ClosedBeforeHead { nothing_received })
            }
        }
    }

    /// Whether the connection may carry another request: the last response ended properly, the origin keeps the
    /// connection, and the whole request was sent.
    pub fn reusable(&self) -> bool {
        self.state == State::Done && self.keep_alive && self.encoder.is_ended()
    }

    /// Whether the final head has not come yet: an answer of our own is still possible.
    pub fn awaits_head(&self) -> bool {
        self.state == State::Head
    }

    fn feed_head(
        &mut self,
        limits: &Limits,
        input: &[u8],
        head: &mut ResponseHead,
    ) -> Result<usize, ResponseError> {
        if input.is_empty() {
            return Ok(0);
        }
        if self.scan.is_news(input, &[limits.head_bytes_max as usize])
            && let Some(end) = head::read_response(input, 0, limits, self.to_head, head)?
        {
            self.scan = Scan::default();
            self.begin_response(head)?;
            return Ok(end);
        }
        self.scan.note(input);
        Ok(0)
    }

    fn begin_response(&mut self, head: &ResponseHead) -> Result<(), ResponseError> {
        if head.status == Status::SWITCHING_PROTOCOLS {
            // RFC 9110 7.8: only what was asked for.
            if !self.upgrade_asked || head.upgrade != Upgrade::WebSocket {
                return Err(ResponseError::UnaskedUpgrade);
            }
            self.state = State::Upgraded;
            self.event = Some(ResponseEvent::Upgraded);
            return Ok(());
        }
        if head.status.is_interim() {
            self.interim_count += 1;
            if self.interim_count > INTERIM_MAX {
                return Err(ResponseError::TooManyInterim);
            }
            self.event = Some(ResponseEvent::Interim);
            return Ok(());
        }
        self.keep_alive = head.keep_alive;
        self.trailers_declared = head.trailers_declared;
        self.decoder = match head.framing {
            ResponseFraming::None | ResponseFraming::Length(0) => BodyDecoder::Ended,
            ResponseFraming::Length(length) => BodyDecoder::Length(length),
            ResponseFraming::Chunked => BodyDecoder::Chunked(Default::default()),
            ResponseFraming::UntilClose => {
                self.keep_alive = false;
                BodyDecoder::UntilClose
            }
        };
        self.event = Some(ResponseEvent::Head);
        self.state = State::Body;
        self.end_if_complete();
        Ok(())
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
        head: &mut ResponseHead,
    ) -> Result<usize, ResponseError> {
        // A response body is relayed, never stored, so it needs no limit.
        let mut unlimited = u64::MAX;
        let step = self.decoder.step(input, limits, &mut unlimited, &mut head.fields);
        let (used, piece) = step.map_err(|error| match error {
            BodyError::Chunk(error) => ResponseError::Chunk(error),
            BodyError::Trailer(error) => ResponseError::Trailer(error),
        })?;
        self.event = match piece {
            Piece::More | Piece::End => None,
            Piece::Data(span) => Some(ResponseEvent::Body(span)),
            Piece::Trailers if self.trailers_declared => Some(ResponseEvent::Trailers),
            Piece::Trailers => None,
        };
        self.end_if_complete();
        Ok(used)
    }
}

/// Request fields that are written anew, or end here.
const REFRAMED: NameSet = HOP_BY_HOP | REWRITTEN | set_of(&[Name::Host, Name::ContentLength]);

/// The fields of this request that are not copied.
fn dropped(head: &RequestHead, forward: &Forward<'_>) -> NameSet {
    let untrusted = if forward.trusted { 0 } else { UNTRUSTED };
    let expect = if head.expect_continue { 0 } else { Name::Expect.bit() };
    let trailer = if head.framing == Framing::Chunked { 0 } else { Name::Trailer.bit() };
    let origin = if forward.origin.is_some() { Name::Origin.bit() } else { 0 };
    REFRAMED | untrusted | expect | trailer | origin
}

/// The request line and `Host`. What was matched is what is forwarded: the normalised path.
fn write_request_line(out: &mut Vec<u8>, input: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    out.extend_from_slice(head.method_span.of(input));
    out.push(b' ');
    match forward.target {
        Some(target) => {
            debug_assert!(target.iter().all(u8::is_ascii_graphic), "a target of ours is not clean");
            out.extend_from_slice(target);
        }
        None if head.target_form() == TargetForm::Authority => out.extend_from_slice(head.host(input)),
        None => {
            out.extend_from_slice(head.path(input));
            if let Some(query) = head.query(input) {
                out.push(b'?');
                out.extend_from_slice(query);
            }
        }
    }
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(forward.host.map_or_else(|| head.host(input), str::as_bytes));
    out.extend_from_slice(b"\r\n");
}
