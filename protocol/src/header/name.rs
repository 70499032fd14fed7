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

const KNOWN: [(Name, &str); 55] = [
    (Name::Accept, "Accept"),
    (Name::AcceptEncoding, "Accept-Encoding"),
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
