//! Names and values of header fields that the operator writes, and names of cookies.

use super::section::{Findings, Section, Written};
use crate::model::Field;

/// Most fields of one table: they are written into every head.
const FIELDS_MAX: usize = 64;
/// Longest name: far beyond any that is in use.
const NAME_BYTES_MAX: usize = 128;
/// Longest value: a head of many of these still fits what servers take.
const VALUE_BYTES_MAX: usize = 4_096;

/// Fields that say how a message is framed or belong to one connection (RFC 9110 7.6.1, 6.6; RFC 6455 11.3): the proxy
/// writes them itself.
const OWN_FIELDS: [&str; 15] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
];

/// In which direction a field goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request,
    Response,
}

/// The fields of a table of names with values, by name.
pub(crate) fn fields(
    section: &mut Section<'_>,
    key: &'static str,
    direction: Direction,
    findings: &mut Findings,
) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for (name, written) in section.named_texts(key, findings) {
        let value = written.text.trim();
        let same = fields.iter().find(|field| field.name.eq_ignore_ascii_case(&name));
        let problem = match same {
            Some(same) => Err(format!("{:?} is the same field", same.name)),
            None if fields.len() == FIELDS_MAX => Err(format!("more than {FIELDS_MAX} fields")),
            None => check_field(&name, value, direction),
        };
        match problem {
            Ok(()) => fields.push(Field { name, value: value.to_owned() }),
            Err(problem) => {
                let allowed = "a field is a name with a text, such as X-Team = \"blue\"";
                findings.refuse(&written.origin, &written.path, problem, allowed);
            }
        }
    }
    fields
}

fn check_field(name: &str, value: &str, direction: Direction) -> Result<(), String> {
    if !is_token(name) || name.len() > NAME_BYTES_MAX {
        return Err(format!("{name:?} is no field name"));
    }
    let lower = name.to_ascii_lowercase();
    if OWN_FIELDS.contains(&lower.as_str()) {
        return Err(format!(
            "{name:?} belongs to the framing or the connection and is written by the proxy itself"
        ));
    }
    check_value(value)?;
    match (lower.as_str(), direction) {
        ("host", Direction::Request) => check_host(value),
        ("host", Direction::Response) => Err("a response has no Host".to_owned()),
        _ => Ok(()),
    }
}

/// RFC 9110 7.2: a host, and a port where it is not the usual one.
fn check_host(value: &str) -> Result<(), String> {
    let problem = || format!("{value:?} is no host with an optional port");
    if value.contains(['/', '?', '#', '@', '\\', '%']) || !value.is_ascii() {
        return Err(problem());
    }
    let url = url::Url::parse(&format!("http://{value}/")).map_err(|_| problem())?;
    let is_whole = url.host_str().is_some() && url.path() == "/" && !value.contains(char::is_whitespace);
    if is_whole { Ok(()) } else { Err(problem()) }
}

/// Whether a text may be the value of a field (RFC 9110 5.5).
pub(crate) fn check_value(value: &str) -> Result<(), String> {
    if value.chars().any(char::is_control) {
        return Err("a control character in a value".to_owned());
    }
    if value.len() > VALUE_BYTES_MAX {
        return Err(format!("a value of {} bytes; allowed: up to {VALUE_BYTES_MAX}", value.len()));
    }
    Ok(())
}

/// A name that must be a token, such as that of a cookie.
pub(crate) fn token(written: &Written, findings: &mut Findings) -> Option<String> {
    let name = written.text.trim();
    if is_token(name) && name.len() <= NAME_BYTES_MAX {
        return Some(name.to_owned());
    }
    let allowed = format!("a name of up to {NAME_BYTES_MAX} letters, digits and \"!#$%&'*+-.^_`|~\"");
    findings.refuse(&written.origin, &written.path, format!("found {:?}", written.text), allowed);
    None
}

/// RFC 9110 5.6.2
pub(crate) fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_break_framing_cannot_be_set() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let rows = [
            ("Transfer-Encoding", "chunked", "framing"),
            ("CONTENT-LENGTH", "0", "framing"),
            ("connection", "close", "connection"),
            ("Sec-WebSocket-Key", "x", "connection"),
            ("Host", "a b", "no host"),
            ("Host", "a/b", "no host"),
            ("Host", "", "no host"),
            ("Host", "a:b", "no host"),
            ("X A", "x", "no field name"),
            ("", "x", "no field name"),
            (":path", "x", "no field name"),
            ("X-A", "a\r\nB: c", "control"),
            ("X-A", "a\0", "control"),
            ("X-A", long.as_str(), "4097 bytes"),
        ];
        for (name, value, part) in rows {
            let problem = check_field(name, value, Direction::Request).expect_err(name);
            assert!(problem.contains(part), "{name}: {problem}");
        }
        for (name, value) in
            [("X-A", ""), ("x-team", "blue, green"), ("Host", "a.example:81"), ("host", "[::1]")]
        {
            assert_eq!(check_field(name, value, Direction::Request), Ok(()), "{name}");
        }
        check_field("Host", "a", Direction::Response).expect_err("not in a response");
    }
}
