//! One shard of the table of virtual hosts: a hash table that is built once and then only read.
//!
//! ```text
//!  hash ──► a group of up to six: what was compiled of each name's route, tags of the hashes, lengths ──► names, end to end
//!           (a cache line)                                                                              (of all groups)
//! ```
//!
//! A name is kept without its domain, if that is one that many names have: its number there (`domains.rs`), then the rest.
//!
//! What must hold: a name stands in the first group that had room, from the one that its hash says, and a group that a
//! name had to pass says so, so that any other ends a search; names stand in the order of their groups.
//!
//! What a look-up waits for is memory: a group is one cache line, and that is all that the one after it waits for. The name is
//! compared meanwhile.

use std::array;
use std::borrow::Cow;
use std::sync::Arc;

use super::domains::Domains;

/// Names of a group.
const GROUP: usize = 6;
/// How many there are on average.
const GROUP_TAKEN: usize = 4;
/// Set in [`Group::names`]: a name stands further on, because there was no room.
const PASSED: u32 = 1 << 31;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;
const EVEN_BYTES: u64 = 0x00FF_00FF_00FF_00FF;

/// Names, and what was compiled of the route of each.
pub(super) struct Shard<T> {
    groups: Arc<[Group<T>]>,
    names: Arc<[u8]>,
}

/// Up to six names, taken from the first place up.
#[repr(align(64))]
struct Group<T> {
    values: [Option<Arc<T>>; GROUP],
    /// A byte of each name's hash, 0 where the place is free.
    tags: [u8; GROUP],
    /// How many bytes each name takes.
    lens: [u8; GROUP],
    /// Where the names begin, in bytes; and [`PASSED`].
    names: u32,
}

/// A name of 1 to 254 bytes, its hash, and its value.
pub(super) struct Entry<'n, T> {
    pub(super) name: Cow<'n, [u8]>,
    pub(super) hash: u64,
    pub(super) value: Arc<T>,
}

impl<T> Shard<T> {
    /// No names.
    pub(super) fn new() -> Shard<T> {
        Shard { groups: Arc::new([]), names: Arc::new([]) }
    }

    /// Lays out the entries; no two have the same name.
    pub(super) fn build(entries: &[Entry<'_, T>], domains: &Domains) -> Shard<T> {
        let count = entries.len().div_ceil(GROUP_TAKEN);
        let mut groups: Vec<Group<T>> = (0..count).map(|_| Group::default()).collect();
        let mut placed = Vec::with_capacity(entries.len());
        for Entry { name, hash, value } in entries {
            let mut number = group_of(*hash, count);
            while groups[number].is_full() {
                groups[number].names = PASSED;
                number = next(number, count);
            }
            let (domain, rest) = domains.split(name);
            groups[number].take(tag_of(*hash), 1 + rest.len(), Arc::clone(value));
            placed.push((number, domain, rest));
        }
        placed.sort_by_key(|(number, ..)| *number);
        let mut names = Vec::new();
        let mut placed = placed.into_iter().peekable();
        for (number, group) in groups.iter_mut().enumerate() {
            group.names |= offset(names.len());
            while let Some((_, domain, rest)) = placed.next_if(|(of, ..)| *of == number) {
                names.push(domain);
                names.extend_from_slice(rest);
            }
        }
        Shard { groups: groups.into(), names: names.into() }
    }

    /// The same with another value of a name, which is there and has this hash; `None` where it is not.
    pub(super) fn with_value(
        &self,
        hash: u64,
        name: &[u8],
        value: &Arc<T>,
        domains: &Domains,
    ) -> Option<Shard<T>> {
        let (number, at) = self.position(hash, name, domains)?;
        let mut next = self.clone();
        let groups: &mut [Group<T>] = Arc::make_mut(&mut next.groups);
        groups[number].values[at] = Some(Arc::clone(value));
        Some(next)
    }

    /// What is kept under a name, which is not empty and has this hash.
    #[inline]
    pub(super) fn find(&self, hash: u64, name: &[u8], domains: &Domains) -> Option<&Arc<T>> {
        let (number, at) = self.position(hash, name, domains)?;
        self.groups.get(number)?.values.get(at)?.as_ref()
    }

    /// In which group a name stands, and where in it.
    #[inline]
    fn position(&self, hash: u64, name: &[u8], domains: &Domains) -> Option<(usize, usize)> {
        let count = self.groups.len();
        let mut number = group_of(hash, count);
        // A group that nothing has passed ends it; the bound only says that one of them comes.
        for _ in 0..count {
            let group = self.groups.get(number)?;
            let mut same = group.tagged(tag_of(hash));
            while same != 0 {
                let at = same.trailing_zeros() as usize / 8;
                if domains.are_joined(self.kept(group, at), name) {
                    return Some((number, at));
                }
                same &= same - 1;
            }
            if group.names & PASSED == 0 {
                return None;
            }
            number = next(number, count);
        }
        None
    }

    /// All names with their values; the hash is that which look-ups come with.
    pub(super) fn entries<'n>(&self, domains: &Domains, hash: impl Fn(&[u8]) -> u64) -> Vec<Entry<'n, T>> {
        let mut entries = Vec::new();
        for group in self.groups.iter() {
            for (at, value) in group.values.iter().flatten().enumerate() {
                let name = domains.join(self.kept(group, at));
                let hash = hash(&name);
                entries.push(Entry { name: name.into(), hash, value: Arc::clone(value) });
            }
        }
        entries
    }

    /// What is kept of the name at a place of a group; empty where none is.
    #[inline]
    fn kept(&self, group: &Group<T>, at: usize) -> &[u8] {
        let begin = (group.names & !PASSED) as usize + group.len_before(at);
        let len = group.lens.get(at).map_or(0, |len| usize::from(*len));
        self.names.get(begin..begin + len).unwrap_or_default()
    }
}

impl<T> Group<T> {
    /// The highest bit of each byte whose place has this tag, and sometimes of one behind such a byte.
    #[inline]
    fn tagged(&self, tag: u8) -> u64 {
        let differences = word(self.tags) ^ (LOW_BITS * u64::from(tag));
        differences.wrapping_sub(LOW_BITS) & !differences & HIGH_BITS
    }

