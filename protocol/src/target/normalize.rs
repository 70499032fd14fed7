//! The one normal form of a path (RFC 3986 6.2.2): percent-encoded unreserved characters decoded, the other
//! encodings in upper case, dot segments removed. What comes out is what is matched, authorised and forwarded,
//! so that no two of these can disagree. Called by `target::parse` for paths that may not be normal yet.

use crate::error::TargetError;
use crate::limits::{Limits, PercentPolicy};

/// Two buffers that are reused from head to head.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathBuf {
    decoded: Vec<u8>,
    pub(crate) normal: Vec<u8>,
}

/// Writes the normal form of `path` (which begins with `/`) into `buf.normal`.
pub(crate) fn normalize(path: &[u8], limits: &Limits, buf: &mut PathBuf) -> Result<(), TargetError> {
    decode(path, limits, &mut buf.decoded)?;
    remove_dot_segments(&buf.decoded, &mut buf.normal);
    Ok(())
}

fn decode(path: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<(), TargetError> {
    out.clear();
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        let Some((plain, encoded)) = rest.split_at_checked(at) else { break };
        out.extend_from_slice(plain);
        let [_, high, low, after @ ..] = encoded else { return Err(TargetError::BadPercent) };
        let (Some(high_digit), Some(low_digit)) = (hex_digit(*high), hex_digit(*low)) else {
            return Err(TargetError::BadPercent);
        };
        let byte = (high_digit << 4) | low_digit;
        if decodes(byte, limits)? {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
        }
        rest = after;
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Whether this encoded byte is written decoded.
fn decodes(byte: u8, limits: &Limits) -> Result<bool, TargetError> {
    match byte {
        b'/' => match limits.encoded_slash {
            PercentPolicy::Reject => Err(TargetError::EncodedSlash),
            PercentPolicy::Keep => Ok(false),
            PercentPolicy::Decode => Ok(true),
        },
        0 => match limits.encoded_nul {
            PercentPolicy::Reject => Err(TargetError::EncodedNul),
            PercentPolicy::Keep | PercentPolicy::Decode => Ok(false),
        },
        _ => Ok(byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')),
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 5.2.4 on a path that begins with `/`; `..` at the root stays at the root.
fn remove_dot_segments(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let Some((b'/', relative)) = path.split_first() else { return };
    let mut segments = relative.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_dot = segment == b".";
        let is_dot_dot = segment == b"..";
        if is_dot_dot {
            out.truncate(memchr::memrchr(b'/', out).unwrap_or(0));
        }
        if !is_dot && !is_dot_dot {
            out.push(b'/');
            out.extend_from_slice(segment);
        } else if segments.peek().is_none() {
            out.push(b'/');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(path: &str, limits: &Limits) -> Result<String, TargetError> {
        let mut buf = PathBuf::default();
        normalize(path.as_bytes(), limits, &mut buf)?;
        Ok(String::from_utf8(buf.normal).expect("ASCII in, ASCII out"))
    }

    #[test]
    fn has_one_form_for_every_spelling() {
        let rows = [
            // RFC 3986 5.2.4
            ("/", "/"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("/..", "/"),
            ("/../../a", "/a"),
            ("/a/b/c/./../../g", "/a/g"),
            ("/.a/..b/c.", "/.a/..b/c."),
            ("/a//b", "/a//b"),
            ("//..", "/"),
            ("/a//../b", "/a/b"),
            // RFC 3986 6.2.2.1, 6.2.2.2
            ("/%41%7e%2D", "/A~-"),
            ("/%e4", "/%E4"),
            ("/%2e%2E/b", "/b"),
            ("/a/%2e/b", "/a/b"),
            ("/%252e%252e/b", "/%252e%252e/b"),
            ("/a%20b%3f", "/a%20b%3F"),
            ("/a%2fb", "/a%2Fb"),
        ];
        for (path, expected) in rows {
            assert_eq!(normal(path, &Limits::default()).as_deref(), Ok(expected), "{path}");
            assert_eq!(normal(expected, &Limits::default()).as_deref(), Ok(expected), "{expected} is stable");
        }
    }

    #[test]
    fn refuses_broken_percent_encoding() {
        for path in ["/%", "/%4", "/%zz", "/%4z", "/a%%41", "/%-1"] {
            assert_eq!(normal(path, &Limits::default()), Err(TargetError::BadPercent), "{path}");
        }
    }

    #[test]
    fn follows_the_policy_for_slash_and_nul() {
        use PercentPolicy::{Decode, Keep, Reject};
        let rows = [
            ("/a%2Fb", Reject, Reject, Err(TargetError::EncodedSlash)),
            ("/a%2Fb", Keep, Reject, Ok("/a%2Fb")),
            ("/a%2fb", Decode, Reject, Ok("/a/b")),
            ("/a/..%2F../b", Decode, Reject, Ok("/b")),
            ("/a/%2e%2e%2fb", Decode, Reject, Ok("/b")),
            ("/a%00", Keep, Reject, Err(TargetError::EncodedNul)),
            ("/a%00", Keep, Keep, Ok("/a%00")),
            ("/a%00", Keep, Decode, Ok("/a%00")),
        ];
        for (path, encoded_slash, encoded_nul, expected) in rows {
            let limits = Limits { encoded_slash, encoded_nul, ..Limits::default() };
            assert_eq!(normal(path, &limits).as_deref(), expected.as_ref().map(|text| *text), "{path}");
        }
    }

    #[test]
    fn every_path_has_a_stable_form_without_dot_segments() {
        let parts =
            ["/", ".", "..", "%2e", "%2E%2e", "%2f", "%2F", "a", "%41", "%25", "%e4", "//", "%5c", ";", "~"];
        let limits = [PercentPolicy::Keep, PercentPolicy::Decode]
            .map(|encoded_slash| Limits { encoded_slash, ..Limits::default() });
        // Every path of up to four parts.
        for number in 0..parts.len().pow(4) {
            let mut path = String::from("/");
            let mut rest = number;
            while rest > 0 {
                path.push_str(parts[rest % parts.len()]);
                rest /= parts.len();
            }
            for limits in &limits {
                let once = normal(&path, limits).expect("well-formed");
                assert!(once.starts_with('/'), "{path} became {once}");
                assert!(
                    !once.split('/').any(|segment| segment == "." || segment == ".."),
                    "{path} became {once}"
                );
                assert_eq!(normal(&once, limits).as_ref(), Ok(&once), "{path} became {once}");
            }
        }
    }
}
