//! Why a message was refused: each variant has exactly one reply, a precise text for the log and a vague one
//! for the public. Made by the machines in `h1`, turned into replies by the engine.

use crate::status::Status;

/// A head or trailer section that breaks the syntax (RFC 9112 2, 5) or a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// A CR without its LF.
    BareCr,
    /// An LF without its CR.
    BareLf,
    /// A NUL byte.
    Nul,
    /// Whitespace between a field's name and its colon.
    SpaceBeforeColon,
    /// A field line that begins with whitespace.
    FoldedLine,
    /// A field name that is empty or no token, or a line without a colon.
    BadName,
    /// A control character in a field's value.
    BadValue,
    /// More fields than the cap.
    TooManyFields,
    /// More bytes than the cap.
    TooLarge,
}

impl HeadError {
    /// Precise text for the log.
    pub fn reason(self) -> &'static str {
        match self {
            HeadError::BareCr => "bare CR",
            HeadError::BareLf => "bare LF",
            HeadError::Nul => "NUL byte",
            HeadError::SpaceBeforeColon => "whitespace before the colon",
            HeadError::FoldedLine => "folded line",
            HeadError::BadName => "empty or non-token field name",
            HeadError::BadValue => "control character in a field value",
            HeadError::TooManyFields => "too many fields",
            HeadError::TooLarge => "head too large",
        }
    }
}

/// Lengths and codings from which no safe end of the body follows (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// Two different `Content-Length`.
    TwoLengths,
    /// A `Content-Length` that is not just digits, or too big for 64 bits.
    BadLength,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndCoding,
    /// Any transfer coding but one final `chunked`.
    BadCoding,
    /// `Transfer-Encoding` in an HTTP/1.0 message.
    CodingInHttp10,
}

impl FramingError {
    /// Precise text for the log.
    pub fn reason(self) -> &'static str {
        match self {
            FramingError::TwoLengths => "two different Content-Length",
            FramingError::BadLength => "malformed Content-Length",
            FramingError::LengthAndCoding => "Content-Length with Transfer-Encoding",
            FramingError::BadCoding => "transfer coding other than one final chunked",
            FramingError::CodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
        }
    }
}

/// A chunked body that breaks RFC 9112 7.1 or a cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A chunk size that is empty, not hexadecimal or too big.
    BadSize,
    /// A control character in a chunk extension.
    BadExtension,
    /// More bytes of extensions than the cap.
    ExtensionsTooLong,
    /// A chunk line or chunk data that does not end in CRLF.
    BadLineEnd,
    /// A body longer than its limit.
    TooLarge,
}

impl ChunkError {
    /// Precise text for the log.
    pub fn reason(self) -> &'static str {
        match self {
            ChunkError::BadSize => "malformed chunk size",
            ChunkError::BadExtension => "control character in a chunk extension",
            ChunkError::ExtensionsTooLong => "chunk extensions too long",
            ChunkError::BadLineEnd => "malformed chunk line end",
            ChunkError::TooLarge => "body over the limit",
        }
    }
}

/// A target that no request can have (RFC 9112 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// None of the four forms, or a form that the method does not allow.
    BadForm,
    /// A `%` that two hexadecimal digits do not follow.
    BadPercent,
    /// A `%2F` where the policy refuses it.
    EncodedSlash,
    /// A `%00` where the policy refuses it.
    EncodedNul,
    /// An authority that is no host with an optional port.
    BadAuthority,
}

impl TargetError {
    /// Precise text for the log.
    pub fn reason(self) -> &'static str {
        match self {
            TargetError::BadForm => "malformed request target",
            TargetError::BadPercent => "malformed percent-encoding in the path",
            TargetError::EncodedSlash => "%2F in the path",
            TargetError::EncodedNul => "%00 in the path",
            TargetError::BadAuthority => "malformed authority in the target",
        }
    }
}

