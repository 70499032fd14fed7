//! The chunked coding (RFC 9112 7.1), byte by byte: chunk lines may be cut anywhere, data is never copied.
//! Driven by `h1::decode`.
//!
//! ```text
//!        digits      CR           LF, size 0
//! Size ─────────► SizeLf ──────────────────► (last chunk: the trailer section follows)
//!   ▲ │ ;           ▲ │ LF
//!   │ ▼       CR    │ ▼        all data       CR
//!   │ Extension ────┘ Data ───────────► DataCr ───► DataLf
//!   └──────────────────────────────────────────────── LF
//! ```

use crate::error::ChunkError;
use crate::limits::Limits;
use crate::span::Span;

/// Hexadecimal digits that fit 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
}

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChunkDecoder {
    left: u64,
    extension_bytes: u32,
    digits: u8,
    state: State,
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Nothing yet: all input is used up.
    More,
    /// Some data of a chunk.
    Data(Span),
    /// The line of the last chunk: the trailer section follows.
    Last,
}

impl ChunkDecoder {
    /// Whether the next byte begins a chunk's line.
    pub(crate) fn is_between_chunks(&self) -> bool {
        self.state == State::Size && self.digits == 0
    }

    /// Reads from `at` to the next piece. Gives the offset up to which it read. `body_left` is how much more
    /// the body's limit allows.
    pub(crate) fn step(
        &mut self,
        input: &[u8],
        mut at: usize,
        limits: &Limits,
        body_left: &mut u64,
    ) -> Result<(usize, Chunk), ChunkError> {
        while let Some(byte) = input.get(at) {
            match self.state {
                State::Size => self.size_byte(*byte)?,
                State::Extension => self.extension_byte(*byte, limits)?,
                State::SizeLf => {
                    expect(*byte, b'\n')?;
                    if self.left == 0 {
                        return Ok((at + 1, Chunk::Last));
                    }
                    *body_left = body_left.checked_sub(self.left).ok_or(ChunkError::TooLarge)?;
                    self.state = State::Data;
                }
                State::Data => return Ok(self.data(input, at)),
                State::DataCr => {
                    expect(*byte, b'\r')?;
                    self.state = State::DataLf;
                }
                State::DataLf => {
                    expect(*byte, b'\n')?;
                    self.next_chunk();
                }
            }
            at += 1;
        }
        Ok((at, Chunk::More))
    }

    #[inline]
    fn size_byte(&mut self, byte: u8) -> Result<(), ChunkError> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => {
                self.state = State::SizeLf;
                return Ok(());
            }
            b';' if self.digits > 0 => {
                self.state = State::Extension;
                return Ok(());
            }
            _ => return Err(ChunkError::BadSize),
        };
        if self.digits >= SIZE_DIGITS_MAX {
            return Err(ChunkError::BadSize);
        }
        self.digits += 1;
        self.left = (self.left << 4) | u64::from(digit);
        Ok(())
    }

    fn extension_byte(&mut self, byte: u8, limits: &Limits) -> Result<(), ChunkError> {
        if byte == b'\r' {
            self.state = State::SizeLf;
            return Ok(());
        }
        if (byte < 0x20 && byte != b'\t') || byte == 0x7f {
            return Err(ChunkError::BadExtension);
        }
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        if self.extension_bytes > limits.chunk_extension_bytes_max {
            return Err(ChunkError::ExtensionsTooLong);
        }
        Ok(())
    }

    /// The data at `at`; its line end too, if it is there already.
    fn data(&mut self, input: &[u8], at: usize) -> (usize, Chunk) {
        let available = input.len() - at;
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(available);
        let end = at + len;
        self.left -= len as u64;
        let mut used = end;
        if self.left == 0 {
            self.state = State::DataCr;
            if let Some([b'\r', b'\n', ..]) = input.get(end..) {
                self.next_chunk();
                used = end + 2;
            }
        }
        (used, Chunk::Data(Span::new(at, end)))
    }

    fn next_chunk(&mut self) {
        self.state = State::Size;
        self.digits = 0;
        self.left = 0;
    }
}

fn expect(byte: u8, wanted: u8) -> Result<(), ChunkError> {
    if byte == wanted { Ok(()) } else { Err(ChunkError::BadLineEnd) }
}
