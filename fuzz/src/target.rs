//! Request targets: form, authority, path and query, against an oracle that works the other way round, and against
//! the `url` crate for what browsers call the same path.

use protocol::{Limits, PercentPolicy, RequestHead, TargetForm};

use crate::input::Input;

/// A request target, with the method and the policies for `%2F` and `%00` from the switches.
///
/// Promises: a target is accepted exactly when the oracle accepts it, with the same form, host, path and query; an
/// accepted path is in its normal form (no dot segment, no byte that is not visible ASCII, no `?` or `#`, no encoding of
/// an unreserved character, none in lower case, nothing that the policy refuses), is its own normal form, and is the
/// one form of every other spelling; the `url` crate sees the same segments.
pub fn target(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let method = ["GET", "OPTIONS", "CONNECT", "PUT"][usize::from(input.switches & 3)];
    let limits = limits(input.switches);
    let mut head = RequestHead::new();
    let is_line = !input.wire.contains(&b'\n');
    let request = request(method, input.wire);
    let accepted = head.parse(&request, &limits).is_ok_and(|len| len == Some(request.len()));
    if !is_line {
        // Whatever it is, it is more than a target; the request's own target has these promises.
        return;
    }
    let expected = oracle(method, input.wire, &limits);
    let shown = input.wire.escape_ascii();
    assert_eq!(accepted, expected.is_some(), "{method} {shown}");
    let Some(expected) = expected else { return };
    assert_eq!(head.target_form(), expected.form, "{method} {shown}");
    assert_eq!(head.host(&request), expected.host, "{method} {shown}");
    assert_eq!(
        head.path(&request).escape_ascii().to_string(),
        expected.path.escape_ascii().to_string(),
        "{shown}"
    );
    assert_eq!(head.query(&request), expected.query, "{method} {shown}");
    if expected.path.first() == Some(&b'/') {
        is_normal(&expected.path, &limits);
        is_stable(&expected.path, &limits);
        has_one_form(&input, &expected.path, &limits);
        as_browsers_see_it(input.wire, &expected, &limits);
    }
}

fn limits(switches: u8) -> Limits {
    let policy = |bits| match bits & 3 {
        0 => PercentPolicy::Keep,
        1 => PercentPolicy::Reject,
        _ => PercentPolicy::Decode,
    };
    Limits {
        request_line_bytes_max: 60_000,
        head_bytes_max: 65_535,
        connect_allowed: true,
        encoded_slash: policy(switches >> 2),
        encoded_nul: policy(switches >> 4),
        ..Limits::default()
    }
}

/// The host that stands in `Host`, for targets that bring none.
const HOST: &[u8] = b"fallback.test";

fn request(method: &str, target: &[u8]) -> Vec<u8> {
    [method.as_bytes(), b" ", target, b" HTTP/1.1\r\nHost: ", HOST, b"\r\n\r\n"].concat()
}

/// What a target means.
struct Meaning<'a> {
    form: TargetForm,
    host: &'a [u8],
    path: Vec<u8>,
    query: Option<&'a [u8]>,
}

/// RFC 9112 3.2, with the policies; `None` for what must be refused.
fn oracle<'a>(method: &str, target: &'a [u8], limits: &Limits) -> Option<Meaning<'a>> {
    let text = std::str::from_utf8(target).ok()?;
    if text.is_empty() || !text.chars().all(|letter| letter.is_ascii_graphic() && letter != '#') {
        return None;
    }
    if method == "CONNECT" {
        let has_port = is_authority(text)?;
        return has_port.then_some(Meaning {
            form: TargetForm::Authority,
            host: target,
            path: Vec::new(),
            query: None,
        });
    }
    let (location, query) = match text.split_once('?') {
        Some((location, query)) => (location, Some(query.as_bytes())),
        None => (text, None),
    };
    let asterisk = || (method == "OPTIONS" && query.is_none()).then(|| b"*".to_vec());
    if text == "*" {
        return Some(Meaning { form: TargetForm::Asterisk, host: HOST, path: asterisk()?, query: None });
    }
    if location.starts_with('/') {
        let path = oracle_path(location, limits)?;
        return Some(Meaning { form: TargetForm::Origin, host: HOST, path, query });
    }
    let (scheme, rest) = location.split_once("://")?;
    if !["http", "https"].contains(&scheme.to_lowercase().as_str()) {
        return None;
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    is_authority(host)?;
    let path = match path {
        "" => asterisk().unwrap_or_else(|| b"/".to_vec()),
        path => oracle_path(path, limits)?,
    };
    Some(Meaning { form: TargetForm::Absolute, host: host.as_bytes(), path, query })
}

/// Whether a well-formed authority has a port.
fn is_authority(text: &str) -> Option<bool> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(is_unreserved),
    };
    let port_fits = port.is_none_or(|port| {
        let digits = port.chars().all(|digit| digit.is_ascii_digit());
        digits && (1..=5).contains(&port.len()) && port.parse::<u16>().is_ok()
    });
    (host_fits && port_fits).then_some(port.is_some())
}

fn is_unreserved(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-._~".contains(letter)
}

