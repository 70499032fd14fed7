//! Where a body ends (RFC 9112 6.3): the smuggling table, alone. Called by `h1::head` once per head.
//!
//! Wherever two readers could find two different ends, the message is refused.

use crate::error::FramingError;
use crate::head::{Framing, ResponseFraming};
use crate::header::map::Fields;
use crate::header::name::Name;
use crate::header::value;
use crate::status::Status;
use crate::version::Version;

/// Lengths and codings as the fields state them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stated {
    Nothing,
    Length(u64),
    Chunked,
}

/// End of a request's body.
#[inline]
pub(crate) fn of_request(version: Version, input: &[u8], fields: &Fields) -> Result<Framing, FramingError> {
    Ok(match stated(version, input, fields)? {
        Stated::Nothing => Framing::None,
        Stated::Length(length) => Framing::Length(length),
        Stated::Chunked => Framing::Chunked,
    })
}

/// End of a response's body, and the length that its fields promise.
pub(crate) fn of_response(
    status: Status,
    to_head: bool,
    version: Version,
    input: &[u8],
    fields: &Fields,
) -> Result<(ResponseFraming, Option<u64>), FramingError> {
    if status.is_interim() {
        // Rule 1: ends with its head, and nothing in it can be a promise.
        return Ok((ResponseFraming::None, None));
    }
    let stated = stated(version, input, fields)?;
    let length = if let Stated::Length(length) = stated { Some(length) } else { None };
    if to_head || status.is_bodyless() {
        return Ok((ResponseFraming::None, length));
    }
    let framing = match stated {
        Stated::Chunked => ResponseFraming::Chunked,
        Stated::Length(length) => ResponseFraming::Length(length),
        Stated::Nothing => ResponseFraming::UntilClose,
    };
    Ok((framing, length))
}

#[inline]
fn stated(version: Version, input: &[u8], fields: &Fields) -> Result<Stated, FramingError> {
    if fields.has(Name::TransferEncoding) {
        return coding(version, input, fields);
    }
    if !fields.has(Name::ContentLength) {
        return Ok(Stated::Nothing);
    }
    let mut values = fields.all(Name::ContentLength).map(|field| field.value.of(input));
    let first = values.next().ok_or(FramingError::BadLength)?;
    let length = value::decimal(first).ok_or(FramingError::BadLength)?;
    for other in values {
        value::decimal(other).ok_or(FramingError::BadLength)?;
        if other != first {
            return Err(FramingError::TwoLengths);
        }
    }
    Ok(Stated::Length(length))
}

