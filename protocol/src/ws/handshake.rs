//! The opening handshake (RFC 6455 4): is this request an upgrade, and does this 101 answer it?
//!
//! The engine calls [`check_request`] before it forwards an upgrade and [`check_response`] before the two
//! connections become a relay. Subprotocols and extensions pass end to end: offering and choosing them is
//! the business of the two ends (RFC 6455 4.2.2), only [`deflate_accepted`] looks at the outcome.

use std::fmt;

use super::close;
use crate::header::map::Fields;
use crate::{Framing, Method, RequestHead, ResponseHead, Status, Version};

/// The client's nonce, as it was written: 16 bytes in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    text: [u8; KEY_LEN],
}

const KEY_LEN: usize = 24;
const ACCEPT_LEN: usize = 28;
/// RFC 6455 1.3: what a server adds to the key before it hashes it.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

impl Key {
    /// The key in a `Sec-WebSocket-Key` value; `None` if it is not 16 bytes in base64.
    pub fn parse(value: &[u8]) -> Option<Key> {
        let text: [u8; KEY_LEN] = value.try_into().ok()?;
        let (digits, padding) = text.split_last_chunk::<2>()?;
        let right = padding == b"==" && digits.iter().all(|byte| is_base64(*byte));
        right.then_some(Key { text })
    }

    /// A key for a handshake of our own, from 16 random bytes.
    pub fn new(nonce: [u8; 16]) -> Key {
        let mut text = [b'='; KEY_LEN];
        write_base64(&nonce, &mut text);
        Key { text }
    }

    /// The value for `Sec-WebSocket-Key`.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The value for `Sec-WebSocket-Accept` (RFC 6455 4.2.2, step 5.4).
    pub fn accept(&self) -> [u8; ACCEPT_LEN] {
        let mut hash = sha1_smol::Sha1::new();
        hash.update(&self.text);
        hash.update(KEY_SUFFIX);
        let mut accept = [b'='; ACCEPT_LEN];
        write_base64(&hash.digest().bytes(), &mut accept);
        accept
    }
}

/// Why a handshake was refused. Each variant has exactly one reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeError {
    /// The method is not GET.
    Method,
    /// The version is below HTTP/1.1.
    HttpVersion,
    /// No `Host`, or more than one.
    Host,
    /// `Upgrade` does not name websocket.
    Upgrade,
    /// `Connection` does not name upgrade.
    Connection,
    /// No key, more than one, or not 16 bytes in base64.
    Key,
    /// Not exactly version 13.
    Version,
    /// The request announces a body.
    Body,
    /// The origin's 101 has no or another `Upgrade`.
    ResponseUpgrade,
    /// The origin's 101 does not name upgrade in `Connection`.
    ResponseConnection,
    /// The origin's status is not 101.
    ResponseStatus,
    /// No accept value, more than one, or not that of the key.
    ResponseAccept,
}

impl HandshakeError {
    /// The status of the reply: the client's mistakes are 400 or 426, the origin's are 502.
    pub fn status(self) -> Status {
        match self {
            HandshakeError::Version => Status::UPGRADE_REQUIRED,
            HandshakeError::ResponseUpgrade
            | HandshakeError::ResponseConnection
            | HandshakeError::ResponseStatus
            | HandshakeError::ResponseAccept => Status::BAD_GATEWAY,
            _ => Status::BAD_REQUEST,
        }
    }

    /// Fields that the reply must carry (RFC 6455 4.4; RFC 9110 15.5.22 asks for `Upgrade` beside a 426).
    pub fn fields(self) -> &'static [(&'static str, &'static str)] {
        match self {
            HandshakeError::Version => {
                &[("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
            }
            _ => &[],
        }
    }

    /// What the client may be told.
    pub fn public_text(self) -> &'static str {
        match self.status() {
            Status::UPGRADE_REQUIRED => "WebSocket version 13 required",
            Status::BAD_GATEWAY => "Bad gateway",
            _ => "Bad WebSocket handshake",
        }
    }

    /// What the log says.
    pub fn text(self) -> &'static str {
        match self {
            HandshakeError::Method => "upgrade with a method other than GET",
            HandshakeError::HttpVersion => "upgrade below HTTP/1.1",
            HandshakeError::Host => "upgrade without exactly one Host",
            HandshakeError::Upgrade => "Upgrade does not name websocket",
            HandshakeError::Connection => "Connection does not name upgrade",
            HandshakeError::Key => "not exactly one Sec-WebSocket-Key of 16 bytes",
            HandshakeError::Version => "not exactly one Sec-WebSocket-Version of 13",
            HandshakeError::Body => "upgrade with a body",
            HandshakeError::ResponseUpgrade => "origin's 101 does not name websocket in Upgrade",
            HandshakeError::ResponseConnection => "origin's 101 does not name upgrade in Connection",
            HandshakeError::ResponseStatus => "origin did not switch protocols",
            HandshakeError::ResponseAccept => "origin's Sec-WebSocket-Accept is missing, repeated or wrong",
        }
    }

    /// The close code for where a session object must tell the same (statistics, audit).
    pub fn code(self) -> u16 {
        close::PROTOCOL_ERROR
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.text())
    }
}

