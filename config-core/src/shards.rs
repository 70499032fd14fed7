//! A fixed number of values that are shared piecewise: a copy is one pointer, changing one value of a copy copies two
//! blocks of 32. Behind [`crate::model::Routes`] and the engine's table of virtual hosts.

use std::array;
use std::sync::Arc;

/// Values of a block, and blocks.
const BLOCK: usize = 32;

/// 1,024 values, each behind a pointer of its own or small.
#[derive(Debug)]
pub struct Shards<T> {
    blocks: Arc<[Block<T>; BLOCK]>,
}

type Block<T> = Arc<[T; BLOCK]>;

impl<T> Clone for Shards<T> {
    fn clone(&self) -> Shards<T> {
        Shards { blocks: Arc::clone(&self.blocks) }
    }
}

impl<T: Clone> Shards<T> {
    /// How many values there are.
    pub const COUNT: usize = BLOCK * BLOCK;

    /// The same value everywhere.
    pub fn filled(value: &T) -> Shards<T> {
        let block: Block<T> = Arc::new(array::from_fn(|_| value.clone()));
        Shards { blocks: Arc::new(array::from_fn(|_| Arc::clone(&block))) }
    }

    /// Each value as `make` says for its number.
    pub fn from_fn(mut make: impl FnMut(usize) -> T) -> Shards<T> {
        let block =
            |first: usize, make: &mut dyn FnMut(usize) -> T| Arc::new(array::from_fn(|at| make(first + at)));
        Shards { blocks: Arc::new(array::from_fn(|number| block(number * BLOCK, &mut make))) }
    }

    /// The value that a hash belongs to; numbers from [`Shards::COUNT`] on wrap.
    #[inline]
    pub fn at(&self, number: usize) -> &T {
        &self.blocks[number / BLOCK % BLOCK][number % BLOCK]
    }

    /// The same, to be changed; what others share of it is copied first.
    pub fn at_mut(&mut self, number: usize) -> &mut T {
        let block = &mut Arc::make_mut(&mut self.blocks)[number / BLOCK % BLOCK];
        &mut Arc::make_mut(block)[number % BLOCK]
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flat_map(|block| block.iter())
    }

    /// The values of both, in pairs, leaving out the blocks that they share.
    pub fn pairs<'a>(&'a self, other: &'a Shards<T>) -> impl Iterator<Item = (&'a T, &'a T)> {
        let blocks = self.blocks.iter().zip(other.blocks.iter());
        let own = blocks.filter(|(left, right)| !Arc::ptr_eq(left, right));
        own.flat_map(|(left, right)| left.iter().zip(right.iter()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_copy_shares_the_rest() {
        let before = Shards::from_fn(|number| number);
        assert_eq!(before.iter().count(), Shards::<usize>::COUNT);
        let mut after = before.clone();
        *after.at_mut(77) = 0;
        *after.at_mut(1023 + 1024) = 1;
        assert_eq!((*before.at(77), *before.at(1023)), (77, 1023), "the original stays");
        assert_eq!((*after.at(77), *after.at(1023), *after.at(78)), (0, 1, 78));
        let changed: Vec<_> = before.pairs(&after).filter(|(left, right)| left != right).collect();
        assert_eq!(changed, [(&77, &0), (&1023, &1)]);
        assert_eq!(before.pairs(&after).count(), 2 * BLOCK, "two blocks were copied");
    }

    #[test]
    fn all_shards_may_begin_alike() {
        let mut shards = Shards::filled(&5);
        *shards.at_mut(3) = 6;
        assert_eq!(shards.iter().filter(|value| **value == 6).count(), 1);
    }
}
