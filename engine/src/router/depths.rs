//! How many names there are of each depth: a look-up leaves out what cannot be there.

const DOTS: u64 = LOW_BITS * b'.' as u64;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;

/// Names of 253 bytes have up to 126 dots between their labels; whatever has more counts as having so many.
const DOTS_MAX: usize = 127;

/// Names by the number of their dots.
#[derive(Clone, Copy)]
pub(super) struct Depths {
    counts: [u32; DOTS_MAX + 1],
    /// A bit for each number of dots that occurs.
    present: u128,
    len: usize,
}

impl Default for Depths {
    fn default() -> Depths {
        Depths { counts: [0; DOTS_MAX + 1], present: 0, len: 0 }
    }
}

impl Depths {
    /// A name with so many dots comes, or goes.
    pub(super) fn count(&mut self, dots: usize, comes: bool) {
        let dots = dots.min(DOTS_MAX);
        let count = &mut self.counts[dots];
        let others = self.len - *count as usize;
        *count = if comes { *count + 1 } else { count.saturating_sub(1) };
        self.len = others + *count as usize;
        let bit = u128::from(*count > 0) << dots;
        self.present = self.present & !(1 << dots) | bit;
    }

    /// Whether any name has so many dots.
    #[inline]
    pub(super) fn has(&self, dots: usize) -> bool {
        self.present >> dots.min(DOTS_MAX) & 1 == 1
    }

    /// How many names there are.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// How many dots a name of up to 253 bytes has.
#[inline]
pub(super) fn dots_of(name: &[u8]) -> usize {
    let (words, rest) = name.as_chunks::<8>();
    // The last bytes are the upper ones of the last eight, where there are as many.
    let last = match name.last_chunk::<8>() {
        Some(last) => u64::from_le_bytes(*last).checked_shr(64 - 8 * rest.len() as u32).unwrap_or(0),
        None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let sum = words.iter().fold(dots_in(last), |sum, word| sum + dots_in(u64::from_le_bytes(*word)));
    (sum.wrapping_mul(LOW_BITS) >> 56) as usize
}

/// 1 in each byte that is a dot.
#[inline]
fn dots_in(word: u64) -> u64 {
    let others = word ^ DOTS;
    // With the highest bits out of the way no byte carries into the next.
    let low = (others & !HIGH_BITS) + !HIGH_BITS;
    (!(low | others) & HIGH_BITS) >> 7
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_counted_wherever_they_stand() {
        for len in 0..=253_usize {
            for (first, step) in [(0, 1), (0, 2), (1, 3), (5, 7), (250, 1), (300, 1)] {
                let mut name = vec![b'/'; len];
                (first..len).step_by(step).for_each(|at| name[at] = b'.');
                let expected = name.iter().filter(|byte| **byte == b'.').count();
                assert_eq!(dots_of(&name), expected, "{len} {first} {step}");
            }
        }
        for byte in (0..=u8::MAX).filter(|byte| *byte != b'.') {
            assert_eq!(dots_of(&[byte; 19]), 0, "{byte}");
        }
    }

    #[test]
    fn a_depth_is_there_until_its_last_name_has_gone() {
        let mut depths = Depths::default();
        for dots in [0, 3, DOTS_MAX, 252] {
            depths.count(dots, true);
            depths.count(dots, true);
            depths.count(dots, false);
            assert!(depths.has(dots));
            depths.count(dots, false);
            assert!(!depths.has(dots) && depths.len() == 0, "{dots}");
        }
    }
}
