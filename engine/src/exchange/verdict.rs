//! What an attempt has shown of its backend, told to those who want to know: its health, the strategy, the prober.

use super::request::Request;
use crate::health::active;
use crate::health::passive::{self, Verdict};
use crate::io::process_ms;
use crate::local::Local;

/// Told when the head of an answer has come. A trial has succeeded then: its body may stream for hours, and others need not
/// wait for its end. Should the body fail, that is a failure like any other.
#[inline]
pub(super) fn tell_head(request: &Request<'_>, status: u16) {
    let Some(chosen) = &request.chosen else { return };
    let Some(trial) = chosen.trial.take() else { return };
    match passive::of_status(status, &request.route.breaker) {
        Verdict::Success => {
            let health = &request.upstream.backends[request.backend].state.health;
            health.on_success(Some(*trial), process_ms());
        }
        Verdict::Failure | Verdict::Nothing => chosen.trial.set(Some(trial)),
    }
}

/// Told once per attempt, when it has ended.
pub(super) fn tell(local: &Local, request: &Request<'_>, verdict: Verdict) {
    let trial = request.chosen.as_ref().and_then(|chosen| chosen.trial.take());
    let failed = match verdict {
        Verdict::Nothing => return,
        Verdict::Success => false,
        Verdict::Failure => true,
    };
    let backend = &request.upstream.backends[request.backend];
    let (health, breaker) = (&backend.state.health, &request.route.breaker);
    let now_ms = process_ms();
    let (mut opened, trial) = (None, trial.map(|trial| *trial));
    // Where there is no other backend, an open circuit would only lengthen the outage.
    if request.upstream.backends.len() == 1 {
        return;
    }
    if failed {
        request.upstream.balancer.on_failure(request.backend, now_ms);
        opened = health.on_failure(trial, now_ms, breaker);
    } else {
        health.on_success(trial, now_ms);
    }
    if backend.window.note(failed, now_ms, health.alive_since_ms(), breaker) {
        opened = opened.or(health.trip(now_ms, breaker));
    }
    let Some(opened) = opened else { return };
    local.counters().circuits_opened.add(1);
    let name = &request.forwarding.upstream.backends[request.backend].id;
    tracing::warn!(
        backend = %name,
        timeout_ms = opened.timeout_ms,
        openings = opened.openings,
        "too many failures: the circuit is open, the backend is not used"
    );
    if let Some(prober) = local.shared.prober.get() {
        active::watch(prober, &backend.state);
    }
}
