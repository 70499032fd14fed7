//! What the proxy tells an origin about the client and itself: `X-Forwarded-*`, `X-Real-IP`, `X-Request-Id`,
//! `Via` (RFC 9110 7.6.3). A peer outside `trusted_proxies` cannot speak for anyone: everything it says under
//! these names, or under their spellings with `_`, is removed. Called by `h1::client` for every request.

use crate::h1::encode::push_field;
use crate::head::RequestHead;
use crate::header::name::{Name, NameSet, set_of};
use crate::rules::set_fields::SetFields;

/// The name in `Via`, towards both sides, unless the engine gives another.
pub const VIA_NAME: &str = "pinion";

/// How one request is to be forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// Address of the peer.
    pub client_ip: &'a str,
    /// `http` or `https`: how the client reached us.
    pub scheme: &'a str,
    /// What is told of the client's certificate (`X-Forwarded-Client-Cert`), if it has shown one.
    pub client_cert: Option<&'a str>,
    /// Our id for the request; a trusted peer's own valid id goes before it.
    pub request_id: &'a [u8],
    /// The peer is in `trusted_proxies`.
    pub trusted: bool,
    /// Our name in `Via`.
    pub via_name: &'a str,
    /// Sent as `Host` instead of the client's.
    pub host: Option<&'a str>,
    /// Pass the WebSocket upgrade on.
    pub upgrade: bool,
    /// Sent as target (path and query) instead of the client's. Must be visible ASCII.
    pub target: Option<&'a [u8]>,
    /// Sent as `Origin` instead of the client's, if it sent one.
    pub origin: Option<&'a str>,
    /// What the operator sets. The same names must have been withheld from the head ([`SetFields::withhold_from`]).
    pub set: Option<&'a SetFields>,
}

impl Default for Forward<'_> {
    fn default() -> Self {
        Forward {
            client_ip: "",
            scheme: "http",
            client_cert: None,
            request_id: b"",
            trusted: false,
            via_name: VIA_NAME,
            host: None,
            upgrade: false,
            target: None,
            origin: None,
            set: None,
        }
    }
}

/// What backends are told of the client's certificate; the name and form are Envoy's.
pub const CLIENT_CERT: &str = "X-Forwarded-Client-Cert";

/// Fields written anew for every request.
pub(crate) const REWRITTEN: NameSet = set_of(&[
    Name::XForwardedFor,
    Name::XForwardedHost,
    Name::XForwardedProto,
    Name::XRealIp,
    Name::XRequestId,
]);

/// Further fields that only trusted peers may send.
pub(crate) const UNTRUSTED: NameSet = set_of(&[Name::Forwarded, Name::XForwardedOther, Name::Lookalike]);

/// Writes our fields for this request.
pub(crate) fn write(out: &mut Vec<u8>, input: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    let kept = |name: Name| {
        let said = if forward.trusted { head.fields.value(name, input) } else { None };
        said.filter(|value| !value.is_empty())
    };
    let set = forward.set.map_or(0, SetFields::known);
    let ours = |name: Name| set & name.bit() == 0;
    if ours(Name::XForwardedFor) {
        write_forwarded_for(out, input, head, forward);
    }
    if ours(Name::XRealIp) {
        write_field(out, b"X-Real-IP: ", kept(Name::XRealIp).unwrap_or(forward.client_ip.as_bytes()));
    }
    if ours(Name::XForwardedProto) {
        let proto = kept(Name::XForwardedProto).unwrap_or(forward.scheme.as_bytes());
        write_field(out, b"X-Forwarded-Proto: ", proto);
    }
    if ours(Name::XForwardedHost) {
        write_field(out, b"X-Forwarded-Host: ", kept(Name::XForwardedHost).unwrap_or(head.host(input)));
    }
    if let Some(client_cert) = forward.client_cert.filter(|told| !told.is_empty()) {
        push_field(out, CLIENT_CERT.as_bytes(), client_cert.as_bytes());
    }
    if ours(Name::XRequestId) {
        let request_id = head.request_id(input, forward.trusted).unwrap_or(forward.request_id);
        write_field(out, b"X-Request-Id: ", request_id);
    }
    write_via(out, head.version.number(), forward.via_name);
    if let Some(origin) = forward.origin.filter(|_| head.fields.has(Name::Origin) && ours(Name::Origin)) {
        write_field(out, b"Origin: ", origin.as_bytes());
    }
    if let Some(fields) = forward.set {
        out.extend_from_slice(fields.lines());
    }
}

/// Appends the peer to the list, which only a trusted peer may have begun.
fn write_forwarded_for(out: &mut Vec<u8>, input: &[u8], head: &RequestHead, forward: &Forward<'_>) {
    out.extend_from_slice(b"X-Forwarded-For: ");
    if forward.trusted {
        for field in head.fields.all(Name::XForwardedFor).filter(|field| !field.value.is_empty()) {
            out.extend_from_slice(field.value.of(input));
            out.extend_from_slice(b", ");
        }
    }
    out.extend_from_slice(forward.client_ip.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `start` is the line up to its value.
#[inline]
fn write_field(out: &mut Vec<u8>, start: &[u8], value: &[u8]) {
    if !value.is_empty() {
        out.extend_from_slice(start);
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
}

/// Adds us behind everyone else: a further field line counts as appended (RFC 9110 5.3).
pub(crate) fn write_via(out: &mut Vec<u8>, version: &str, name: &str) {
    out.extend_from_slice(b"Via: ");
    out.extend_from_slice(version.as_bytes());
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\r\n");
}
