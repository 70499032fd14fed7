//! Hosts in one normal form: lower case, without port, final dot or brackets; IPv6 addresses as RFC 5952 writes them.
//! Wildcards are kept with the dot that begins them: `.example.com`.

use std::io::Write as _;
use std::net::Ipv6Addr;
use std::sync::Arc;

use config_core::model::VirtualHost;

/// Longest name (RFC 1035 2.3.4, as text without the final dot): no longer host has a route of its own.
const NAME_BYTES_MAX: usize = 253;
/// Longest port with its colon.
const PORT_BYTES_MAX: usize = 6;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;

/// Whether a `Host` value is in the normal form as it stands; false for a few that are, too.
#[inline]
pub(super) fn is_normal(host: &[u8]) -> bool {
    let (words, rest) = host.as_chunks::<8>();
    // The last bytes once more with some before them, where there are as many.
    let last = match host.last_chunk::<8>() {
        Some(last) => has_odd_byte(u64::from_le_bytes(*last)),
        None => rest.iter().any(|byte| has_odd_byte(u64::from(*byte))),
    };
    let odd = words.iter().fold(last, |odd, word| odd | has_odd_byte(u64::from_le_bytes(*word)));
    !odd && matches!(host.len(), 1..=NAME_BYTES_MAX)
        && host.first() != Some(&b'[')
        && host.last() != Some(&b'.')
}

/// Whether any of eight bytes is a capital, a colon, one between those, or not ASCII.
#[inline]
fn has_odd_byte(word: u64) -> bool {
    // With the highest bits out of the way no byte carries into the next.
    let low = word & !HIGH_BITS;
    let from_colon = low + LOW_BITS * (0x80 - b':' as u64);
    let above_z = low + LOW_BITS * (0x7F - b'Z' as u64);
    (from_colon & !above_z | word) & HIGH_BITS != 0
}

/// A host as the table knows it, on the stack.
pub(super) struct Name {
    bytes: [u8; NAME_BYTES_MAX + 3],
    len: usize,
}

impl Name {
    /// The normal form of a `Host` value; `None` for what no virtual host can be.
    pub(super) fn of(host: &[u8]) -> Option<Name> {
        if host.first() == Some(&b'[') {
            return Name::of_bracketed(host);
        }
        let near_end = host.len().saturating_sub(PORT_BYTES_MAX);
        let colon = host.get(near_end..)?.iter().position(|byte| *byte == b':');
        let host = host.get(..colon.map_or(host.len(), |colon| near_end + colon))?;
        let host = host.strip_suffix(b".").unwrap_or(host);
        if host.is_empty() || host.len() > NAME_BYTES_MAX {
            return None;
        }
        let mut name = Name { bytes: [0; NAME_BYTES_MAX + 3], len: host.len() };
        for (to, from) in name.bytes.iter_mut().zip(host) {
            *to = from.to_ascii_lowercase();
        }
        Some(name)
    }

    fn of_bracketed(host: &[u8]) -> Option<Name> {
        let end = host.iter().position(|byte| *byte == b']')?;
        let address: Ipv6Addr = std::str::from_utf8(host.get(1..end)?).ok()?.parse().ok()?;
        let mut name = Name { bytes: [0; NAME_BYTES_MAX + 3], len: 0 };
        let mut rest = name.bytes.as_mut_slice();
        let room = rest.len();
        write!(rest, "{address}").ok()?;
        name.len = room - rest.len();
        Some(name)
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Under which name the table keeps a virtual host; `None` for that of every host.
pub(super) fn key(vhost: &VirtualHost) -> Option<Arc<str>> {
    match vhost {
        VirtualHost::Exact(name) => {
            let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
            let address = bare.parse::<Ipv6Addr>().ok();
            Some(address.map_or_else(|| Arc::clone(name), |address| address.to_string().into()))
        }
        VirtualHost::Wildcard(suffix) => Some(format!(".{suffix}").into()),
        VirtualHost::Any => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(host: &str) -> Option<String> {
        Name::of(host.as_bytes()).map(|name| String::from_utf8(name.as_bytes().to_vec()).expect("ASCII"))
    }

    #[test]
    fn every_spelling_of_a_host_is_one_name() {
        let longest = "x".repeat(NAME_BYTES_MAX);
        let rows = [
            ("example.com", "example.com"),
            ("EXAMPLE.Com", "example.com"),
            ("example.com:80", "example.com"),
            ("example.com.:65535", "example.com"),
            ("example.com.", "example.com"),
            ("a:1", "a"),
            ("10.0.0.1:8080", "10.0.0.1"),
            ("[::1]", "::1"),
            ("[::1]:443", "::1"),
            ("[0:0::0:1]:443", "::1"),
            ("[2001:DB8::A]", "2001:db8::a"),
            (".example.com", ".example.com"),
            ("a..", "a."),
            (longest.as_str(), longest.as_str()),
        ];
        for (host, name) in rows {
            assert_eq!(normal(host).as_deref(), Some(name), "{host}");
        }
        assert_eq!(normal(&format!("{longest}.:80")).as_deref(), Some(longest.as_str()));
    }

    #[test]
    fn what_stands_in_normal_form_is_its_own_name() {
        for len in 1..20 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    let mut host = vec![b'a'; len];
                    host[at] = byte;
                    let name = Name::of(&host);
                    let is_itself = name.is_some_and(|name| name.as_bytes() == host);
                    assert!(!is_normal(&host) || is_itself, "{}", host.escape_ascii());
                    let must_be = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
                    assert!(is_normal(&host) || !must_be, "{}", host.escape_ascii());
                }
            }
        }
        for host in [&b""[..], &[b'a'; NAME_BYTES_MAX + 1]] {
            assert!(!is_normal(host));
        }
    }

    #[test]
    fn what_no_virtual_host_can_be_has_no_name() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let huge = "a.".repeat(100_000);
        for host in ["", ".", ":80", ".:80", "[", "[]", "[::1", "[zz]:1", "[::1%eth0]", &long, &huge] {
            assert_eq!(normal(host), None, "{host}");
        }
    }

    #[test]
    fn virtual_hosts_have_the_names_that_hosts_have() {
        let rows = [
            (VirtualHost::Exact("a.example".into()), Some("a.example")),
            (VirtualHost::Exact("[0::1]".into()), Some("::1")),
            (VirtualHost::Exact("::1".into()), Some("::1")),
            (VirtualHost::Wildcard("example.com".into()), Some(".example.com")),
            (VirtualHost::Any, None),
        ];
        for (vhost, expected) in rows {
            assert_eq!(key(&vhost).as_deref(), expected);
        }
    }
}
