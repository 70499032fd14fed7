//! Which fields end at this hop (RFC 9110 7.6.1): the standard ones by name, further ones because `Connection`
//! names them. A client's `Connection` never removes what others rely on.

use crate::header::map::Fields;
use crate::header::name::{Name, NameSet, set_of};
use crate::header::value;
use crate::limits::CONNECTION_NAMES_MAX;

/// Fields that are never forwarded as they came.
pub(crate) const HOP_BY_HOP: NameSet = set_of(&[
    Name::Connection,
    Name::KeepAlive,
    Name::ProxyConnection,
    Name::ProxyAuthenticate,
    Name::ProxyAuthorization,
    Name::Te,
    Name::TransferEncoding,
    Name::Upgrade,
    Name::Http2Settings,
]);

/// Fields that no `Connection` may remove: framing, routing, identity.
const PROTECTED: NameSet = set_of(&[
    Name::Host,
    Name::ContentLength,
    Name::TransferEncoding,
    Name::XForwardedFor,
    Name::XForwardedHost,
    Name::XForwardedProto,
    Name::XForwardedOther,
    Name::XRealIp,
    Name::XRequestId,
    Name::Forwarded,
    Name::Via,
    Name::Authorization,
    Name::Cookie,
    Name::SetCookie,
    Name::Expect,
    Name::Trailer,
    Name::SecWebSocketAccept,
    Name::SecWebSocketExtensions,
    Name::SecWebSocketKey,
    Name::SecWebSocketProtocol,
    Name::SecWebSocketVersion,
]);

/// Fields that mean nothing, or something dangerous, in a trailer section (RFC 9110 6.5.1): framing, routing,
/// authentication, request modifiers, content format, and all that the proxy itself writes.
pub(crate) const FORBIDDEN_IN_TRAILERS: NameSet = HOP_BY_HOP
    | PROTECTED
    | set_of(&[
        Name::Age,
        Name::CacheControl,
        Name::ContentEncoding,
        Name::ContentRange,
        Name::ContentType,
        Name::Date,
        Name::Expires,
        Name::IfMatch,
        Name::IfModifiedSince,
        Name::IfNoneMatch,
        Name::IfRange,
        Name::IfUnmodifiedSince,
        Name::Location,
        Name::Lookalike,
        Name::MaxForwards,
        Name::Pragma,
        Name::Range,
        Name::RetryAfter,
        Name::Vary,
        Name::WwwAuthenticate,
    ]);

/// What `Connection` asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionOptions {
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    pub(crate) upgrade: bool,
}

/// Reads every `Connection` field and marks the fields that they name. `None` if they name too many.
pub(crate) fn read_connection(input: &[u8], fields: &mut Fields) -> Option<ConnectionOptions> {
    let mut options = ConnectionOptions::default();
    if !fields.has(Name::Connection) {
        return Some(options);
    }
    let mut names_left = CONNECTION_NAMES_MAX;
    for index in 0..fields.len() {
        let Some(field) = fields.at(index).filter(|field| field.name == Name::Connection) else { continue };
        let value = field.value.of(input);
        if value.eq_ignore_ascii_case(b"keep-alive") {
            // What nearly every client and origin says.
            options.keep_alive = true;
            continue;
        }
        for option in value::list(value) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                options.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                options.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else {
                names_left = names_left.checked_sub(1)?;
                mark_named(input, fields, option);
            }
        }
    }
    Some(options)
}

fn mark_named(input: &[u8], fields: &mut Fields, option: &[u8]) {
    for field in fields.iter_mut() {
        let is_protected = field.name.bit() & PROTECTED != 0;
        if !is_protected && field.name_span.of(input).eq_ignore_ascii_case(option) {
            field.hop = true;
        }
    }
}
