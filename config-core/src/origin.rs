//! Where a value was written. Every value of the effective configuration and every error carries one.

use std::fmt;
use std::sync::Arc;

/// The place that a configuration value came from. Ordered so that errors list well: file places by line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Not written anywhere.
    Default,
    /// A configuration file.
    File {
        /// Name as the operator gave it.
        file: Arc<str>,
        /// Line, from 1.
        line: u32,
        /// Column in characters, from 1.
        column: u32,
    },
    /// An environment variable, by name.
    Environment(Arc<str>),
    /// A command-line flag, with its dashes.
    Flag(Arc<str>),
    /// A call of the builder, or a JSON document handed in by an embedder.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Program => f.write_str("program"),
        }
    }
}
