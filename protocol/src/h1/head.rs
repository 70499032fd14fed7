//! The strict head parsers: first line, fields, and then the checks that need the whole head. Called by the
//! two machines with everything that has arrived; whatever they return holds for the rest of the exchange.

use crate::error::{HeadError, RequestError, ResponseError};
use crate::h1::framing;
use crate::h1::syntax::{self, Progress};
use crate::head::{Framing, RequestHead, ResponseHead, Upgrade};
use crate::header::name::Name;
use crate::header::value;
use crate::limits::Limits;
use crate::method::Method;
use crate::rules::hop_by_hop;
use crate::span::Span;
use crate::status::Status;
use crate::target::authority;
use crate::target::parse::{self, TargetHints};
use crate::version::Version;

/// Reads a request head that begins at `start`. Gives its end, or `None` while it is incomplete.
pub(crate) fn read_request(
    input: &[u8],
    start: usize,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Option<usize>, RequestError> {
    head.method = Method::Other;
    let section = cut(input, start, limits.head_bytes_max);
    let Some(line) = read_request_line(section, start, limits, head)? else {
        return unfinished(input, start, limits).map_err(RequestError::Head);
    };
    match syntax::read_fields(section, line.end, &mut head.fields, limits.fields_max)? {
        Progress::Done(end) => {
            check_request(section, line.hints, limits, head)?;
            Ok(Some(end))
        }
        Progress::More => unfinished(input, start, limits).map_err(RequestError::Head),
    }
}

/// Reads a response head that begins at `start`. Gives its end, or `None` while it is incomplete.
pub(crate) fn read_response(
    input: &[u8],
    start: usize,
    limits: &Limits,
    to_head: bool,
    head: &mut ResponseHead,
) -> Result<Option<usize>, ResponseError> {
    let section = cut(input, start, limits.head_bytes_max);
    let Some(fields_start) = read_status_line(section, start, head)? else {
        return unfinished(input, start, limits).map_err(ResponseError::Head);
    };
    match syntax::read_fields(section, fields_start, &mut head.fields, limits.fields_max)? {
        Progress::Done(end) => {
            check_response(section, to_head, head)?;
            Ok(Some(end))
        }
        Progress::More => unfinished(input, start, limits).map_err(ResponseError::Head),
    }
}

/// The bytes that a section from `start` may use, so that nothing behind the cap is ever looked at.
pub(crate) fn cut(input: &[u8], start: usize, bytes_max: u32) -> &[u8] {
    let end = start.saturating_add(bytes_max as usize).min(input.len());
    input.get(..end).unwrap_or(input)
}

/// An incomplete section is fine until it fills its cap.
pub(crate) fn unfinished<T>(input: &[u8], start: usize, limits: &Limits) -> Result<Option<T>, HeadError> {
    if input.len().saturating_sub(start) >= limits.head_bytes_max as usize {
        return Err(HeadError::TooLarge);
    }
    Ok(None)
}

/// A request line that was read: where the fields begin, and what the target holds.
struct RequestLine {
    end: usize,
    hints: TargetHints,
}

/// `None` while the line is incomplete.
#[inline]
fn read_request_line(
    section: &[u8],
    start: usize,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Option<RequestLine>, RequestError> {
    let line = section.get(start..).unwrap_or(&[]);
    let len_max = limits.request_line_bytes_max as usize;
    match try_request_line(line, start, head) {
        Ok(read) if read.end - start <= len_max.saturating_add(2) => Ok(Some(read)),
        Ok(_) => Err(RequestError::RequestLineTooLong),
        Err(fault) => judge_first_line(line, len_max, fault, RequestError::BadRequestLine),
    }
}

/// A first line that could not be read: too long, wrong, or not all there. The first byte alone may condemn
/// it: so a TLS handshake on a plain port is answered at once.
#[cold]
fn judge_first_line<T>(
    line: &[u8],
    len_max: usize,
    fault: RequestError,
    no_token: RequestError,
) -> Result<Option<T>, RequestError> {
    if let Some(first) = line.first()
        && syntax::token(std::slice::from_ref(first)).0 == 0
    {
        return Err(match first {
            b'\n' => RequestError::Head(HeadError::BareLf),
            0 => RequestError::Head(HeadError::Nul),
            _ => no_token,
        });
    }
    let line_end = memchr::memchr(b'\n', line);
    if line_end.unwrap_or(line.len()) > len_max.saturating_add(1) {
        return Err(RequestError::RequestLineTooLong);
    }
    if line_end.is_some() { Err(fault) } else { Ok(None) }
}

/// RFC 9112 3: `method SP target SP version CRLF`. Any error may also mean that bytes are missing.
#[inline]
fn try_request_line(line: &[u8], start: usize, head: &mut RequestHead) -> Result<RequestLine, RequestError> {
    let (method_len, _) = syntax::token(line);
    let (method, after_method) = line.split_at_checked(method_len).ok_or(RequestError::BadRequestLine)?;
    let [b' ', target_rest @ ..] = after_method else { return Err(line_fault(after_method)) };
    let (target_len, hints) = scan_target(target_rest);
    let after_target = target_rest.get(target_len..).unwrap_or(&[]);
    let [b' ', version @ ..] = after_target else { return Err(line_fault(after_target)) };
    if method_len == 0 || target_len == 0 {
        return Err(RequestError::BadRequestLine);
    }
    let target_start = start + method_len + 1;
    head.version = read_version(version).ok_or_else(|| version_fault(version))?;
    head.method = Method::of(method);
    head.method_span = Span::new(start, start + method_len);
    head.target_span = Span::new(target_start, target_start + target_len);
    Ok(RequestLine { end: target_start + target_len + 1 + VERSION_LINE_LEN, hints })
}

/// Length of `HTTP/1.1` and its line end.
const VERSION_LINE_LEN: usize = 10;

#[inline]
fn read_version(text: &[u8]) -> Option<Version> {
    match text.first_chunk::<VERSION_LINE_LEN>()? {
        b"HTTP/1.1\r\n" => Some(Version::Http11),
        b"HTTP/1.0\r\n" => Some(Version::Http10),
        _ => None,
    }
}

/// Whether `text` begins with `HTTP/` digit `.` digit (RFC 9112 2.3).
fn is_version(text: &[u8]) -> bool {
    matches!(text, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9', ..])
}

#[cold]
fn version_fault(text: &[u8]) -> RequestError {
    let after_version = text.get(8..).unwrap_or(&[]);
    if !is_version(text) {
        return line_fault(text.get(syntax::text_len(text)..).unwrap_or(&[]));
    }
    match after_version {
        [b'\r', b'\n', ..] => RequestError::VersionNotSupported,
        other => line_fault(other),
    }
}

/// A request line that stops being one at the start of `rest`.
#[cold]
fn line_fault(rest: &[u8]) -> RequestError {
    match syntax::control_fault(rest, HeadError::BadValue) {
        HeadError::BadValue => RequestError::BadRequestLine,
        fault => RequestError::Head(fault),
    }
}

const PLAIN: u8 = 1;
const QUERY: u8 = 2;
const PERCENT: u8 = 4;
const DOT: u8 = 8;

/// Visible ASCII but `#`, which no request target can hold.
const TARGET_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        table[byte] = PLAIN;
        byte += 1;
    }
    table[b'#' as usize] = 0;
    table[b'?' as usize] = QUERY;
    table[b'%' as usize] = PERCENT;
    table[b'.' as usize] = DOT;
    table
};

#[inline]
fn scan_target(bytes: &[u8]) -> (usize, TargetHints) {
    let mut seen = 0;
    let mut len = 0;
    for byte in bytes {
        let class = TARGET_BYTES[usize::from(*byte)];
        if class == 0 {
            break;
        }
        seen |= class;
        len += 1;
    }
    let hints = TargetHints {
        has_query: seen & QUERY != 0,
        has_percent: seen & PERCENT != 0,
        has_dot: seen & DOT != 0,
    };
    (len, hints)
}

/// RFC 9112 4. `None` while the line is incomplete; an empty reason may lack the space before it.
fn read_status_line(
    section: &[u8],
    start: usize,
    head: &mut ResponseHead,
) -> Result<Option<usize>, ResponseError> {
    let line = section.get(start..).unwrap_or(&[]);
    match try_status_line(line, start, head) {
        Ok(end) => Ok(Some(end)),
        Err(_) if memchr::memchr(b'\n', line).is_none() => match line.first() {
            Some(b'H') | None => Ok(None),
            Some(_) => Err(ResponseError::BadStatusLine),
        },
        Err(fault) => Err(fault),
    }
}

fn try_status_line(line: &[u8], start: usize, head: &mut ResponseHead) -> Result<usize, ResponseError> {
    let (version, rest) = line.split_at_checked(8).ok_or(ResponseError::BadStatusLine)?;
    head.version = match version {
        b"HTTP/1.1" => Version::Http11,
        b"HTTP/1.0" => Version::Http10,
        other if is_version(other) => return Err(ResponseError::VersionNotSupported),
        _ => return Err(ResponseError::BadStatusLine),
    };
    let [b' ', hundreds @ b'1'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9', after_code @ ..] = rest else {
        return Err(ResponseError::BadStatusLine);
    };
    let digit = |byte: &u8| u16::from(byte.wrapping_sub(b'0'));
    head.status = Status(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones));
    let (space_len, reason) = match after_code {
        [b' ', reason @ ..] => (1, reason),
        [b'\r', ..] => (0, after_code),
        _ => return Err(ResponseError::BadStatusLine),
    };
    let reason_len = syntax::text_len(reason);
    let Some([b'\r', b'\n', ..]) = reason.get(reason_len..) else {
        let rest = reason.get(reason_len..).unwrap_or(&[]);
        return Err(ResponseError::Head(syntax::control_fault(rest, HeadError::BadValue)));
    };
    let reason_start = start + 12 + space_len;
    head.reason = Span::new(reason_start, reason_start + reason_len);
    Ok(reason_start + reason_len + 2)
}

