//! From a client's head to what is sent to the backend. Runs between two awaits, while the head is in the scratch.

use std::num::NonZeroU16;
use std::rc::Rc;

use config_core::model::HashKey;
use protocol::h1::client::Client;
use protocol::rules::cookie;
use protocol::rules::forwarded::CLIENT_CERT;
use protocol::ws::handshake::{self, HandshakeError, Key};
use protocol::{Forward, Framing, Name, RequestError, RequestHead, Status, Upgrade};
use smallvec::SmallVec;

use super::choose::{self, Chosen};
use super::queue;
use crate::balance::hash_of;
use crate::conn::client::ClientConn;
use crate::ids::UUID_LEN;
use crate::io::{Lease, freeze, return_buf, take_buf};
use crate::local::{Local, LocalUpstream, View};
use crate::router::{RewriteError, RuleMatch};
use crate::table::route::{Action, Forwarding, Respond, Route};
use crate::upstream::Backend;
use crate::upstream::gate::{Entry, Gate, Permit, Ticket};

/// Bodies up to this size are kept for another attempt, where the method may be repeated.
pub(crate) const REPLAY_BYTES_MAX: u64 = 64 * 1024;

/// Needs no mention in a URL of `https`.
const HTTPS_PORT: u16 = 443;

/// A request on its way, as far as it must outlive its head.
pub(crate) struct Request<'v> {
    pub(crate) route: &'v Route,
    /// The rule that takes it; none: the route itself.
    rule: Option<RuleMatch>,
    /// Where its rule, or the route, sends it.
    pub(crate) forwarding: &'v Forwarding,
    pub(crate) upstream: Rc<LocalUpstream>,
    /// The forwarded head.
    pub(crate) encoded: Lease,
    /// The machine that wrote it, as it stood then: each attempt starts from a copy.
    pub(crate) machine: Client,
    /// Index, in the upstream, of the backend that it was written for.
    pub(crate) backend: usize,
    /// The id that the backend is told: ours, or a trusted peer's own.
    pub(crate) id: SmallVec<[u8; UUID_LEN]>,
    pub(crate) upgrade: Option<Key>,
    /// RFC 9110 9.2.2: may be repeated even if the first attempt was acted upon.
    pub(crate) idempotent: bool,
    /// The body may be kept for another attempt.
    pub(crate) replayable: bool,
    pub(crate) continue_awaited: bool,
    /// Its place among the exchanges of a route that limits them; kept until the exchange ends.
    turn: Turn,
    /// The backend that the client's cookie names.
    pub(super) stuck_to: Option<StuckTo>,
    /// A cookie that the client is given must not come back without TLS.
    cookie_is_secure: bool,
    /// What tells the client apart, for a strategy that wants to know.
    pub(super) client_hash: u64,
    /// Its place on the backend.
    pub(super) chosen: Option<Chosen>,
    /// The client's own head, where another backend needs another forwarded one.
    original: Option<Lease>,
}

/// The cookie that brings a client back to its backend.
pub(crate) struct StickyCookie<'a> {
    pub(crate) name: &'a str,
    /// What the backend is called in it.
    pub(crate) token: &'a str,
    pub(crate) secure: bool,
}

/// Index of the backend that a client's cookie names, in two bytes even where there is none.
#[derive(Clone, Copy)]
pub(super) struct StuckTo(NonZeroU16);

impl StuckTo {
    fn new(index: usize) -> Option<StuckTo> {
        NonZeroU16::new(u16::try_from(index + 1).ok()?).map(StuckTo)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0.get()) - 1
    }
}

/// A place among the exchanges in flight.
enum Turn {
    /// The route has no limit.
    Free,
    Taken {
        _permit: Permit,
    },
    Awaited(Box<Ticket>),
}

/// Why a request is not forwarded.
pub(crate) enum Refusal<'v> {
    /// Its rule answers it.
    Respond(&'v Route, &'v Respond),
    /// Its rule sends it elsewhere.
    Redirect(&'v Route, Status, Box<str>),
    /// Its rule would make a target of it that must not be.
    Rewrite(RewriteError),
    Request(RequestError),
    Handshake(HandshakeError),
    /// No route serves the host.
    NoRoute,
    /// The host is not one of the connection's certificate.
    Misdirected,
    /// The route is served over TLS only; where to.
    Https(String),
    /// As many exchanges wait for their turn as may.
    QueueFull,
    /// Its turn did not come in time.
    TurnTimedOut,
    /// The client left while it waited for its turn.
    ClientGone,
    /// No backend is usable now; when it may be worth to ask again.
    NoBackend {
        retry_after_s: u64,
    },
}

