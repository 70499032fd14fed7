//! What the proxy itself puts on the wire: fields copied from the other side, numbers, and the framing of the
//! body that is being sent. Framing is always ours: no length and no chunk line of a peer is ever copied.

use crate::error::EncodeError;
use crate::header::map::Fields;
use crate::header::name::NameSet;

/// Framing of a body that is being sent. The caller sends the pieces' bytes itself; this writes what must stand
/// before and behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyEncoder {
    /// Ended, or no body at all.
    #[default]
    None,
    /// This many bytes are still promised.
    Length(u64),
    /// Chunks.
    Chunked {
        /// A chunk was begun, so its line end is still owed.
        open: bool,
    },
    /// Until the connection closes.
    UntilClose,
}

impl BodyEncoder {
    /// Writes what must stand before the next `len` bytes of the body.
    #[inline]
    pub fn piece(&mut self, len: u64, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if len == 0 {
            return Ok(());
        }
        match self {
            BodyEncoder::None => Err(EncodeError::TooLong),
            BodyEncoder::Length(left) => {
                *left = left.checked_sub(len).ok_or(EncodeError::TooLong)?;
                Ok(())
            }
            BodyEncoder::Chunked { open } => {
                if std::mem::replace(open, true) {
                    out.extend_from_slice(b"\r\n");
                }
                push_hex(out, len);
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
            BodyEncoder::UntilClose => Ok(()),
        }
    }

    /// Ends the body. Trailers are written if the body is chunked, else dropped. After an error the connection
    /// must be cut, so that the receiver sees an incomplete body.
    pub fn end(&mut self, out: &mut Vec<u8>, trailers: Option<(&[u8], &Fields)>) -> Result<(), EncodeError> {
        match *self {
            BodyEncoder::None | BodyEncoder::UntilClose => {}
            BodyEncoder::Length(0) => {}
            BodyEncoder::Length(left) => return Err(EncodeError::TooShort { left }),
            BodyEncoder::Chunked { open } => {
                out.extend_from_slice(if open { b"\r\n0\r\n" } else { b"0\r\n" });
                if let Some((input, fields)) = trailers {
                    copy_fields(out, input, fields, 0);
                }
                out.extend_from_slice(b"\r\n");
            }
        }
        *self = BodyEncoder::None;
        Ok(())
    }

    /// Whether it sends chunks.
    pub fn is_chunked(&self) -> bool {
        matches!(self, BodyEncoder::Chunked { .. })
    }

    /// Whether everything promised was sent, so that another message may follow.
    pub fn is_ended(&self) -> bool {
        matches!(self, BodyEncoder::None | BodyEncoder::Length(0))
    }
}

/// Copies the fields as `Name: value` lines, without those in `dropped` and those that end at this hop. Lines
/// that already stand in this form next to each other are copied in one go.
pub(crate) fn copy_fields(out: &mut Vec<u8>, input: &[u8], fields: &Fields, dropped: NameSet) {
    let mut run_start = 0;
    let mut run_end = 0;
    for field in fields.iter() {
        if field.hop || field.name.bit() & dropped != 0 {
            continue;
        }
        let start = field.name_span.start as usize;
        if field.tidy {
            if start != run_end {
                out.extend_from_slice(input.get(run_start..run_end).unwrap_or(&[]));
                run_start = start;
            }
            run_end = field.value.end() as usize + 2;
            continue;
        }
        out.extend_from_slice(input.get(run_start..run_end).unwrap_or(&[]));
        (run_start, run_end) = (0, 0);
        push_field(out, field.name_span.of(input), field.value.of(input));
    }
    out.extend_from_slice(input.get(run_start..run_end).unwrap_or(&[]));
}

/// Writes one field line.
pub(crate) fn push_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Whether a field of our own breaks no line: for assertions.
pub(crate) fn is_clean(name: &str, value: &str) -> bool {
    let breaks = |byte: u8| (byte < 0x20 && byte != b'\t') || byte == 0x7f;
    !name.is_empty() && !name.bytes().any(|byte| breaks(byte) || byte == b':') && !value.bytes().any(breaks)
}

/// Writes `Content-Length`.
pub(crate) fn push_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    push_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in decimal.
pub(crate) fn push_decimal(out: &mut Vec<u8>, number: u64) {
    push_digits::<10>(out, number);
}

/// Writes a number in hexadecimal.
pub(crate) fn push_hex(out: &mut Vec<u8>, number: u64) {
    push_digits::<16>(out, number);
}

fn push_digits<const BASE: u64>(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        let digit = (number % BASE) as u8;
        *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        number /= BASE;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or(&[]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_numbers() {
        for number in [0, 1, 9, 10, 15, 16, 255, 4096, 1 << 32, u64::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            out.push(b' ');
            push_hex(&mut out, number);
            assert_eq!(String::from_utf8(out).expect("digits"), format!("{number} {number:x}"));
        }
    }

    #[test]
    fn frames_chunks_and_ends_them() {
        let mut encoder = BodyEncoder::Chunked { open: false };
        let mut out = Vec::new();
        encoder.piece(3, &mut out).expect("any length");
        out.extend_from_slice(b"abc");
        encoder.piece(0, &mut out).expect("nothing to say, and above all no last chunk");
        encoder.piece(26, &mut out).expect("any length");
        out.extend_from_slice(&[b'x'; 26]);
        assert!(!encoder.is_ended());
        encoder.end(&mut out, None).expect("chunks always end");
        assert!(encoder.is_ended());
        assert_eq!(out, b"3\r\nabc\r\n1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
        assert_eq!(encoder.piece(1, &mut out), Err(EncodeError::TooLong));
    }

    #[test]
    fn an_empty_chunked_body_is_only_its_last_chunk() {
        let mut out = Vec::new();
        BodyEncoder::Chunked { open: false }.end(&mut out, None).expect("chunks always end");
        assert_eq!(out, b"0\r\n\r\n");
    }

    #[test]
    fn keeps_the_promised_length() {
        let mut out = Vec::new();
        let mut encoder = BodyEncoder::Length(5);
        encoder.piece(3, &mut out).expect("within the length");
        assert_eq!(encoder.end(&mut out, None), Err(EncodeError::TooShort { left: 2 }));
        assert_eq!(encoder.piece(3, &mut out), Err(EncodeError::TooLong));
        encoder.piece(2, &mut out).expect("exactly the rest");
        encoder.end(&mut out, None).expect("complete");
        assert!(out.is_empty());
        assert_eq!(BodyEncoder::None.piece(1, &mut out), Err(EncodeError::TooLong));
        assert_eq!(BodyEncoder::None.piece(0, &mut out), Ok(()));
    }
}
