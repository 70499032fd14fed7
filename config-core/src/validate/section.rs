//! Reads one table of a draft: each accessor takes a key, checks its value, and records where it came from.
//!
//! Mistakes are collected, never returned: the accessor then answers its default and reading goes on, so that
//! all mistakes are found in one pass. [`Section::finish`] reports what no accessor asked for.

use std::collections::BTreeMap;

use super::bounds::Bounds;
use crate::error::ConfigError;
use crate::origin::Origin;
use crate::raw::{Node, Table, Value};
use crate::units;

/// What reading a draft found out, besides the values.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<ConfigError>,
    /// Where each written value came from, by key path. What is not here is a default.
    pub(crate) origins: BTreeMap<String, Origin>,
}

impl Findings {
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
    table: Option<&'a Table>,
    /// Keys that have been asked for.
    known: Vec<&'static str>,
    /// Keys that belong to later versions and have been reported if they were there.
    unavailable: Vec<&'static str>,
}

impl<'a> Section<'a> {
    pub(crate) fn root(table: &'a Table) -> Self {
        Self::of(String::new(), Some(table))
    }

    fn of(path: String, table: Option<&'a Table>) -> Self {
        Self { path, table, known: Vec::new(), unavailable: Vec::new() }
    }

    pub(crate) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The table under `key`; an absent one reads as empty.
    pub(crate) fn section(&mut self, key: &'static str, findings: &mut Findings) -> Self {
        let path = self.path_of(key);
        let table = self.node(key).and_then(|node| match &node.value {
            Value::Table(table) => Some(table),
            _ => {
                wrong_kind(node, &path, "a table", findings);
                None
            }
        });
        Self::of(path, table)
    }

    /// The tables of the list under `key`, and whether the list is written at all.
    pub(crate) fn sections(&mut self, key: &'static str, findings: &mut Findings) -> Option<Vec<Self>> {
        let path = self.path_of(key);
        let node = self.node(key)?;
        let Value::Array(items) = &node.value else {
            wrong_kind(node, &path, "a list of tables", findings);
            return Some(Vec::new());
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            match &item.value {
                Value::Table(table) => {
                    findings.origins.insert(path.clone(), item.origin.clone());
                    sections.push(Self::of(path, Some(table)));
                }
                _ => wrong_kind(item, &path, "a table", findings),
            }
        }
        Some(sections)
    }

    /// The place of this table's first key, for errors about what is missing in it.
    pub(crate) fn place(&self, findings: &Findings) -> Origin {
        findings.origins.get(&self.path).cloned().unwrap_or(Origin::Default)
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
        let path = self.path_of(key);
        let node = self.node(key)?;
        let found = match &node.value {
            Value::Refused => return None,
            Value::Integer(value) => u64::try_from(*value).ok(),
            Value::Text(text) if bounds.in_bytes => units::parse_bytes(text),
            Value::Text(text) if node.loose => text.trim().parse().ok(),
            _ => None,
        };
        let Some(value) = found.filter(|value| bounds.contains(*value)) else {
            let problem = format!("found {}", node.value.describe());
            findings.refuse(&node.origin, &path, problem, bounds.to_string());
            return None;
        };
        findings.origins.insert(path, node.origin.clone());
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
        let path = self.path_of(key);
        let Some(node) = self.node(key) else { return default };
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
        findings.origins.insert(path, node.origin.clone());
        value
    }

    pub(crate) fn text(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written> {
        let path = self.path_of(key);
        let node = self.node(key)?;
        let written = written_text(node, path.clone(), findings)?;
        findings.origins.insert(path, written.origin.clone());
        Some(written)
    }

    /// Text, where a whole number is as good: `cores = 2`.
    pub(crate) fn text_or_number(&mut self, key: &'static str, findings: &mut Findings) -> Option<Written> {
        let path = self.path_of(key);
        let node = self.node(key)?;
        let Value::Integer(number) = node.value else { return self.text(key, findings) };
        findings.origins.insert(path.clone(), node.origin.clone());
        Some(Written { text: number.to_string(), origin: node.origin.clone(), path })
    }

    /// A list of texts; loose text is split at commas. `None` when the key is not written.
    pub(crate) fn texts(&mut self, key: &'static str, findings: &mut Findings) -> Option<Vec<Written>> {
        let path = self.path_of(key);
        let node = self.node(key)?;
        findings.origins.insert(path.clone(), node.origin.clone());
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
