//! The opening handshake of a WebSocket: requests and answers built field by field, against the rules of RFC 6455
//! written down again and against tungstenite.

use protocol::ws::handshake::{self, HandshakeError, Key};
use protocol::{Limits, Method, RequestHead, ResponseHead, Upgrade};
use tungstenite::handshake::derive_accept_key;
use tungstenite::handshake::server::create_response;
use tungstenite::http;

use crate::input::{Input, Program};

/// An upgrade request and the answer to it.
///
/// Promises: a request counts as an upgrade exactly when the rules say so, and is refused with the reason that they
/// give; what we accept tungstenite accepts, with the same accept value, and the other way round, but for the known
/// differences; the answer is accepted exactly when it is a 101 with the right fields; no two keys share an answer.
pub fn ws_handshake(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let mut program = Program::of(&input);
    let Some(request) = Request::of(&input, &mut program) else { return };
    let wire = request.wire();
    let mut head = RequestHead::new();
    // The parser has its own opinion on odd heads; other targets hold it to it.
    if head.parse(&wire, &Limits::default()) != Ok(Some(wire.len())) {
        return;
    }
    let shown = wire.escape_ascii();
    assert_eq!(head.upgrade == Upgrade::WebSocket, request.is_upgrade(), "{shown}");
    let ours = handshake::check_request(&wire, &head);
    assert_eq!(ours.err(), request.fault(), "{shown}");
    let theirs = create_response(&request.as_theirs()).ok();
    match (&ours, theirs) {
        (Ok(key), Some(answer)) => {
            let accept = answer.headers().get("Sec-WebSocket-Accept").expect("a right answer has it");
            assert_eq!(accept.as_bytes(), key.accept(), "{shown}");
        }
        (Ok(_), None) => assert!(request.is_beyond_tungstenite(), "they refuse {shown}"),
        (Err(error), Some(_)) => assert!(is_beyond_them(*error), "we refuse {shown}: {error}"),
        (Err(_), None) => {}
    }
    if let Ok(key) = ours {
        answer(&input, &mut program, &key);
    }
}

/// What tungstenite does not look at: repeated fields, bodies, hosts; and base64 whose last digit has bits to spare.
fn is_beyond_them(error: HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::Host | HandshakeError::Body | HandshakeError::Version | HandshakeError::Key
    )
}

type Fields = Vec<(&'static str, Vec<u8>)>;

const KEYS: [&str; 8] = [
    "dGhlIHNhbXBsZSBub25jZQ==",
    "AAAAAAAAAAAAAAAAAAAAAA==",
    "/+/+/+/+/+/+/+/+/+/+/w==",
    "dGhlIHNhbXBsZSBub25jZQ=",
    "dGhlIHNhbXBsZSBub25jZQ===",
    "dGhlIHNhbXBsZSBub25jZQAA",
    "dGhlIHNhbXBsZSBub2-jZQ==",
    "",
];
const UPGRADES: [&str; 7] =
    ["websocket", "WebSocket", "h2c", "h2c, websocket", "websockets", ",websocket,", "websocket/13"];
const CONNECTIONS: [&str; 7] =
    ["Upgrade", "keep-alive, upgrade", "keep-alive", "close", " ,\tupgrade ,", "upgrades", "up grade"];
const VERSIONS: [&str; 6] = ["13", "8", "13, 8", "013", "", "12"];

/// A value from a list, or of the fuzzer's own making.
fn value(program: &mut Program<'_>, list: &[&'static str]) -> Option<Vec<u8>> {
    match program.next()? {
        // A line end would make another field of the rest, which the rules here would not see.
        255 => Some(program.text().trim_ascii().to_vec()).filter(|text| !text.contains(&b'\n')),
        choice => Some(list[usize::from(choice) % list.len()].as_bytes().to_vec()),
    }
}

struct Request {
    method: &'static str,
    version: &'static str,
    fields: Fields,
}

impl Request {
    fn of(input: &Input<'_>, program: &mut Program<'_>) -> Option<Request> {
        let method = if input.switches & 0x40 != 0 { "POST" } else { "GET" };
        let version = if input.switches & 0x80 != 0 { "1.0" } else { "1.1" };
        let mut fields = vec![("Host", b"pinion.test".to_vec())];
        // A zero ends the request; the answer's program follows.
        while let Some(operation) = program.next().filter(|operation| *operation != 0) {
            let (name, list): (_, &[_]) = match operation % 8 {
                0 | 1 => ("Upgrade", &UPGRADES),
                2 | 3 => ("Connection", &CONNECTIONS),
                4 => ("Sec-WebSocket-Key", &KEYS),
                5 => ("Sec-WebSocket-Version", &VERSIONS),
                6 => ("Content-Length", &["0", "3"]),
                _ => ("Sec-WebSocket-Accept", &KEYS),
            };
            fields.push((name, value(program, list)?));
        }
        Some(Request { method, version, fields })
    }

    fn wire(&self) -> Vec<u8> {
        let mut wire = format!("{} / HTTP/{}\r\n", self.method, self.version).into_bytes();
        write_fields(&mut wire, &self.fields);
        wire
    }

