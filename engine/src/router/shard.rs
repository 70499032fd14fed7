//! One shard of the table of virtual hosts: a hash table that is built once and then only read.
//!
//! ```text
//!  hash ──► a group of eight tags, one word ──► slots whose tag agrees ──► name, and what was compiled of its route
//!           8 bits of each name's hash          one cache line each
//! ```
//!
//! What must hold: a group's tags are taken from the lowest up, and a name stands in the first group that had room, from the
//! one that its hash says: a group with room ends a search. The tags of 100,000 names fit the second cache of a core; the
//! slots do not, so a look-up waits for memory once, for the slot that has the name, and hardly ever where none has it.

use std::sync::Arc;

/// Tags of a group.
const GROUP: usize = 8;
/// How many of them are taken on average.
const GROUP_TAKEN: usize = 6;
/// Longest name that stands in its slot.
const INLINE_BYTES_MAX: usize = 54;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;

/// Names, and what was compiled of the route of each.
pub(super) struct Shard<T> {
    /// A word for each group: a byte for each slot, 0 where it is free.
    tags: Arc<[u64]>,
    slots: Arc<[Option<Slot<T>>]>,
}

/// A name and its value: one cache line.
#[repr(align(64))]
pub(super) struct Slot<T> {
    name: Text,
    value: Arc<T>,
}

#[derive(Clone)]
enum Text {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Long(Arc<str>),
}

impl<T> Shard<T> {
    /// No names.
    pub(super) fn new() -> Shard<T> {
        Shard { tags: Arc::new([]), slots: Arc::new([]) }
    }

    /// Lays out the slots; no two have the same name. `hash` is that which look-ups come with.
    pub(super) fn build(slots: Vec<Slot<T>>, hash: impl Fn(&[u8]) -> u64) -> Shard<T> {
        let groups = slots.len().div_ceil(GROUP_TAKEN);
        let mut tags = vec![0; groups];
        let mut places: Vec<Option<Slot<T>>> = Vec::new();
        places.resize_with(groups * GROUP, || None);
        for slot in slots {
            let hash = hash(slot.name.as_bytes());
            let mut group = group_of(hash, groups);
            while is_full(tags[group]) {
                group = (group + 1) % groups;
            }
            let taken = GROUP - tags[group].leading_zeros() as usize / 8;
            tags[group] |= u64::from(tag_of(hash)) << (8 * taken);
            places[group * GROUP + taken] = Some(slot);
        }
        Shard { tags: tags.into(), slots: places.into() }
    }

    /// What is kept under a name that has this hash.
    #[inline]
    pub(super) fn find(&self, hash: u64, name: &[u8]) -> Option<&Arc<T>> {
        let groups = self.tags.len();
        let mut group = group_of(hash, groups);
        // Some group has room, so that the bound only says that this ends.
        for _ in 0..groups {
            let tags = *self.tags.get(group)?;
            let mut same = bytes_equal(tags, tag_of(hash));
            while same != 0 {
                let at = group * GROUP + same.trailing_zeros() as usize / 8;
                if let Some(Some(slot)) = self.slots.get(at)
                    && slot.name.as_bytes() == name
                {
                    return Some(&slot.value);
                }
                same &= same - 1;
            }
            if !is_full(tags) {
                return None;
            }
            group = if group + 1 == groups { 0 } else { group + 1 };
        }
        None
    }

    /// The slots that are taken.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot<T>> {
        self.slots.iter().flatten()
    }
}

impl<T> Slot<T> {
    /// What is kept under a name of at most 255 bytes.
    pub(super) fn new(name: &Arc<str>, value: Arc<T>) -> Slot<T> {
        let mut bytes = [0; INLINE_BYTES_MAX];
        let text = match (bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(name.as_bytes());
                Text::Inline { len, bytes }
            }
            _ => Text::Long(Arc::clone(name)),
        };
        Slot { name: text, value }
    }

    /// The name.
    pub(super) fn name(&self) -> &[u8] {
        self.name.as_bytes()
    }
}

impl Text {
    #[inline]
    fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Text::Long(text) => text.as_bytes(),
        }
    }
}

/// Where a search begins: by the low half of the hash.
#[inline]
fn group_of(hash: u64, groups: usize) -> usize {
    (((hash & 0xFFFF_FFFF) * groups as u64) >> 32) as usize
}

/// Never 0: by bits that say nothing about the group or the shard.
#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 32) as u8 | 0x80
}

#[inline]
fn is_full(tags: u64) -> bool {
    tags >> 56 != 0
}

/// The highest bit of each byte that equals `byte`, and sometimes of one behind such a byte.
#[inline]
fn bytes_equal(word: u64, byte: u8) -> u64 {
    let differences = word ^ (LOW_BITS * u64::from(byte));
    differences.wrapping_sub(LOW_BITS) & !differences & HIGH_BITS
}

impl<T> Clone for Shard<T> {
    fn clone(&self) -> Shard<T> {
        Shard { tags: Arc::clone(&self.tags), slots: Arc::clone(&self.slots) }
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        Slot { name: self.name.clone(), value: Arc::clone(&self.value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(names: &[String], hash: fn(&[u8]) -> u64) -> Shard<String> {
        let slot = |name: &String| Slot::new(&name.as_str().into(), Arc::new(name.clone()));
        Shard::build(names.iter().map(slot).collect(), hash)
    }

    #[test]
    fn a_slot_is_one_cache_line() {
        assert_eq!(size_of::<Option<Slot<String>>>(), 64);
    }

    #[test]
    fn names_are_found_however_badly_they_are_hashed() {
        let hashes: [fn(&[u8]) -> u64; 4] =
            [|_| 0, |_| u64::MAX, |name| name.len() as u64, |name| u64::from(name[0]) << 30];
        for hash in hashes {
            for count in [0, 1, 6, 7, 8, 9, 100] {
                let names: Vec<String> = (0..count).map(|number| format!("{number}.example")).collect();
                let shard = built(&names, hash);
                for name in &names {
                    let found = shard.find(hash(name.as_bytes()), name.as_bytes());
                    assert_eq!(found.map(|found| found.as_str()), Some(name.as_str()), "{count}");
                }
                assert_eq!(shard.find(hash(b"100.example"), b"100.example"), None, "{count}");
                assert_eq!(shard.slots().count(), count);
            }
        }
    }

    #[test]
    fn names_of_every_length_are_kept() {
        let names: Vec<String> = (1..=253).map(|len| "x".repeat(len)).collect();
        let shard = built(&names, |_| 7);
        for name in &names {
            assert_eq!(shard.find(7, name.as_bytes()).map(|found| found.as_str()), Some(name.as_str()));
        }
    }
}