/// RFC 3986 6.2.2.2 by splitting at the percent signs, then 5.2.4 word by word as the RFC writes it.
fn oracle_path(path: &str, limits: &Limits) -> Option<Vec<u8>> {
    let mut pieces = path.split('%');
    let mut decoded = pieces.next()?.to_owned();
    for piece in pieces {
        let code = piece.get(..2).filter(|code| code.chars().all(|digit| digit.is_ascii_hexdigit()))?;
        match (u8::from_str_radix(code, 16).ok()?, limits.encoded_slash, limits.encoded_nul) {
            (b'/', PercentPolicy::Reject, _) | (0, _, PercentPolicy::Reject) => return None,
            (b'/', PercentPolicy::Decode, _) => decoded.push('/'),
            (byte, _, _) if is_unreserved(char::from(byte)) => decoded.push(char::from(byte)),
            _ => decoded.push_str(&format!("%{}", code.to_uppercase())),
        }
        decoded.push_str(&piece[2..]);
    }
    Some(remove_dot_segments(decoded).into_bytes())
}

/// RFC 3986 5.2.4, steps 2A to 2E. An absolute path never meets 2A and 2D.
fn remove_dot_segments(mut input: String) -> String {
    let mut output = String::new();
    while !input.is_empty() {
        if input.starts_with("/./") {
            input.replace_range(..3, "/");
        } else if input == "/." {
            input.replace_range(..2, "/");
        } else if input.starts_with("/../") || input == "/.." {
            let len = input.len().min(4);
            input.replace_range(..len, "/");
            output.truncate(output.rfind('/').unwrap_or(0));
        } else {
            let end = input[1..].find('/').map_or(input.len(), |at| at + 1);
            output.extend(input.drain(..end));
        }
    }
    output
}

fn is_normal(path: &[u8], limits: &Limits) {
    let text = std::str::from_utf8(path).expect("ASCII");
    assert!(text.chars().all(|letter| letter.is_ascii_graphic() && letter != '?' && letter != '#'), "{text}");
    assert!(!text.split('/').any(|segment| segment == "." || segment == ".."), "{text}");
    for code in text.split('%').skip(1).map(|piece| &piece[..2]) {
        assert_eq!(code, code.to_uppercase(), "{text}");
        let byte = u8::from_str_radix(code, 16).expect("two digits");
        assert!(!is_unreserved(char::from(byte)), "{text}");
        assert!(byte != 0 || limits.encoded_nul != PercentPolicy::Reject, "{text}");
        assert!(byte != b'/' || limits.encoded_slash == PercentPolicy::Keep, "{text}");
    }
}

/// The path of an origin-form target.
fn path_of(target: &[u8], limits: &Limits) -> Vec<u8> {
    let mut head = RequestHead::new();
    let request = request("GET", target);
    let read = head.parse(&request, limits);
    assert_eq!(read, Ok(Some(request.len())), "{}", target.escape_ascii());
    head.path(&request).to_vec()
}

fn is_stable(path: &[u8], limits: &Limits) {
    assert_eq!(path_of(path, limits), path, "{}", path.escape_ascii());
}

/// Another spelling of the same path: some unreserved characters encoded, some segments followed by `/.`.
fn has_one_form(input: &Input<'_>, path: &[u8], limits: &Limits) {
    let mut spelling = Vec::new();
    let mut rest = path;
    for piece in input.pieces() {
        // The pieces' lengths are all that is wanted of them.
        let (now, later) = rest.split_at(piece.len().min(rest.len()));
        let Some((&first, others)) = now.split_first() else { break };
        match first {
            b'/' => spelling.extend_from_slice(b"/./x/.%2e/"),
            byte if is_unreserved(char::from(byte)) && !is_inside_code(path, path.len() - rest.len()) => {
                spelling.extend_from_slice(format!("%{byte:02x}").as_bytes());
            }
            byte => spelling.push(byte),
        }
        spelling.extend_from_slice(others);
        rest = later;
    }
    spelling.extend_from_slice(rest);
    assert_eq!(path_of(&spelling, limits), path, "{}", spelling.escape_ascii());
}

/// Whether the byte at `at` is one of the two digits behind a percent sign.
fn is_inside_code(path: &[u8], at: usize) -> bool {
    (1..=2).any(|back| at.checked_sub(back).is_some_and(|before| path[before] == b'%'))
}

/// The WHATWG parser removes dot segments too, but decodes nothing else, and has its own ideas about a few symbols.
fn as_browsers_see_it(target: &[u8], expected: &Meaning<'_>, limits: &Limits) {
    let text = std::str::from_utf8(target).expect("accepted targets are ASCII");
    let decodes_slash = limits.encoded_slash == PercentPolicy::Decode;
    let path = text.split('?').next().unwrap_or_default();
    let path = if expected.form == TargetForm::Absolute {
        let after_scheme = path.split_once("://").map_or("", |(_, rest)| rest);
        after_scheme.find('/').map_or("/", |at| &after_scheme[at..])
    } else {
        path
    };
    // A letter and a colon are a drive to it, which `..` does not leave.
    if path.contains(['\\', '"', '<', '>', '`', '{', '}', '^', '|', '\'', ':']) || decodes_slash {
        return;
    }
    let mut theirs = url::Url::parse("http://fallback.test").expect("a right URL");
    theirs.set_path(path);
    let theirs = oracle_path(theirs.path(), limits).expect("it was accepted as it was");
    assert_eq!(theirs.escape_ascii().to_string(), expected.path.escape_ascii().to_string(), "{text}");
}
