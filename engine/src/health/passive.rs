//! What an exchange says about its backend: which faults and answers count as failures.
//!
//! What must hold: a client can make no backend look dead by what it sends or by leaving; our own want of descriptors,
//! ports or memory is no backend's failure.

use std::io;

use config_core::model::CircuitBreaker;

use crate::error::{Cause, Fault, Side};

/// What an exchange says about its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It works.
    Success,
    /// It does not.
    Failure,
    /// Nothing: somebody else was at fault, or nobody.
    Nothing,
}

/// By the status of an answer, 101 included.
#[inline]
pub(crate) fn of_status(status: u16, breaker: &CircuitBreaker) -> Verdict {
    if breaker.failure_statuses.contains(&status) { Verdict::Failure } else { Verdict::Success }
}

/// By what ended an attempt or a session. `was_pooled`: on a connection that had served before, which a backend may close
/// at any time.
///
/// A WebSocket that ends with a close, normal or not, has no fault; one that the backend resets has.
pub(crate) fn of_fault(fault: &Fault, was_pooled: bool) -> Verdict {
    if fault.side == Side::Client {
        return Verdict::Nothing;
    }
    match &fault.cause {
        Cause::Network(error) if is_ours(error) => Verdict::Nothing,
        // A pooled connection that had died: RFC 9112 9.3.1. A fresh one will tell.
        Cause::Network(_) | Cause::ClosedEarly if was_pooled && fault.retry_safe => Verdict::Nothing,
        Cause::Network(_)
        | Cause::ClosedEarly
        | Cause::ConnectTimeout
        | Cause::FirstByteTimeout
        | Cause::BodyStalled
        | Cause::WriteStalled
        | Cause::Tls(_)
        | Cause::Response(_)
        | Cause::Encode(_) => Verdict::Failure,
        // The backend answered; that the answer does not fit may be the client's handshake.
        Cause::Handshake(_) | Cause::Request(_) | Cause::ClientGone => Verdict::Nothing,
    }
}

/// The kernel had no descriptor, port, buffer or memory for us, or we took it back.
fn is_ours(error: &io::Error) -> bool {
    let ours = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EADDRNOTAVAIL,
        libc::EADDRINUSE,
        libc::EACCES,
        libc::EPERM,
        libc::ECANCELED,
    ];
    error.raw_os_error().is_some_and(|code| ours.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(code: i32) -> Cause {
        Cause::Network(io::Error::from_raw_os_error(code))
    }

    #[test]
    fn refused_reset_and_timed_out_count_and_what_others_do_does_not() {
        let rows = [
            ("refused", Fault::origin(network(libc::ECONNREFUSED)).retry_safe(), false, Verdict::Failure),
            ("unreachable", Fault::origin(network(libc::EHOSTUNREACH)).retry_safe(), false, Verdict::Failure),
            (
                "no such unix socket",
                Fault::origin(network(libc::ENOENT)).retry_safe(),
                false,
                Verdict::Failure,
            ),
            ("reset", Fault::origin(network(libc::ECONNRESET)), false, Verdict::Failure),
            ("reset, pooled, heard of", Fault::origin(network(libc::ECONNRESET)), true, Verdict::Failure),
            (
                "reset, pooled, unheard",
                Fault::origin(network(libc::ECONNRESET)).retry_safe(),
                true,
                Verdict::Nothing,
            ),
            ("closed early", Fault::origin(Cause::ClosedEarly).retry_safe(), false, Verdict::Failure),
            ("closed early, pooled", Fault::origin(Cause::ClosedEarly).retry_safe(), true, Verdict::Nothing),
            ("connect in time", Fault::origin(Cause::ConnectTimeout).retry_safe(), false, Verdict::Failure),
            ("first byte in time", Fault::origin(Cause::FirstByteTimeout), true, Verdict::Failure),
            ("body", Fault::origin(Cause::BodyStalled), false, Verdict::Failure),
            ("does not read", Fault::origin(Cause::WriteStalled), false, Verdict::Failure),
            ("our descriptors", Fault::origin(network(libc::EMFILE)).retry_safe(), false, Verdict::Nothing),
            ("our ports", Fault::origin(network(libc::EADDRNOTAVAIL)).retry_safe(), false, Verdict::Nothing),
            ("client left", Fault::client(Cause::ClientGone), false, Verdict::Nothing),
            ("client reset", Fault::client(network(libc::ECONNRESET)), false, Verdict::Nothing),
            ("client stalled", Fault::client(Cause::BodyStalled), false, Verdict::Nothing),
            ("client does not read", Fault::client(Cause::WriteStalled), false, Verdict::Nothing),
        ];
        for (name, fault, was_pooled, expected) in rows {
            assert_eq!(of_fault(&fault, was_pooled), expected, "{name}");
        }
    }

    #[test]
    fn only_configured_statuses_count() {
        let breaker = CircuitBreaker {
            failure_threshold: 5,
            failure_ratio_percent: None,
            window_ms: 1,
            window_requests_min: 1,
            reset_timeout_ms: 1,
            reset_timeout_ms_max: 1,
            failure_statuses: vec![502, 429],
        };
        for (status, expected) in [
            (101, Verdict::Success),
            (200, Verdict::Success),
            (404, Verdict::Success),
            (429, Verdict::Failure),
            (500, Verdict::Success),
            (502, Verdict::Failure),
            (503, Verdict::Success),
        ] {
            assert_eq!(of_status(status, &breaker), expected, "{status}");
        }
    }
}
