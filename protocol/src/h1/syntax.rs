//! The lines of a head or trailer section (RFC 9112 2.2 to 5.2), byte by byte and strict. Called by `h1::head`
//! for heads and by `h1::decode` for trailers.
//!
//! A line is judged only once its LF is there. So the verdict never depends on how the bytes were cut into
//! pieces, and errors are found in the order of the lines.

use crate::error::HeadError;
use crate::header::map::{Field, Fields};
use crate::header::name::Name;
use crate::span::Span;

/// How far a section is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The section ends just before this offset.
    Done(usize),
    /// The last line is not there yet.
    More,
}

/// Remembers how much of an unfinished section was looked at, so that a section that comes in crumbs is not
/// parsed again until another line end is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    bytes: u32,
}

impl Scan {
    /// Bytes of the unfinished section seen so far.
    pub(crate) fn bytes(self) -> usize {
        self.bytes as usize
    }

    /// Whether parsing `section` again could tell more than last time: another line end has come, or one of the
    /// `caps` is reached.
    pub(crate) fn is_news(self, section: &[u8], caps: &[usize]) -> bool {
        let seen = self.bytes();
        seen == 0
            || memchr::memchr(b'\n', section.get(seen..).unwrap_or(&[])).is_some()
            || caps.iter().any(|cap| seen < *cap && section.len() >= *cap)
    }

    /// Notes that all of `section` has been looked at.
    pub(crate) fn note(&mut self, section: &[u8]) {
        self.bytes = u32::try_from(section.len()).unwrap_or(u32::MAX);
    }
}

const TOKEN: u8 = 1;
const UNDERSCORE: u8 = 2;

/// RFC 9110 5.6.2, with `_` told apart.
const NAME_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let symbol = byte as u8;
        let is_token = symbol.is_ascii_alphanumeric()
            || matches!(symbol, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
            || matches!(symbol, b'^' | b'`' | b'|' | b'~');
        table[byte] = if symbol == b'_' { TOKEN | UNDERSCORE } else { is_token as u8 };
        byte += 1;
    }
    table
};

/// Length of the token at the start of `bytes`, and whether `_` is in it.
#[inline]
pub(crate) fn token(bytes: &[u8]) -> (usize, bool) {
    let mut seen = 0;
    let mut len = 0;
    for byte in bytes {
        let class = NAME_BYTES[usize::from(*byte)];
        if class == 0 {
            break;
        }
        seen |= class;
        len += 1;
    }
    (len, seen & UNDERSCORE != 0)
}

/// Number of leading bytes that may stand in a value or reason phrase: tab, visible ASCII, space, and above.
#[inline]
pub(crate) fn text_len(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Some((block, after)) = rest.split_first_chunk::<16>() {
        // Written for the compiler to make vector instructions of it.
        let controls =
            block.iter().fold(0, |seen, byte| seen | u8::from(*byte < 0x20) | u8::from(*byte == 0x7f));
        if controls != 0 {
            break;
        }
        rest = after;
    }
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        let controls = control_bits(u64::from_le_bytes(*word));
        if controls != 0 {
            let at = bytes.len() - rest.len() + (controls.trailing_zeros() / 8) as usize;
            // A tab is the one control that may stay; lines with tabs inside are rare.
            return if bytes.get(at) == Some(&b'\t') { text_len_slow(bytes, at) } else { at };
        }
        rest = after;
    }
    text_len_slow(bytes, bytes.len() - rest.len())
}

/// [`text_len`] byte by byte from `start`.
fn text_len_slow(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or(&[]);
    let is_control = |byte: &u8| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f;
    rest.iter().position(is_control).map_or(bytes.len(), |at| start + at)
}

/// The top bit of each byte that is below 0x20 or is 0x7f. Adding to seven bits never carries into the next
/// byte, so every bit is exact.
#[inline]
fn control_bits(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low_bits = word & (ONES * 0x7f);
    let is_delete = low_bits + ONES;
    let is_visible = low_bits + ONES * 0x60;
    (is_delete | !is_visible) & !word & (ONES * 0x80)
}

