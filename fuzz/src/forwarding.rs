//! What a backend is told: heads built field by field, forwarded, and compared with the rules written down again.

use protocol::h1::client::Client;
use protocol::{Forward, Framing, Limits, RequestHead, Upgrade};

use crate::input::{Input, Program};

/// A request head built from names and values that mean something, in any number, order and spelling.
///
/// Promises: what is forwarded is, field by field and in order, what the rules leave over: nothing that ends at this
/// hop, nothing that `Connection` names unless it is protected, nothing that an untrusted client says in our name,
/// one framing and one `Host` of our own, and then our own fields.
pub fn forwarding(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let lines = lines(&input);
    let mut wire = b"POST /p HTTP/1.1\r\n".to_vec();
    for line in &lines {
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b"\r\n");
    let mut head = RequestHead::new();
    let limits = Limits { fields_max: 1_000, head_bytes_max: 65_535, ..Limits::default() };
    if head.parse(&wire, &limits) != Ok(Some(wire.len())) {
        return;
    }
    let forward = Forward {
        client_ip: "192.0.2.7",
        request_id: b"018f0000-0000-7000-8000-000000000001",
        trusted: input.switches & 1 != 0,
        upgrade: input.switches & 2 != 0 && head.upgrade == Upgrade::WebSocket,
        ..Forward::default()
    };
    let mut out = Vec::new();
    Client::new().write_request(&mut out, &wire, &head, &forward);
    let (_, forwarded) = fields_of(&out);
    let (_, received) = fields_of(&wire);
    let expected = expected(&received, &head, &forward);
    let shown = |fields: &[Field]| {
        let line = |field: &Field| format!("{}: {}", field.name, field.value.escape_ascii());
        fields.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(shown(&forwarded), shown(&expected), "{}", wire.escape_ascii());
}

/// A field line: name in lower case, value without the space around it.
#[derive(Clone)]
struct Field {
    name: String,
    value: Vec<u8>,
}

const NAMES: [&str; 36] = [
    "Connection",
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-",
    "X-Real-IP",
    "X-Request-Id",
    "Forwarded",
    "Via",
    "Authorization",
    "Cookie",
    "Keep-Alive",
    "Proxy-Connection",
    "Proxy-Authorization",
    "Proxy-Authenticate",
    "TE",
    "Trailer",
    "Upgrade",
    "HTTP2-Settings",
    "Expect",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Accept",
    "X-Custom",
    "X-Forwarded",
    "Xx-Forwarded-For",
    "X-Forwarded-For2",
    "Range",
    "Set-Cookie",
    "Content-Type",
    "If-None-Match",
];

const VALUES: [&str; 32] = [
    "",
    "close",
    "keep-alive",
    "upgrade",
    "keep-alive, upgrade",
    "x-custom",
    "host, content-length, cookie",
    "X-Forwarded-For,, x-real-ip ,forwarded",
    "authorization, via, expect, trailer",
    "close, accept, range, x-forwarded-port",
    "te, sec-websocket-key",
    "set-cookie, if-none-match, content-type",
    "x_forwarded_for, x-request-id",
    "0",
    "5",
    "chunked",
    "websocket",
    "h2c",
    "h2c, WebSocket",
    "a.test:80",
    "10.0.0.1",
    "10.0.0.1, 10.0.0.2",
    "https",
    "for=10.0.0.1",
    "trailers",
    "trailers, deflate",
    "100-continue",
    "13",
    "dGhlIHNhbXBsZSBub25jZQ==",
    "1.0 elder",
    "an_id-of.their-own",
    "text with a\ttab",
];

/// The program's field lines. `Host` comes first, unless the program says otherwise.
fn lines(input: &Input<'_>) -> Vec<Vec<u8>> {
    let mut program = Program::of(input);
    let mut lines = Vec::new();
    if input.switches & 4 == 0 {
        lines.push(b"Host: a.test\r\n".to_vec());
    }
    while let Some(name) = program.choose(&NAMES) {
        let Some(spelling) = program.next() else { break };
        let name = match spelling & 3 {
            0 => name.to_owned(),
            1 => name.to_uppercase(),
            2 => name.replace('-', "_"),
            _ => name.replacen('-', "_", 1).to_lowercase(),
        };
        let value = match spelling & 0x1c {
            0x1c => program.text().to_vec(),
            _ => program.choose(&VALUES).unwrap_or_default().as_bytes().to_vec(),
        };
        let (before, behind) = match spelling >> 5 {
            0 => ("", ""),
            1 => ("\t ", ""),
            2 => (" ", " \t"),
            _ => (" ", ""),
        };
        lines.push([name.as_bytes(), b":", before.as_bytes(), &value, behind.as_bytes(), b"\r\n"].concat());
    }
    lines
}

/// The first line and the fields of a head that is known to be well-formed.
fn fields_of(wire: &[u8]) -> (Vec<u8>, Vec<Field>) {
    let head = wire.strip_suffix(b"\r\n\r\n").expect("a head ends so");
    // A lone CR or LF is refused everywhere, so this cannot split a line in two.
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default().to_vec();
    let field = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':').expect("a field line has a colon");
        let name = String::from_utf8(line[..colon].to_ascii_lowercase()).expect("a token");
        Field { name, value: line[colon + 1..].trim_ascii().to_vec() }
    };
    (first, lines.map(field).collect())
}