/// Checks the request in the scratch against its route and writes its forwarded head.
pub(crate) fn prepare<'v>(
    conn: &mut ClientConn,
    view: &'v View,
    input: &Lease,
) -> Result<Request<'v>, Refusal<'v>> {
    let mut head = conn.local.request_head.borrow_mut();
    conn.is_last_request = !head.keep_alive;
    if let Some(secured) = &conn.peer.secured
        && !secured.serves(head.host_name(input))
    {
        return Err(Refusal::Misdirected);
    }
    let route: &'v Route = view.table.router.find(head.host(input)).ok_or(Refusal::NoRoute)?;
    if route.model.auto_https && conn.peer.secured.is_none() && !is_https(conn, view, &head, input) {
        return Err(Refusal::Https(https_location(view, &head, input)));
    }
    if let Some(max) = route.body_bytes_max {
        conn.machine.limit_body(max).map_err(Refusal::Request)?;
    }
    let upgrade = match head.upgrade {
        Upgrade::WebSocket => Some(handshake::check_request(input, &head).map_err(Refusal::Handshake)?),
        Upgrade::None | Upgrade::Other => None,
    };
    let (rule, forwarding) = match matched(conn, route, &head, input) {
        None => (None, &route.usual),
        Some(found) => match &route.actions[found.rule] {
            Action::Forward(forwarding) => (Some(found), forwarding),
            Action::Redirect(status) => return Err(redirect(conn, route, found, *status, &head, input)),
            Action::Respond(respond) => return Err(Refusal::Respond(route, respond)),
        },
    };
    let upstream = conn.local.upstream(&forwarding.upstream);
    let mut request = Request {
        route,
        rule,
        forwarding,
        encoded: Lease::from_static(b""),
        machine: Client::new(),
        backend: 0,
        stuck_to: stuck_to(route, &upstream, &head, input),
        cookie_is_secure: route.model.sticky.is_some() && is_https(conn, view, &head, input),
        client_hash: client_hash(conn, &upstream, &head, input),
        chosen: None,
        upstream,
        turn: Turn::Free,
        id: request_id(conn, view, &head, input),
        upgrade,
        idempotent: head.method.is_idempotent(),
        replayable: match head.framing {
            Framing::None => true,
            Framing::Length(length) => length <= REPLAY_BYTES_MAX,
            Framing::Chunked => true,
        },
        continue_awaited: head.expect_continue,
        original: is_backend_specific(forwarding, &head, input).then(|| input.clone()),
    };
    match route.gate.as_ref().map(Gate::enter) {
        None => {}
        Some(Entry::Permit(permit)) => request.turn = Turn::Taken { _permit: permit },
        Some(Entry::Full) => return Err(Refusal::QueueFull),
        Some(Entry::Ticket(ticket)) => {
            // Meanwhile the scratch is for others; the backend is chosen when its turn has come.
            request.original = Some(input.clone());
            request.turn = Turn::Awaited(Box::new(ticket));
            return Ok(request);
        }
    }
    if !request.choose(&conn.local, &[]) {
        return Err(request.no_backend());
    }
    write_head(conn, view, &mut request, input, &mut head)?;
    Ok(request)
}

/// The same host and target over TLS, on the port of the first TLS listener.
fn https_location(view: &View, head: &RequestHead, input: &[u8]) -> String {
    let mut tls = view.model().server.listen.iter().filter(|listener| listener.tls);
    let port = tls.next().map_or(HTTPS_PORT, |listener| listener.addr.port());
    let mut location = b"https://".to_vec();
    location.extend_from_slice(head.host_name(input));
    if port != HTTPS_PORT && port != 0 {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    location.extend_from_slice(head.path(input));
    if let Some(query) = head.query(input) {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    String::from_utf8_lossy(&location).into_owned()
}

/// The rule that takes the request.
fn matched(conn: &ClientConn, route: &Route, head: &RequestHead, input: &[u8]) -> Option<RuleMatch> {
    if route.actions.is_empty() {
        return None;
    }
    let mut cache = conn.local.rule_cache.borrow_mut();
    route.rules.find(&mut cache, head.method_span.of(input), head.path(input))
}

fn redirect<'v>(
    conn: &ClientConn,
    route: &'v Route,
    found: RuleMatch,
    status: Status,
    head: &RequestHead,
    input: &[u8],
) -> Refusal<'v> {
    let mut location = Vec::new();
    let mut cache = conn.local.rule_cache.borrow_mut();
    match route.rules.rewrite(&mut cache, found, head.path(input), head.query(input), &mut location) {
        Ok(_) => Refusal::Redirect(route, status, String::from_utf8_lossy(&location).into()),
        Err(error) => Refusal::Rewrite(error),
    }
}

