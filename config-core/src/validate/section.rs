//! Reads one table of a draft: each accessor takes a key, checks its value, and records where it came from.
//!
//! Mistakes are collected, never returned: the accessor then answers its default and reading goes on, so that
//! all mistakes are found in one pass. [`Section::finish`] reports what no accessor asked for.

use std::collections::{BTreeMap, HashMap};

use super::bounds::Bounds;
use super::pattern::Expression;
use crate::error::ConfigError;
use crate::origin::Origin;
use crate::raw::{Node, Table, Value};
use crate::units;

/// What reading a draft found out, besides the values.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<ConfigError>,
    /// Whether places and warnings are wanted too. They cost more than the reading itself.
    is_thorough: bool,
    /// Where each written value came from, by key path. What is not here is a default.
    pub(crate) origins: BTreeMap<String, Origin>,
    /// What can run and is hardly meant so.
    pub(crate) warnings: Vec<ConfigError>,
    /// Every expression that has been looked at: many routes have the same ones.
    pub(crate) expressions: HashMap<String, Expression>,
}

impl Findings {
    /// With places and warnings.
    pub(crate) fn thorough() -> Self {
        Self { is_thorough: true, ..Self::default() }
    }

    pub(crate) fn is_thorough(&self) -> bool {
        self.is_thorough
    }

    pub(crate) fn warn(&mut self, place: &Origin, key: &str, problem: String, allowed: impl Into<String>) {
        if self.is_thorough {
            let (place, key, allowed) = (place.clone(), key.to_owned(), allowed.into());
            self.warnings.push(ConfigError { place, key, problem, allowed });
        }
    }

    fn note(&mut self, path: &str, origin: &Origin) {
        if self.is_thorough {
            self.origins.insert(path.to_owned(), origin.clone());
        }
    }

    pub(crate) fn refuse(&mut self, place: &Origin, key: &str, problem: String, allowed: impl Into<String>) {
        let (place, key, allowed) = (place.clone(), key.to_owned(), allowed.into());
        self.errors.push(ConfigError { place, key, problem, allowed });
    }
}

/// Text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) text: String,
    pub(crate) origin: Origin,
    /// Key path, for errors.
    pub(crate) path: String,
}

