//! Stable names of the things in a configuration.
//!
//! The engine carries pools and counters from one snapshot to the next by these ids, so an id must stay the
//! same when the thing does: ids that the operator did not write are derived from content, never counted up.

use std::fmt;
use std::sync::Arc;

/// Longest id that a configuration may give, in bytes: it appears in every log line about its thing.
const ID_BYTES_MAX: usize = 128;

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps a name that validation has accepted.
            pub fn new(name: &str) -> Self {
                Self(name.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// Id of a route.
    RouteId
);
text_id!(
    /// Id of an upstream (a group of backends).
    UpstreamId
);
text_id!(
    /// Id of a backend: given, or its URL.
    BackendId
);

/// Id of one live WebSocket session, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Whether `name` may be written as an id: 1 to [`ID_BYTES_MAX`] visible ASCII characters without quotes, so
/// that it can stand in a log line, a metric label and a URL segment.
pub(crate) fn is_valid(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@/#".contains(&byte);
    !name.is_empty() && name.len() <= ID_BYTES_MAX && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_visible_ascii() {
        let longest = "x".repeat(ID_BYTES_MAX);
        let too_long = "x".repeat(ID_BYTES_MAX + 1);
        for good in ["a", "api-1", "10.0.0.1:3000", longest.as_str()] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a b", "\"", "é", "a\n", too_long.as_str()] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
