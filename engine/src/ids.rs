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
    let first = hex(millis << 16 | 0x7000 | (high & 0x0FFF));
    let second = hex((low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000);
    let mut text = [b'-'; UUID_LEN];
    text[..8].copy_from_slice(&first[..8]);
    text[9..13].copy_from_slice(&first[8..12]);
    text[14..18].copy_from_slice(&first[12..]);
    text[19..23].copy_from_slice(&second[..4]);
    text[24..].copy_from_slice(&second[4..]);
    text
}

/// All sixteen digits at once: the nibbles are spread to a byte each, and those above nine become letters.
fn hex(word: u64) -> [u8; 16] {
    const ONES: u128 = u128::MAX / 0xff;
    let mut nibbles = u128::from(word);
    nibbles = (nibbles | nibbles << 32) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    nibbles = (nibbles | nibbles << 16) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & (ONES * 0x0f);
    let letters = ((nibbles + ONES * 6) >> 4) & ONES;
    (nibbles + ONES * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
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
