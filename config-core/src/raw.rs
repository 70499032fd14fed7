//! Exactly what was written, with the place of every key and value. Nothing here knows which keys exist.
//!
//! TOML and JSON come in only here. A [`Draft`] is built in layers, the weakest first (file, environment,
//! flags): a later layer replaces single values, and lists as a whole. `validate` turns it into a model.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, ConfigErrors};
use crate::origin::Origin;

/// Deepest nesting of a document: far above any key that exists, and far below what would exhaust a stack.
const DEPTH_MAX: usize = 32;

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// JSON's `null`: as if the key were not written, so that an update can take a setting back.
    Null,
    /// Anything that no key takes (dates, fractions), by the name of its kind.
    Other(&'static str),
    /// Text.
    Text(String),
    /// A list.
    Array(Vec<Node>),
    /// Keys and values.
    Table(Table),
    /// Something that has already been reported, so that nothing more is said about it.
    Refused,
}

impl Value {
    /// A whole number that is not negative.
    pub(crate) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The kind of the value and the value itself, for "found …" in errors.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Null => "none".to_owned(),
            Self::Other(kind) => format!("a {kind}"),
            Self::Text(text) => format!("{text:?}"),
            Self::Array(items) => format!("a list of {}", items.len()),
            Self::Table(_) => "a table".to_owned(),
            Self::Refused => "a refused value".to_owned(),
        }
    }
}

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Its place.
    pub origin: Origin,
    /// Whether the text may stand for a number, a switch or a comma-separated list: the environment, flags
    /// and expanded variables have no other way to write one.
    pub loose: bool,
}

impl Node {
    /// A value from the environment or a flag.
    pub fn loose(text: &str, origin: Origin) -> Self {
        Self { value: Value::Text(text.to_owned()), origin, loose: true }
    }

    /// A list of texts, such as the values of a flag that may be repeated.
    pub fn list<'a>(texts: impl IntoIterator<Item = &'a str>, origin: &Origin) -> Self {
        let items = texts.into_iter().map(|text| Self::loose(text, origin.clone())).collect();
        Self { value: Value::Array(items), origin: origin.clone(), loose: false }
    }

    /// A table.
    pub fn table(table: Table, origin: Origin) -> Self {
        Self { value: Value::Table(table), origin, loose: false }
    }
}

/// Keys and values, sorted by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    entries: BTreeMap<String, Entry>,
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Place of the key itself.
    pub(crate) key_origin: Origin,
    pub(crate) node: Node,
}

impl Table {
    /// Sets one key, replacing what was there.
    pub fn set(&mut self, key: &str, node: Node) {
        let key_origin = node.origin.clone();
        self.entries.insert(key.to_owned(), Entry { key_origin, node });
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(key, entry)| (key.as_str(), entry))
    }

    /// Lays `upper` over this table: tables merge, everything else is replaced.
    fn overlay(&mut self, upper: Self) {
        for (key, entry) in upper.entries {
            match (self.entries.get_mut(&key).map(|e| &mut e.node.value), entry.node.value) {
                (Some(Value::Table(below)), Value::Table(above)) => below.overlay(above),
                (_, value) => {
                    let node = Node { value, ..entry.node };
                    self.entries.insert(key, Entry { key_origin: entry.key_origin, node });
                }
            }
        }
    }
}

/// A configuration in the making: layers of written values, and what was wrong with their writing.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    root: Table,
    errors: Vec<ConfigError>,
    /// Places of syntax errors: around them, other errors say little.
    broken: Vec<Origin>,
}

impl Draft {
    /// Nothing written yet: everything will be a default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays a TOML file over what is there. `file` is its name in messages; `variable` answers `${NAME}` in
    /// text values (`$${` writes a plain `${`). Mistakes are kept for `validate` to report with all others.
    pub fn add_toml(&mut self, file: &str, text: &str, variable: &dyn Fn(&str) -> Option<String>) {
        let places = Places::new(file, text);
        let (document, syntax_errors) = DeTable::parse_recoverable(text);
        for error in &syntax_errors {
            let at = error.span().map_or(0, |span| span.start);
            let problem = format!("not TOML: {}", error.message().replace('\n', ", "));
            self.broken.push(places.origin(at));
            self.refuse(places.origin(at), "", problem, String::new());
        }
        let mut reader = TomlReader { places: &places, variable, errors: Vec::new() };
        let root = reader.table(document.get_ref(), "", 0);
        self.errors.append(&mut reader.errors);
        self.root.overlay(root);
    }