/// RFC 9110 7.6.1: end here whatever `Connection` says.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Said by us alone, or after us.
const REWRITTEN: [&str; 7] = [
    "host",
    "content-length",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
];

/// Stay although `Connection` names them. What is rewritten stays anyway.
const PROTECTED: [&str; 13] = [
    "authorization",
    "cookie",
    "expect",
    "forwarded",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "set-cookie",
    "trailer",
    "via",
    "host",
];

fn expected(received: &[Field], head: &RequestHead, forward: &Forward<'_>) -> Vec<Field> {
    let values = |name: &'static str| {
        received.iter().filter(move |field| field.name == name).map(|field| &field.value)
    };
    let named: Vec<String> = values("connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|option| String::from_utf8_lossy(option.trim_ascii()).to_lowercase())
        .collect();
    let own = |name: &str, value: &[u8]| Field { name: name.to_owned(), value: value.to_vec() };
    let host = values("host").next().expect("an accepted head has a host");
    let mut fields = vec![own("host", host)];
    fields.extend(received.iter().filter(|field| passes(&field.name, &named, head, forward)).cloned());
    match head.framing {
        Framing::None => {}
        Framing::Length(length) => fields.push(own("content-length", length.to_string().as_bytes())),
        Framing::Chunked => fields.push(own("transfer-encoding", b"chunked")),
    }
    let kept = |name: &'static str, ours: &[u8]| {
        let said = values(name).next().filter(|value| forward.trusted && !value.is_empty());
        said.map_or(ours, Vec::as_slice).to_vec()
    };
    let mut via: Vec<&[u8]> = Vec::new();
    if forward.trusted {
        via.extend(values("x-forwarded-for").filter(|value| !value.is_empty()).map(Vec::as_slice));
    }
    via.push(forward.client_ip.as_bytes());
    fields.push(own("x-forwarded-for", &via.join(b", ".as_slice())));
    fields.push(own("x-real-ip", &kept("x-real-ip", forward.client_ip.as_bytes())));
    fields.push(own("x-forwarded-proto", &kept("x-forwarded-proto", b"http")));
    fields.push(own("x-forwarded-host", &kept("x-forwarded-host", host)));
    fields.push(own("x-request-id", &request_id(values("x-request-id").collect(), forward)));
    fields.push(own("via", b"1.1 pinion"));
    let accepts_trailers = values("te").any(|value| {
        let tokens = value.split(|byte| *byte == b',');
        tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if forward.upgrade {
        fields.push(own("connection", b"upgrade"));
        fields.push(own("upgrade", b"websocket"));
    } else if accepts_trailers {
        fields.push(own("connection", b"te"));
        fields.push(own("te", b"trailers"));
    }
    fields
}

/// Whether a received field goes through as it is.
fn passes(name: &str, named: &[String], head: &RequestHead, forward: &Forward<'_>) -> bool {
    let dashed = name.replace('_', "-");
    let in_our_name = |name: &str| {
        name.len() > "x-forwarded-".len() && name.starts_with("x-forwarded-")
            || ["forwarded", "x-real-ip", "x-request-id"].contains(&name)
    };
    // Behind a backend that reads `_` as `-`, these would be ours too, or would frame or end the message.
    let is_lookalike = name.contains('_')
        && (in_our_name(&dashed)
            || ["content-length", "transfer-encoding", "proxy-connection", "keep-alive"]
                .contains(&dashed.as_str()));
    let protected = PROTECTED.contains(&name) || in_our_name(name);
    let ends_here = HOP_BY_HOP.contains(&name)
        || REWRITTEN.contains(&name)
        || named.iter().any(|option| option == name) && !protected
        || !forward.trusted && (in_our_name(name) || is_lookalike)
        // RFC 9110 10.1.1: nothing to wait for without a body.
        || name == "expect" && !head.expect_continue
        // RFC 9110 6.6.2: only chunks carry trailers.
        || name == "trailer" && head.framing != Framing::Chunked;
    !ends_here
}

fn request_id(theirs: Vec<&Vec<u8>>, forward: &Forward<'_>) -> Vec<u8> {
    let is_plain = |id: &[u8]| {
        let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
        (1..=128).contains(&id.len()) && id.iter().all(fits)
    };
    match theirs.as_slice() {
        [id] if forward.trusted && is_plain(id) => id.to_vec(),
        _ => forward.request_id.to_vec(),
    }
}
