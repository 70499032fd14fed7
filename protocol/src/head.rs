//! Heads as the rest of the product sees them: parsed once, checked, and offsets only. Filled by `h1::head`;
//! one of each per core is enough, its memory is reused by every head.
//!
//! A head's spans name bytes of the very `input` that the feed was given; the accessors take it again.

use crate::header::map::Fields;
use crate::header::name::Name;
use crate::limits::Limits;
use crate::method::Method;
use crate::span::Span;
use crate::status::Status;
use crate::target::normalize::PathBuf;
use crate::target::parse::{PathPlace, Target};
use crate::target::{TargetForm, authority};
use crate::version::Version;

/// How a request's body ends (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// No body.
    #[default]
    None,
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// How a response's body ends (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResponseFraming {
    /// No body, whatever the fields say.
    #[default]
    None,
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What a message wants the connection to become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upgrade {
    /// Nothing else.
    #[default]
    None,
    /// WebSocket.
    WebSocket,
    /// Something that is never forwarded, such as `h2c`.
    Other,
}

/// A client's request head.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method's text.
    pub method_span: Span,
    /// The version.
    pub version: Version,
    /// The fields; after a `Trailers` event those of the trailer section.
    pub fields: Fields,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client lets the connection live on after this exchange.
    pub keep_alive: bool,
    /// The client waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// What `Upgrade` and `Connection: upgrade` ask for together.
    pub upgrade: Upgrade,
    /// The client reads trailers (`TE: trailers`).
    pub trailers_accepted: bool,
    /// The client announced trailers (`Trailer`).
    pub trailers_declared: bool,
    pub(crate) target_span: Span,
    pub(crate) target: Target,
    pub(crate) host: Option<Span>,
    pub(crate) path_buf: PathBuf,
}

impl RequestHead {
    /// An empty head to be filled by a feed.
    pub fn new() -> RequestHead {
        RequestHead::default()
    }

    /// Form of the target.
    pub fn target_form(&self) -> TargetForm {
        self.target.form
    }

    /// The target exactly as received: for logs.
    pub fn target<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        self.target_span.of(input)
    }

    /// The method's text.
    pub fn method_text<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        self.method_span.of(input)
    }

    /// Host and port that the request is for: an absolute target's authority, else `Host`. Checked, not
    /// lower-cased; empty only in HTTP/1.0 without `Host`.
    #[inline]
    pub fn host<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        self.target.authority.or(self.host).unwrap_or_default().of(input)
    }

    /// [`RequestHead::host`] without the port.
    pub fn host_name<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        authority::parse(self.host(input)).map_or(&[], |authority| authority.host)
    }

    /// The normalised path: begins with `/`, or is `*`; empty with CONNECT's authority form.
    #[inline]
    pub fn path<'a>(&'a self, input: &'a [u8]) -> &'a [u8] {
        match self.target.path {
            PathPlace::Raw(span) => span.of(input),
            PathPlace::Normalised => &self.path_buf.normal,
            PathPlace::Root if self.target.form == TargetForm::Authority => b"",
            PathPlace::Root => b"/",
            PathPlace::Asterisk => b"*",
        }
    }

    /// What follows the first `?`, not normalised; `None` without a `?`.
    #[inline]
    pub fn query<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        self.target.query.map(|span| span.of(input))
    }

    /// The peer's own request id, if it may keep it: `trusted` peers only, and only 1 to 128 characters of
    /// letters, digits and `-._`.
    pub fn request_id<'a>(&self, input: &'a [u8], trusted: bool) -> Option<&'a [u8]> {
        if !trusted || self.fields.count(Name::XRequestId) != 1 {
            return None;
        }
        let id = self.fields.value(Name::XRequestId, input)?;
        let is_plain =
            id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        (is_plain && (1..=128).contains(&id.len())).then_some(id)
    }

    /// Parses one whole head from the start of `input`, without a machine: for tests, fuzzers and tools.
    /// Gives the head's length, or `None` if it is incomplete.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, crate::RequestError> {
        crate::h1::head::read_request(input, 0, limits, self)
    }
}

/// An origin's response head.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status.
    pub status: Status,
    /// The version.
    pub version: Version,
    /// The reason phrase as received.
    pub reason: Span,
    /// The fields; after a `Trailers` event those of the trailer section.
    pub fields: Fields,
    /// Where the body ends.
    pub framing: ResponseFraming,
    /// The length that the fields promise, also where there is no body (HEAD, 304).
    pub content_length: Option<u64>,
    /// Whether the origin lets the connection live on.
    pub keep_alive: bool,
    /// What `Upgrade` and `Connection: upgrade` name together.
    pub upgrade: Upgrade,
    /// The origin announced trailers (`Trailer`).
    pub trailers_declared: bool,
}

impl Default for ResponseHead {
    fn default() -> ResponseHead {
        ResponseHead {
            status: Status::BAD_GATEWAY,
            version: Version::Http11,
            reason: Span::default(),
            fields: Fields::default(),
            framing: ResponseFraming::None,
            content_length: None,
            keep_alive: false,
            upgrade: Upgrade::None,
            trailers_declared: false,
        }
    }
}

impl ResponseHead {
    /// An empty head to be filled by a feed.
    pub fn new() -> ResponseHead {
        ResponseHead::default()
    }

    /// Parses one whole head from the start of `input`, without a machine, as the answer to `method`: for tests,
    /// fuzzers and tools. Gives the head's length, or `None` if it is incomplete.
    pub fn parse(
        &mut self,
        input: &[u8],
        limits: &Limits,
        method: Method,
    ) -> Result<Option<usize>, crate::ResponseError> {
        crate::h1::head::read_response(input, 0, limits, method == Method::Head, self)
    }
}
