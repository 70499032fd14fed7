//! The small ordered table of a head's fields: offsets and known names, no text. Filled by `h1::head`, read by
//! everyone; its memory is reused from head to head.

use super::name::{Name, NameSet};
use crate::span::Span;

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Which field, if it is one that the proxy acts on.
    pub name: Name,
    /// Not forwarded: hop-by-hop, because `Connection` named it.
    pub hop: bool,
    /// Stands in the input exactly as `name: value CRLF`, so whole runs of lines can be copied at once.
    pub(crate) tidy: bool,
    /// The name as spelled.
    pub name_span: Span,
    /// The value without the whitespace around it.
    pub value: Span,
}

/// A head's fields, in order of arrival.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    list: Vec<Field>,
    seen: NameSet,
}

impl Fields {
    /// Number of fields.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All fields in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Field> {
        self.list.iter()
    }

    /// Whether a field of this name is there; one bit test.
    #[inline]
    pub fn has(&self, name: Name) -> bool {
        self.seen & name.bit() != 0
    }

    /// All fields of this (known) name, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &Field> {
        let present = if self.has(name) { self.list.as_slice() } else { &[] };
        present.iter().filter(move |field| field.name == name)
    }

    /// How many fields have this (known) name.
    pub fn count(&self, name: Name) -> usize {
        self.all(name).count()
    }

    /// Value of the first field of this (known) name.
    pub fn value<'a>(&self, name: Name, input: &'a [u8]) -> Option<&'a [u8]> {
        self.all(name).next().map(|field| field.value.of(input))
    }

    /// Value of the first field spelled like `text` in any case: for names without a [`Name`].
    pub fn value_by_text<'a>(&self, text: &[u8], input: &'a [u8]) -> Option<&'a [u8]> {
        let found = self.list.iter().find(|field| field.name_span.of(input).eq_ignore_ascii_case(text));
        found.map(|field| field.value.of(input))
    }

    /// Keeps a field from being forwarded: for filters that replace it.
    pub fn withhold(&mut self, text: &[u8], input: &[u8]) {
        for field in &mut self.list {
            if field.name_span.of(input).eq_ignore_ascii_case(text) {
                field.hop = true;
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.seen = 0;
    }

    #[inline]
    pub(crate) fn push(&mut self, field: Field) {
        self.seen |= field.name.bit();
        self.list.push(field);
    }

    pub(crate) fn at(&self, index: usize) -> Option<&Field> {
        self.list.get(index)
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Field> {
        self.list.iter_mut()
    }

    /// Removes every field whose name is in `names`.
    pub(crate) fn remove(&mut self, names: NameSet) {
        if self.seen & names != 0 {
            self.list.retain(|field| field.name.bit() & names == 0);
            self.seen &= !names;
        }
    }
}
