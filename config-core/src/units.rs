//! Sizes as people write them: `32768`, `"32KiB"`, `"100MB"`. Called by `validate` for keys that count bytes.

/// Units and their sizes; a longer spelling stands before its own suffix (`KiB` before `B`).
const UNITS: [(&str, u64); 10] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("b", 1),
];

/// Bytes that `text` stands for: digits, then an optional unit in any case. `None` when it is no size or does
/// not fit 64 bits.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (digits, unit) = split_unit(&text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

fn split_unit(text: &str) -> (&str, u64) {
    for (name, size) in UNITS {
        if let Some(digits) = text.strip_suffix(name) {
            return (digits.trim_end(), size);
        }
    }
    (text, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let rows = [
            ("0", Some(0)),
            ("32768", Some(32_768)),
            ("512b", Some(512)),
            ("32KiB", Some(32_768)),
            ("8k", Some(8_192)),
            ("100MB", Some(100_000_000)),
            ("2 GiB", Some(2_147_483_648)),
            ("1g", Some(1_073_741_824)),
            ("", None),
            ("KiB", None),
            ("-1", None),
            ("+1", None),
            ("1.5MB", None),
            ("1TB", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("18446744073709551615k", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_bytes(text), expected, "{text:?}");
        }
    }
}
