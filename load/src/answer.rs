//! The answers that the origin gives and that a client of the load loop checks: pure bytes, no sockets.
//!
//! A body is the little-endian count of its 8-byte words, so that any piece of it tells where it belongs: a
//! small body is compared whole, of a long one the first and last whole word of every piece received. That is
//! cheap enough for the thread that also has to produce the load, and finds lost, doubled and swapped bytes.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

/// Bodies up to this length are compared byte by byte.
const COMPARED_WHOLE_MAX: usize = 1024;
/// A head longer than this is a fault: none of the peers adds that much.
pub(crate) const HEAD_BYTES_MAX: usize = 4096;

/// Why an answer, or the connection it came on, was not what it had to be.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The connection failed.
    Io(std::io::Error),
    /// The work needs TLS, and nobody has said where.
    NoListener,
    /// A client of a storm of handshakes failed.
    Storm(String),
    /// TLS failed.
    Tls(rustls::Error),
    /// A full handshake where a resumed one was due, or the other way round.
    Resumption,
    /// The peer closed before the answer was complete.
    Closed,
    /// An answer was still missing so long after its client's turn.
    Late(Duration),
    /// The status line was not `HTTP/1.1 200`, or for an upgrade `101`.
    Status(String),
    /// `Content-Length` missing or not the length asked for.
    Length,
    /// The head did not end within [`HEAD_BYTES_MAX`].
    HeadTooLong,
    /// A body byte was wrong, or more came than was announced.
    Body,
    /// A WebSocket frame was not the echo of the one sent.
    Echo,
    /// The check before a run found fields missing in the forwarded request.
    Forwarded(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(error) => write!(f, "connection failed: {error}"),
            Fault::NoListener => write!(f, "no TLS listener to work on"),
            Fault::Storm(fault) => write!(f, "in the storm: {fault}"),
            Fault::Tls(error) => write!(f, "TLS failed: {error}"),
            Fault::Resumption => {
                write!(f, "the handshake was full and should have been resumed, or the other way round")
            }
            Fault::Closed => write!(f, "closed before the answer was complete"),
            Fault::Late(patience) => write!(f, "no answer within {} s after the turn", patience.as_secs()),
            Fault::Status(line) => write!(f, "status line {line:?}"),
            Fault::Length => write!(f, "Content-Length missing or wrong"),
            Fault::HeadTooLong => write!(f, "head over {HEAD_BYTES_MAX} bytes"),
            Fault::Body => write!(f, "body differs"),
            Fault::Echo => write!(f, "echo differs"),
            Fault::Forwarded(missing) => write!(f, "forwarded request lacks {missing}"),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        Fault::Io(error)
    }
}

/// The first `len` bytes of the body pattern.
pub(crate) fn body(len: usize) -> Vec<u8> {
    let words = len.div_ceil(8) as u64;
    let mut bytes: Vec<u8> = (0..words).flat_map(u64::to_le_bytes).collect();
    bytes.truncate(len);
    bytes
}

/// A complete answer of the origin with a body of `len` bytes.
pub(crate) fn wire(len: usize) -> Vec<u8> {
    let mut wire = Vec::with_capacity(len + 128);
    write!(
        wire,
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {len}\r\n\r\n"
    )
    .expect("a Vec takes every write");
    wire.extend(body(len));
    wire
}

/// Checks the head at the start of `input` for an answer of `body_len` bytes; gives the head's length once it
/// is complete, `None` while it is not.
pub(crate) fn check_head(input: &[u8], body_len: usize) -> Result<Option<usize>, Fault> {
    let mut line_start = 0;
    let mut length_matches = false;
    for end in memchr::memchr_iter(b'\n', input) {
        let line = input[line_start..end].trim_ascii_end();
        if line.is_empty() {
            return if length_matches { Ok(Some(end + 1)) } else { Err(Fault::Length) };
        }
        if line_start == 0 && !line.starts_with(b"HTTP/1.1 200") {
            return Err(Fault::Status(String::from_utf8_lossy(line).into_owned()));
        }
        if let Some(value) = value_of(line, b"content-length:") {
            length_matches = decimal(value) == Some(body_len);
        }
        line_start = end + 1;
    }
    if input.len() > HEAD_BYTES_MAX { Err(Fault::HeadTooLong) } else { Ok(None) }
}

