//! Certificates of clients (mTLS): who may have signed them, and what of one is told to backends.

use std::sync::Arc;

use config_core::model::{ClientAuth, PemFile, Tls};
use config_core::publish::PublishError;
use rustls::RootCertStore;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::certs::chain;
use super::{provider, x509};

/// Checks what clients show as `model` says.
///
/// # Errors
/// With the key of the file that will not do.
pub(super) fn verifier(model: &Tls) -> Result<Arc<dyn ClientCertVerifier>, PublishError> {
    let refused = |key: &str, reason: String| PublishError { key: format!("tls.{key}"), reason };
    let (auth, Some(ca)) = (model.client_auth, &model.client_ca) else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    if auth == ClientAuth::Off {
        return Ok(WebPkiClientVerifier::no_client_auth());
    }
    let roots = roots(ca).map_err(|reason| refused("client_ca", reason))?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(file) = &model.client_crl {
        let lists = revocations(file).map_err(|reason| refused("client_crl", reason))?;
        // A chain whose issuer has no list is as good as without this setting; a list that is too old is none.
        builder = builder.with_crls(lists).allow_unknown_revocation_status();
    }
    if auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| refused("client_ca", error.to_string()))
}

/// The certificates of a file as those that may sign.
pub(super) fn roots(file: &PemFile) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(file)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", file.path))?;
    }
    Ok(roots)
}

fn revocations(file: &PemFile) -> Result<Vec<CertificateRevocationListDer<'static>>, String> {
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&file.bytes).collect();
    let lists = lists.map_err(|error| format!("{}: not PEM: {error}", file.path))?;
    if lists.is_empty() {
        return Err(format!("{}: holds no revocation list in PEM", file.path));
    }
    Ok(lists)
}

/// What backends are told of a client's certificate: the value of `X-Forwarded-Client-Cert`, in Envoy's form.
pub(super) fn told(certificate: &[u8]) -> Option<Box<str>> {
    let subject = x509::facts(certificate)?.subject;
    let digest = rustls_digest(certificate);
    Some(format!("Hash={digest};Subject=\"{subject}\"").into_boxed_str())
}

/// SHA-256 in hexadecimal digits.
fn rustls_digest(bytes: &[u8]) -> String {
    let provider = provider();
    let suite = provider.cipher_suites.iter().find_map(|suite| match suite.suite() {
        rustls::CipherSuite::TLS13_AES_128_GCM_SHA256 => suite.tls13(),
        _ => None,
    });
    let digest = suite.map(|suite| suite.common.hash_provider.hash(bytes));
    let digest = digest.as_ref().map_or(&[][..], |digest| digest.as_ref());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
