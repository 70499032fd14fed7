//! Names of header fields: those that the proxy acts on as a small enum, so that every later question about
//! a field is one bit test instead of a string comparison. Called once per field by `h1::head`.
//!
//! A name must be a token before it comes here: the folding below treats `|0x20` as lower case, which is exact
//! only for token bytes.

/// A field's name. Fields that nothing here asks about are [`Name::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is the field of that name")]
pub enum Name {
    Accept,
    AcceptEncoding,
    AcceptLanguage,
    AcceptRanges,
    Age,
    Authorization,
    CacheControl,
    Connection,
    ContentEncoding,
    ContentLength,
    ContentRange,
    ContentType,
    Cookie,
    Date,
    Etag,
    Expect,
    Expires,
    Forwarded,
    Host,
    Http2Settings,
    IfMatch,
    IfModifiedSince,
    IfNoneMatch,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    LastModified,
    Location,
    MaxForwards,
    Origin,
    Pragma,
    ProxyAuthenticate,
    ProxyAuthorization,
    ProxyConnection,
    Range,
    Referer,
    RetryAfter,
    SecWebSocketAccept,
    SecWebSocketExtensions,
    SecWebSocketKey,
    SecWebSocketProtocol,
    SecWebSocketVersion,
    Server,
    SetCookie,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    UserAgent,
    Vary,
    Via,
    WwwAuthenticate,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
    XRequestId,
    /// Any further `X-Forwarded-…`.
    XForwardedOther,
    /// A spelling with `_` of a field that the proxy itself writes: CGI-like origins take both for the same.
    Lookalike,
    /// Everything else.
    Other,
}

const KNOWN: [(Name, &str); 57] = [
    (Name::Accept, "Accept"),
    (Name::AcceptEncoding, "Accept-Encoding"),
    (Name::AcceptLanguage, "Accept-Language"),
    (Name::AcceptRanges, "Accept-Ranges"),
    (Name::Age, "Age"),
    (Name::Authorization, "Authorization"),
    (Name::CacheControl, "Cache-Control"),
    (Name::Connection, "Connection"),
    (Name::ContentEncoding, "Content-Encoding"),
    (Name::ContentLength, "Content-Length"),
    (Name::ContentRange, "Content-Range"),
    (Name::ContentType, "Content-Type"),
    (Name::Cookie, "Cookie"),
    (Name::Date, "Date"),
    (Name::Etag, "ETag"),
    (Name::Expect, "Expect"),
    (Name::Expires, "Expires"),
    (Name::Forwarded, "Forwarded"),
    (Name::Host, "Host"),
    (Name::Http2Settings, "HTTP2-Settings"),
    (Name::IfMatch, "If-Match"),
    (Name::IfModifiedSince, "If-Modified-Since"),
    (Name::IfNoneMatch, "If-None-Match"),
    (Name::IfRange, "If-Range"),
    (Name::IfUnmodifiedSince, "If-Unmodified-Since"),
    (Name::KeepAlive, "Keep-Alive"),
    (Name::LastModified, "Last-Modified"),
    (Name::Location, "Location"),
    (Name::MaxForwards, "Max-Forwards"),
    (Name::Origin, "Origin"),
    (Name::Pragma, "Pragma"),
    (Name::ProxyAuthenticate, "Proxy-Authenticate"),
    (Name::ProxyAuthorization, "Proxy-Authorization"),
    (Name::ProxyConnection, "Proxy-Connection"),
    (Name::Range, "Range"),
    (Name::Referer, "Referer"),
    (Name::RetryAfter, "Retry-After"),
    (Name::SecWebSocketAccept, "Sec-WebSocket-Accept"),
    (Name::SecWebSocketExtensions, "Sec-WebSocket-Extensions"),
    (Name::SecWebSocketKey, "Sec-WebSocket-Key"),
    (Name::SecWebSocketProtocol, "Sec-WebSocket-Protocol"),
    (Name::SecWebSocketVersion, "Sec-WebSocket-Version"),
    (Name::Server, "Server"),
    (Name::SetCookie, "Set-Cookie"),
    (Name::Te, "TE"),
    (Name::Trailer, "Trailer"),
    (Name::TransferEncoding, "Transfer-Encoding"),
    (Name::Upgrade, "Upgrade"),
    (Name::UserAgent, "User-Agent"),
    (Name::Vary, "Vary"),
    (Name::Via, "Via"),
    (Name::WwwAuthenticate, "WWW-Authenticate"),
    (Name::XForwardedFor, "X-Forwarded-For"),
    (Name::XForwardedHost, "X-Forwarded-Host"),
    (Name::XForwardedProto, "X-Forwarded-Proto"),
    (Name::XRealIp, "X-Real-IP"),
    (Name::XRequestId, "X-Request-Id"),
];

/// Bytes of a line that [`Name::before_colon`] looks at.
pub(crate) const WINDOW: usize = 24;

/// A known name as words, so that it is compared in three steps.
#[derive(Clone, Copy)]
struct Folded {
    /// Lower case, padded with zeros.
    words: [u64; 3],
    /// 0x20 where a letter is: there alone case does not count.
    case: [u64; 3],
}

