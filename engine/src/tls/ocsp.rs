//! A response of an OCSP responder that is stapled to a certificate: whether it is one, and about that certificate. Called by
//! `certs.rs` for files that an operator names. Who has signed it, and how long it is valid, is the clients' to check.

use super::x509::{GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};

const BIT_STRING: u8 = 0x03;
const ENUMERATED: u8 = 0x0a;
/// `[0]`, constructed: what is optional and comes first.
const FIRST: u8 = 0xa0;
/// 1.3.6.1.5.5.7.48.1.1, `id-pkix-ocsp-basic`.
const BASIC: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
/// `OCSPResponseStatus` (RFC 6960 4.2.1).
const STATUSES: [&str; 7] =
    ["successful", "malformedRequest", "internalError", "tryLater", "", "sigRequired", "unauthorized"];

/// Checks a response that is to be stapled to the certificate with this number.
///
/// # Errors
/// With what is wrong, as the end of "is".
pub(super) fn check(der: &[u8], serial: &[u8]) -> Result<(), String> {
    let no_response = || "not an OCSP response in DER".to_owned();
    let mut response = Reader(Reader(der).only(SEQUENCE).ok_or_else(no_response)?);
    let status = response.expect(ENUMERATED).ok_or_else(no_response)?;
    if status != [0] {
        let name = status.first().and_then(|status| STATUSES.get(usize::from(*status))).unwrap_or(&"");
        return Err(format!("an OCSP response that is an error ({name})"));
    }
    let numbers = numbers(response).ok_or_else(no_response)?;
    if !numbers.contains(&serial) {
        return Err("an OCSP response about another certificate".to_owned());
    }
    Ok(())
}

/// The numbers of the certificates that a successful response is about (RFC 6960 4.2.1).
fn numbers(mut response: Reader<'_>) -> Option<Vec<&[u8]>> {
    let mut bytes = Reader(Reader(response.expect(FIRST)?).only(SEQUENCE)?);
    if bytes.expect(OID)? != BASIC {
        return None;
    }
    let mut basic = Reader(Reader(bytes.expect(OCTET_STRING)?).only(SEQUENCE)?);
    let mut data = Reader(basic.expect(SEQUENCE)?);
    basic.expect(SEQUENCE)?; // Algorithm of the signature.
    basic.expect(BIT_STRING)?;
    data.optional(FIRST); // Version.
    data.next()?; // Who responds.
    data.expect(GENERALIZED_TIME)?;
    let mut singles = Reader(data.expect(SEQUENCE)?);
    let mut numbers = Vec::new();
    while let Some((SEQUENCE, single)) = singles.next() {
        let mut id = Reader(Reader(single).expect(SEQUENCE)?);
        id.expect(SEQUENCE)?; // Algorithm of both hashes.
        id.expect(OCTET_STRING)?; // Name of the issuer.
        id.expect(OCTET_STRING)?; // Its key.
        numbers.push(id.expect(INTEGER)?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let len = u8::try_from(content.len()).expect("short");
        let long: &[u8] = if len < 0x80 { &[] } else { &[0x81] };
        [&[tag][..], long, &[len], &content].concat()
    }

    /// A response about certificates with these numbers.
    fn response(serials: &[&[u8]]) -> Vec<u8> {
        let single = |serial: &&[u8]| {
            let algorithm = value(SEQUENCE, &[]);
            let hash = value(OCTET_STRING, &[b"hash"]);
            let id = value(SEQUENCE, &[&algorithm, &hash, &hash, &value(INTEGER, &[serial])]);
            value(SEQUENCE, &[&id, &[0x80, 0], &value(GENERALIZED_TIME, &[b"20261121000000Z"])])
        };
        let singles: Vec<Vec<u8>> = serials.iter().map(single).collect();
        let singles: Vec<&[u8]> = singles.iter().map(Vec::as_slice).collect();
        let produced = value(GENERALIZED_TIME, &[b"20261121000000Z"]);
        let responder = value(0xa2, &[&value(OCTET_STRING, &[b"key"])]);
        let data = value(SEQUENCE, &[&responder, &produced, &value(SEQUENCE, &singles)]);
        let signature = value(BIT_STRING, &[b"\0signed"]);
        let basic = value(SEQUENCE, &[&data, &value(SEQUENCE, &[]), &signature]);
        let bytes = value(SEQUENCE, &[&value(OID, &[BASIC]), &value(OCTET_STRING, &[&basic])]);
        value(SEQUENCE, &[&[ENUMERATED, 1, 0], &value(FIRST, &[&bytes])])
    }

    #[test]
    fn a_response_is_about_the_certificate_that_it_names() {
        let both = response(&[&[7], &[1, 44]]);
        assert_eq!(check(&both, &[7]), Ok(()));
        assert_eq!(check(&both, &[1, 44]), Ok(()));
        for other in [&[8][..], &[44], &[]] {
            assert!(check(&both, other).is_err_and(|reason| reason.contains("another certificate")));
        }
    }

    #[test]
    fn what_is_no_response_is_refused_at_every_length() {
        let whole = response(&[&[7]]);
        for len in 0..whole.len() {
            assert!(check(&whole[..len], &[7]).is_err(), "{len} bytes");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 0xff;
            let _ = check(&damaged, &[7]);
        }
        assert!(check(&[&whole[..], &[0]].concat(), &[7]).is_err(), "something follows");
        assert!(check(&[0x30, 3, 0x0a, 1, 6], &[7]).is_err_and(|reason| reason.contains("unauthorized")));
    }
}
