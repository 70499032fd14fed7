//! Rules about fields that are the same for every version of HTTP: what a proxy must not forward, and what
//! it must add.

pub mod cookie;
pub mod forwarded;
pub(crate) mod hop_by_hop;
pub mod set_fields;
