//! Choosing a backend. A closed set of strategies; this version has one.

pub(crate) mod round_robin;
