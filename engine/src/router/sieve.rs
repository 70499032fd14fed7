//! Many expressions of which a path can match few: one pass over the path finds the texts in it that expressions cannot match
//! without, and only the expressions of those texts are tried, in the order written.
//!
//! ```text
//!  path ──► Aho-Corasick over all texts ──► marks on expressions ──► each tried by itself, the first that matches wins
//! ```
//!
//! What must hold: a path that is full of such texts costs no more than all expressions together would, which is the length
//! of the path times the size of their automatons; marks are taken once per text, however often it occurs.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;
use regex_automata::PatternID;

use super::regex::{Group, RuleCache};
use super::required::Required;
use super::rules::{Best, Request, RuleError};

/// Up to so many expressions are as fast together, without a sieve.
pub(super) const SIEVE_MIN: usize = 16;
/// Expressions that may need the same text: more of them would all be tried for it.
const SHARED_MAX: usize = 16;
/// Expressions of one automaton: it is compact with few of them.
pub(super) const GROUP_RULES_MAX: usize = 32;

/// Expressions behind the texts that they need.
pub(super) struct Sieve {
    texts: AhoCorasick,
    /// Of each text, which expressions need it.
    needed_by: Vec<Vec<usize>>,
    /// In the order of their rules.
    expressions: Vec<Expression>,
    groups: Vec<Group>,
}

/// Where an expression is found.
pub(super) struct Expression {
    pub(super) rule: usize,
    pub(super) group: usize,
    pub(super) pattern: PatternID,
}

/// How many expressions need each text.
pub(super) struct Census<'a>(HashMap<&'a [u8], usize>);

impl<'a> Census<'a> {
    /// Counts the texts of all expressions, given by what each of them requires.
    pub(super) fn of(expressions: impl Iterator<Item = &'a [Required]>) -> Census<'a> {
        let mut counts = HashMap::new();
        for sets in expressions {
            // One that needs a text twice is few enough to count twice.
            for text in sets.iter().flat_map(|set| &set.texts) {
                *counts.entry(text.as_slice()).or_default() += 1;
            }
        }
        Census(counts)
    }

    /// The set that tells an expression best from the others, if one does.
    pub(super) fn best<'s>(&self, sets: &'s [Required]) -> Option<&'s Required> {
        let shared = |set: &Required| {
            let counts =
                set.texts.iter().map(|text| self.0.get(text.as_slice()).copied().unwrap_or_default());
            counts.max().unwrap_or_default()
        };
        let best = sets.iter().min_by_key(|set| (shared(set), usize::MAX - set.shortest()))?;
        (shared(best) <= SHARED_MAX).then_some(best)
    }
}

impl Sieve {
    /// Puts the expressions, which are in the order of their rules, behind the texts of each.
    pub(super) fn build(
        expressions: Vec<Expression>,
        texts: &[&Required],
        groups: Vec<Group>,
    ) -> Result<Sieve, RuleError> {
        debug_assert_eq!(expressions.len(), texts.len());
        let mut numbers: HashMap<&[u8], usize> = HashMap::new();
        let mut distinct: Vec<&[u8]> = Vec::new();
        let mut needed_by: Vec<Vec<usize>> = Vec::new();
        for (expression, required) in texts.iter().enumerate() {
            for text in &required.texts {
                let number = *numbers.entry(text).or_insert_with(|| {
                    distinct.push(text);
                    needed_by.push(Vec::new());
                    distinct.len() - 1
                });
                needed_by[number].push(expression);
            }
        }
        let rule = expressions.first().map_or(0, |first| first.rule);
        let texts = AhoCorasick::builder().ascii_case_insensitive(true).build(&distinct);
        let texts = texts.map_err(|error| RuleError { rule, reason: error.to_string() })?;
        Ok(Sieve { texts, needed_by, expressions, groups })
    }

    /// Improves on `best` with the first rule here that takes the request.
    pub(super) fn find(&self, cache: &mut RuleCache, request: &Request<'_>, best: &mut Best) {
        let mut marks = cache.take_marks();
        let (seen, marked) = marks.of(self.needed_by.len(), self.expressions.len());
        for found in self.texts.find_overlapping_iter(request.path) {
            let text = found.pattern().as_usize();
            if set(seen, text) {
                for expression in self.needed_by.get(text).into_iter().flatten() {
                    set(marked, *expression);
                }
            }
        }
        for expression in ones(marked).filter_map(|number| self.expressions.get(number)) {
            if !best.is_after(expression.rule) {
                break;
            }
            let group = self.groups.get(expression.group);
            let takes = group.is_some_and(|group| {
                request.is_method_of(expression.rule)
                    && group.is_match(cache, expression.pattern, request.path)
            });
            if takes {
                best.take(expression.rule);
                break;
            }
        }
        cache.keep_marks(marks);
    }

    /// How many expressions are behind texts.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.expressions.len()
    }
}

/// Bits for the texts that were seen and the expressions that need them; kept for the next search.
#[derive(Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    /// No texts are seen, and no expressions marked.
    fn of(&mut self, texts: usize, expressions: usize) -> (&mut [u64], &mut [u64]) {
        let (texts, expressions) = (texts.div_ceil(64), expressions.div_ceil(64));
        self.0.clear();
        self.0.resize(texts + expressions, 0);
        self.0.split_at_mut(texts)
    }
}

/// Sets a bit; false if it was set before.
fn set(words: &mut [u64], bit: usize) -> bool {
    let Some(word) = words.get_mut(bit / 64) else { return false };
    let is_new = *word >> (bit % 64) & 1 == 0;
    *word |= 1 << (bit % 64);
    is_new
}

/// The bits that are set, from the lowest.
fn ones(words: &[u64]) -> impl Iterator<Item = usize> {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
            rest &= rest - 1;
            Some(64 * at + bit)
        })
    })
}