fn coding(version: Version, input: &[u8], fields: &Fields) -> Result<Stated, FramingError> {
    if version == Version::Http10 {
        return Err(FramingError::CodingInHttp10);
    }
    if fields.has(Name::ContentLength) {
        return Err(FramingError::LengthAndCoding);
    }
    let mut values = fields.all(Name::TransferEncoding).map(|field| field.value.of(input));
    let only = values.next().ok_or(FramingError::BadCoding)?;
    if values.next().is_some() || !only.eq_ignore_ascii_case(b"chunked") {
        return Err(FramingError::BadCoding);
    }
    Ok(Stated::Chunked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::h1::syntax::read_fields;
    use Version::{Http10, Http11};

    fn fields(lines: &str) -> (Vec<u8>, Fields) {
        let input = format!("{lines}\r\n").into_bytes();
        let mut fields = Fields::default();
        read_fields(&input, 0, &mut fields, 100).expect("good syntax");
        (input, fields)
    }

    #[test]
    fn a_request_has_one_end_or_none_at_all() {
        use FramingError::{BadCoding, BadLength, CodingInHttp10, LengthAndCoding, TwoLengths};
        const CL: &str = "Content-Length";
        const TE: &str = "Transfer-Encoding";
        // Version, fields, end: RFC 9112 6.1 to 6.3, and the published smuggling techniques.
        type Row<'a> = (Version, &'a [(&'a str, &'a str)], Result<Framing, FramingError>);
        let rows: &[Row<'_>] = &[
            (Http11, &[], Ok(Framing::None)),
            (Http10, &[], Ok(Framing::None)),
            (Http11, &[(CL, "0")], Ok(Framing::Length(0))),
            (Http10, &[(CL, "5")], Ok(Framing::Length(5))),
            (Http11, &[("content-LENGTH", " 5\t")], Ok(Framing::Length(5))),
            (Http11, &[(CL, "007")], Ok(Framing::Length(7))),
            (Http11, &[(CL, "18446744073709551615")], Ok(Framing::Length(u64::MAX))),
            (Http11, &[(CL, "5"), (CL, "5")], Ok(Framing::Length(5))),
            (Http11, &[(CL, "5"), (CL, "6")], Err(TwoLengths)),
            (Http11, &[(CL, "5"), ("A", "b"), (CL, "05")], Err(TwoLengths)),
            (Http11, &[(CL, "5"), (CL, "")], Err(BadLength)),
            (Http11, &[(CL, "5"), (CL, "x")], Err(BadLength)),
            (Http11, &[(CL, "")], Err(BadLength)),
            (Http11, &[(CL, "5, 5")], Err(BadLength)),
            (Http11, &[(CL, "5,")], Err(BadLength)),
            (Http11, &[(CL, "+5")], Err(BadLength)),
            (Http11, &[(CL, "-5")], Err(BadLength)),
            (Http11, &[(CL, "5 5")], Err(BadLength)),
            (Http11, &[(CL, "0x5")], Err(BadLength)),
            (Http11, &[(CL, "5.0")], Err(BadLength)),
            (Http11, &[(CL, "\"5\"")], Err(BadLength)),
            (Http11, &[(CL, "1_0")], Err(BadLength)),
            (Http11, &[(CL, "\u{b2}")], Err(BadLength)),
            (Http11, &[(CL, "18446744073709551616")], Err(BadLength)),
            (Http11, &[(CL, "99999999999999999999999999")], Err(BadLength)),
            (Http11, &[(TE, "chunked")], Ok(Framing::Chunked)),
            (Http11, &[("transfer-encoding", "CHUNKED")], Ok(Framing::Chunked)),
            (Http11, &[(TE, "chunked"), (CL, "5")], Err(LengthAndCoding)),
            (Http11, &[(CL, "5"), (TE, "chunked")], Err(LengthAndCoding)),
            (Http11, &[(CL, "x"), (TE, "chunked")], Err(LengthAndCoding)),
            (Http11, &[(CL, "5"), (TE, "x")], Err(LengthAndCoding)),
            (Http11, &[(TE, "chunked"), (TE, "chunked")], Err(BadCoding)),
            (Http11, &[(TE, "chunked"), (TE, "identity")], Err(BadCoding)),
            (Http11, &[(TE, "x"), (TE, "chunked")], Err(BadCoding)),
            (Http11, &[(TE, "chunked, chunked")], Err(BadCoding)),
            (Http11, &[(TE, "gzip, chunked")], Err(BadCoding)),
            (Http11, &[(TE, "chunked, gzip")], Err(BadCoding)),
            (Http11, &[(TE, ", chunked")], Err(BadCoding)),
            (Http11, &[(TE, "chunked,")], Err(BadCoding)),
            (Http11, &[(TE, "identity")], Err(BadCoding)),
            (Http11, &[(TE, "xchunked")], Err(BadCoding)),
            (Http11, &[(TE, "chunkedx")], Err(BadCoding)),
            (Http11, &[(TE, "chunked;q=1")], Err(BadCoding)),
            (Http11, &[(TE, "\"chunked\"")], Err(BadCoding)),
            (Http11, &[(TE, "")], Err(BadCoding)),
            (Http11, &[(TE, "chun ked")], Err(BadCoding)),
            (Http10, &[(TE, "chunked")], Err(CodingInHttp10)),
            (Http10, &[(TE, "chunked"), (CL, "5")], Err(CodingInHttp10)),
            // Not the fields that they look like.
            (Http11, &[("Content_Length", "5")], Ok(Framing::None)),
            (Http11, &[("Transfer_Encoding", "chunked")], Ok(Framing::None)),
            (Http11, &[("X-Content-Length", "5"), ("Content-Lengt", "6")], Ok(Framing::None)),
        ];
        for (version, list, expected) in rows {
            let lines: String = list.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let (input, fields) = fields(&lines);
            assert_eq!(of_request(*version, &input, &fields), *expected, "{version:?} {lines}");
        }
    }

    #[test]
    fn a_response_has_one_end() {
        use ResponseFraming::{Chunked, Length, None as NoBody, UntilClose};
        const LENGTH: &str = "Content-Length: 5\r\n";
        const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";
        // Status, to HEAD, fields, end, promised length: RFC 9112 6.3 by rule.
        let rows = [
            (200, true, LENGTH, NoBody, Some(5)),     // 1
            (200, true, CHUNKED, NoBody, None),       // 1
            (200, true, "", NoBody, None),            // 1
            (100, false, LENGTH, NoBody, None),       // 1
            (103, false, CHUNKED, NoBody, None),      // 1
            (101, false, LENGTH, NoBody, None),       // 1
            (204, false, LENGTH, NoBody, Some(5)),    // 1
            (304, false, LENGTH, NoBody, Some(5)),    // 1
            (304, false, CHUNKED, NoBody, None),      // 1
            (200, false, CHUNKED, Chunked, None),     // 4
            (200, false, LENGTH, Length(5), Some(5)), // 6
            (404, false, LENGTH, Length(5), Some(5)), // 6
            (205, false, LENGTH, Length(5), Some(5)), // 6
            (200, false, "", UntilClose, None),       // 8
            (500, false, "", UntilClose, None),       // 8
        ];
        for (status, to_head, lines, framing, length) in rows {
            let (input, fields) = fields(lines);
            let result = of_response(Status(status), to_head, Http11, &input, &fields);
            assert_eq!(result, Ok((framing, length)), "{status} {to_head} {lines}");
        }
    }

    #[test]
    fn a_response_without_one_certain_end_is_refused_even_without_a_body() {
        use FramingError::{BadCoding, BadLength, CodingInHttp10, LengthAndCoding, TwoLengths};
        let rows = [
            (Http11, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", LengthAndCoding), // 3
            (Http11, "Transfer-Encoding: gzip\r\n", BadCoding),                               // 4
            (Http11, "Transfer-Encoding: chunked, gzip\r\n", BadCoding),                      // 4
            (Http11, "Content-Length: 5\r\nContent-Length: 6\r\n", TwoLengths),               // 5
            (Http11, "Content-Length: 5, 6\r\n", BadLength),                                  // 5
            (Http10, "Transfer-Encoding: chunked\r\n", CodingInHttp10),                       // 6.1
        ];
        for (version, lines, expected) in rows {
            let (input, fields) = fields(lines);
            for (status, to_head) in [(200, false), (200, true), (204, false), (304, false)] {
                let result = of_response(Status(status), to_head, version, &input, &fields);
                assert_eq!(result, Err(expected), "{status} {to_head} {lines}");
            }
        }
    }
}