/// Why a client's request was refused. Every variant ends the connection once its reply is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// No bytes in time between requests: closed without a reply.
    IdleTimeout,
    /// The head came too slowly (408).
    HeadTimeout,
    /// Not `method SP target SP version CRLF` (400).
    BadRequestLine,
    /// A request line over its cap (414).
    RequestLineTooLong,
    /// A well-formed version that is neither 1.0 nor 1.1 (505).
    VersionNotSupported,
    /// A head that breaks the syntax (400) or a cap (431).
    Head(HeadError),
    /// A target in none of the allowed forms (400).
    Target(TargetError),
    /// CONNECT where it is not allowed (501).
    ConnectRefused,
    /// No `Host` in HTTP/1.1 (400).
    HostMissing,
    /// More than one `Host` (400).
    HostRepeated,
    /// A `Host` that is no host with an optional port (400).
    HostMalformed,
    /// More names in `Connection` than the cap (400).
    ConnectionTooLong,
    /// An `Expect` other than `100-continue` (417).
    ExpectationUnknown,
    /// A body without one certain length (400).
    Framing(FramingError),
    /// A malformed chunked body (400).
    Chunk(ChunkError),
    /// A trailer section that breaks the syntax or a cap (400).
    Trailer(HeadError),
    /// A body over the route's limit (413).
    BodyTooLarge,
}

impl RequestError {
    /// The reply's status; `None` closes without one.
    pub fn status(self) -> Option<Status> {
        Some(match self {
            RequestError::IdleTimeout => return None,
            RequestError::HeadTimeout => Status::REQUEST_TIMEOUT,
            RequestError::RequestLineTooLong => Status::URI_TOO_LONG,
            RequestError::VersionNotSupported => Status::VERSION_NOT_SUPPORTED,
            RequestError::Head(HeadError::TooManyFields | HeadError::TooLarge) => Status::HEADERS_TOO_LARGE,
            RequestError::Trailer(HeadError::TooManyFields | HeadError::TooLarge) => {
                Status::HEADERS_TOO_LARGE
            }
            RequestError::ConnectRefused => Status::NOT_IMPLEMENTED,
            RequestError::ExpectationUnknown => Status::EXPECTATION_FAILED,
            RequestError::BodyTooLarge => Status::CONTENT_TOO_LARGE,
            RequestError::BadRequestLine
            | RequestError::Head(_)
            | RequestError::Target(_)
            | RequestError::HostMissing
            | RequestError::HostRepeated
            | RequestError::HostMalformed
            | RequestError::ConnectionTooLong
            | RequestError::Framing(_)
            | RequestError::Chunk(_)
            | RequestError::Trailer(_) => Status::BAD_REQUEST,
        })
    }

    /// Precise text for the log.
    pub fn reason(self) -> &'static str {
        match self {
            RequestError::IdleTimeout => "idle between requests for too long",
            RequestError::HeadTimeout => "request head too slow",
            RequestError::BadRequestLine => "malformed request line",
            RequestError::RequestLineTooLong => "request line too long",
            RequestError::VersionNotSupported => "version is neither 1.0 nor 1.1",
            RequestError::Head(error) | RequestError::Trailer(error) => error.reason(),
            RequestError::Target(error) => error.reason(),
            RequestError::ConnectRefused => "CONNECT is not allowed here",
            RequestError::HostMissing => "missing Host",
            RequestError::HostRepeated => "repeated Host",
            RequestError::HostMalformed => "malformed Host",
            RequestError::ConnectionTooLong => "too many names in Connection",
            RequestError::ExpectationUnknown => "unknown expectation",
            RequestError::Framing(error) => error.reason(),
            RequestError::Chunk(error) => error.reason(),
            RequestError::BodyTooLarge => "body over the limit",
        }
    }

    /// Vague text for the reply's title.
    pub fn title(self) -> &'static str {
        self.status().map_or("", Status::reason)
    }
}