/// Checks `piece`, which stands at `at` in a body of `body_len` bytes.
pub(crate) fn check_piece(piece: &[u8], at: usize, body_len: usize) -> Result<(), Fault> {
    if at + piece.len() > body_len {
        return Err(Fault::Body);
    }
    let is_right = if body_len <= COMPARED_WHOLE_MAX {
        piece.iter().enumerate().all(|(i, &byte)| byte == pattern_byte(at + i))
    } else {
        let words = whole_words(piece, at);
        words.into_iter().flatten().all(|(word, bytes)| word.to_le_bytes() == bytes)
    };
    if is_right { Ok(()) } else { Err(Fault::Body) }
}

/// The value of a field line if its name, colon included and in lower case, is `name`.
pub(crate) fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, value) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

/// A decimal number without sign, or `None`.
pub(crate) fn decimal(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The byte at `at` of the pattern.
fn pattern_byte(at: usize) -> u8 {
    (at as u64 / 8).to_le_bytes()[at % 8]
}

/// The first and the last whole word in `piece`, each with its number.
fn whole_words(piece: &[u8], at: usize) -> [Option<(u64, [u8; 8])>; 2] {
    let word_at = |start: usize| {
        let bytes: [u8; 8] = piece.get(start..start + 8)?.try_into().ok()?;
        Some(((at + start) as u64 / 8, bytes))
    };
    let first = at.next_multiple_of(8) - at;
    let last = (piece.len() + at) / 8 * 8;
    [word_at(first), last.checked_sub(8 + at).and_then(word_at)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_answer_passes_at_every_split() {
        let wire = wire(128);
        let head_len = check_head(&wire, 128).expect("the head is right").expect("and complete");
        for cut in 0..head_len {
            assert!(matches!(check_head(&wire[..cut], 128), Ok(None)), "cut at {cut}");
        }
        for cut in head_len..wire.len() {
            let (left, right) = (&wire[head_len..cut], &wire[cut..]);
            assert!(check_piece(left, 0, 128).is_ok(), "cut at {cut}");
            assert!(check_piece(right, left.len(), 128).is_ok(), "cut at {cut}");
        }
    }

    #[test]
    fn wrong_heads_are_refused() {
        let status = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 128\r\n\r\n";
        assert!(matches!(check_head(status, 128), Err(Fault::Status(_))));
        let length = b"HTTP/1.1 200 OK\r\ncontent-length: 127\r\n\r\n";
        assert!(matches!(check_head(length, 128), Err(Fault::Length)));
        let none = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(matches!(check_head(none, 128), Err(Fault::Length)));
        let long = [b"HTTP/1.1 200 OK\r\nA: ".as_slice(), &[b'x'; HEAD_BYTES_MAX]].concat();
        assert!(matches!(check_head(&long, 128), Err(Fault::HeadTooLong)));
    }

    #[test]
    fn wrong_bodies_are_refused() {
        let small = body(128);
        for at in 0..small.len() {
            let mut wrong = small.clone();
            wrong[at] ^= 1;
            assert!(check_piece(&wrong, 0, 128).is_err(), "byte {at}");
        }
        assert!(check_piece(&small, 1, 128).is_err(), "one byte too many");
        let large = body(1 << 20);
        assert!(check_piece(&large[4096..8192], 4096, 1 << 20).is_ok());
        assert!(check_piece(&large[4099..8190], 4099, 1 << 20).is_ok());
        assert!(check_piece(&large[4096..8192], 8192, 1 << 20).is_err(), "swapped");
        assert!(check_piece(&large[4096..8192], 4097, 1 << 20).is_err(), "one byte lost");
    }

    #[test]
    fn short_pieces_of_long_bodies_never_go_out_of_range() {
        let large = body(4096);
        for at in 0..40 {
            for len in 0..40 {
                assert!(check_piece(&large[at..at + len], at, 4096).is_ok(), "{len} bytes at {at}");
            }
        }
    }
}