/// What tells the client apart, if the strategy wants to know.
fn client_hash(conn: &ClientConn, upstream: &LocalUpstream, head: &RequestHead, input: &[u8]) -> u64 {
    if !upstream.balancer.needs_hash() {
        return 0;
    }
    let own = match &upstream.shared.model.hash_key {
        HashKey::ClientIp => None,
        HashKey::Header(name) => head.fields.value_by_text(name.as_bytes(), input),
        HashKey::Cookie(name) => cookie::find(name.as_bytes(), input, &head.fields),
    };
    hash_of(own.unwrap_or(conn.peer.text.as_bytes()))
}

/// The backend that the client's cookie names.
fn stuck_to(route: &Route, upstream: &LocalUpstream, head: &RequestHead, input: &[u8]) -> Option<StuckTo> {
    let told = cookie::find(route.model.sticky.as_ref()?.as_bytes(), input, &head.fields)?;
    let own = upstream.shared.backends.iter().position(|backend| backend.token.as_bytes() == told)?;
    StuckTo::new(own)
}

/// Whether the client speaks TLS: as a trusted peer says of it, else as its connection is.
fn is_https(conn: &ClientConn, view: &View, head: &RequestHead, input: &[u8]) -> bool {
    let told = head.fields.value(Name::XForwardedProto, input).filter(|proto| !proto.is_empty());
    match told.filter(|_| view.trusts(conn.peer.address)) {
        Some(proto) => proto.eq_ignore_ascii_case(b"https"),
        None => conn.peer.secured.is_some(),
    }
}

impl Request<'_> {
    /// Waits until it is the request's turn, and chooses its backend then.
    ///
    /// # Errors
    /// When its turn does not come.
    pub(crate) async fn wait(&mut self, conn: &ClientConn, view: &View) -> Result<(), Refusal<'static>> {
        let ticket = match std::mem::replace(&mut self.turn, Turn::Free) {
            Turn::Awaited(ticket) => ticket,
            has_place => {
                self.turn = has_place;
                return Ok(());
            }
        };
        // Boxed: only who waits needs the room.
        let permit = Box::pin(queue::wait(conn, *ticket, self.route.model.queue_timeout_ms)).await?;
        self.turn = Turn::Taken { _permit: permit };
        if !self.choose(&conn.local, &[]) {
            return Err(self.no_backend());
        }
        self.fit(conn, view)
    }

    /// Takes a place on a backend that was not tried yet, in place of the one it had; false if there is none.
    pub(crate) fn choose(&mut self, local: &Local, tried: &[usize]) -> bool {
        let Some((backend, chosen)) = choose::choose(self, local, tried) else { return false };
        self.backend = backend;
        self.chosen = Some(chosen);
        true
    }

    fn no_backend(&self) -> Refusal<'static> {
        Refusal::NoBackend { retry_after_s: choose::retry_after_s(&self.upstream) }
    }

    /// The cookie that the client is to be given, to come back to this backend.
    pub(crate) fn cookie(&self) -> Option<StickyCookie<'_>> {
        let name = self.route.model.sticky.as_ref()?;
        if self.stuck_to.map(StuckTo::index) == Some(self.backend) {
            return None;
        }
        let token = &self.forwarding.upstream.backends[self.backend].token;
        Some(StickyCookie { name, token, secure: self.cookie_is_secure })
    }

    /// Makes the request fit the backend that has been chosen.
    ///
    /// # Errors
    /// When its target would not do; not after it has been made once.
    pub(crate) fn fit(&mut self, conn: &ClientConn, view: &View) -> Result<(), Refusal<'static>> {
        let Some(original) = self.original.clone() else { return Ok(()) };
        let mut head = conn.local.request_head.borrow_mut();
        // It was parsed before under the same limits, so it parses again.
        let parsed = head.parse(&original, &view.table.limits);
        debug_assert!(matches!(parsed, Ok(Some(_))), "a head that was accepted once");
        self.machine = Client::new();
        write_head(conn, view, self, &original, &mut head)
    }
}

