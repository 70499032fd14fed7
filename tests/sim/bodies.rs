//! Bodies that say whose they are: every byte follows from the owner and its place, so that a byte of another body, or
//! of another place, is seen at once.

/// Whose bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) exchange: u32,
    pub(crate) part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Request,
    Answer,
    /// Frames of a session, from its client and from its backend.
    Up,
    Down,
}

impl Owner {
    /// The byte at a place.
    pub(crate) fn byte(self, at: u64) -> u8 {
        let seed = u64::from(self.exchange) << 8 | self.part as u64;
        let mut word = (at ^ seed << 20).wrapping_add(0x9E37_79B9_7F4A_7C15);
        word = (word ^ (word >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (word ^ word >> 32) as u8
    }

    /// Bytes from `at` on.
    pub(crate) fn bytes(self, at: u64, len: usize) -> Vec<u8> {
        (0..len as u64).map(|offset| self.byte(at + offset)).collect()
    }
}

/// Compares what arrives with what was to arrive.
pub(crate) struct Checker {
    owner: Owner,
    pub(crate) seen: u64,
    /// The first place with a wrong byte.
    pub(crate) wrong_at: Option<u64>,
}

impl Checker {
    pub(crate) fn new(owner: Owner) -> Checker {
        Checker { owner, seen: 0, wrong_at: None }
    }

    pub(crate) fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte != self.owner.byte(self.seen) {
                self.wrong_at.get_or_insert(self.seen);
            }
            self.seen += 1;
        }
    }
}