/// The checks that need a whole request head.
fn check_request(
    input: &[u8],
    hints: TargetHints,
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<(), RequestError> {
    if head.method == Method::Connect && !limits.connect_allowed {
        return Err(RequestError::ConnectRefused);
    }
    head.target = parse::parse(head.method, input, head.target_span, hints, limits, &mut head.path_buf)?;
    head.host = check_host(input, head)?;
    head.framing = framing::of_request(head.version, input, &head.fields)?;
    let options =
        hop_by_hop::read_connection(input, &mut head.fields).ok_or(RequestError::ConnectionTooLong)?;
    let is_http11 = head.version == Version::Http11;
    head.keep_alive = !options.close && (is_http11 || options.keep_alive);
    let has_body = !matches!(head.framing, Framing::None | Framing::Length(0));
    head.expect_continue = is_http11 && check_expect(input, head)? && has_body;
    // RFC 9110 7.8: an upgrade may be ignored, and must be in HTTP/1.0. Behind a body it would be ambiguous.
    let upgrades = is_http11 && options.upgrade && !has_body && head.fields.has(Name::Upgrade);
    head.upgrade = if upgrades { upgrade(input, &head.fields) } else { Upgrade::None };
    head.trailers_declared = head.fields.has(Name::Trailer);
    head.trailers_accepted = is_http11
        && head.fields.has(Name::Te)
        && head.fields.all(Name::Te).any(|field| value::has_token(field.value.of(input), b"trailers"));
    Ok(())
}

/// RFC 9112 3.2: exactly one, well-formed; HTTP/1.0 may have none.
fn check_host(input: &[u8], head: &RequestHead) -> Result<Option<Span>, RequestError> {
    let mut hosts = head.fields.all(Name::Host);
    let Some(host) = hosts.next() else {
        return if head.version == Version::Http10 { Ok(None) } else { Err(RequestError::HostMissing) };
    };
    if hosts.next().is_some() {
        return Err(RequestError::HostRepeated);
    }
    authority::parse(host.value.of(input)).ok_or(RequestError::HostMalformed)?;
    Ok(Some(host.value))
}

/// RFC 9110 10.1.1.
fn check_expect(input: &[u8], head: &RequestHead) -> Result<bool, RequestError> {
    for field in head.fields.all(Name::Expect) {
        if !field.value.of(input).eq_ignore_ascii_case(b"100-continue") {
            return Err(RequestError::ExpectationUnknown);
        }
    }
    Ok(head.fields.has(Name::Expect))
}

fn upgrade(input: &[u8], fields: &crate::Fields) -> Upgrade {
    let is_websocket =
        fields.all(Name::Upgrade).any(|field| value::has_token(field.value.of(input), b"websocket"));
    if is_websocket { Upgrade::WebSocket } else { Upgrade::Other }
}

/// The checks that need a whole response head.
fn check_response(input: &[u8], to_head: bool, head: &mut ResponseHead) -> Result<(), ResponseError> {
    let (framing, content_length) =
        framing::of_response(head.status, to_head, head.version, input, &head.fields)?;
    head.framing = framing;
    head.content_length = content_length;
    let options =
        hop_by_hop::read_connection(input, &mut head.fields).ok_or(ResponseError::ConnectionTooLong)?;
    head.keep_alive = !options.close && (head.version == Version::Http11 || options.keep_alive);
    let upgrades = options.upgrade && head.fields.has(Name::Upgrade);
    head.upgrade = if upgrades { upgrade(input, &head.fields) } else { Upgrade::None };
    head.trailers_declared = head.fields.has(Name::Trailer);
    Ok(())
}
