//! The little that we need of a certificate besides what rustls checks: its names, when it ends, and its subject as text.
//! Reads DER (X.690) as RFC 5280 4.1 lays it out; anything else is refused.

use std::fmt::Write;

const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `dNSName` and `iPAddress` of a `GeneralName`.
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;
/// 2.5.29.17, `subjectAltName`.
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// Longest subject that is written out.
const SUBJECT_BYTES_MAX: usize = 1024;

/// What a certificate says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The number that its issuer has given it, as it is encoded.
    pub(crate) serial: Vec<u8>,
    /// Host names and addresses that it is good for, lower case; `*.` in front stands for one label.
    pub(crate) names: Vec<String>,
    /// Seconds since 1970 at which it ends.
    pub(crate) expires_s: i64,
    /// Its subject in the form of RFC 4514, in ASCII.
    pub(crate) subject: String,
}

/// Reads a certificate; `None` if it is not one.
pub(crate) fn facts(der: &[u8]) -> Option<Facts> {
    let mut certificate = Reader(Reader(der).expect(SEQUENCE)?);
    let mut body = Reader(certificate.expect(SEQUENCE)?);
    body.optional(VERSION);
    let serial = body.expect(INTEGER)?.to_vec();
    body.expect(SEQUENCE)?; // Algorithm of the signature.
    body.expect(SEQUENCE)?; // Issuer.
    let mut validity = Reader(body.expect(SEQUENCE)?);
    validity.next()?;
    let (kind, ends) = validity.next()?;
    let subject = body.expect(SEQUENCE)?;
    body.expect(SEQUENCE)?; // Key.
    let mut names = Vec::new();
    while let Some((tag, value)) = body.next() {
        if tag == EXTENSIONS {
            names = alternative_names(Reader(value).expect(SEQUENCE)?)?;
        }
    }
    Some(Facts { serial, names, expires_s: time(kind, ends)?, subject: subject_text(subject)? })
}

fn alternative_names(extensions: &[u8]) -> Option<Vec<String>> {
    let mut extensions = Reader(extensions);
    while let Some((SEQUENCE, extension)) = extensions.next() {
        let mut extension = Reader(extension);
        if extension.expect(OID)? != SUBJECT_ALT_NAME {
            continue;
        }
        extension.optional(BOOLEAN);
        let mut general = Reader(Reader(extension.expect(OCTET_STRING)?).expect(SEQUENCE)?);
        let mut names = Vec::new();
        while let Some((tag, value)) = general.next() {
            match tag {
                DNS_NAME => names.push(std::str::from_utf8(value).ok()?.to_ascii_lowercase()),
                IP_ADDRESS => names.extend(address(value)),
                _ => {}
            }
        }
        return Some(names);
    }
    Some(Vec::new())
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string());
    v4().or_else(v6)
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ` (RFC 5280 4.1.2.5), as seconds since 1970.
fn time(kind: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match kind {
        UTC_TIME if digits.len() == 12 => {
            let year = number(&digits[..2])?;
            (if year < 50 { 2000 + year } else { 1900 + year }, &digits[2..])
        }
        GENERALIZED_TIME if digits.len() == 14 => (number(&digits[..4])?, &digits[4..]),
        _ => return None,
    };
    let mut parts = rest.chunks(2).map(number);
    let mut part = || parts.next().flatten();
    let (month, day, hour, minute, second) = (part()?, part()?, part()?, part()?, part()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 of a date in the Gregorian calendar, with years that begin in March.
    let (shifted_year, shifted_month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let days = 365 * shifted_year + shifted_year.div_euclid(4) - shifted_year.div_euclid(100)
        + shifted_year.div_euclid(400)
        + day_of_year
        - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// RFC 4514: the last part first, `CN=a,O=b`. What is not visible ASCII, or has a meaning there or in a quoted field value,
/// is written as `\XX`.
fn subject_text(subject: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut sets = Reader(subject);
    while let Some((SET, set)) = sets.next() {
        let mut set = Reader(set);
        let mut part = String::new();
        while let Some((SEQUENCE, pair)) = set.next() {
            let mut pair = Reader(pair);
            let (kind, (_, value)) = (pair.expect(OID)?, pair.next()?);
            if !part.is_empty() {
                part.push('+');
            }
            part.push_str(&attribute(kind));
            part.push('=');
            for byte in value {
                match byte {
                    b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' | b'#' | ..=0x1f | 0x7f.. => {
                        let _ = write!(part, "\\{byte:02X}");
                    }
                    _ => part.push(char::from(*byte)),
                }
            }
        }
        parts.push(part);
    }
    parts.reverse();
    let mut text = parts.join(",");
    text.truncate(SUBJECT_BYTES_MAX);
    Some(text)
}

/// The short name of RFC 4514, or the number.
fn attribute(oid: &[u8]) -> String {
    let known = match oid {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x0a] => "O",
        [0x55, 0x04, 0x0b] => "OU",
        [0x55, 0x04, 0x05] => "serialNumber",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19] => "DC",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01] => "UID",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x01] => "emailAddress",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let mut text = String::from("oid.");
    let mut number: u32 = 0;
    for (at, byte) in oid.iter().enumerate() {
        number = (number << 7) | u32::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            let _ = match at {
                0 => write!(text, "{}.{}", (number / 40).min(2), number - (number / 40).min(2) * 40),
                _ => write!(text, ".{number}"),
            };
            number = 0;
        }
    }
    text
}

/// Values one after the other.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// Tag and content of the next value.
    pub(super) fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |len, byte| (len << 8) | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((*tag, value))
    }

    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// The next value of this tag, if there is nothing behind it.
    pub(super) fn only(mut self, tag: u8) -> Option<&'a [u8]> {
        self.expect(tag).filter(|_| self.0.is_empty())
    }

    /// Passes over the next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) {
        if self.0.first() == Some(&tag) {
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        let rows: [(u8, &[u8], Option<i64>); 8] = [
            (UTC_TIME, b"700101000000Z", Some(0)),
            (UTC_TIME, b"000229120000Z", Some(951_825_600)),
            (UTC_TIME, b"491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, b"20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, b"99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, b"20500101000000Z", None),
            (UTC_TIME, b"701301000000Z", None),
            (UTC_TIME, b"7001010000000", None),
        ];
        for (kind, text, expected) in rows {
            assert_eq!(time(kind, text), expected, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_at_every_length() {
        let der = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.der().to_vec();
        assert!(facts(&der).is_some());
        for len in 0..der.len() {
            assert_eq!(facts(&der[..len]), None, "{len} bytes");
        }
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0xff;
            let _ = facts(&damaged);
        }
    }

    #[test]
    fn names_end_and_subject_are_read() {
        let names =
            ["A.example".to_owned(), "*.b.example".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(2040, 2, 29);
        params.serial_number = Some(rcgen::SerialNumber::from(300_u64));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "Us, \"them\" & co");
        params.distinguished_name.push(rcgen::DnType::CommonName, "m\u{fc}ller");
        let key = rcgen::KeyPair::generate().unwrap();
        let facts = facts(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(facts.names, ["a.example", "*.b.example", "127.0.0.1", "::1"]);
        assert_eq!(facts.expires_s, 2_214_086_400);
        assert_eq!(facts.serial, [1, 44]);
        assert_eq!(facts.subject, r"CN=m\C3\BCller,O=Us\2C \22them\22 & co");
    }
}
