//! Cookies of a request (RFC 6265 4.2): found by name, and given to a client. Nothing else is read of them.

use crate::header::map::Fields;
use crate::header::name::Name;

/// The value of the first cookie of this name, without quotes around it.
pub fn find<'a>(name: &[u8], input: &'a [u8], fields: &Fields) -> Option<&'a [u8]> {
    fields.all(Name::Cookie).find_map(|field| {
        field.value.of(input).split(|byte| *byte == b';').find_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (own_name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
            (own_name.trim_ascii() == name).then(|| unquoted(value.trim_ascii()))
        })
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

/// Writes the field that gives a client a cookie for this host and all of its paths, until its browser is closed. Scripts
/// do not get to see it. With `secure`, which is for clients that speak TLS, it comes back over TLS only (RFC 6265 4.1.2.5).
/// Name and value must be tokens.
pub fn write_set(out: &mut Vec<u8>, name: &str, value: &str, secure: bool) {
    let end = if secure { "; Secure\r\n" } else { "\r\n" };
    for part in ["Set-Cookie: ", name, "=", value, "; Path=/; HttpOnly; SameSite=Lax", end] {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, RequestHead};

    fn cookie(fields: &str, name: &str) -> Option<String> {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let mut head = RequestHead::new();
        head.parse(wire.as_bytes(), &Limits::default()).expect("well formed").expect("whole");
        let found = find(name.as_bytes(), wire.as_bytes(), &head.fields)?;
        Some(String::from_utf8(found.to_vec()).expect("text"))
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let rows = [
            ("", None),
            ("Cookie: other=1\r\n", None),
            ("Cookie: b=1\r\n", Some("1")),
            ("Cookie: a=0; b=2; c=3\r\n", Some("2")),
            ("Cookie: a=0;b=3;b=4\r\n", Some("3")),
            ("Cookie: xb=1; bx=2\r\n", None),
            ("Cookie: B=1\r\n", None),
            ("Cookie: b=\"q\"\r\n", Some("q")),
            ("Cookie: b=x=y\r\n", Some("x=y")),
            ("Cookie: b\r\n", None),
            ("Cookie: b=\r\n", Some("")),
            ("Cookie: a=1\r\nCookie: b=5\r\n", Some("5")),
            ("Cookie: ;; =;b=6;\r\n", Some("6")),
        ];
        for (fields, expected) in rows {
            assert_eq!(cookie(fields, "b").as_deref(), expected, "{fields}");
        }
    }

    #[test]
    fn a_cookie_is_given_for_the_whole_site() {
        for (secure, end) in [(false, "\r\n"), (true, "; Secure\r\n")] {
            let mut out = Vec::new();
            write_set(&mut out, "lb", "00ff", secure);
            let expected = format!("Set-Cookie: lb=00ff; Path=/; HttpOnly; SameSite=Lax{end}");
            assert_eq!(String::from_utf8(out).expect("text"), expected);
        }
    }
}