/// [`KNOWN`] as words. A name of the window's full length never matches there, as its colon is outside.
const FOLDED: [Folded; KNOWN.len()] = {
    let mut table = [Folded { words: [0; 3], case: [0; 3] }; KNOWN.len()];
    let mut index = 0;
    while index < KNOWN.len() {
        let text = KNOWN[index].1.as_bytes();
        let mut at = 0;
        while at < text.len() {
            let shift = 8 * (at % 8);
            table[index].words[at / 8] |= (text[at].to_ascii_lowercase() as u64) << shift;
            table[index].case[at / 8] |= if text[at].is_ascii_alphabetic() { 0x20 << shift } else { 0 };
            at += 1;
        }
        index += 1;
    }
    table
};

/// The first `len` bytes of three words, by `len`.
const PREFIXES: [[u64; 3]; WINDOW] = {
    let mut table = [[0; 3]; WINDOW];
    let mut len = 0;
    while len < WINDOW {
        let mut at = 0;
        while at < len {
            table[len][at / 8] |= 0xff << (8 * (at % 8));
            at += 1;
        }
        len += 1;
    }
    table
};

/// Slot of a name in [`SLOTS`]: first, middle and last byte and the length tell all known names apart.
const fn slot(first: u8, middle: u8, last: u8, len: usize) -> usize {
    let first = (first | 0x20) as usize;
    let middle = (middle | 0x20) as usize;
    let last = (last | 0x20) as usize;
    (first + middle * 17 + last * 23 + len) & 255
}

/// Index into [`KNOWN`] by slot, 255 where no known name lives. A collision fails the build.
const SLOTS: [u8; 256] = {
    let mut slots = [255u8; 256];
    let mut index = 0;
    while index < KNOWN.len() {
        let text = KNOWN[index].1.as_bytes();
        let at = slot(text[0], text[text.len() / 2], text[text.len() - 1], text.len());
        assert!(slots[at] == 255, "two known names share a slot");
        slots[at] = index as u8;
        index += 1;
    }
    slots
};

impl Name {
    /// The known name that a line begins with, up to its colon, and its length: the quick way for nearly every
    /// field of nearly every message. What it finds needs no further check, as no known name holds a byte that
    /// a token may not hold.
    #[inline]
    pub(crate) fn before_colon(window: &[u8; WINDOW]) -> Option<(Name, usize)> {
        let word =
            |at: usize| window.get(at..).and_then(|rest| rest.first_chunk()).copied().map(u64::from_le_bytes);
        let words = [word(0)?, word(8)?, word(16)?];
        let len = colon_at(words)?;
        let prefix = PREFIXES.get(len)?;
        let at = slot(*window.first()?, *window.get(len / 2)?, *window.get(len.checked_sub(1)?)?, len);
        let index = usize::from(SLOTS[at]);
        let folded = FOLDED.get(index)?;
        let difference =
            (0..3).fold(0, |all, at| all | (((words[at] & prefix[at]) | folded.case[at]) ^ folded.words[at]));
        if difference != 0 {
            return None;
        }
        // The folded words are padded with zeros: without the length, `Host` and NULs behind it would be `Host`.
        KNOWN.get(index).filter(|(_, text)| text.len() == len).map(|(name, _)| (*name, len))
    }

    /// The name that this token spells, in any case.
    #[inline]
    pub fn of(token: &[u8]) -> Name {
        let (Some(first), Some(middle), Some(last)) =
            (token.first(), token.get(token.len() / 2), token.last())
        else {
            return Name::Other;
        };
        let index = SLOTS[slot(*first, *middle, *last, token.len())];
        if let Some((name, text)) = KNOWN.get(usize::from(index))
            && same_token(token, text.as_bytes())
        {
            return *name;
        }
        if first | 0x20 == b'x' && has_prefix(token, b"x-forwarded-") {
            return Name::XForwardedOther;
        }
        Name::Other
    }

    /// Like [`Name::of`] for a token that contains `_`.
    #[cold]
    pub(crate) fn of_underscored(token: &[u8]) -> Name {
        const OURS: [Name; 9] = [
            Name::XForwardedFor,
            Name::XForwardedHost,
            Name::XForwardedProto,
            Name::XRealIp,
            Name::XRequestId,
            Name::ContentLength,
            Name::TransferEncoding,
            Name::ProxyConnection,
            Name::KeepAlive,
        ];
        let same = |ours: &Name| {
            let text = ours.text().as_bytes();
            token.len() == text.len()
                && token.iter().zip(text).all(|(left, right)| dashed(*left) == dashed(*right))
        };
        let prefix = b"x-forwarded-";
        let forwarded = token.len() > prefix.len()
            && token.iter().zip(prefix).all(|(left, right)| dashed(*left) == *right);
        if forwarded || OURS.iter().any(same) { Name::Lookalike } else { Name::Other }
    }

    /// The usual spelling; empty for names that stand for many.
    pub fn text(self) -> &'static str {
        KNOWN.get(self as usize).map_or("", |(_, text)| text)
    }

    /// This name's bit in a [`NameSet`].
    pub(crate) const fn bit(self) -> NameSet {
        1 << self as u8
    }
}