/// A table being read.
pub(crate) struct Section<'a> {
    /// Key path of the table; empty at the root.
    pub(crate) path: String,
    /// Where it is written.
    place: Origin,
    table: Option<&'a Table>,
    /// Keys that have been asked for.
    known: Vec<&'static str>,
    /// Keys that belong to later versions and have been reported if they were there.
    unavailable: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(table: &'a Table) -> Self {
        Self::of(String::new(), Origin::Default, Some(table))
    }

    pub(crate) fn of(path: String, place: Origin, table: Option<&'a Table>) -> Self {
        Self { path, place, table, known: Vec::new(), unavailable: Vec::new() }
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The table under `key`; an absent one reads as empty.
    pub(crate) fn section(&mut self, key: &'static str, findings: &mut Findings) -> Self {
        self.section_or_none(key, findings)
            .unwrap_or_else(|| Self::of(self.path_of(key), Origin::Default, None))
    }

    /// The table under `key`, if it is written.
    pub(crate) fn section_or_none(&mut self, key: &'static str, findings: &mut Findings) -> Option<Self> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        match &node.value {
            Value::Table(table) => Some(Self::of(path, node.origin.clone(), Some(table))),
            _ => {
                wrong_kind(node, &path, "a table", findings);
                None
            }
        }
    }

    /// The tables of the list under `key`, and whether the list is written at all.
    pub(crate) fn sections(&mut self, key: &'static str, findings: &mut Findings) -> Option<Vec<Self>> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        let Value::Array(items) = &node.value else {
            wrong_kind(node, &path, "a list of tables", findings);
            return Some(Vec::new());
        };
        let mut sections = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match &item.value {
                Value::Table(table) => {
                    findings.note(&path, &item.origin);
                    sections.push(Self::of(path, item.origin.clone(), Some(table)));
                }
                _ => wrong_kind(item, &path, "a table", findings),
            }
        }
        Some(sections)
    }

    /// The place of this table, for errors about what is missing in it.
    pub(crate) fn place(&self) -> &Origin {
        &self.place
    }

    /// Whether a value is written under `key`.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.and_then(|table| table.entry(key)).is_some_and(|entry| entry.node.value != Value::Null)
    }

    /// A key that is read elsewhere.
    pub(crate) fn expect(&mut self, key: &'static str) {
        self.known.push(key);
    }

    /// The place of the value under `key`, if it is written.
    pub(crate) fn origin(&self, key: &str) -> Option<Origin> {
        Some(self.table?.entry(key)?.node.origin.clone())
    }

    pub(crate) fn number(
        &mut self,
        key: &'static str,
        bounds: Bounds,
        default: u64,
        findings: &mut Findings,
    ) -> u64 {
        self.number_or_none(key, bounds, findings).unwrap_or(default)
    }

    pub(crate) fn number_or_none(
        &mut self,
        key: &'static str,
        bounds: Bounds,
        findings: &mut Findings,
    ) -> Option<u64> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        let found = match &node.value {
            Value::Refused => return None,
            Value::Integer(_) => node.value.as_u64(),
            Value::Text(text) if bounds.in_bytes => units::parse_bytes(text),
            Value::Text(text) if node.loose => text.trim().parse().ok(),
            _ => None,
        };
        let Some(value) = found.filter(|value| bounds.contains(*value)) else {
            let problem = format!("found {}", node.value.describe());
            findings.refuse(&node.origin, &path, problem, bounds.to_string());
            return None;
        };
        findings.note(&path, &node.origin);
        Some(value)
    }

    /// One of a few words, compared without case.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, Option<T>)],
        default: T,
        findings: &mut Findings,
    ) -> T {
        let Some(written) = self.text(key, findings) else { return default };
        let word = written.text.trim();
        match choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
            Some((_, Some(choice))) => return *choice,
            Some((name, None)) => {
                let problem = format!("{name:?} is not available in this version");
                findings.refuse(&written.origin, &written.path, problem, allowed_words(choices));
            }
            None => {
                let problem = format!("found {:?}", written.text);
                findings.refuse(&written.origin, &written.path, problem, allowed_words(choices));
            }
        }
        default
    }

    pub(crate) fn boolean(&mut self, key: &'static str, default: bool, findings: &mut Findings) -> bool {
        let Some(node) = self.node(key) else { return default };
        let path = self.path_of(key);
        let found = match &node.value {
            Value::Refused => return default,
            Value::Bool(value) => Some(*value),
            Value::Text(text) if node.loose => parse_switch(text),
            _ => None,
        };
        let Some(value) = found else {
            wrong_kind(node, &path, "true or false", findings);
            return default;
        };
        findings.note(&path, &node.origin);
        value
    }

    pub(crate) fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        let written = written_text(node, path.clone(), findings)?;
        findings.note(&path, &written.origin);
        Some(written)
    }

    /// Text, where a whole number is as good: `cores = 2`.
    pub(crate) fn text_or_number(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        let Value::Integer(number) = node.value else { return self.text(key, findings) };
        findings.note(&path, &node.origin);
        Some(Written { text: number.to_string(), origin: node.origin.clone(), path })
    }

    /// A list of texts; loose text is split at commas. `None` when the key is not written.
    pub(crate) fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Option<Vec<Written>> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        findings.note(&path, &node.origin);
        match &node.value {
            Value::Refused => None,
            Value::Text(text) if node.loose => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let origin = &node.origin;
                let written = |(index, part): (usize, &str)| Written {
                    text: part.to_owned(),
                    origin: origin.clone(),
                    path: format!("{path}[{index}]"),
                };
                Some(parts.enumerate().map(written).collect())
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let read = items
                    .filter_map(|(index, item)| written_text(item, format!("{path}[{index}]"), findings));
                Some(read.collect())
            }
            _ => {
                wrong_kind(node, &path, "a list of texts", findings);
                None
            }
        }
    }

    /// The names of the table under `key` with their texts, by name.
    pub(crate) fn named_texts(
        &mut self,
        key: &'static str,
        findings: &mut Findings,
    ) -> Vec<(String, Written)> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Value::Table(table) = &node.value else {
            wrong_kind(node, &path, "a table of names with texts", findings);
            return Vec::new();
        };
        let mut named = Vec::new();
        for (name, entry) in table.entries().filter(|(_, entry)| entry.node.value != Value::Null) {
            let path = format!("{path}.{name}");
            findings.note(&path, &entry.node.origin);
            named.extend(written_text(&entry.node, path, findings).map(|written| (name.to_owned(), written)));
        }
        named
    }

    /// A list of numbers; loose text is split at commas. `None` when the key is not written.
    pub(crate) fn numbers(
        &mut self,
        key: &'static str,
        bounds: Bounds,
        findings: &mut Findings,
    ) -> Option<Vec<u64>> {
        let node = self.node(key)?;
        let path = self.path_of(key);
        let found: Vec<Option<u64>> = match &node.value {
            Value::Array(items) => items.iter().map(|item| item.value.as_u64()).collect(),
            Value::Text(text) if node.loose => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts.map(|part| part.parse().ok()).collect()
            }
            _ => {
                wrong_kind(node, &path, "a list of numbers", findings);
                return None;
            }
        };
        findings.note(&path, &node.origin);
        let mut numbers = Vec::with_capacity(found.len());
        for (index, number) in found.into_iter().enumerate() {
            match number.filter(|number| bounds.contains(*number)) {
                Some(number) => numbers.push(number),
                None => {
                    let item = match &node.value {
                        Value::Array(items) => items.get(index),
                        _ => None,
                    };
                    let (value, origin) =
                        item.map_or((&node.value, &node.origin), |item| (&item.value, &item.origin));
                    let problem = format!("found {}", value.describe());
                    findings.refuse(origin, &format!("{path}[{index}]"), problem, bounds.to_string());
                }
            }
        }
        Some(numbers)
    }

    /// Keys of later versions: written ones are refused, and unknown ones are not mistaken for them.
    pub(crate) fn unavailable(&mut self, keys: &[&'static str], findings: &mut Findings) {
        for key in keys {
            self.unavailable.push(key);
            let Some(entry) = self.table.and_then(|table| table.entry(key)) else { continue };
            if entry.node.value == Value::Null {
                continue;
            }
            findings.refuse(
                &entry.key_origin,
                &self.path_of(key),
                "not available in this version".to_owned(),
                "remove it",
            );
        }
    }

    /// Reports every key that no accessor asked for, with the nearest one that is known.
    pub(crate) fn finish(self, findings: &mut Findings) {
        let Some(table) = self.table else { return };
        for (key, entry) in table.entries() {
            if self.known.contains(&key) || self.unavailable.contains(&key) {
                continue;
            }
            let allowed = match nearest(key, &self.known) {
                Some(known) => format!("the nearest known key is \"{known}\""),
                None => format!("known keys: {}", self.known.join(", ")),
            };
            findings.refuse(&entry.key_origin, &self.path_of(key), "unknown key".to_owned(), allowed);
        }
    }

    fn node(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        Some(&self.table?.entry(key)?.node).filter(|node| node.value != Value::Null)
    }
}

