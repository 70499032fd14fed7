//! A piece of a caller's buffer, kept as offsets because the buffer may belong to the kernel meanwhile.
//!
//! Made by the parsers, resolved by whoever still holds the bytes. A span never owns or borrows.

/// Offsets into the bytes given to the `feed` that produced it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// From `start` up to, not including, `end`. An `end` before `start` gives an empty span.
    /// Buffers are far below 4 GiB; an offset above that saturates and then resolves to nothing.
    #[inline]
    pub fn new(start: usize, end: usize) -> Span {
        let len = end.saturating_sub(start);
        Span { start: u32::try_from(start).unwrap_or(u32::MAX), len: u32::try_from(len).unwrap_or(u32::MAX) }
    }

    /// The bytes this span names in `input`; empty if `input` is not long enough.
    #[inline]
    pub fn of(self, input: &[u8]) -> &[u8] {
        let start = self.start as usize;
        let end = start.saturating_add(self.len as usize);
        input.get(start..end).unwrap_or(&[])
    }

    /// Offset just behind the last byte.
    #[inline]
    pub fn end(self) -> u32 {
        self.start.saturating_add(self.len)
    }

    /// Whether it names no bytes.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::Span;

    #[test]
    fn never_reaches_outside_the_input() {
        assert_eq!(Span::new(1, 3).of(b"abcd"), b"bc");
        assert_eq!(Span::new(3, 1).of(b"abcd"), b"");
        assert_eq!(Span { start: 3, len: 2 }.of(b"abcd"), b"");
        assert_eq!(Span { start: u32::MAX, len: u32::MAX }.of(b"abcd"), b"");
    }
}