/// Reads field lines from `at` to the empty line. `section` must be cut at the caller's byte cap; reaching its
/// end is [`Progress::More`].
pub(crate) fn read_fields(
    section: &[u8],
    start: usize,
    fields: &mut Fields,
    fields_max: u32,
) -> Result<Progress, HeadError> {
    fields.clear();
    let mut at = start;
    loop {
        let rest = section.get(at..).unwrap_or(&[]);
        match rest {
            [b'\r', b'\n', ..] => return Ok(Progress::Done(at + 2)),
            [] => return Ok(Progress::More),
            _ => {}
        }
        match read_line(rest, at) {
            Ok((field, len)) => {
                if fields.len() >= fields_max as usize {
                    return Err(HeadError::TooManyFields);
                }
                fields.push(field);
                at += len;
            }
            Err(fault) => return judge(rest, fault),
        }
    }
}

/// What is wrong with a line, if it really is: the bytes may just have run out.
#[cold]
fn judge(line: &[u8], fault: HeadError) -> Result<Progress, HeadError> {
    if memchr::memchr(b'\n', line).is_some() { Err(fault) } else { Ok(Progress::More) }
}

/// One field line at the start of `rest`, and its length with the line end.
#[inline]
fn read_line(rest: &[u8], at: usize) -> Result<(Field, usize), HeadError> {
    let (name, name_len) = match rest.first_chunk().and_then(Name::before_colon) {
        Some(known) => known,
        None => read_name(rest)?,
    };
    let after_colon = rest.get(name_len + 1..).unwrap_or(&[]);
    let (space_len, padded) = match after_colon {
        [b' ', next, ..] if *next != b' ' && *next != b'\t' => (1, false),
        _ => (after_colon.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count(), true),
    };
    let value_rest = after_colon.get(space_len..).unwrap_or(&[]);
    let text_len = text_len(value_rest);
    match value_rest.get(text_len..) {
        Some([b'\r', b'\n', ..]) => {}
        other => return Err(control_fault(other.unwrap_or(&[]), HeadError::BadValue)),
    }
    let text = value_rest.get(..text_len).unwrap_or(&[]);
    let value_len = if let [.., b' ' | b'\t'] = text { text.trim_ascii_end().len() } else { text_len };
    let value_start = at + name_len + 1 + space_len;
    let field = Field {
        name,
        hop: false,
        tidy: !padded && value_len == text_len && value_len != 0,
        name_span: Span::new(at, at + name_len),
        value: Span::new(value_start, value_start + value_len),
    };
    Ok((field, name_len + 1 + space_len + text_len + 2))
}

/// The name at the start of a line, and its length; a colon follows it.
fn read_name(rest: &[u8]) -> Result<(Name, usize), HeadError> {
    let (len, has_underscore) = token(rest);
    let (name, after_name) = rest.split_at_checked(len).ok_or(HeadError::BadName)?;
    if after_name.first() != Some(&b':') {
        return Err(name_fault(len, after_name));
    }
    if len == 0 {
        return Err(HeadError::BadName);
    }
    Ok((if has_underscore { Name::of_underscored(name) } else { Name::of(name) }, len))
}

/// Why a name is not followed by a colon.
#[cold]
fn name_fault(name_len: usize, after_name: &[u8]) -> HeadError {
    match after_name.first() {
        Some(b' ' | b'\t') if name_len == 0 => HeadError::FoldedLine,
        Some(b' ' | b'\t') => HeadError::SpaceBeforeColon,
        _ => control_fault(after_name, HeadError::BadName),
    }
}

/// Which control character stands at the start of `rest`.
#[cold]
pub(crate) fn control_fault(rest: &[u8], otherwise: HeadError) -> HeadError {
    match rest {
        [b'\r', b'\n', ..] => otherwise,
        [b'\r', ..] => HeadError::BareCr,
        [b'\n', ..] => HeadError::BareLf,
        [0, ..] => HeadError::Nul,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_ends_at_every_control_but_tab() {
        for byte in 0..=255u8 {
            for at in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[at] = byte;
                let ends = (byte < 0x20 && byte != b'\t') || byte == 0x7f;
                assert_eq!(text_len(&bytes), if ends { at } else { 20 }, "{byte:#x} at {at}");
                // Behind a tab, and among bytes above ASCII.
                bytes = [0xff; 20];
                bytes[0] = b'\t';
                bytes[at] = byte;
                assert_eq!(text_len(&bytes), if ends { at } else { 20 }, "{byte:#x} at {at}");
            }
        }
        assert_eq!(text_len(b""), 0);
    }

    #[test]
    fn tokens_are_those_of_the_grammar() {
        // RFC 9110 5.6.2
        let grammar = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        for byte in 0..=255u8 {
            assert_eq!(token(&[byte]).0 == 1, grammar.contains(&byte), "{byte:#x}");
            assert_eq!(token(&[byte]).1, byte == b'_');
        }
    }
}
