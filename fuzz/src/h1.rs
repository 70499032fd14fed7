//! HTTP/1 heads: our strict parsers against httparse, and what we forward against our own rules.

use httparse::Status as Theirs;
use protocol::h1::client::Client;
use protocol::h1::server::Server;
use protocol::{
    Fields, Forward, Limits, Method, PercentPolicy, RequestHead, ResponseFraming, ResponseHead, TargetForm,
    Version,
};

use crate::input::Input;

/// More than any accepted head can have.
const FIELDS_MAX: usize = 256;

/// The limits that the switches ask for: usual, or tight enough to be met.
pub(crate) fn limits(switches: u8) -> Limits {
    let mut limits = Limits::default();
    if switches & 0x10 != 0 {
        limits.request_line_bytes_max = 64;
        limits.head_bytes_max = 256;
        limits.fields_max = 6;
        limits.chunk_extension_bytes_max = 16;
    }
    if switches & 0x20 != 0 {
        limits.encoded_slash = PercentPolicy::Decode;
        limits.encoded_nul = PercentPolicy::Keep;
    }
    if switches & 0x40 != 0 {
        limits.encoded_slash = PercentPolicy::Reject;
    }
    limits
}

/// One request head.
///
/// Promises: what we accept httparse accepts, with the same method, target, version and fields; what it refuses
/// we do not accept; the forwarded head is one that we accept ourselves, with the same method, host, normalised
/// path and query, and exactly one framing.
pub fn h1_request(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let limits = limits(input.switches);
    let mut head = RequestHead::new();
    let ours = head.parse(input.wire, &limits);

    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    let theirs = request.parse(input.wire);
    let Ok(Some(len)) = ours else { return };
    assert_eq!(theirs, Ok(Theirs::Complete(len)), "{}", input.wire.escape_ascii());
    assert_eq!(request.method.map(str::as_bytes), Some(head.method_text(input.wire)));
    assert_eq!(request.path.map(str::as_bytes), Some(head.target(input.wire)));
    assert_eq!(request.version, Some(if head.version == Version::Http11 { 1 } else { 0 }));
    same_fields(input.wire, &head.fields, request.headers);

    let _ = (head.host_name(input.wire), head.request_id(input.wire, true));
    forwarded_request(&input, &head);
}

fn same_fields(wire: &[u8], ours: &Fields, theirs: &[httparse::Header<'_>]) {
    let ours: Vec<_> =
        ours.iter().map(|field| (field.name_span.of(wire), field.value.of(wire).trim_ascii())).collect();
    let theirs: Vec<_> =
        theirs.iter().map(|field| (field.name.as_bytes(), field.value.trim_ascii())).collect();
    assert_eq!(ours, theirs);
}

fn forwarded_request(input: &Input<'_>, head: &RequestHead) {
    let forward = Forward {
        client_ip: "192.0.2.7",
        request_id: b"018f0000-0000-7000-8000-000000000001",
        trusted: input.switches & 1 != 0,
        // HTTP/1.0 may name no host; the engine then names the backend's.
        host: head.host(input.wire).is_empty().then_some("origin.test"),
        upgrade: input.switches & 2 != 0 && head.upgrade == protocol::Upgrade::WebSocket,
        ..Forward::default()
    };
    let mut out = Vec::new();
    Client::new().write_request(&mut out, input.wire, head, &forward);
    // The forwarded head is longer by our fields, so its own caps are above any that let it in. What was a
    // policy on the way in was decided there: a kept or decoded %2F passes.
    let wide = Limits {
        request_line_bytes_max: 60_000,
        head_bytes_max: 65_535,
        fields_max: FIELDS_MAX as u32,
        encoded_slash: PercentPolicy::Keep,
        encoded_nul: PercentPolicy::Keep,
        connect_allowed: true,
        ..Limits::default()
    };
    let mut again = RequestHead::new();
    let read = again.parse(&out, &wide);
    assert_eq!(read, Ok(Some(out.len())), "{}\nfrom {}", out.escape_ascii(), input.wire.escape_ascii());
    assert_eq!(again.version, Version::Http11);
    assert!(again.keep_alive || forward.upgrade);
    assert_eq!(again.method_text(&out), head.method_text(input.wire));
    assert_eq!(again.framing, head.framing);
    if head.target_form() != TargetForm::Authority {
        assert_eq!(again.path(&out), head.path(input.wire), "normalised once is normalised for good");
        assert_eq!(again.query(&out), head.query(input.wire));
    }
    let host = head.host(input.wire);
    assert!(host.is_empty() || again.host(&out) == host);
    if !forward.trusted {
        let said = again.fields.value_by_text(b"x-forwarded-for", &out);
        assert_eq!(said, Some(forward.client_ip.as_bytes()), "an untrusted client has no say");
    }
}

/// One response head, as the answer to a method.
///
/// Promises: what we accept httparse accepts, with the same status and fields; the head written for the client
/// is one that we accept ourselves, with the same status and no framing but ours.
pub fn h1_response(data: &[u8]) {
    let Some(input) = Input::of(data) else { return };
    let limits = limits(input.switches);
    let method = if input.switches & 1 != 0 { Method::Head } else { Method::Get };
    let mut head = ResponseHead::new();
    let ours = head.parse(input.wire, &limits, method);

    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let theirs = response.parse(input.wire);
    let Ok(Some(len)) = ours else { return };
    assert_eq!(theirs, Ok(Theirs::Complete(len)), "{}", input.wire.escape_ascii());
    assert_eq!(response.code, Some(head.status.code()));
    assert_eq!(response.version, Some(if head.version == Version::Http11 { 1 } else { 0 }));
    same_fields(input.wire, &head.fields, response.headers);
    if head.status.code() >= 200 {
        forwarded_response(&input, &head, method);
    }
}

fn forwarded_response(input: &Input<'_>, head: &ResponseHead, method: Method) {
    let is_http_1_0 = input.switches & 2 != 0;
    let verb = if method == Method::Head { "HEAD" } else { "GET" };
    let version = if is_http_1_0 { "1.0" } else { "1.1" };
    let request = format!("{verb} / HTTP/{version}\r\nHost: a\r\n\r\n");
    let limits = Limits { head_bytes_max: 65_535, fields_max: FIELDS_MAX as u32, ..Limits::default() };
    let mut server = Server::new(0);
    assert_eq!(server.feed(0, &limits, request.as_bytes(), &mut RequestHead::new()), Ok(request.len()));
    while server.next_event().is_some() {}

    let mut out = Vec::new();
    server.write_response(&mut out, input.wire, head, b"", input.switches & 4 != 0);
    let mut again = ResponseHead::new();
    let read = again.parse(&out, &limits, method);
    assert_eq!(read, Ok(Some(out.len())), "{}\nfrom {}", out.escape_ascii(), input.wire.escape_ascii());
    assert_eq!(again.status, head.status);
    let expected = match head.framing {
        // RFC 9112 6.1: no chunks for HTTP/1.0.
        ResponseFraming::Chunked if is_http_1_0 => ResponseFraming::UntilClose,
        ResponseFraming::UntilClose if !is_http_1_0 => ResponseFraming::Chunked,
        framing => framing,
    };
    assert_eq!(again.framing, expected, "{}\nfrom {}", out.escape_ascii(), input.wire.escape_ascii());
}
