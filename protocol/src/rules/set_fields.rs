//! Fields that the operator sets on what passes through: they take the place of what the sender said.

use crate::h1::encode;
use crate::header::map::Fields;
use crate::header::name::{Name, NameSet};

/// Some fields, ready to be written. Names and values must be clean: tokens, and no control bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetFields {
    names: Vec<Box<[u8]>>,
    known: NameSet,
    lines: Vec<u8>,
}

impl SetFields {
    /// Fields in the order in which they will be written.
    pub fn new<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> SetFields {
        let mut set = SetFields::default();
        for (name, value) in fields {
            debug_assert!(encode::is_clean(name, value), "validation lets only clean fields through");
            set.known |= Name::of(name.as_bytes()).bit();
            set.names.push(name.as_bytes().into());
            encode::push_field(&mut set.lines, name.as_bytes(), value.as_bytes());
        }
        set
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether a field of this name is among them.
    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Keeps what the sender said under these names from being forwarded.
    pub fn withhold_from(&self, input: &[u8], fields: &mut Fields) {
        self.names.iter().for_each(|name| fields.withhold(name, input));
    }

    /// The known names among them.
    pub(crate) fn known(&self) -> NameSet {
        self.known
    }

    /// The fields as they stand in a head.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }
}