    /// Lays a JSON document over what is there; its keys are the camelCase spelling of the TOML keys.
    pub fn add_json(&mut self, text: &str) {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(serde_json::Value::Object(object)) => self.root.overlay(json_table(object)),
            Ok(_) => {
                let allowed = "a JSON object is expected".to_owned();
                self.refuse(Origin::Program, "", "not a JSON object".to_owned(), allowed);
            }
            Err(error) => self.refuse(Origin::Program, "", format!("not JSON: {error}"), String::new()),
        }
    }

    /// Sets one value, over what is there. `path` leads through tables, outermost first; it must not be empty.
    pub fn set(&mut self, path: &[&str], node: Node) {
        let mut upper = Table::default();
        let Some((last, parents)) = path.split_last() else { return };
        upper.set(last, node);
        for parent in parents.iter().rev() {
            let origin = Origin::Program;
            let inner = std::mem::take(&mut upper);
            upper.set(parent, Node::table(inner, origin));
        }
        self.root.overlay(upper);
    }

    /// Replaces the routes by one for every host whose backends are `urls`, in turn.
    pub fn set_targets<'a>(&mut self, urls: impl IntoIterator<Item = &'a str>, origin: &Origin) {
        crate::builder::set_targets(self, urls, origin);
    }

    /// Keeps a mistake that was found while the layers were put together.
    pub fn refuse(&mut self, place: Origin, key: &str, problem: String, allowed: String) {
        self.errors.push(ConfigError { place, key: key.to_owned(), problem, allowed });
    }

    /// The text value at a path, if one is written there.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        let (last, parents) = path.split_last()?;
        let mut table = &self.root;
        for parent in parents {
            let Value::Table(inner) = &table.entry(parent)?.node.value else { return None };
            table = inner;
        }
        match &table.entry(last)?.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn root(&self) -> &Table {
        &self.root
    }

    /// Lays everything that `upper` has over what is there.
    pub(crate) fn lay(&mut self, upper: Self) {
        self.root.overlay(upper.root);
        self.errors.extend(upper.errors);
        self.broken.extend(upper.broken);
    }

    /// Takes one key out, as a document of its own.
    pub(crate) fn take(&mut self, key: &str) -> Table {
        Table { entries: self.root.entries.remove_entry(key).into_iter().collect() }
    }

    /// The mistakes that are worth reporting: those of the writing and `found` by `validate`. A file that
    /// is not TOML still gets every error that has a place outside the broken lines; what only seems to be
    /// missing is not reported for it.
    pub(crate) fn all_errors(&self, found: Vec<ConfigError>) -> Vec<ConfigError> {
        let meaningful = |error: &ConfigError| {
            let on_broken_line = self.broken.iter().any(|broken| same_line(broken, &error.place));
            error.place != Origin::Default && !on_broken_line
        };
        let mut errors = self.errors.clone();
        errors.extend(found.into_iter().filter(|error| self.broken.is_empty() || meaningful(error)));
        errors
    }

    /// Checks everything that was written. See `validate`.
    pub fn validate(self) -> Result<crate::builder::ProxyConfig, ConfigErrors> {
        crate::builder::ProxyConfig::from_draft(self)
    }
}

fn same_line(left: &Origin, right: &Origin) -> bool {
    match (left, right) {
        (Origin::File { file: f1, line: l1, .. }, Origin::File { file: f2, line: l2, .. }) => {
            f1 == f2 && l1 == l2
        }
        _ => false,
    }
}

/// Turns offsets into lines and columns.
struct Places<'a> {
    file: Arc<str>,
    text: &'a str,
    /// Offset of the first byte of each line.
    line_starts: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(file: &str, text: &'a str) -> Self {
        let mut line_starts = vec![0];
        line_starts.extend(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1));
        Self { file: file.into(), text, line_starts }
    }

    fn origin(&self, at: usize) -> Origin {
        let line = self.line_starts.partition_point(|start| *start <= at).saturating_sub(1);
        let start = self.line_starts.get(line).copied().unwrap_or(0);
        let before = self.text.get(start..at).unwrap_or("");
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Origin::File {
            file: self.file.clone(),
            line: number(line + 1),
            column: number(before.chars().count() + 1),
        }
    }
}

struct TomlReader<'a> {
    places: &'a Places<'a>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    errors: Vec<ConfigError>,
}

