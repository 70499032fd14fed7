//! Stable names of the things in a configuration.
//!
//! The engine carries pools and counters from one snapshot to the next by these ids, so an id must stay the
//! same when the thing does: ids that the operator did not write are derived from content, never counted up.

use std::fmt;
use std::sync::Arc;

use crate::header::crc32c;

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
    /// Id of a backend: given, or derived from its URL.
    BackendId
);

/// Id of one live WebSocket session, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Longest id that is derived as it is: behind it there is room for the number of a repeated thing.
const DERIVED_BYTES_MAX: usize = 112;

/// Characters of a text that is no id itself which its derived id begins with.
const DERIVED_CHARS_KEPT: usize = 96;

/// Whether `name` may be written as an id: 1 to [`ID_BYTES_MAX`] visible ASCII characters without quotes, so
/// that it can stand in a log line, a metric label and a URL segment.
pub(crate) fn is_valid(name: &str) -> bool {
    !name.is_empty() && name.len() <= ID_BYTES_MAX && name.chars().all(is_allowed)
}

/// The id of a thing whose operator gave none, from a text that tells it from others: the text itself where that
/// may be written as an id, or else what may be written of it, and its checksum.
pub(crate) fn derive(text: &str) -> String {
    if is_valid(text) && text.len() <= DERIVED_BYTES_MAX {
        return text.to_owned();
    }
    let plain = |letter| if is_allowed(letter) { letter } else { '-' };
    let beginning: String = text.chars().take(DERIVED_CHARS_KEPT).map(plain).collect();
    format!("{beginning}#{:08x}", crc32c(text.as_bytes()))
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "-_.:@/#[]*".contains(letter)
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

    #[test]
    fn a_derived_id_may_be_written() {
        assert_eq!(derive("http://a:1/b"), "http://a:1/b");
        let long = "x".repeat(4 * ID_BYTES_MAX);
        for text in ["http://a:1/%41", "unix:/run/a b", "http://a===:1", "", "\u{e4}\u{e4}", long.as_str()] {
            let id = derive(text);
            assert!(is_valid(&id), "{text}: {id}");
            assert!(is_valid(&format!("{id}#1000")), "{text}: a repeated one");
            assert_ne!(id, derive(&format!("{text}!")), "{text}: and another");
        }
    }
}