/// A set of names, one bit each.
pub(crate) type NameSet = u64;

/// The set of `names`.
pub(crate) const fn set_of(names: &[Name]) -> NameSet {
    let mut set = 0;
    let mut index = 0;
    while index < names.len() {
        set |= names[index].bit();
        index += 1;
    }
    set
}

/// Offset of the first colon in the words.
#[inline]
fn colon_at(words: [u64; 3]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest marked byte is exact: borrows go upwards only.
    let marks = words.map(|word| {
        let colon = word ^ (ONES * b':' as u64);
        colon.wrapping_sub(ONES) & !colon & (ONES * 0x80)
    });
    let at = marks.iter().position(|mark| *mark != 0)?;
    Some(at * 8 + (marks[at].trailing_zeros() / 8) as usize)
}

/// Lower case, with `_` read as `-`.
fn dashed(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte | 0x20 }
}

/// Equal but for case; both must be tokens without `_`, `^` and the like, as all known names are.
#[inline]
fn same_token(token: &[u8], text: &[u8]) -> bool {
    if token.len() != text.len() {
        return false;
    }
    let difference =
        token.iter().zip(text).fold(0, |all, (left, right)| all | ((left | 0x20) ^ (right | 0x20)));
    difference == 0
}

/// Whether more than `prefix` follows it, in any case.
fn has_prefix(token: &[u8], prefix: &[u8]) -> bool {
    token.len() > prefix.len() && token.iter().zip(prefix).all(|(left, right)| left | 0x20 == *right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_known_name_in_any_case() {
        for (position, (name, text)) in KNOWN.iter().enumerate() {
            assert_eq!(*name as usize, position, "table order is enum order");
            assert_eq!(Name::of(text.as_bytes()), *name);
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), *name);
            assert_eq!(Name::of(text.to_ascii_lowercase().as_bytes()), *name);
            assert_eq!(name.text(), *text);
        }
    }

    #[test]
    fn the_quick_way_agrees_with_the_slow_one_on_every_byte() {
        for (name, text) in KNOWN {
            let quick = |token: &[u8]| {
                let line = [token, b": value and more behind it"].concat();
                Name::before_colon(line.first_chunk().expect("a long line"))
            };
            let reached = text.len() < WINDOW;
            assert_eq!(quick(text.as_bytes()), reached.then_some((name, text.len())), "{text}");
            assert_eq!(quick(text.to_ascii_uppercase().as_bytes()), reached.then_some((name, text.len())));
            for at in 0..text.len() {
                for byte in 0..=255u8 {
                    let mut near = text.as_bytes().to_vec();
                    near[at] = byte;
                    if let Some((found, len)) = quick(&near) {
                        assert!(near[..len].eq_ignore_ascii_case(found.text().as_bytes()), "{near:?}");
                        assert!(len == text.len() || near[len] == b':', "{near:?}");
                    }
                }
            }
        }
        assert_eq!(Name::before_colon(b": value and more behind "), None);
        assert_eq!(Name::before_colon(b"no colon in the whole wi"), None);
    }

    /// A finding of the fuzzer: a known name with NULs behind it was taken for that name.
    #[test]
    fn the_quick_way_takes_no_padding_for_a_part_of_a_name() {
        for (name, text) in KNOWN {
            for padding in 1..WINDOW.saturating_sub(text.len()) {
                let line = [text.as_bytes(), &vec![0; padding], b": value and more behind it"].concat();
                let found = Name::before_colon(line.first_chunk().expect("a long line"));
                assert_eq!(found, None, "{name:?} and {padding} NULs");
            }
        }
    }

    #[test]
    fn takes_no_near_miss_for_a_known_name() {
        for (_, text) in KNOWN {
            for at in 0..text.len() {
                let mut near = text.as_bytes().to_vec();
                near[at] = if near[at] == b'q' { b'z' } else { b'q' };
                assert!(matches!(Name::of(&near), Name::Other | Name::XForwardedOther), "{near:?}");
            }
            assert!(matches!(Name::of(format!("{text}s").as_bytes()), Name::Other | Name::XForwardedOther));
        }
        assert_eq!(Name::of(b""), Name::Other);
    }

    #[test]
    fn knows_the_underscore_spellings_of_our_own_fields() {
        let rows = [
            ("X_Forwarded_For", Name::Lookalike),
            ("x-forwarded_for", Name::Lookalike),
            ("X_REAL_IP", Name::Lookalike),
            ("X_Request-Id", Name::Lookalike),
            ("x_forwarded_anything", Name::Lookalike),
            ("Content_Length", Name::Lookalike),
            ("Transfer_Encoding", Name::Lookalike),
            ("my_field", Name::Other),
            ("x_real_ip_", Name::Other),
            ("_", Name::Other),
        ];
        for (text, name) in rows {
            assert_eq!(Name::of_underscored(text.as_bytes()), name, "{text}");
        }
        assert_eq!(Name::of(b"X-Forwarded-Port"), Name::XForwardedOther);
        assert_eq!(Name::of(b"X-Forwarded-"), Name::Other);
    }
}