fn request_id(conn: &ClientConn, view: &View, head: &RequestHead, input: &[u8]) -> SmallVec<[u8; UUID_LEN]> {
    let trusted = view.trusts(conn.peer.address);
    match head.request_id(input, trusted) {
        Some(own) => SmallVec::from_slice(own),
        None => SmallVec::from_buf(conn.local.ids.next()),
    }
}

/// Whether the forwarded head shows which backend it was written for: by its path, or as `Host` of a request that
/// brought none.
fn is_backend_specific(forwarding: &Forwarding, head: &RequestHead, input: &[u8]) -> bool {
    forwarding.upstream.mixed_prefixes || forwarding.change_origin || head.host(input).is_empty()
}

fn write_head(
    conn: &ClientConn,
    view: &View,
    request: &mut Request<'_>,
    input: &[u8],
    head: &mut RequestHead,
) -> Result<(), Refusal<'static>> {
    let (forwarding, secured) = (request.forwarding, conn.peer.secured.as_deref());
    let backend = &forwarding.upstream.backends[request.backend];
    forwarding.set.withhold_from(input, &mut head.fields);
    let origin = forwarding.change_origin.then(|| format!("{}://{}", backend.scheme, backend.authority));
    let rewritten = match request.rule {
        None => Vec::new(),
        Some(found) => {
            let mut rewritten = take_buf();
            let mut cache = conn.local.rule_cache.borrow_mut();
            let (path, query) = (head.path(input), head.query(input));
            let outcome = request.route.rules.rewrite(&mut cache, found, path, query, &mut rewritten);
            outcome.map_err(Refusal::Rewrite)?;
            rewritten
        }
    };
    if secured.is_some_and(|secured| secured.client_cert.is_some()) {
        head.fields.withhold(CLIENT_CERT.as_bytes(), input);
    }
    let target = match rewritten.is_empty() {
        true => target(backend, head.path(input), head.query(input), false),
        false => {
            let (path, query) = split_query(&rewritten);
            target(backend, path, query, true)
        }
    };
    let forward = Forward {
        client_ip: &conn.peer.text,
        request_id: &request.id,
        scheme: if secured.is_some() { "https" } else { "http" },
        client_cert: secured.and_then(|secured| secured.client_cert.as_deref()),
        trusted: view.trusts(conn.peer.address),
        upgrade: request.upgrade.is_some(),
        target: target.as_deref(),
        host: host(forwarding, backend, head, input),
        origin: origin.as_deref(),
        set: (!forwarding.set.is_empty()).then_some(&forwarding.set),
        ..Forward::default()
    };
    let mut out = take_buf();
    request.machine.write_request(&mut out, input, head, &forward);
    request.encoded = freeze(out);
    if let Some(target) = target {
        return_buf(target);
    }
    return_buf(rewritten);
    Ok(())
}

fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|byte| *byte == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// `Host`, where it is not the client's own.
fn host<'a>(
    forwarding: &'a Forwarding,
    backend: &'a Backend,
    head: &RequestHead,
    input: &[u8],
) -> Option<&'a str> {
    if forwarding.host.is_some() {
        return forwarding.host.as_deref();
    }
    let is_targets = forwarding.change_origin || head.host(input).is_empty();
    is_targets.then_some(&backend.authority)
}

/// The target under a backend's prefix; none where the client's own goes through as it is.
fn target(backend: &Backend, path: &[u8], query: Option<&[u8]>, is_rewritten: bool) -> Option<Vec<u8>> {
    let bare = backend.path_prefix.is_empty() && backend.root_path == "/";
    if (bare && !is_rewritten) || !path.starts_with(b"/") {
        return None;
    }
    let mut target = take_buf();
    if path == b"/" {
        target.extend_from_slice(backend.root_path.as_bytes());
    } else {
        target.extend_from_slice(backend.path_prefix.as_bytes());
        target.extend_from_slice(path);
    }
    if let Some(query) = query {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    Some(target)
}
