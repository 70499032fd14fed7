//! A rule of a route: a path pattern, and what happens to requests that it matches.

use std::sync::Arc;

use super::{Field, Upstream};

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which paths. The query is not looked at.
    pub pattern: Pattern,
    /// Which methods; empty means every method.
    pub methods: Vec<String>,
    /// What happens.
    pub action: Action,
}

/// Which paths a rule matches; compared with the normalised path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This path only.
    Exact(String),
    /// Paths that begin so, at a segment's end: `/api` and `/api/` match `/api/users`, and not `/apix`.
    Prefix(String),
    /// Paths in which this expression of the `regex` crate finds a match. It compiles.
    Regex(String),
}

impl Pattern {
    /// The kind, in the spelling of `match`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Exact(_) => "exact",
            Self::Prefix(_) => "prefix",
            Self::Regex(_) => "regex",
        }
    }

    /// The text of the pattern.
    pub fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Prefix(text) | Self::Regex(text) => text,
        }
    }
}

/// What happens to a request that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes to a backend.
    Forward(Forward),
    /// It is answered with another place.
    Redirect(Redirect),
    /// It is answered with what the operator wrote.
    Respond(Respond),
}

/// To which backend, and what is changed on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forward {
    /// Backends of its own; `None`: the route's.
    pub target: Option<Arc<Upstream>>,
    /// They are those that the rule names, and not the route's under another `secure`.
    pub has_target: bool,
    /// Whether their certificates must be good, in place of what the route says.
    pub secure: Option<bool>,
    /// The path that the backend sees, with `$1`…`$9`, `$name`, `${name}` for groups and `$$` for a dollar sign; `None`:
    /// as it came. In an exact or prefix rule: the path, or what the prefix becomes. It starts with `/`; the query is
    /// kept.
    pub rewrite: Option<String>,
    /// `Host` and `Origin` become the target's.
    pub change_origin: bool,
    /// Request fields that are set, after those of the route.
    pub headers: Vec<Field>,
}

/// Another place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Value of `Location`, with groups as in a rewrite; `${query}` is not a group: the query is added where the location
    /// has none.
    pub location: String,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The body.
    pub body: String,
    /// Its type.
    pub content_type: String,
}
