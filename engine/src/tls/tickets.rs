//! Keys that session tickets are sealed with: one set for all cores, so that a client resumes on whichever it comes to.
//! rustls changes them every six hours and takes tickets of the set before for as long again; they are never written down.
//!
//! Behind them is a reader-writer lock, taken once per handshake and written every six hours.

use std::sync::Arc;

use config_core::model::Tls;
use rustls::server::ProducesTickets;

/// The keys for `wanted`, which are those of `before` as long as both ask the same of clients: a ticket says for whom it was
/// made, and whoever would be refused now must not come back with one.
///
/// # Errors
/// When the system gives no random numbers.
pub(super) fn ticketer(
    wanted: &Tls,
    before: Option<(&Tls, &Arc<dyn ProducesTickets>)>,
) -> Result<Arc<dyn ProducesTickets>, String> {
    if let Some((known, keys)) = before
        && known.client_auth == wanted.client_auth
        && known.client_ca == wanted.client_ca
        && known.client_crl == wanted.client_crl
    {
        return Ok(Arc::clone(keys));
    }
    rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| format!("no keys for tickets: {error}"))
}
