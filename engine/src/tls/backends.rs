//! How backends behind TLS are reached: what a route says of them, compiled. Connections of one backend share it, and with
//! it the sessions that are taken up again.

use std::fmt;
use std::sync::{Arc, OnceLock};

use config_core::model::{Backend, BackendTls, Location};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certs::{chain, private_key};
use super::{ALPN_HTTP1, clients, provider};

/// What a handshake with a backend needs.
pub(crate) struct BackendSecurity {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl BackendSecurity {
    /// What `backend` is reached with; `None` where it speaks without TLS.
    ///
    /// # Errors
    /// With the key, below `backend_tls`, of what will not do, and why.
    pub(crate) fn compile(backend: &Backend) -> Result<Option<BackendSecurity>, (&'static str, String)> {
        let Some(model) = &backend.tls else { return Ok(None) };
        let host = match (&model.server_name, &backend.location) {
            (Some(name), _) => name.clone(),
            (None, Location::Tcp { host, .. }) => host.clone(),
            (None, Location::Unix { .. }) => "localhost".to_owned(),
        };
        let name = ServerName::try_from(host.clone())
            .map_err(|_| ("server_name", format!("{host:?} is no name that a certificate could have")))?;
        Ok(Some(BackendSecurity { config: Arc::new(config(model)?), name }))
    }

    /// What a connection is made with: settings, and the name that the backend is asked for.
    pub(crate) fn parts(&self) -> (Arc<ClientConfig>, ServerName<'static>) {
        (Arc::clone(&self.config), self.name.clone())
    }
}

fn config(model: &BackendTls) -> Result<ClientConfig, (&'static str, String)> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = if model.verify {
        let roots = match &model.ca {
            Some(file) => Arc::new(clients::roots(file).map_err(|reason| ("ca", reason))?),
            None => system_roots().map_err(|reason| ("ca", reason))?,
        };
        let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
        builder.build().map_err(|error| ("ca", error.to_string()))?
    } else {
        Arc::new(Unverified(Arc::clone(&provider)))
    };
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| ("ca", error.to_string()))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match &model.client {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = chain(cert).map_err(|reason| ("cert", reason))?;
            let key = private_key(key).map_err(|reason| ("key", reason))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| ("key", error.to_string()))?
        }
    };
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(config)
}

/// Whom the system trusts; read once per process.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let reason = found.errors.first().map_or_else(String::new, |error| format!(": {error}"));
            return Err(format!("the system trusts nobody{reason}; name a file of those who sign"));
        }
        Ok(Arc::new(roots))
    };
    ROOTS.get_or_init(read).clone()
}

/// Takes any certificate, as the operator wishes (`secure = false`). Whoever shows it must still have its key.
struct Unverified(Arc<CryptoProvider>);

impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unverified")
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
