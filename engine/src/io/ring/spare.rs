//! What a core keeps to use again: the last one given back is the next one taken, so that few of them stay in the caches,
//! and what nobody has used for a while goes back to the allocator.

/// Unused ones that one trim gives back, if that is more than a quarter of them.
const TRIM_MIN: usize = 32;

/// How many of so many unused ones one trim gives back.
pub(super) fn trimmed(unused: usize) -> usize {
    unused.min(TRIM_MIN.max(unused / 4))
}

/// Spare values of one kind, `MAX` at most.
pub(crate) struct Spare<T, const MAX: usize> {
    list: Vec<T>,
    /// So many at the bottom have stayed there since the last trim.
    unused: usize,
}

impl<T, const MAX: usize> Default for Spare<T, MAX> {
    fn default() -> Self {
        Spare { list: Vec::new(), unused: 0 }
    }
}

impl<T, const MAX: usize> Spare<T, MAX> {
    #[inline]
    pub(crate) fn take(&mut self) -> Option<T> {
        let taken = self.list.pop();
        self.unused = self.unused.min(self.list.len());
        taken
    }

    /// Keeps it, if there are not enough.
    #[inline]
    pub(crate) fn keep(&mut self, value: T) {
        if self.list.len() < MAX {
            self.list.push(value);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Gives some of those back that nobody has needed since the last call.
    pub(crate) fn trim(&mut self) {
        self.list.drain(..trimmed(self.unused));
        self.unused = self.list.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_kept_is_the_first_one_taken() {
        let mut spare: Spare<u8, 2> = Spare::default();
        assert_eq!(spare.take(), None);
        (1..=3).for_each(|value| spare.keep(value));
        assert_eq!([spare.take(), spare.take(), spare.take()], [Some(2), Some(1), None]);
    }

    #[test]
    fn a_trim_gives_back_what_was_not_needed_since_the_last() {
        let mut spare: Spare<usize, 100> = Spare::default();
        (0..100).for_each(|value| spare.keep(value));
        spare.trim();
        assert_eq!(spare.len(), 100, "how many are needed is not known yet");
        let used: Vec<usize> = (0..60).filter_map(|_| spare.take()).collect();
        used.into_iter().for_each(|value| spare.keep(value));
        spare.trim();
        assert_eq!(spare.len(), 100 - TRIM_MIN, "40 were not needed");
        assert!(spare.list.contains(&99), "those at the top are in use");
    }
}