impl std::error::Error for HandshakeError {}

/// Checks that a request opens a WebSocket (RFC 6455 4.2.1). `input` is what the head was read from.
pub fn check_request(input: &[u8], head: &RequestHead) -> Result<Key, HandshakeError> {
    check_opening(Opening {
        is_get: head.method == Method::Get,
        is_http_1_1: head.version == Version::Http11,
        has_body: !matches!(head.framing, Framing::None | Framing::Length(0)),
        fields: pairs(input, &head.fields),
    })
}

/// Checks that the origin's answer really switched to the WebSocket that `key` asked for (RFC 6455 4.1).
pub fn check_response(input: &[u8], head: &ResponseHead, key: &Key) -> Result<(), HandshakeError> {
    check_answer(head.status.code(), pairs(input, &head.fields), key)
}

/// Whether the origin's 101 turned on permessage-deflate (RFC 7692 5.1), so that RSV1 has a meaning.
pub fn deflate_accepted(input: &[u8], head: &ResponseHead) -> bool {
    pairs(input, &head.fields)
        .any(|(name, value)| name.eq_ignore_ascii_case(b"sec-websocket-extensions") && names_deflate(value))
}

fn pairs<'a>(input: &'a [u8], fields: &'a Fields) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    fields.iter().map(move |field| (field.name_span.of(input), field.value.of(input)))
}

/// A request as far as the handshake cares: the core below needs no parser.
struct Opening<F> {
    is_get: bool,
    is_http_1_1: bool,
    has_body: bool,
    /// Names and values in order.
    fields: F,
}

/// What the fields of a handshake said, counted.
#[derive(Default)]
struct Seen<'a> {
    hosts: usize,
    upgrade: bool,
    connection: bool,
    keys: usize,
    key: &'a [u8],
    versions: usize,
    version: &'a [u8],
    accepts: usize,
    accept: &'a [u8],
}

impl<'a> Seen<'a> {
    fn of(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Seen<'a> {
        let mut seen = Seen::default();
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"host") {
                seen.hosts += 1;
            } else if name.eq_ignore_ascii_case(b"upgrade") {
                seen.upgrade |= has_token(value, b"websocket");
            } else if name.eq_ignore_ascii_case(b"connection") {
                seen.connection |= has_token(value, b"upgrade");
            } else if name.eq_ignore_ascii_case(b"sec-websocket-key") {
                seen.keys += 1;
                seen.key = value;
            } else if name.eq_ignore_ascii_case(b"sec-websocket-version") {
                seen.versions += 1;
                seen.version = value;
            } else if name.eq_ignore_ascii_case(b"sec-websocket-accept") {
                seen.accepts += 1;
                seen.accept = value;
            }
        }
        seen
    }
}

/// RFC 6455 4.2.1, in its order; the version last but one, so that a 426 goes only to a real handshake.
fn check_opening<'a, F>(opening: Opening<F>) -> Result<Key, HandshakeError>
where
    F: Iterator<Item = (&'a [u8], &'a [u8])>,
{
    if !opening.is_get {
        return Err(HandshakeError::Method);
    }
    if !opening.is_http_1_1 {
        return Err(HandshakeError::HttpVersion);
    }
    let seen = Seen::of(opening.fields);
    if seen.hosts != 1 {
        return Err(HandshakeError::Host);
    }
    if !seen.upgrade {
        return Err(HandshakeError::Upgrade);
    }
    if !seen.connection {
        return Err(HandshakeError::Connection);
    }
    if seen.versions != 1 || seen.version != b"13" {
        return Err(HandshakeError::Version);
    }
    // A body before the switch is a place to hide a second request in.
    if opening.has_body {
        return Err(HandshakeError::Body);
    }
    if seen.keys != 1 {
        return Err(HandshakeError::Key);
    }
    Key::parse(seen.key).ok_or(HandshakeError::Key)
}

