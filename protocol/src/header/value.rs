//! Readers for the common shapes of field values (RFC 9110 5.6). They take checked bytes and never fail.

/// The elements of a comma-separated list, without the whitespace around them; empty elements are skipped
/// (RFC 9110 5.6.1.2). Quoted commas are not understood: for lists of tokens only.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Whether the list holds this token, in any case.
pub fn has_token(value: &[u8], token: &[u8]) -> bool {
    list(value).any(|element| element.eq_ignore_ascii_case(token))
}

/// Without spaces and tabs at both ends (RFC 9110 5.6.3, OWS).
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Digits only, and no more than 64 bits hold (RFC 9110 8.6).
pub fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |total, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        total.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_lists_as_written_by_careless_senders() {
        let elements = |value: &'static [u8]| list(value).collect::<Vec<_>>();
        assert_eq!(elements(b"a, b"), [b"a", b"b"]);
        assert_eq!(elements(b" ,a,,\tb ,"), [b"a", b"b"]);
        assert!(elements(b"").is_empty());
        assert!(has_token(b"keep-alive, Upgrade", b"upgrade"));
        assert!(!has_token(b"upgrades", b"upgrade"));
    }

    #[test]
    fn reads_only_plain_decimals() {
        assert_eq!(decimal(b"0"), Some(0));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for bad in ["", "18446744073709551616", "+1", "-1", "1 ", "1,1", "0x1", "1.0", "\u{661}"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad}");
        }
    }
}