impl From<HeadError> for RequestError {
    fn from(error: HeadError) -> RequestError {
        RequestError::Head(error)
    }
}

impl From<TargetError> for RequestError {
    fn from(error: TargetError) -> RequestError {
        RequestError::Target(error)
    }
}

impl From<FramingError> for RequestError {
    fn from(error: FramingError) -> RequestError {
        RequestError::Framing(error)
    }
}

impl From<ChunkError> for RequestError {
    fn from(error: ChunkError) -> RequestError {
        match error {
            ChunkError::TooLarge => RequestError::BodyTooLarge,
            other => RequestError::Chunk(other),
        }
    }
}

/// Why an origin's response was refused. Every variant closes that origin connection; before any byte
/// of it reached the client the reply is 502, afterwards the client's answer is cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// Not `version SP status [SP reason] CRLF`.
    BadStatusLine,
    /// A version that is neither 1.0 nor 1.1.
    VersionNotSupported,
    /// A head that breaks the syntax or a cap.
    Head(HeadError),
    /// More names in `Connection` than the cap.
    ConnectionTooLong,
    /// A body without one certain length.
    Framing(FramingError),
    /// A malformed chunked body.
    Chunk(ChunkError),
    /// A trailer section that breaks the syntax or a cap.
    Trailer(HeadError),
    /// A 101 that nobody asked for.
    UnaskedUpgrade,
    /// More interim responses than the cap.
    TooManyInterim,
    /// Bytes although no request waits for an answer.
    Unsolicited,
    /// Bytes behind the end of the body.
    BytesAfterEnd,
    /// The connection ended before a final head.
    ClosedBeforeHead {
        /// No byte of an answer had come: the request may be tried again.
        nothing_received: bool,
    },
    /// The connection ended inside the body.
    Truncated,
}

impl ResponseError {
    /// What the client is told if nothing was sent to it yet.
    pub fn status(self) -> Status {
        Status::BAD_GATEWAY
    }

    /// Precise text for the log.
    pub fn reason(self) -> &'static str {
        match self {
            ResponseError::BadStatusLine => "malformed status line",
            ResponseError::VersionNotSupported => "version is neither 1.0 nor 1.1",
            ResponseError::Head(error) | ResponseError::Trailer(error) => error.reason(),
            ResponseError::ConnectionTooLong => "too many names in Connection",
            ResponseError::Framing(error) => error.reason(),
            ResponseError::Chunk(error) => error.reason(),
            ResponseError::UnaskedUpgrade => "101 without an upgrade request",
            ResponseError::TooManyInterim => "too many interim responses",
            ResponseError::Unsolicited => "bytes without a request",
            ResponseError::BytesAfterEnd => "bytes after the end of the response",
            ResponseError::ClosedBeforeHead { nothing_received: true } => "closed before any answer",
            ResponseError::ClosedBeforeHead { nothing_received: false } => "closed inside the head",
            ResponseError::Truncated => "closed inside the body",
        }
    }
}

impl From<HeadError> for ResponseError {
    fn from(error: HeadError) -> ResponseError {
        ResponseError::Head(error)
    }
}

impl From<FramingError> for ResponseError {
    fn from(error: FramingError) -> ResponseError {
        ResponseError::Framing(error)
    }
}

impl From<ChunkError> for ResponseError {
    fn from(error: ChunkError) -> ResponseError {
        ResponseError::Chunk(error)
    }
}

/// A body that does not fit the length its head promised: the connection must be cut, so that the receiver
/// sees it as incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeError {
    /// More bytes than promised.
    TooLong,
    /// Ended with this many bytes still promised.
    TooShort {
        /// Bytes that were promised and never came.
        left: u64,
    },
}

impl EncodeError {
    /// Precise text for the log.
    pub fn reason(self) -> &'static str {
        match self {
            EncodeError::TooLong => "body longer than its Content-Length",
            EncodeError::TooShort { .. } => "body shorter than its Content-Length",
        }
    }
}
