//! Hosts with an optional port, as in `Host` and absolute targets (RFC 3986 3.2). Stricter than the grammar:
//! letters, digits, `-._~` or a bracketed IPv6 address, never user information, never percent-encoding, and
//! a colon must be followed by a port. That is what the names of real sites look like; everything else is a
//! way to make two parsers disagree.

/// A checked authority, split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The name or address, IPv6 with its brackets.
    pub host: &'a [u8],
    /// The port, if one is given.
    pub port: Option<u16>,
}

/// Splits and checks; `None` if it is malformed or empty.
pub fn parse(text: &[u8]) -> Option<Authority<'_>> {
    let host_len = match text.first()? {
        b'[' => ipv6_len(text)?,
        _ => text.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at_checked(host_len)?;
    if host.is_empty() {
        return None;
    }
    let port = match rest {
        [] => None,
        [b':', digits @ ..] => Some(port(digits)?),
        _ => return None,
    };
    Some(Authority { host, port })
}

#[inline]
fn is_name_byte(byte: u8) -> bool {
    const NAME: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let symbol = byte as u8;
            table[byte] = symbol.is_ascii_alphanumeric() || matches!(symbol, b'-' | b'.' | b'_' | b'~');
            byte += 1;
        }
        table
    };
    NAME[usize::from(byte)]
}

/// Length of a leading `[address]`.
fn ipv6_len(text: &[u8]) -> Option<usize> {
    let end = memchr::memchr(b']', text)?;
    let address = std::str::from_utf8(text.get(1..end)?).ok()?;
    address.parse::<std::net::Ipv6Addr>().ok()?;
    Some(end + 1)
}

fn port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 {
        return None;
    }
    u16::try_from(crate::header::value::decimal(digits)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_names_addresses_and_ports() {
        let rows: [(&str, &str, Option<u16>); 8] = [
            ("example.com", "example.com", None),
            ("EXAMPLE.com:8080", "EXAMPLE.com", Some(8080)),
            ("a_b-c~d.", "a_b-c~d.", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:443", "[2001:db8::1]", Some(443)),
            ("h:0", "h", Some(0)),
            ("h:65535", "h", Some(65535)),
        ];
        for (text, host, port) in rows {
            assert_eq!(parse(text.as_bytes()), Some(Authority { host: host.as_bytes(), port }), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let rows = [
            "",
            ":80",
            "a:",
            "a:65536",
            "a:+1",
            "a:1a",
            "a:000080",
            "a b",
            "a,b",
            "a@b",
            "u:p@h",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[zz]",
            "[]",
            "[::1%25eth0]",
            "a%41",
            "a\u{e4}",
            "[1.2.3.4]",
            "a:1:2",
            "a]",
        ];
        for text in rows {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
