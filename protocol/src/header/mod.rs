//! Header fields: their names, the table that a head keeps of them, and readers for common values.

pub mod map;
pub mod name;
pub mod value;
