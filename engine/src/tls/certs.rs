//! The certificates of a table: read and checked when it is compiled, found by the host that a client names.
//!
//! Exact names come before wildcards, wildcards before the default. Of several certificates for a name the first whose key
//! the client can verify is shown, so that one name may have an ECDSA and an RSA certificate.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use config_core::model::{Certificate, PemFile, Tls};
use config_core::publish::PublishError;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{ocsp, provider, x509};

/// Certificates by host name.
#[derive(Debug)]
pub(crate) struct Certificates {
    all: Vec<Arc<Pair>>,
    exact: HashMap<String, Vec<usize>>,
    /// By what follows `*.`.
    wildcard: HashMap<String, Vec<usize>>,
    default: Option<usize>,
}

/// A certificate with its key.
pub(crate) struct Pair {
    model: Certificate,
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    /// Seconds since 1970.
    expires_s: i64,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pair({:?}, {:?})", self.model.cert, self.names)
    }
}

impl Certificates {
    /// Reads and checks every pair. Those that `before` has need no check: a certificate that has run out while it served
    /// must not keep other changes from taking effect.
    ///
    /// # Errors
    /// With the key of the file that will not do.
    pub(super) fn compile(
        model: &Tls,
        before: Option<&Certificates>,
        now_s: i64,
    ) -> Result<Certificates, PublishError> {
        let mut all: Vec<Arc<Pair>> = Vec::with_capacity(model.certificates.len());
        for (index, certificate) in model.certificates.iter().enumerate() {
            let known = before.and_then(|before| before.all.iter().find(|pair| pair.model == *certificate));
            let pair = match known {
                Some(pair) => Arc::clone(pair),
                None => Pair::read(certificate, now_s).map(Arc::new).map_err(|(key, reason)| {
                    PublishError { key: format!("tls.certificates[{index}].{key}"), reason }
                })?,
            };
            all.push(pair);
        }
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (index, pair) in all.iter().enumerate() {
            for name in &pair.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut wildcard, suffix),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(name.to_owned()).or_insert_with(Vec::new).push(index);
            }
        }
        let default = all.iter().position(|pair| pair.model.is_default);
        Ok(Certificates { all, exact, wildcard, default })
    }

    /// The certificates for a host, best first; empty if there is none. A client that names none is shown the default, or
    /// the first: it cannot be told that it should have.
    fn candidates(&self, server_name: Option<&str>) -> &[usize] {
        let named = server_name.and_then(|name| {
            let by_suffix = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(by_suffix)
        });
        match (named, &self.default) {
            (Some(found), _) => found,
            (None, Some(default)) => std::slice::from_ref(default),
            (None, None) if server_name.is_none() && !self.all.is_empty() => &[0],
            (None, None) => &[],
        }
    }

    /// Each certificate with when it ends.
    pub(crate) fn expiries(&self) -> impl Iterator<Item = Expiry> {
        self.all.iter().map(|pair| Expiry {
            names: pair.names.clone(),
            path: pair.model.cert.path.clone(),
            expires_s: pair.expires_s,
        })
    }
}

/// When a certificate ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The hosts that it is good for.
    pub names: Vec<String>,
    /// The file that it was read from.
    pub path: String,
    /// Seconds since 1970.
    pub expires_s: i64,
}

/// What a client has asked for and been given.
pub(super) struct Shown {
    /// The host that it named, lower case.
    pub(super) server_name: Option<Box<str>>,
    /// `None`: there was nothing for that host.
    pub(super) pair: Option<Arc<Pair>>,
}

thread_local! {
    /// rustls' machine without buffers does not tell what was shown. It asks for it on the thread that feeds the machine, so
    /// the answer is left here, until the same call has returned.
    static SHOWN: Cell<Option<Shown>> = const { Cell::new(None) };
}

/// What was shown in the call to a machine that has just returned, if a certificate was asked for in it.
pub(super) fn take_shown() -> Option<Shown> {
    SHOWN.take()
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let candidates = self.candidates(hello.server_name());
        let pairs = || candidates.iter().filter_map(|index| self.all.get(*index));
        let usable = |pair: &&Arc<Pair>| pair.key.key.choose_scheme(hello.signature_schemes()).is_some();
        // Without a usable one, the handshake itself says what is wrong.
        let pair = pairs().find(usable).or_else(|| pairs().next()).cloned();
        let key = pair.as_ref().map(|pair| Arc::clone(&pair.key));
        SHOWN.set(Some(Shown { server_name: hello.server_name().map(Into::into), pair }));
        key
    }
}

impl Pair {
    fn read(model: &Certificate, now_s: i64) -> Result<Pair, (&'static str, String)> {
        let chain = chain(&model.cert).map_err(|reason| ("cert", reason))?;
        let key = private_key(&model.key).map_err(|reason| ("key", reason))?;
        for (at, certificate) in chain.iter().enumerate() {
            let parsed = ParsedCertificate::try_from(certificate);
            parsed.map_err(|error| ("cert", format!("certificate {}: {error}", at + 1)))?;
        }
        let facts = chain.first().and_then(|own| x509::facts(own));
        let facts = facts.ok_or_else(|| ("cert", "not a certificate".to_owned()))?;
        if facts.names.is_empty() {
            return Err(("cert", "names no host: a subjectAltName is needed".to_owned()));
        }
        if facts.expires_s <= now_s {
            let days = (now_s - facts.expires_s) / 86_400;
            return Err(("cert", format!("expired {days} days ago (for {})", facts.names.join(", "))));
        }
        let mut certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => ("key", "is not the key of the certificate".to_owned()),
            other => ("key", other.to_string()),
        })?;
        if let Some(file) = &model.ocsp {
            let checked = ocsp::check(&file.bytes, &facts.serial);
            checked.map_err(|reason| ("ocsp", format!("{}: is {reason}", file.path)))?;
            certified.ocsp = Some(file.bytes.to_vec());
        }
        let (names, expires_s) = (facts.names, facts.expires_s);
        Ok(Pair { model: model.clone(), key: Arc::new(certified), names, expires_s })
    }

    /// Whether it is good for a host, given in lower case without a port.
    pub(crate) fn covers(&self, host: &str) -> bool {
        let suffix = host.split_once('.').map(|(_, suffix)| suffix);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(own) => suffix == Some(own),
            None => name == host,
        })
    }
}

/// The certificates of a file, in order.
pub(super) fn chain(file: &PemFile) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    let chain = chain.map_err(|error| format!("{}: not PEM: {error}", file.path))?;
    if chain.is_empty() {
        return Err(format!("{}: holds no certificate in PEM", file.path));
    }
    Ok(chain)
}

/// The private key of a file. What is in it stays out of the message.
pub(super) fn private_key(file: &PemFile) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&file.bytes)
        .map_err(|_| format!("{}: holds no private key in PEM that is not encrypted", file.path))
}
