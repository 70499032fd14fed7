//! Request targets (RFC 9112 3.2): which of the four forms, which host, which path, and the one normal form of
//! the path that is matched, authorised and forwarded.

pub mod authority;
pub(crate) mod normalize;
pub(crate) mod parse;

/// The four forms of a request target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, only with CONNECT.
    Authority,
    /// `*`, only with OPTIONS.
    Asterisk,
}
