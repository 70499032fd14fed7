//! Our own answers: `application/problem+json` (RFC 9457) with a request id, and nothing internal.

use std::fmt::Write;

use protocol::{RequestError, Status};
use smallvec::SmallVec;

use super::request::Refusal;
use super::{Next, finish};
use crate::conn::client::ClientConn;
use crate::error::Fault;
use crate::io::{freeze, take_buf};
use crate::router::RewriteError;
use crate::table::route::Route;
use crate::tls::check::HSTS;

/// Who finds no room or no backend now may in a second: places come free, and circuits close again.
const RETRY_SOON: &[(&str, &str)] = &[("Retry-After", "1")];

/// Answers a request whose head could not be read. The connection closes after it.
pub(crate) fn refuse_head(conn: &mut ClientConn, error: RequestError) {
    conn.local.counters().requests.add(1);
    refuse_request(conn, error);
}

fn refuse_request(conn: &mut ClientConn, error: RequestError) {
    conn.local.counters().refused.add(1);
    tracing::debug!(client = %conn.peer.text, reason = error.reason(), "request refused");
    match error.status() {
        Some(status) => {
            let id = conn.local.ids.next();
            answer(conn, status, &id, &[], true);
        }
        None => conn.local.counters().unanswered.add(1),
    }
}

/// Answers a request that is not forwarded.
pub(crate) fn refuse(conn: &mut ClientConn, refusal: Refusal<'_>) -> Next {
    match refusal {
        Refusal::Request(error) => {
            refuse_request(conn, error);
            Next::Close
        }
        Refusal::Respond(route, respond) => {
            let fields = with_set(route, ("Content-Type", respond.content_type.as_str()));
            send(conn, respond.status, &fields, &respond.body, false)
        }
        Refusal::Redirect(route, status, location) => {
            send(conn, status, &with_set(route, ("Location", &location)), b"", false)
        }
        Refusal::Rewrite(RewriteError::DotSegments) => {
            refuse_with(conn, "the rewritten path has dot segments", Status::BAD_REQUEST, &[])
        }
        Refusal::Rewrite(RewriteError::TooLong) => {
            refuse_with(conn, "the rewritten target is too long", Status::URI_TOO_LONG, &[])
        }
        Refusal::Misdirected => {
            refuse_with(conn, "the host is not one of the certificate", Status::MISDIRECTED_REQUEST, &[])
        }
        Refusal::Https(location) => {
            send(conn, Status::PERMANENT_REDIRECT, &[("Location", &location)], b"", false)
        }
        Refusal::NoRoute => refuse_with(conn, "no route serves the host", Status::NOT_FOUND, &[]),
        Refusal::QueueFull => {
            refuse_with(conn, "the route's queue is full", Status::SERVICE_UNAVAILABLE, RETRY_SOON)
        }
        Refusal::TurnTimedOut => {
            refuse_with(conn, "its turn did not come in time", Status::SERVICE_UNAVAILABLE, RETRY_SOON)
        }
        Refusal::NoBackend { retry_after_s } => {
            let after = retry_after_s.to_string();
            let fields = [("Retry-After", after.as_str())];
            refuse_with(conn, "no backend is usable", Status::SERVICE_UNAVAILABLE, &fields)
        }
        Refusal::ClientGone => {
            conn.local.counters().unanswered.add(1);
            Next::Cut
        }
        Refusal::Handshake(error) => {
            conn.local.counters().refused.add(1);
            tracing::debug!(client = %conn.peer.text, reason = error.text(), "handshake refused");
            let id = conn.local.ids.next();
            answer(conn, error.status(), &id, error.fields(), false)
        }
    }
}

/// The rule's own field, and those that its route sets on every answer; the rule's is the nearer one.
fn with_set<'a>(route: &'a Route, own: (&'a str, &'a str)) -> SmallVec<[(&'a str, &'a str); 8]> {
    let set = route.model.response_headers.iter();
    let others = set.filter(|field| !field.name.eq_ignore_ascii_case(own.0));
    std::iter::once(own).chain(others.map(|field| (field.name.as_str(), field.value.as_str()))).collect()
}

fn refuse_with(conn: &mut ClientConn, reason: &str, status: Status, fields: &[(&str, &str)]) -> Next {
    conn.local.counters().refused.add(1);
    tracing::debug!(client = %conn.peer.text, reason, "request refused");
    let id = conn.local.ids.next();
    answer(conn, status, &id, fields, false)
}

/// Answers a request that every attempt failed for, if the client can still be told.
pub(crate) fn fail(conn: &mut ClientConn, fault: &Fault, request_id: &[u8]) -> Next {
    tracing::info!(client = %conn.peer.text, request_id = %String::from_utf8_lossy(request_id), cause = %fault, "exchange failed");
    match fault.status() {
        Some(status) => answer(conn, status, request_id, &[], false),
        None => {
            conn.local.counters().unanswered.add(1);
            Next::Cut
        }
    }
}

/// Writes a problem answer.
fn answer(conn: &mut ClientConn, status: Status, id: &[u8], fields: &[(&str, &str)], close: bool) -> Next {
    let id = std::str::from_utf8(id).unwrap_or_default();
    let mut body = String::with_capacity(160);
    // Title and id consist of letters, digits, spaces and `-'`: nothing in them needs escaping. Writing to a String
    // cannot fail.
    let _ = writeln!(
        body,
        "{{\"type\":\"about:blank\",\"title\":\"{}\",\"status\":{},\"requestId\":\"{id}\"}}",
        status.reason(),
        status.code(),
    );
    let mut all = vec![("Content-Type", "application/problem+json"), ("X-Request-Id", id)];
    all.extend_from_slice(fields);
    send(conn, status, &all, body.as_bytes(), close)
}

/// Writes an answer of our own. The connection goes on where the framing allows: the request was read whole.
fn send(conn: &mut ClientConn, status: Status, fields: &[(&str, &str)], body: &[u8], close: bool) -> Next {
    let close = close || conn.local.draining.get() || !conn.machine.is_request_read();
    let hsts = conn.peer.secured.as_ref().and_then(|_| conn.local.view().model().tls.hsts_max_age_s);
    let hsts = hsts.map(|age| format!("max-age={age}"));
    let mut all: SmallVec<[(&str, &str); 8]> = SmallVec::from_slice(fields);
    all.extend(hsts.as_deref().map(|value| (HSTS, value)));
    let mut out = take_buf();
    conn.machine.write_answer(&mut out, status, &all, body, close);
    conn.local.counters().client_bytes_out.add(out.len() as u64);
    conn.stream.send(freeze(out));
    finish::count(conn.local.counters(), status);
    if conn.machine.keep_alive() { Next::Request } else { Next::Close }
}
