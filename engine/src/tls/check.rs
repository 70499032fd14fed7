//! What TLS listeners need, compiled from `[tls]`; and the same as a check, for who wants to know before a start.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use config_core::model::{Model, Route, Tls, TlsVersion};
use config_core::publish::PublishError;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::version::{TLS12, TLS13};

use super::backends::BackendSecurity;
use super::certs::Certificates;
use super::{ALPN_HTTP1, clients, provider, tickets};

/// Tickets that a client is given after a full handshake of TLS 1.3: one for the next connection, one for another beside it.
const TICKETS: usize = 2;

/// Name of the field that has browsers come back over TLS only.
pub(crate) const HSTS: &str = "Strict-Transport-Security";

/// What the handshakes of clients need. Shared by every table that has it unchanged.
pub(crate) struct Acceptance {
    model: Tls,
    config: Arc<ServerConfig>,
    pub(crate) certificates: Arc<Certificates>,
    ticketer: Arc<dyn ProducesTickets>,
    /// The line of `Strict-Transport-Security` (RFC 6797) in answers; empty: none.
    pub(crate) hsts: Box<[u8]>,
}

impl Acceptance {
    /// Compiles `[tls]`; `None` where there are no certificates. What `before` has of it is shared.
    ///
    /// # Errors
    /// With the key of what will not do.
    pub(crate) fn compile(
        model: &Tls,
        before: Option<&Arc<Acceptance>>,
    ) -> Result<Option<Arc<Acceptance>>, PublishError> {
        if model.certificates.is_empty() {
            return Ok(None);
        }
        if let Some(same) = before.filter(|before| before.model == *model) {
            return Ok(Some(Arc::clone(same)));
        }
        let known = before.map(|before| &*before.certificates);
        let certificates = Arc::new(Certificates::compile(model, known, unix_s())?);
        let known = before.map(|before| (&before.model, &before.ticketer));
        let of_tls = |reason| PublishError { key: "tls".to_owned(), reason };
        let ticketer = tickets::ticketer(model, known).map_err(of_tls)?;
        let versions: &[_] = match model.min_version {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
        let mut config = builder
            .map_err(|error| of_tls(error.to_string()))?
            .with_client_cert_verifier(clients::verifier(model)?)
            .with_cert_resolver(Arc::clone(&certificates) as _);
        config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        config.ticketer = Arc::clone(&ticketer);
        // Tickets carry all there is to remember: nothing is kept for those who do not come back.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = TICKETS;
        // Early data may be replayed (RFC 8446 8).
        config.max_early_data_size = 0;
        let hsts = model.hsts_max_age_s.map(|age| format!("{HSTS}: max-age={age}\r\n")).unwrap_or_default();
        Ok(Some(Arc::new(Acceptance {
            model: model.clone(),
            config: Arc::new(config),
            certificates,
            ticketer,
            hsts: hsts.into_bytes().into(),
        })))
    }

    pub(super) fn model(&self) -> &Tls {
        &self.model
    }

    /// What handshakes are made with.
    pub(crate) fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }
}

/// Checks what a model says of TLS, as a start would: certificates, keys, those who sign. Only the first mistake is found.
///
/// # Errors
/// With its key, and why.
pub fn check(model: &Model) -> Result<(), PublishError> {
    Acceptance::compile(&model.tls, None)?;
    for route in model.routes.iter() {
        check_backends(route)?;
    }
    Ok(())
}

fn check_backends(route: &Route) -> Result<(), PublishError> {
    let Some(backend) = route.upstream.backends.iter().find(|backend| backend.tls.is_some()) else {
        return Ok(());
    };
    BackendSecurity::compile(backend).map(drop).map_err(|(key, reason)| PublishError {
        key: format!("route[{}].backend_tls.{key}", route.id),
        reason,
    })
}

fn unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