fn written_text(node: &Node, path: String, findings: &mut Findings) -> Option<Written> {
    match &node.value {
        Value::Text(text) => Some(Written { text: text.clone(), origin: node.origin.clone(), path }),
        _ => {
            wrong_kind(node, &path, "text", findings);
            None
        }
    }
}

fn wrong_kind(node: &Node, path: &str, expected: &str, findings: &mut Findings) {
    if node.value == Value::Refused {
        return;
    }
    let problem = format!("found {}", node.value.describe());
    findings.refuse(&node.origin, path, problem, format!("{expected} is expected"));
}

fn allowed_words<T>(choices: &[(&str, Option<T>)]) -> String {
    let words = choices.iter().filter(|(_, choice)| choice.is_some()).map(|(name, _)| format!("\"{name}\""));
    format!("allowed: {}", words.collect::<Vec<_>>().join(", "))
}

/// A switch in an environment variable.
pub(crate) fn parse_switch(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" | "" => Some(false),
        _ => None,
    }
}

/// The known key that `key` most looks like, if any looks like it at all.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    let likeness = |name: &&'static str| (strsim::jaro_winkler(key, name), *name);
    let best = known.iter().map(likeness).max_by(|left, right| left.0.total_cmp(&right.0))?;
    // Below this, two words share little more than a letter or two.
    (best.0 >= 0.7).then_some(best.1)
}
