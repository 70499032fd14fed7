//! One shard of the table of virtual hosts: a hash table that is built once and then only read.
//!
//! ```text
//!  hash ──► a group of up to eight: tags, lengths ──► names, end to end ──► what was compiled of each name's route
//!           of a name's hash                          (of all groups)       (in the order of the names)
//! ```
//!
//! What must hold: a name stands in the first group that had room, from the one that its hash says, so that a group with
//! room ends a search; names and values stand in the order of their groups.
//!
//! Everything is packed, for what a look-up waits for is memory: the groups of 100,000 names take 400 KiB and stay in the
//! second cache of a core; the names, 3 MiB of them, stay in the share of the third that one program can hope for.

use std::sync::Arc;

/// Names of a group.
const GROUP: usize = 8;
/// How many there are on average.
const GROUP_TAKEN: usize = 6;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;
const EVEN_BYTES: u64 = 0x00FF_00FF_00FF_00FF;

/// Names, and what was compiled of the route of each.
pub(super) struct Shard<T> {
    groups: Arc<[Group]>,
    names: Arc<[u8]>,
    values: Arc<[Arc<T>]>,
}

/// Up to eight names, taken from the first place up.
#[derive(Clone, Copy, Default)]
struct Group {
    /// A byte of each name's hash, 0 where the place is free.
    tags: [u8; GROUP],
    /// How long each name is.
    lens: [u8; GROUP],
    /// Where the names begin, in bytes.
    names: u32,
    /// How many values there are before theirs.
    values: u32,
}

/// A name of 1 to 255 bytes, and its value.
pub(super) type Entry<'n, T> = (&'n [u8], Arc<T>);

impl<T> Shard<T> {
    /// No names.
    pub(super) fn new() -> Shard<T> {
        Shard { groups: Arc::new([]), names: Arc::new([]), values: Arc::new([]) }
    }

    /// Lays out the entries; no two have the same name. `hash` is that which look-ups come with.
    pub(super) fn build(entries: &[Entry<'_, T>], hash: impl Fn(&[u8]) -> u64) -> Shard<T> {
        let count = entries.len().div_ceil(GROUP_TAKEN);
        let mut taken = vec![0; count];
        let place = |entry| {
            let (name, _): &Entry<'_, T> = entry;
            let hash = hash(name);
            let mut group = group_of(hash, count);
            while taken[group] == GROUP {
                group = (group + 1) % count;
            }
            taken[group] += 1;
            (group, tag_of(hash), entry)
        };
        let mut placed: Vec<(usize, u8, &Entry<'_, T>)> = entries.iter().map(place).collect();
        placed.sort_by_key(|(group, ..)| *group);

        let mut names = Vec::with_capacity(entries.iter().map(|(name, _)| name.len()).sum());
        let mut values = Vec::with_capacity(entries.len());
        let mut placed = placed.into_iter();
        let groups = (0..count).map(|number| {
            let mut group =
                Group { names: offset(names.len()), values: offset(values.len()), ..Group::default() };
            for at in 0..taken[number] {
                let Some((_, tag, (name, value))) = placed.next() else { break };
                group.tags[at] = tag;
                group.lens[at] =
                    u8::try_from(name.len()).expect("validation lets no host of over 253 bytes through");
                names.extend_from_slice(name);
                values.push(Arc::clone(value));
            }
            group
        });
        let groups = groups.collect();
        Shard { groups, names: names.into(), values: values.into() }
    }

    /// What is kept under a name, which is not empty and has this hash.
    #[inline]
    pub(super) fn find(&self, hash: u64, name: &[u8]) -> Option<&Arc<T>> {
        let count = self.groups.len();
        let mut number = group_of(hash, count);
        // Some group has room, so that the bound only says that this ends.
        for _ in 0..count {
            let group = self.groups.get(number)?;
            let mut same = group.tagged(tag_of(hash));
            while same != 0 {
                let at = same.trailing_zeros() as usize / 8;
                if self.name(group, at) == name {
                    return self.values.get(group.values as usize + at);
                }
                same &= same - 1;
            }
            if !group.is_full() {
                return None;
            }
            number = if number + 1 == count { 0 } else { number + 1 };
        }
        None
    }

    /// All names with their values.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'_, T>> {
        let names = self.groups.iter().flat_map(|group| {
            let taken = group.lens.iter().take_while(|len| **len > 0).count();
            (0..taken).map(|at| self.name(group, at))
        });
        names.zip(self.values.iter().cloned())
    }

    /// The name at a place of a group; empty where none is.
    #[inline]
    fn name(&self, group: &Group, at: usize) -> &[u8] {
        let begin = group.names as usize + group.len_before(at);
        let len = group.lens.get(at).map_or(0, |len| usize::from(*len));
        self.names.get(begin..begin + len).unwrap_or_default()
    }
}

impl Group {
    /// The highest bit of each byte whose place has this tag, and sometimes of one behind such a byte.
    #[inline]
    fn tagged(&self, tag: u8) -> u64 {
        let differences = u64::from_le_bytes(self.tags) ^ (LOW_BITS * u64::from(tag));
        differences.wrapping_sub(LOW_BITS) & !differences & HIGH_BITS
    }

    #[inline]
    fn is_full(&self) -> bool {
        self.tags[GROUP - 1] != 0
    }

    /// How long the names before a place are together: no loop, whose end would be guessed wrong each time.
    #[inline]
    fn len_before(&self, at: usize) -> usize {
        let before = u64::from_le_bytes(self.lens) & ((1 << (8 * at)) - 1);
        let pairs = (before & EVEN_BYTES) + (before >> 8 & EVEN_BYTES);
        (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
    }
}

/// Where something stands in a shard.
fn offset(position: usize) -> u32 {
    u32::try_from(position).expect("a shard has less than 4 GiB of names")
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

impl<T> Clone for Shard<T> {
    fn clone(&self) -> Shard<T> {
        let Shard { groups, names, values } = self;
        Shard { groups: Arc::clone(groups), names: Arc::clone(names), values: Arc::clone(values) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(names: &[String], hash: fn(&[u8]) -> u64) -> Shard<String> {
        let entry = |name| {
            let name: &String = name;
            (name.as_bytes(), Arc::new(name.clone()))
        };
        Shard::build(&names.iter().map(entry).collect::<Vec<_>>(), hash)
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
                assert!(shard.entries().all(|(name, value)| name == value.as_bytes()), "{count}");
                assert_eq!(shard.entries().count(), count);
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