    fn names(&self, name: &str, token: &str) -> bool {
        has_token(&self.fields, name, token)
    }

    fn has_body(&self) -> bool {
        all(&self.fields, "Content-Length").iter().any(|length| length.iter().any(|digit| *digit != b'0'))
    }

    /// RFC 9110 7.8: both fields, HTTP/1.1, nothing before the switch.
    fn is_upgrade(&self) -> bool {
        self.version == "1.1"
            && self.names("Connection", "upgrade")
            && self.names("Upgrade", "websocket")
            && !self.has_body()
    }

    /// RFC 6455 4.2.1 in the order of `HandshakeError`'s promise: a 426 goes only to what is otherwise an upgrade.
    fn fault(&self) -> Option<HandshakeError> {
        let versions = all(&self.fields, "Sec-WebSocket-Version");
        let keys = all(&self.fields, "Sec-WebSocket-Key");
        let key_fits = |key: &[u8]| {
            let digits = key.strip_suffix(b"==").unwrap_or_default();
            key.len() == 24
                && digits.len() == 22
                && digits.iter().all(|digit| digit.is_ascii_alphanumeric() || b"+/".contains(digit))
        };
        let rules = [
            (self.method == "GET", HandshakeError::Method),
            (self.version == "1.1", HandshakeError::HttpVersion),
            (self.names("Upgrade", "websocket"), HandshakeError::Upgrade),
            (self.names("Connection", "upgrade"), HandshakeError::Connection),
            (versions == [b"13"], HandshakeError::Version),
            (!self.has_body(), HandshakeError::Body),
            (matches!(keys.as_slice(), [key] if key_fits(key)), HandshakeError::Key),
        ];
        rules.into_iter().find(|(holds, _)| !holds).map(|(_, error)| error)
    }

    fn as_theirs(&self) -> http::Request<()> {
        let version = if self.version == "1.1" { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
        let mut request = http::Request::builder().method(self.method).version(version).uri("/");
        for (name, value) in &self.fields {
            request = request.header(*name, value.as_slice());
        }
        request.body(()).expect("what we parse they can hold")
    }

    /// What we take and tungstenite does not: lists in `Upgrade`, a second field line, tabs in lists, values that
    /// are not ASCII, and base64 whose last digit has bits to spare.
    fn is_beyond_tungstenite(&self) -> bool {
        let first = |name| all(&self.fields, name).first().map(|value| value.to_vec()).unwrap_or_default();
        let upgrade_is_plain = first("Upgrade").eq_ignore_ascii_case(b"websocket");
        let connection = first("Connection");
        let connection_is_plain = connection.is_ascii()
            && connection
                .split(|byte| b" ,".contains(byte))
                .any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        let last_digit = first("Sec-WebSocket-Key").get(21).copied();
        !upgrade_is_plain || !connection_is_plain || !matches!(last_digit, Some(b'A' | b'Q' | b'g' | b'w'))
    }
}

fn write_fields(wire: &mut Vec<u8>, fields: &Fields) {
    for (name, value) in fields {
        wire.extend_from_slice(&[name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    wire.extend_from_slice(b"\r\n");
}

/// The values of all fields of this name.
fn all<'a>(fields: &'a Fields, name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.as_slice()).collect()
}

fn has_token(fields: &Fields, name: &str, token: &str) -> bool {
    all(fields, name)
        .into_iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .any(|member| member.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// What the backend says to a right request.
fn answer(input: &Input<'_>, program: &mut Program<'_>, key: &Key) {
    let right = derive_accept_key(key.text());
    assert_eq!(key.accept(), right.as_bytes(), "{}", key.text().escape_ascii());
    let mut fields: Fields = Vec::new();
    while let Some(operation) = program.next() {
        let (name, said) = match operation % 6 {
            0 | 1 => ("Upgrade", value(program, &UPGRADES)),
            2 | 3 => ("Connection", value(program, &CONNECTIONS)),
            4 => ("Sec-WebSocket-Accept", Some(right.clone().into_bytes())),
            _ => ("Sec-WebSocket-Accept", value(program, &["", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "x"])),
        };
        let Some(said) = said else { break };
        fields.push((name, said));
    }
    let status = if input.switches & 0x20 != 0 { 200 } else { 101 };
    let mut wire = format!("HTTP/1.1 {status} Whatever\r\n").into_bytes();
    write_fields(&mut wire, &fields);
    let mut head = ResponseHead::new();
    if head.parse(&wire, &Limits::default(), Method::Get) != Ok(Some(wire.len())) {
        return;
    }
    let rules = [
        (status == 101, HandshakeError::ResponseStatus),
        (has_token(&fields, "Upgrade", "websocket"), HandshakeError::ResponseUpgrade),
        (has_token(&fields, "Connection", "upgrade"), HandshakeError::ResponseConnection),
        (all(&fields, "Sec-WebSocket-Accept") == [right.as_bytes()], HandshakeError::ResponseAccept),
    ];
    let fault = rules.into_iter().find(|(holds, _)| !holds).map(|(_, error)| error);
    assert_eq!(handshake::check_response(&wire, &head, key).err(), fault, "{}", wire.escape_ascii());
}
