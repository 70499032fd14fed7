//! The bytes of a request: one per run, sent again and again. Pure bytes.
//!
//! Called by `http` and `ws` once per thread. A field that the operator gives replaces ours of the same name.

use super::plan::{Ask, Place};

/// The key of RFC 6455 1.3: the same for every session, since no cache is in question.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// An HTTP request with its body.
pub(super) fn http(place: &Place, ask: &Ask) -> Vec<u8> {
    let mut own = vec![("Host", place.authority.clone()), ("User-Agent", "pinion-bench".to_owned())];
    own.push(("Accept", "*/*".to_owned()));
    // RFC 9110 8.6: a method that is expected to have a body says so when it has none.
    if !ask.body.is_empty() || matches!(&*ask.method, "POST" | "PUT" | "PATCH") {
        own.push(("Content-Length", ask.body.len().to_string()));
    }
    let mut wire = head(&ask.method, place, own);
    wire.extend_from_slice(&ask.body);
    wire
}

/// A WebSocket handshake.
pub(super) fn upgrade(place: &Place) -> Vec<u8> {
    let own = vec![
        ("Host", place.authority.clone()),
        ("User-Agent", "pinion-bench".to_owned()),
        ("Upgrade", "websocket".to_owned()),
        ("Connection", "Upgrade".to_owned()),
        ("Sec-WebSocket-Version", "13".to_owned()),
        ("Sec-WebSocket-Key", KEY.to_owned()),
    ];
    head("GET", place, own)
}

fn head(method: &str, place: &Place, own: Vec<(&str, String)>) -> Vec<u8> {
    let mut text = format!("{method} {} HTTP/1.1\r\n", place.path);
    for (name, value) in own {
        if !place.fields.iter().any(|(given, _)| given.eq_ignore_ascii_case(name)) {
            text += &format!("{name}: {value}\r\n");
        }
    }
    for (name, value) in &place.fields {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(fields: &[(&str, &str)]) -> Place {
        let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Place { authority: "a.example:81".to_owned(), path: "/x?y".to_owned(), fields }
    }

    #[test]
    fn fields_that_are_given_replace_ours() {
        let ask = Ask { method: "GET".to_owned(), body: Vec::new() };
        let wire =
            String::from_utf8(http(&place(&[("host", "b"), ("X-A", "1"), ("X-A", "2")]), &ask)).unwrap();
        let rest = "User-Agent: pinion-bench\r\nAccept: */*\r\nhost: b\r\nX-A: 1\r\nX-A: 2\r\n\r\n";
        assert_eq!(wire, format!("GET /x?y HTTP/1.1\r\n{rest}"));
    }

    #[test]
    fn a_body_comes_with_its_length() {
        let wire = |method: &str, body: &[u8]| {
            let ask = Ask { method: method.to_owned(), body: body.to_vec() };
            String::from_utf8(http(&place(&[]), &ask)).unwrap()
        };
        assert!(wire("POST", b"hello").ends_with("Content-Length: 5\r\n\r\nhello"));
        assert!(wire("POST", b"").ends_with("Content-Length: 0\r\n\r\n"));
        assert!(!wire("GET", b"").contains("Content-Length"));
    }
}