    fn is_full(&self) -> bool {
        self.tags[GROUP - 1] != 0
    }

    /// How long the names before a place are together: no loop, whose end would be guessed wrong each time.
    #[inline]
    fn len_before(&self, at: usize) -> usize {
        let before = word(self.lens) & ((1 << (8 * at)) - 1);
        let pairs = (before & EVEN_BYTES) + (before >> 8 & EVEN_BYTES);
        (pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48) as usize
    }

    /// Takes the first free place.
    fn take(&mut self, tag: u8, len: usize, value: Arc<T>) {
        let free = self.tags.iter().position(|tag| *tag == 0).expect("it is not full");
        self.tags[free] = tag;
        self.lens[free] = u8::try_from(len).expect("validation lets no host of over 253 bytes through");
        self.values[free] = Some(value);
    }
}

impl<T> Default for Group<T> {
    fn default() -> Group<T> {
        Group { values: array::from_fn(|_| None), tags: [0; GROUP], lens: [0; GROUP], names: 0 }
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Group<T> {
        let Group { values, tags, lens, names } = self;
        Group { values: values.clone(), tags: *tags, lens: *lens, names: *names }
    }
}

/// Six bytes, and none behind them.
#[inline]
fn word([a, b, c, d, e, f]: [u8; GROUP]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// Where something stands in a shard.
fn offset(position: usize) -> u32 {
    let offset = u32::try_from(position).ok().filter(|offset| offset & PASSED == 0);
    offset.expect("a shard has less than 2 GiB of names")
}

/// Where a search begins: by the low half of the hash.
#[inline]
fn group_of(hash: u64, groups: usize) -> usize {
    (((hash & 0xFFFF_FFFF) * groups as u64) >> 32) as usize
}

/// Where it goes on.
#[inline]
fn next(number: usize, groups: usize) -> usize {
    if number + 1 == groups { 0 } else { number + 1 }
}

/// Never 0: by bits that say nothing about the group or the shard.
#[inline]
fn tag_of(hash: u64) -> u8 {
    (hash >> 32) as u8 | 0x80
}

impl<T> Clone for Shard<T> {
    fn clone(&self) -> Shard<T> {
        let Shard { groups, names } = self;
        Shard { groups: Arc::clone(groups), names: Arc::clone(names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(names: &[String], hash: fn(&[u8]) -> u64, domains: &Domains) -> Shard<String> {
        let entry = |name: &String| Entry {
            name: Cow::Owned(name.clone().into_bytes()),
            hash: hash(name.as_bytes()),
            value: Arc::new(name.clone()),
        };
        Shard::build(&names.iter().map(entry).collect::<Vec<_>>(), domains)
    }

    #[test]
    fn names_are_found_however_badly_they_are_hashed() {
        let hashes: [fn(&[u8]) -> u64; 4] =
            [|_| 0, |_| u64::MAX, |name| name.len() as u64, |name| u64::from(name[0]) << 30];
        for hash in hashes {
            for count in [0, 1, 4, 5, 6, 7, 8, 9, 100] {
                let names: Vec<String> = (0..count).map(|number| format!("{number}.example")).collect();
                for domains in [Domains::default(), Domains::choose(names.iter().map(String::as_bytes))] {
                    let shard = built(&names, hash, &domains);
                    let find = |name: &[u8]| shard.find(hash(name), name, &domains);
                    for name in &names {
                        assert_eq!(find(name.as_bytes()).map(|found| &**found), Some(name), "{count}");
                    }
                    assert_eq!(find(b"100.example"), None, "{count}");
                    let entries = shard.entries(&domains, hash);
                    assert!(entries.iter().all(|entry| *entry.name == *entry.value.as_bytes()), "{count}");
                    assert_eq!(entries.len(), count);
                }
            }
        }
    }

    #[test]
    fn one_value_changes_alone() {
        let names: Vec<String> = (0..50).map(|number| format!("{number}.example")).collect();
        let domains = Domains::choose(names.iter().map(String::as_bytes));
        let before = built(&names, |name| name.len() as u64, &domains);
        let other = Arc::new("other".to_owned());
        let after = before.with_value(9, b"7.example", &other, &domains).expect("it is there");
        for name in &names {
            let [old, new] = [&before, &after].map(|shard| {
                let found = shard.find(name.len() as u64, name.as_bytes(), &domains);
                found.expect("it is there").clone()
            });
            assert_eq!(*old, *name);
            assert!(if name == "7.example" { Arc::ptr_eq(&new, &other) } else { Arc::ptr_eq(&new, &old) });
        }
        assert!(before.with_value(9, b"x.example", &other, &domains).is_none());
    }

    #[test]
    fn names_of_every_length_are_kept() {
        let names: Vec<String> = (1..=254).map(|len| "x".repeat(len)).collect();
        let domains = Domains::default();
        let shard = built(&names, |_| 7, &domains);
        for name in &names {
            let found = shard.find(7, name.as_bytes(), &domains);
            assert_eq!(found.map(|found| &**found), Some(name));
        }
    }
}
