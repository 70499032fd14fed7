//! How a target reads its input: the wire first, then a few bytes of control at the end.
//!
//! The control bytes stand last so that a seed file is simply a wire that somebody can read, and two bytes.

/// The wire of an input, and how it is cut.
pub(crate) struct Input<'a> {
    /// The bytes under test.
    pub(crate) wire: &'a [u8],
    /// Switches for the target: role, limits.
    pub(crate) switches: u8,
    /// Where the cuts come from.
    seed: u8,
}

impl<'a> Input<'a> {
    /// Takes the control bytes off the end; `None` if the input is shorter than they are.
    pub(crate) fn of(data: &'a [u8]) -> Option<Input<'a>> {
        let (wire, &[switches, seed]) = data.split_last_chunk::<2>()?;
        Some(Input { wire, switches, seed })
    }

    /// The wire in pieces. The seed's low two bits say how long they may be, so that both byte by byte and
    /// nearly whole are met often.
    pub(crate) fn pieces(&self) -> Pieces<'a> {
        let longest = match self.seed & 3 {
            0 => 1,
            1 => 4,
            2 => 32,
            _ => 512,
        };
        Pieces { rest: self.wire, longest, state: u32::from(self.seed) | 0x9E37_0000 }
    }
}

/// The pieces of a wire: none empty, together the whole.
pub(crate) struct Pieces<'a> {
    rest: &'a [u8],
    longest: usize,
    state: u32,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        // Marsaglia's xorshift32.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 17;
        self.state ^= self.state << 5;
        let len = 1 + self.state as usize % self.longest;
        let (piece, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        Some(piece)
    }
}

/// A wire read as a program: each byte chooses an operation, or an operand of the one before.
pub(crate) struct Program<'a> {
    rest: &'a [u8],
}

impl<'a> Program<'a> {
    /// The whole wire of `input`.
    pub(crate) fn of(input: &Input<'a>) -> Program<'a> {
        Program { rest: input.wire }
    }

    /// The next choice, below 256; `None` at the end of the program.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// One of `list`.
    pub(crate) fn choose<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        let choice = usize::from(self.next()?);
        list.get(choice % list.len()).copied()
    }

    /// The next bytes up to an ESC, or to the end: a text of the fuzzer's own.
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let len = self.rest.iter().position(|byte| *byte == 0x1b).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(len);
        self.rest = rest.get(1..).unwrap_or_default();
        text
    }
}
