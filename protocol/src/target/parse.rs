//! Splits a request target into authority, path and query. Called once per request by `h1::head`, after the
//! request line's bytes were checked: no controls, spaces, `#` or bytes above 0x7e can be in it.

use super::normalize::{PathBuf, normalize};
use super::{TargetForm, authority};
use crate::error::TargetError;
use crate::limits::Limits;
use crate::method::Method;
use crate::span::Span;

/// Where the path that counts is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PathPlace {
    /// Nothing to normalise: in the input.
    Raw(Span),
    /// In the head's own buffer.
    Normalised,
    /// An absolute target without a path stands for `/`.
    #[default]
    Root,
    /// `*`
    Asterisk,
}

/// A target, split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) form: TargetForm,
    pub(crate) path: PathPlace,
    pub(crate) query: Option<Span>,
    pub(crate) authority: Option<Span>,
}

/// What the request line's scan already saw, so that plain targets cost no second look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TargetHints {
    pub(crate) has_query: bool,
    pub(crate) has_percent: bool,
    pub(crate) has_dot: bool,
}

/// Splits the target at `span`.
pub(crate) fn parse(
    method: Method,
    input: &[u8],
    span: Span,
    hints: TargetHints,
    limits: &Limits,
    buf: &mut PathBuf,
) -> Result<Target, TargetError> {
    let text = span.of(input);
    let start = span.start as usize;
    if method == Method::Connect {
        let parsed = authority::parse(text).ok_or(TargetError::BadAuthority)?;
        if parsed.port.is_none() {
            return Err(TargetError::BadAuthority);
        }
        return Ok(Target { form: TargetForm::Authority, authority: Some(span), ..Target::default() });
    }
    match text.first() {
        Some(b'/') => {
            let (path, query) = split_query(text, start, hints);
            let path = place_path(path, input, hints, limits, buf)?;
            Ok(Target { form: TargetForm::Origin, path, query, authority: None })
        }
        Some(b'*') if text.len() == 1 && method == Method::Options => {
            Ok(Target { form: TargetForm::Asterisk, path: PathPlace::Asterisk, ..Target::default() })
        }
        _ => parse_absolute(method, text, start, input, hints, limits, buf),
    }
}

/// RFC 9112 3.2.2. Only the schemes that the proxy serves.
fn parse_absolute(
    method: Method,
    text: &[u8],
    start: usize,
    input: &[u8],
    hints: TargetHints,
    limits: &Limits,
    buf: &mut PathBuf,
) -> Result<Target, TargetError> {
    let scheme_len = scheme_len(text).ok_or(TargetError::BadForm)?;
    let after_scheme = text.get(scheme_len..).unwrap_or(&[]);
    let authority_len =
        after_scheme.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(after_scheme.len());
    let (host, rest) = after_scheme.split_at_checked(authority_len).ok_or(TargetError::BadForm)?;
    authority::parse(host).ok_or(TargetError::BadAuthority)?;
    let authority_start = start + scheme_len;
    let path_start = authority_start + authority_len;
    let (path, query) = split_query(rest, path_start, hints);
    let path = if !path.is_empty() {
        place_path(path, input, hints, limits, buf)?
    } else if method == Method::Options && query.is_none() {
        // RFC 9112 3.2.4: an OPTIONS for the whole server.
        PathPlace::Asterisk
    } else {
        PathPlace::Root
    };
    let authority = Some(Span::new(authority_start, path_start));
    Ok(Target { form: TargetForm::Absolute, path, query, authority })
}

fn scheme_len(text: &[u8]) -> Option<usize> {
    let starts_with =
        |scheme: &[u8]| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    [b"http://".as_slice(), b"https://"].into_iter().find(|scheme| starts_with(scheme)).map(<[u8]>::len)
}

fn split_query(text: &[u8], start: usize, hints: TargetHints) -> (Span, Option<Span>) {
    let end = start + text.len();
    let mark = if hints.has_query { memchr::memchr(b'?', text) } else { None };
    match mark {
        Some(at) => (Span::new(start, start + at), Some(Span::new(start + at + 1, end))),
        None => (Span::new(start, end), None),
    }
}

fn place_path(
    path: Span,
    input: &[u8],
    hints: TargetHints,
    limits: &Limits,
    buf: &mut PathBuf,
) -> Result<PathPlace, TargetError> {
    let text = path.of(input);
    let has_dot_segment = hints.has_dot && memchr::memmem::find(text, b"/.").is_some();
    if !hints.has_percent && !has_dot_segment {
        return Ok(PathPlace::Raw(path));
    }
    normalize(text, limits, buf)?;
    Ok(if buf.normal == text { PathPlace::Raw(path) } else { PathPlace::Normalised })
}
