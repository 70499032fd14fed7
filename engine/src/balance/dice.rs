//! Cheap random numbers for one pick, all from its one seed (SplitMix64).

use super::Moment;

/// A generator that lives as long as a pick.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl From<&Moment> for Dice {
    fn from(moment: &Moment) -> Dice {
        Dice(moment.random)
    }
}

impl Dice {
    #[inline]
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// 64 random bits.
    #[inline]
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `count`, by the upper half of a roll.
    #[inline]
    pub(super) fn below(&mut self, count: usize) -> usize {
        scale(self.roll() >> 32, count)
    }

    /// A number from 0 to below 1.
    #[inline]
    pub(super) fn unit(&mut self) -> f32 {
        unit(self.roll())
    }
}

/// 32 random bits as a number below `count`.
#[inline]
pub(super) fn scale(bits: u64, count: usize) -> usize {
    (((bits & 0xFFFF_FFFF) * count as u64) >> 32) as usize
}

/// The upper 24 of 64 bits, as many as an `f32` holds, as a number from 0 to below 1.
#[inline]
pub(super) fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1_u32 << 24) as f32
}

/// Spreads a change of any bit over all of them.
#[inline]
pub(super) fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}
