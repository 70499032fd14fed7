//! Rules that never decide, because an earlier one takes every request that they match. Only what is certain is told:
//! of an expression, that it is written again, that it matches every path, and which exact paths it matches.

use std::collections::HashMap;

use regex::RegexSet;

use super::section::Findings;
use crate::model::{Pattern, Rule};
use crate::origin::Origin;

/// Expressions that find a match in every path that begins with `/`. Those before [`ROOTED`] find one in any text.
const EVERYTHING: [&str; 16] = [
    "", "^", "$", ".*", "^.*", ".*$", "^.*$", "(.*)", "^(.*)", "(.*)$", "^(.*)$", ".+", "^.+", "^.+$",
    "^(.+)$", "(.+)",
];
const ROOTED: [&str; 10] =
    ["/", "^/", "^/.*", "^/.*$", "^/(.*)", "^/(.*)$", "^(/.*)", "^(/.*)$", "(/.*)", "/.*"];

/// Expressions of a route that are tried on exact paths at most: trying all on all would take long.
const EXPRESSIONS_MAX: usize = 500;

/// Earlier rules, by what they match.
#[derive(Default)]
struct Earlier<'a> {
    exact: HashMap<&'a str, Vec<usize>>,
    /// By the prefix without a final slash.
    prefix: HashMap<&'a str, Vec<usize>>,
    regex: HashMap<&'a str, Vec<usize>>,
    /// Rules that match every path that begins with `/`, and whether they match anything else too.
    all: Vec<(usize, bool)>,
}

/// Warns of each rule that never decides. `places` are the places and key paths of `rules`.
pub(crate) fn warn(rules: &[Rule], places: &[(Origin, String)], findings: &mut Findings) {
    let expressions = Expressions::of(rules);
    let mut earlier = Earlier::default();
    for (index, (rule, (place, path))) in rules.iter().zip(places).enumerate() {
        let covers = |other: &usize| covers_methods(&rules[*other], rule);
        let found = earlier.matching(&rule.pattern, rules).into_iter().find(covers);
        let found = found.or_else(|| expressions.before(index, rule).into_iter().find(covers));
        match found {
            Some(other) => {
                let (pattern, at) = (&rules[other].pattern, &places[other].0);
                let problem =
                    format!("never decides: {} {:?} at {at} matches first", pattern.kind(), pattern.text());
                findings.warn(place, path, problem, "put it before that rule, or remove it");
            }
            None => earlier.add(index, &rule.pattern),
        }
    }
}

fn covers_methods(earlier: &Rule, later: &Rule) -> bool {
    let is_known = |method| earlier.methods.contains(method);
    earlier.methods.is_empty() || (!later.methods.is_empty() && later.methods.iter().all(is_known))
}

impl<'a> Earlier<'a> {
    fn add(&mut self, index: usize, pattern: &'a Pattern) {
        let map = match pattern {
            Pattern::Exact(_) => &mut self.exact,
            Pattern::Prefix(_) => &mut self.prefix,
            Pattern::Regex(_) => &mut self.regex,
        };
        let text = pattern.text();
        let key = if matches!(pattern, Pattern::Prefix(_)) { without_slash(text) } else { text };
        map.entry(key).or_default().push(index);
        match pattern {
            Pattern::Prefix(_) if text == "/" => self.all.push((index, false)),
            Pattern::Regex(_) if EVERYTHING.contains(&text) => self.all.push((index, true)),
            Pattern::Regex(_) if ROOTED.contains(&text) => self.all.push((index, false)),
            _ => {}
        }
    }

    /// Earlier rules that match every path that `pattern` matches.
    fn matching(&self, pattern: &Pattern, rules: &[Rule]) -> Vec<usize> {
        let text = pattern.text();
        // Every other pattern matches only paths that begin with a slash, and not the `*` of OPTIONS.
        let is_rooted =
            !matches!(pattern, Pattern::Regex(text) if !text.starts_with("^/") || text.contains('|'));
        let all = self.all.iter().filter(|(_, is_any)| is_rooted || *is_any).map(|(index, _)| *index);
        let mut found: Vec<usize> = all.collect();
        let known = |map: &HashMap<&str, Vec<usize>>, key: &str| map.get(key).cloned().unwrap_or_default();
        match pattern {
            Pattern::Exact(_) => found.extend(known(&self.exact, text)),
            Pattern::Prefix(_) => {
                let same = known(&self.prefix, without_slash(text)).into_iter();
                // `/a/` may or may not match `/a`, which `/a` does.
                let is_certain = |other: &usize| {
                    let other = rules[*other].pattern.text();
                    other == text || !other.ends_with('/')
                };
                found.extend(same.filter(is_certain));
            }
            Pattern::Regex(_) => found.extend(known(&self.regex, text)),
        }
        if !matches!(pattern, Pattern::Regex(_)) {
            // An exact `/a/` is below `/a`; the prefixes `/a/` and `/a` are the same but for `/a` itself.
            let whole = if matches!(pattern, Pattern::Exact(_)) { text } else { without_slash(text) };
            let slashes = whole.match_indices('/').map(|(at, _)| at).skip(1);
            slashes.for_each(|at| found.extend(known(&self.prefix, &whole[..at])));
            if matches!(pattern, Pattern::Exact(_)) {
                let same = known(&self.prefix, text).into_iter();
                found.extend(same.filter(|other| !rules[*other].pattern.text().ends_with('/')));
            }
        }
        found.sort_unstable();
        found
    }
}

fn without_slash(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

/// The expressions of a route, for exact paths behind them.
struct Expressions {
    set: Option<RegexSet>,
    /// Index of the rule of each expression.
    rules: Vec<usize>,
}

impl Expressions {
    fn of(rules: &[Rule]) -> Expressions {
        let indexes = rules.iter().enumerate().filter(|(_, rule)| matches!(rule.pattern, Pattern::Regex(_)));
        let indexes: Vec<usize> = indexes.map(|(index, _)| index).collect();
        let first = indexes.first().copied().unwrap_or(rules.len());
        let is_asked = rules.iter().skip(first).any(|rule| matches!(rule.pattern, Pattern::Exact(_)));
        let is_wanted = is_asked && indexes.len() <= EXPRESSIONS_MAX;
        let texts = || indexes.iter().map(|index| rules[*index].pattern.text());
        // A set may be too large where each of its expressions is not: then nothing is certain.
        let set = is_wanted.then(|| RegexSet::new(texts()).ok()).flatten();
        Expressions { set, rules: indexes }
    }

    /// Rules before `index` whose expression matches the exact path of `rule`.
    fn before(&self, index: usize, rule: &Rule) -> Vec<usize> {
        let (Pattern::Exact(path), Some(set)) = (&rule.pattern, &self.set) else { return Vec::new() };
        let matching = set.matches(path).into_iter().map(|number| self.rules[number]);
        matching.filter(|other| *other < index).collect()
    }
}
