//! The domains that many names of a table have in common. Names are kept without them, so that more of the table stays in the
//! caches: a platform's tenants, which are a hundred thousand names, have few domains.

use std::collections::HashMap;

/// Domains with a number of their own; 0 says that a name has none of them.
const DOMAINS_MAX: usize = 255;

/// The domains that names are kept without. The default has none.
#[derive(Default)]
pub(super) struct Domains {
    /// With the dot in front; the first has the number 1.
    list: Vec<Box<[u8]>>,
    numbers: HashMap<Box<[u8]>, u8>,
}

impl Domains {
    /// Those that save most among these names.
    pub(super) fn choose<'n>(names: impl Iterator<Item = &'n [u8]>) -> Domains {
        let mut shared: HashMap<&[u8], usize> = HashMap::new();
        for name in names {
            *shared.entry(name.split_at(domain_at(name)).1).or_default() += 1;
        }
        let mut shared: Vec<(&[u8], usize)> =
            shared.into_iter().filter(|(domain, names)| !domain.is_empty() && *names > 1).collect();
        shared.sort_unstable_by_key(|(domain, names)| std::cmp::Reverse((domain.len() * names, *domain)));
        let list: Vec<Box<[u8]>> =
            shared.into_iter().take(DOMAINS_MAX).map(|(domain, _)| Box::from(domain)).collect();
        let numbers = (1..=u8::MAX).zip(&list).map(|(number, domain)| (domain.clone(), number)).collect();
        Domains { list, numbers }
    }

    /// The number of a name's domain, 0 for one that is not among these, and what is kept of the name.
    pub(super) fn split<'n>(&self, name: &'n [u8]) -> (u8, &'n [u8]) {
        let (rest, domain) = name.split_at(domain_at(name));
        self.numbers.get(domain).map_or((0, name), |number| (*number, rest))
    }

    /// Whether a name is what was kept: the number of its domain, and the rest.
    #[inline]
    pub(super) fn are_joined(&self, kept: &[u8], name: &[u8]) -> bool {
        match kept.split_first() {
            // Not compared with an empty domain: no bytes, nowhere, can cost 100 ns (a masked load of an address that is none).
            Some((0, rest)) => rest == name,
            Some((number, rest)) => name.strip_suffix(self.domain(*number)) == Some(rest),
            None => false,
        }
    }

    /// The name of which this was kept.
    pub(super) fn join(&self, kept: &[u8]) -> Vec<u8> {
        kept.split_first().map_or_else(Vec::new, |(number, rest)| [rest, self.domain(*number)].concat())
    }

    /// Empty for 0.
    #[inline]
    fn domain(&self, number: u8) -> &[u8] {
        usize::from(number).checked_sub(1).and_then(|at| self.list.get(at)).map_or(b"", |domain| domain)
    }
}

/// Where a name's domain begins: at the dot behind its first label. A wildcard's first label stands behind a dot.
fn domain_at(name: &[u8]) -> usize {
    let from = 1.min(name.len());
    name.iter().skip(from).position(|byte| *byte == b'.').map_or(name.len(), |at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_split_behind_its_first_label_and_joined_again() {
        let names = [
            "a.x.example",
            "b.x.example",
            ".c.x.example",
            "x.example",
            ".x.example",
            "lone.test",
            "localhost",
        ];
        let domains = Domains::choose(names.iter().map(|name| name.as_bytes()));
        let rests = ["a", "b", ".c", "x", ".x", "lone.test", "localhost"];
        for (name, kept) in names.iter().zip(rests) {
            let (number, rest) = domains.split(name.as_bytes());
            assert_eq!(rest, kept.as_bytes());
            assert_eq!(number == 0, kept == *name);
            let kept = [&[number], rest].concat();
            assert_eq!(domains.join(&kept), name.as_bytes());
            for other in names {
                assert_eq!(domains.are_joined(&kept, other.as_bytes()), other == *name, "{name} {other}");
            }
        }
    }

    #[test]
    fn those_domains_are_chosen_that_save_most() {
        let names: Vec<String> = (0..300_usize)
            .flat_map(|number| {
                (0..2 + usize::from(number == 299)).map(move |label| format!("{label}.{number:03}"))
            })
            .collect();
        let domains = Domains::choose(names.iter().map(String::as_bytes));
        assert_eq!(domains.split(b"7.299").0, 1, "three names have it");
        assert_eq!(domains.list.len(), DOMAINS_MAX);
        assert_eq!(domains.split(b"7.000"), (0, &b"7.000"[..]));
    }

    #[test]
    fn a_number_that_nobody_has_is_no_domain() {
        assert!(!Domains::default().are_joined(b"", b""));
        assert!(Domains::default().are_joined(b"\0a", b"a"));
    }
}
