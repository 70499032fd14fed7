//! Ids that cores hand out without asking each other: UUID version 7 (RFC 9562 5.7).

use std::cell::Cell;

use crate::io;

/// Length of the textual form.
pub(crate) const UUID_LEN: usize = 36;

/// Makes ids for one core. The random part comes from a small fast generator seeded once from the system's: an id
/// names a request, it does not guard one.
pub(crate) struct Ids {
    state: Cell<u64>,
}

impl Ids {
    /// A generator with its own random seed.
    pub(crate) fn new() -> Ids {
        Ids { state: Cell::new(io::entropy()) }
    }

    /// A new id in its textual form.
    pub(crate) fn next(&self) -> [u8; UUID_LEN] {
        format_uuid7(io::unix_ms(), self.random(), self.random())
    }

    /// 64 random bits (SplitMix64).
    pub(crate) fn random(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(state);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

fn format_uuid7(millis: u64, high: u64, low: u64) -> [u8; UUID_LEN] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let first = millis << 16 | 0x7000 | (high & 0x0FFF);
    let second = (low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000;
    let bytes = (u128::from(first) << 64 | u128::from(second)).to_be_bytes();
    let mut text = [b'-'; UUID_LEN];
    let mut at = 0;
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[(byte >> 4) as usize];
        text[at + 1] = HEX[(byte & 15) as usize];
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_uuid_version_7() {
        // RFC 9562 appendix A.6.
        let text = format_uuid7(0x017F_22E2_79B0, 0x0CC3, 0x18C4_DC0C_0C07_398F);
        assert_eq!(std::str::from_utf8(&text), Ok("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
    }

    #[test]
    fn ids_differ_and_grow_with_time() {
        let ids = Ids::new();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert!(first[..13] <= second[..13]);
    }
}
