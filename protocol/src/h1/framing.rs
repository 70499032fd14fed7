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