impl TomlReader<'_> {
    fn table(&mut self, table: &DeTable<'_>, path: &str, depth: usize) -> Table {
        let mut entries = BTreeMap::new();
        for (key, value) in table.iter() {
            let name = key.get_ref().to_string();
            let key_origin = self.places.origin(key.span().start);
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let node = self.node(value, &path, depth + 1);
            entries.insert(name, Entry { key_origin, node });
        }
        Table { entries }
    }

    fn node(&mut self, value: &toml::Spanned<DeValue<'_>>, path: &str, depth: usize) -> Node {
        let origin = self.places.origin(value.span().start);
        let mut loose = false;
        let value = match value.get_ref() {
            _ if depth > DEPTH_MAX => Value::Other("value nested too deeply"),
            DeValue::Boolean(value) => Value::Bool(*value),
            DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(value) => Value::Integer(value),
                Err(_) => Value::Other("number beyond 64 bits"),
            },
            DeValue::String(text) => {
                loose = text.contains("${");
                self.expand(text, path, &origin).map_or(Value::Refused, Value::Text)
            }
            DeValue::Float(_) => Value::Other("fraction"),
            DeValue::Datetime(_) => Value::Other("date"),
            DeValue::Array(items) => {
                let item = |(index, item)| self.node(item, &format!("{path}[{index}]"), depth + 1);
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, path, depth)),
        };
        Node { value, origin, loose }
    }

    /// Puts variables in place of `${NAME}`; `None` after a mistake, which is then reported.
    fn expand(&mut self, text: &str, path: &str, origin: &Origin) -> Option<String> {
        let mut result = String::with_capacity(text.len());
        let mut complete = true;
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from_mark) = rest.split_at(at);
            let after_mark = &from_mark[2..];
            if let Some(plain) = before.strip_suffix('$') {
                result.push_str(plain);
                result.push_str("${");
                rest = after_mark;
                continue;
            }
            result.push_str(before);
            let Some(end) = after_mark.find('}') else {
                let allowed = "close it with \"}\", or write \"$${\" for a plain \"${\"";
                self.refuse(origin, path, format!("\"${{\" without \"}}\" in {text:?}"), allowed);
                return None;
            };
            let name = &after_mark[..end];
            match (self.variable)(name) {
                Some(value) => result.push_str(&value),
                None => {
                    let problem = format!("environment variable {name:?} in {text:?} is not set");
                    self.refuse(origin, path, problem, "set it, or write \"$${\" for a plain \"${\"");
                    complete = false;
                }
            }
            rest = &after_mark[end + 1..];
        }
        result.push_str(rest);
        complete.then_some(result)
    }

    fn refuse(&mut self, place: &Origin, key: &str, problem: String, allowed: &str) {
        let error =
            ConfigError { place: place.clone(), key: key.to_owned(), problem, allowed: allowed.to_owned() };
        self.errors.push(error);
    }
}

fn json_table(object: serde_json::Map<String, serde_json::Value>) -> Table {
    let mut table = Table::default();
    for (key, value) in object {
        let key = to_snake_case(&key);
        let node = match value {
            serde_json::Value::Object(names) if NAME_TABLES.contains(&key.as_str()) => {
                let pairs = names.into_iter().map(|(name, value)| (name, json_node(value)));
                let mut table = Table::default();
                pairs.for_each(|(name, node)| table.set(&name, node));
                Node::table(table, Origin::Program)
            }
            value => json_node(value),
        };
        table.set(&key, node);
    }
    table
}

/// Tables whose keys are names that the operator chose, and no keys of ours: they have one spelling.
const NAME_TABLES: [&str; 2] = ["headers", "response_headers"];

/// `serde_json` itself refuses documents nested deeper than 128.
fn json_node(value: serde_json::Value) -> Node {
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or(Value::Other("number that is not a 64-bit integer"), Value::Integer)
        }
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::Array(items.into_iter().map(json_node).collect()),
        serde_json::Value::Object(object) => Value::Table(json_table(object)),
    };
    Node { value, origin: Origin::Program, loose: false }
}

/// Names whose JSON spelling does not follow the rule.
const SPELLINGS: [(&str, &str); 1] = [("vHost", "vhost")];

fn to_snake_case(key: &str) -> String {
    if let Some((_, snake)) = SPELLINGS.iter().find(|(camel, _)| *camel == key) {
        return (*snake).to_owned();
    }
    let mut snake = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The JSON spelling of a TOML key.
fn to_camel_case(key: &str) -> String {
    if let Some((camel, _)) = SPELLINGS.iter().find(|(_, snake)| *snake == key) {
        return (*camel).to_owned();
    }
    let mut camel = String::with_capacity(key.len());
    let mut upper = false;
    for letter in key.chars() {
        match letter {
            '_' => upper = true,
            _ if std::mem::take(&mut upper) => camel.push(letter.to_ascii_uppercase()),
            _ => camel.push(letter),
        }
    }
    camel
}

/// The JSON form of a document.
pub(crate) fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Null | Value::Other(_) | Value::Refused => serde_json::Value::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(|node| to_json(&node.value)).collect(),
        Value::Table(table) => {
            let pair = |(key, entry): (&str, &Entry)| match &entry.node.value {
                Value::Table(names) if NAME_TABLES.contains(&key) => {
                    let names =
                        names.entries().map(|(name, entry)| (name.to_owned(), to_json(&entry.node.value)));
                    (to_camel_case(key), serde_json::Value::Object(names.collect()))
                }
                value => (to_camel_case(key), to_json(value)),
            };
            serde_json::Value::Object(table.entries().map(pair).collect())
        }
    }
}
