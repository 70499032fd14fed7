//! A slab whose keys carry a generation, so that a late message for a removed entry never reaches its successor.
//!
//! Used for sockets, tasks and timers. Entries live in chunks that never move and never shrink: growing costs one
//! chunk, not a copy of everything, and memory stays close to what is in use.

/// Entries per chunk.
const CHUNK: usize = 64;
const NONE: u32 = u32::MAX;

/// Names one entry of a [`Slab`] for as long as that entry lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

struct Entry<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

pub(crate) struct Slab<T> {
    chunks: Vec<Vec<Entry<T>>>,
    free: u32,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Slab<T> {
        Slab { chunks: Vec::new(), free: NONE, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        self.len += 1;
        if self.free != NONE {
            let index = self.free;
            let entry = self.entry_mut(index).expect("the free list names entries that exist");
            entry.value = Some(value);
            let key = Key { index, generation: entry.generation };
            self.free = entry.next_free;
            return key;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let chunks = self.chunks.len();
        let chunk = self.chunks.last_mut().expect("a chunk was just made sure of");
        let index = ((chunks - 1) * CHUNK + chunk.len()) as u32;
        chunk.push(Entry { generation: 1, next_free: NONE, value: Some(value) });
        Key { index, generation: 1 }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.chunks.get(key.index as usize / CHUNK)?.get(key.index as usize % CHUNK)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entry_mut(key.index)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// The live value in a slot, for structures that link entries by index.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.entry_mut(index)?.value.as_mut()
    }

    /// Takes an entry out; its key, and every copy of it, names nothing from now on.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let free = self.free;
        let entry = self.entry_mut(key.index)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next_free = free;
        self.free = key.index;
        self.len -= 1;
        Some(value)
    }

    /// The keys of all live entries.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let entries = self.chunks.iter().flatten().enumerate();
        entries
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(index, entry)| Key { index: index as u32, generation: entry.generation })
            .collect()
    }

    fn entry_mut(&mut self, index: u32) -> Option<&mut Entry<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_does_not_answer_to_its_old_key() {
        let mut slab = Slab::new();
        let old = slab.insert("old");
        assert_eq!(slab.remove(old), Some("old"));
        let new = slab.insert("new");
        assert_eq!(new.index, old.index);
        assert_ne!(new.generation, old.generation);
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get(new), Some(&"new"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn grows_over_many_chunks_and_lists_what_lives() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..1000).map(|n| slab.insert(n)).collect();
        for key in keys.iter().step_by(2) {
            slab.remove(*key);
        }
        assert_eq!(slab.len(), 500);
        assert_eq!(slab.keys(), keys.iter().skip(1).step_by(2).copied().collect::<Vec<_>>());
        assert!(keys.iter().enumerate().skip(1).step_by(2).all(|(n, key)| slab.get(*key) == Some(&n)));
    }
}