/// RFC 6455 4.1, what a client must check, but for subprotocol and extensions: the client does that.
fn check_answer<'a>(
    status: u16,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    key: &Key,
) -> Result<(), HandshakeError> {
    if status != 101 {
        return Err(HandshakeError::ResponseStatus);
    }
    let seen = Seen::of(fields);
    if !seen.upgrade {
        return Err(HandshakeError::ResponseUpgrade);
    }
    if !seen.connection {
        return Err(HandshakeError::ResponseConnection);
    }
    if seen.accepts != 1 || seen.accept != key.accept() {
        return Err(HandshakeError::ResponseAccept);
    }
    Ok(())
}

/// Whether `list` (RFC 9110 5.6.1) has `token` among its members, in any case.
fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|member| member.trim_ascii().eq_ignore_ascii_case(token))
}

/// Whether `permessage-deflate` is among the extensions of a `Sec-WebSocket-Extensions` value.
fn names_deflate(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|extension| {
        let name = extension.split(|byte| *byte == b';').next().unwrap_or_default();
        name.trim_ascii().eq_ignore_ascii_case(b"permessage-deflate")
    })
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Writes `bytes` in base64 (RFC 4648 4). `out` is as long as the text and filled with `=`.
fn write_base64(bytes: &[u8], out: &mut [u8]) {
    for (group, digits) in bytes.chunks(3).zip(out.chunks_mut(4)) {
        let number = group.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte));
        let number = number << (8 * (3 - group.len()));
        for (at, digit) in digits.iter_mut().take(group.len() + 1).enumerate() {
            *digit = BASE64[(number >> (18 - 6 * at) & 63) as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = Vec<(&'static [u8], &'static [u8])>;

    const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

    /// The handshake of RFC 6455 1.2 with other names.
    fn good() -> Fields {
        vec![
            (b"Host", b"pinion.test"),
            (b"upgrade", b"WebSocket"),
            (b"CONNECTION", b"keep-alive, Upgrade"),
            (b"Sec-WebSocket-Key", KEY),
            (b"Sec-WebSocket-Version", b"13"),
        ]
    }

    fn check(is_get: bool, is_http_1_1: bool, has_body: bool, fields: Fields) -> Result<Key, HandshakeError> {
        check_opening(Opening { is_get, is_http_1_1, has_body, fields: fields.into_iter() })
    }

    /// The good fields, with those called `name` replaced by `values`.
    fn with(name: &'static [u8], values: &[&'static [u8]]) -> Fields {
        let mut fields: Fields = good().into_iter().filter(|(n, _)| !n.eq_ignore_ascii_case(name)).collect();
        fields.extend(values.iter().map(|value| (name, *value)));
        fields
    }

    #[test]
    fn accepts_the_key_of_the_rfc() {
        // RFC 6455 1.3.
        let key = check(true, true, false, good()).expect("a right handshake");
        assert_eq!(key.text(), KEY);
        assert_eq!(&key.accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(Key::new(*b"the sample nonce"), key);
    }

    #[test]
    fn requests_follow_the_rules() {
        use HandshakeError::*;
        let rows: &[(Fields, Option<HandshakeError>)] = &[
            (with(b"host", &[]), Some(Host)),                     // 4.2.1, item 2
            (with(b"host", &[b"a", b"a"]), Some(Host)),           // RFC 9112 3.2
            (with(b"upgrade", &[]), Some(Upgrade)),               // 4.2.1, item 3
            (with(b"upgrade", &[b"h2c"]), Some(Upgrade)),         // item 3
            (with(b"upgrade", &[b"h2c", b"websocket"]), None),    // item 3, a list
            (with(b"upgrade", &[b"websockets"]), Some(Upgrade)),  // a token, not a prefix
            (with(b"connection", &[]), Some(Connection)),         // item 4
            (with(b"connection", &[b"close"]), Some(Connection)), // item 4
            (with(b"connection", &[b"keep-alive", b" ,\tupgrade ,"]), None), // item 4, odd lists
            (with(b"sec-websocket-key", &[]), Some(Key)),         // item 5
            (with(b"sec-websocket-key", &[KEY, KEY]), Some(Key)), // 11.3.1
            (with(b"sec-websocket-key", &[b""]), Some(Key)),      // item 5
            (with(b"sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZQ="]), Some(Key)), // item 5: 23
            (with(b"sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZQ==="]), Some(Key)), // item 5: 25
            (with(b"sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZQAA"]), Some(Key)), // item 5: 18 bytes
            (with(b"sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZ==="]), Some(Key)), // item 5: 15 bytes
            (with(b"sec-websocket-key", &[b"dGhlIHNhbXBsZSBub2-jZQ=="]), Some(Key)), // not base64
            (with(b"sec-websocket-version", &[]), Some(Version)), // item 6
            (with(b"sec-websocket-version", &[b"8"]), Some(Version)), // 4.4
            (with(b"sec-websocket-version", &[b"13, 8"]), Some(Version)), // 11.3.5
            (with(b"sec-websocket-version", &[b"13", b"13"]), Some(Version)), // 11.3.5
        ];
        for (fields, expected) in rows {
            assert_eq!(check(true, true, false, fields.clone()).err(), *expected, "{fields:?}");
        }
        assert_eq!(check(false, true, false, good()), Err(Method)); // 4.2.1, item 1
        assert_eq!(check(true, false, false, good()), Err(HttpVersion)); // 4.2.1, item 1
        assert_eq!(check(true, true, true, good()), Err(Body));
    }

    #[test]
    fn responses_follow_the_rules() {
        use HandshakeError::*;
        let key = super::Key::parse(KEY).expect("a right key");
        let right: Fields = vec![
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        let without = |at: usize| {
            let mut fields = right.clone();
            fields.remove(at);
            fields
        };
        let and = |field| {
            let mut fields = right.clone();
            fields.push(field);
            fields
        };
        let mut lower = without(2);
        lower.push((b"Sec-WebSocket-Accept", b"s3pplmbitxaq9kygzzhzrbk+xoo="));
        let rows: &[(u16, Fields, Option<HandshakeError>)] = &[
            (101, right.clone(), None),                                        // 4.1
            (200, right.clone(), Some(ResponseStatus)),                        // 4.1, item 1
            (101, without(0), Some(ResponseUpgrade)),                          // item 2
            (101, without(1), Some(ResponseConnection)),                       // item 3
            (101, without(2), Some(ResponseAccept)),                           // item 4
            (101, lower, Some(ResponseAccept)),                                // item 4: case matters
            (101, and((b"sec-websocket-accept", b"x")), Some(ResponseAccept)), // 11.3.3: once
            (101, and((b"Sec-WebSocket-Protocol", b"chat")), None),            // passes end to end
        ];
        for (status, fields, expected) in rows {
            let found = check_answer(*status, fields.iter().copied(), &key).err();
            assert_eq!(found, *expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn a_handshake_as_it_is_on_the_wire() {
        let request = b"GET /chat HTTP/1.1\r\nHost: pinion.test\r\nUpgrade: websocket\r\n\
            Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let limits = crate::Limits::default();
        let mut head = RequestHead::new();
        assert_eq!(head.parse(request, &limits), Ok(Some(request.len())));
        let key = check_request(request, &head).expect("a right handshake");

        let response = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        let mut answer = ResponseHead::new();
        assert_eq!(answer.parse(response, &limits, Method::Get), Ok(Some(response.len())));
        assert_eq!(check_response(response, &answer, &key), Ok(()));
        assert!(deflate_accepted(response, &answer));
        let other = Key::new([0; 16]);
        assert_eq!(check_response(response, &answer, &other), Err(HandshakeError::ResponseAccept));
    }

    #[test]
    fn a_wrong_version_is_told_the_right_one() {
        assert_eq!(HandshakeError::Version.status(), Status::UPGRADE_REQUIRED);
        assert!(HandshakeError::Version.fields().contains(&("Sec-WebSocket-Version", "13")));
        assert_eq!(HandshakeError::Key.status(), Status::BAD_REQUEST);
        assert_eq!(HandshakeError::ResponseAccept.status(), Status::BAD_GATEWAY);
    }

    #[test]
    fn deflate_is_found_among_extensions() {
        let rows: &[(&[u8], bool)] = &[
            (b"permessage-deflate", true),
            (b"x-other; a=1 , Permessage-Deflate ;client_max_window_bits=10", true),
            (b"x-permessage-deflate", false),
            (b"x; permessage-deflate", false),
            (b"", false),
        ];
        for (value, expected) in rows {
            assert_eq!(names_deflate(value), *expected, "{value:?}");
        }
    }

    #[test]
    fn base64_has_the_vectors_of_its_rfc() {
        // RFC 4648 10.
        let rows: &[(&[u8], &[u8])] = &[
            (b"f", b"Zg=="),
            (b"fo", b"Zm8="),
            (b"foo", b"Zm9v"),
            (b"foob", b"Zm9vYg=="),
            (b"fooba", b"Zm9vYmE="),
            (b"foobar", b"Zm9vYmFy"),
        ];
        for (bytes, text) in rows {
            let mut out = vec![b'='; text.len()];
            write_base64(bytes, &mut out);
            assert_eq!(out, *text);
        }
    }
}
