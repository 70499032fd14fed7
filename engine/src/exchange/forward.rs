//! Attempts: which backend, which connection, and whether a failure may be tried again.
//!
//! Again is safe when nothing of the request can have been acted upon, or when the method may be repeated and the body
//! is still there. A pooled connection that had died is replaced by a fresh one to the same backend; any other failure
//! goes to a backend that has not been tried.

use std::rc::Rc;

use smallvec::SmallVec;

use super::replay::Replay;
use super::request::Request;
use super::transfer::{Outcome, Transfer};
use super::{Next, refuse, verdict};
use crate::conn::client::ClientConn;
use crate::error::{Fault, Side};
use crate::health::passive::{self, Verdict};
use crate::io::{now_ms, process_ms};
use crate::local::{View, loans};
use crate::upstream::connect;
use crate::upstream::lease::BackendConn;

/// Forwards a request until an attempt succeeds or none is left.
pub(crate) async fn forward(conn: &mut ClientConn, view: &View, request: &mut Request<'_>) -> Next {
    let mut replay = Replay::new(&conn.local, request);
    let mut tried: SmallVec<[usize; 4]> = SmallVec::new();
    let mut fresh = false;
    request.upstream.budget.on_request(process_ms());
    loop {
        let fault = match attempt(conn, view, request, &mut replay, fresh).await {
            Ok(next) => return next,
            Err(failed) => failed,
        };
        conn.local.counters().backend_failures.add(u64::from(fault.fault.side == Side::Origin));
        if fault.answered {
            conn.local.counters().cut.add(1);
            tracing::info!(client = %conn.peer.text, cause = %fault.fault, "answer cut short");
            return Next::Cut;
        }
        let again = fault.fault.retry_safe && replay.is_complete() && !conn.local.stopping.get();
        if !again {
            return refuse::fail(conn, &fault.fault, &request.id);
        }
        if fault.was_pooled && !fresh {
            fresh = true;
        } else {
            tried.push(request.backend);
            if !may_try_another(conn, request, &tried) || !request.choose(&conn.local, &tried) {
                return refuse::fail(conn, &fault.fault, &request.id);
            }
            tracing::debug!(cause = %fault.fault, "trying another backend");
            if request.fit(conn, view).is_err() {
                return refuse::fail(conn, &fault.fault, &request.id);
            }
            fresh = false;
        }
        conn.local.counters().retries.add(1);
    }
}

/// Whether the route's count and its budget allow for another attempt.
fn may_try_another(conn: &ClientConn, request: &Request<'_>, tried: &[usize]) -> bool {
    if tried.len() > request.route.model.retries as usize {
        return false;
    }
    let allowed = request.upstream.budget.try_spend(process_ms());
    conn.local.counters().retries_over_budget.add(u64::from(!allowed));
    allowed
}

/// A failed attempt.
struct Failed {
    fault: Fault,
    /// The client has had a part of the answer.
    answered: bool,
    was_pooled: bool,
}

async fn attempt(
    conn: &mut ClientConn,
    view: &View,
    request: &mut Request<'_>,
    replay: &mut Replay,
    fresh: bool,
) -> Result<Next, Failed> {
    let local = Rc::clone(&conn.local);
    let backend = &request.upstream.backends[request.backend];
    // A connection that began with one client's address is no other's.
    let is_shared = backend.state.send_proxy.is_none();
    let fresh = fresh || !is_shared;
    let pooled = if fresh { None } else { backend.pool.take() };
    let lease = match pooled {
        Some(lease) => lease,
        // Boxed: a connection that finds its backend's in the pool should not keep room for dialling.
        None => match Box::pin(borrow_or_dial(conn, view, request, fresh)).await {
            Ok(lease) => lease,
            Err(failed) => {
                verdict::tell(&local, request, passive::of_fault(&failed.fault, false));
                return Err(failed);
            }
        },
    };
    local.counters().backend_reuses.add(u64::from(lease.reused));
    let was_pooled = lease.reused;
    let mut transfer = Transfer::begin(conn, view, request, lease, replay);
    let outcome = transfer.run().await;
    let answered = transfer.answered();
    let status = transfer.status();
    let lease = transfer.into_backend();
    let shown = match &outcome {
        Ok(Outcome::Answered) => passive::of_status(status, &request.route.breaker),
        Ok(Outcome::Upgraded(_)) => Verdict::Success,
        Err(fault) => passive::of_fault(fault, was_pooled),
    };
    verdict::tell(&local, request, shown);
    match outcome {
        Ok(Outcome::Answered) => {
            if is_shared && lease.machine.reusable() && !lease.spoiled {
                backend.pool.put(lease, now_ms());
            }
            Ok(after_answer(conn))
        }
        Ok(Outcome::Upgraded(session)) => {
            let hold = request.chosen.take().map(|chosen| chosen.hold);
            Ok(Next::Session(session.with_backend(lease, hold, request.route)))
        }
        Err(fault) => Err(Failed { fault, answered, was_pooled }),
    }
}

/// A connection that this core does not have: another core's idle one, or a new one.
async fn borrow_or_dial(
    conn: &ClientConn,
    view: &View,
    request: &Request<'_>,
    fresh: bool,
) -> Result<BackendConn, Failed> {
    let backend = &request.upstream.backends[request.backend];
    if !fresh {
        if let Some(lent) = loans::borrow(&conn.local, backend, &conn.alarm).await {
            conn.local.counters().backend_borrows.add(1);
            return Ok(lent);
        }
        // While we waited, one of our own may have come back.
        if let Some(idle) = backend.pool.take() {
            return Ok(idle);
        }
    }
    dial(conn, view, request).await
}

async fn dial(conn: &ClientConn, view: &View, request: &Request<'_>) -> Result<BackendConn, Failed> {
    let backend = &request.upstream.backends[request.backend];
    let timeout_ms = request.route.timeouts.connect_ms;
    // Idle connections of every backend hold descriptors; the busy ones are as many as there are clients at most.
    let spare = || conn.local.backends.clear();
    let client = backend.state.send_proxy.and_then(|_| conn.peer.ends(&conn.stream));
    let outcome = connect::connect(&backend.state, &view.tcp, &conn.alarm, timeout_ms, client, spare).await;
    conn.local.counters().backend_connects.add(1);
    outcome.map_err(|fault| {
        let backend = &request.forwarding.upstream.backends[request.backend];
        tracing::debug!(backend = %backend.id, cause = %fault, "cannot connect");
        Failed { fault, answered: false, was_pooled: false }
    })
}

fn after_answer(conn: &mut ClientConn) -> Next {
    if conn.machine.keep_alive() { Next::Request } else { Next::Close }
}
