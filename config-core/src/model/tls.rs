//! TLS: what clients of TLS listeners are shown and asked for, and how backends behind TLS are reached.

use std::fmt;
use std::sync::Arc;

use crate::crc64;

/// `[tls]`: one for all TLS listeners.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// What clients may be shown; never empty where there is a TLS listener.
    pub certificates: Vec<Certificate>,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// Who may have signed the clients' certificates; there unless `client_auth` is off.
    pub client_ca: Option<PemFile>,
    /// Certificates of clients that are revoked.
    pub client_crl: Option<PemFile>,
    /// Oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How long a handshake may take.
    pub handshake_timeout_ms: u64,
    /// Handshakes at once on a core; clients beyond them are closed.
    pub handshakes_max: u32,
    /// `max-age` of the `Strict-Transport-Security` field on answers over TLS; `None`: the field is not sent.
    pub hsts_max_age_s: Option<u32>,
}

/// A certificate chain with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, its own certificate first.
    pub cert: PemFile,
    /// The private key.
    pub key: PemFile,
    /// An OCSP response in DER that is stapled.
    pub ocsp: Option<PemFile>,
    /// Shown where the client names no host that another one covers.
    pub is_default: bool,
}

/// Whether clients show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked, and may have none; a bad one ends the handshake.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

impl ClientAuth {
    /// The spelling in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// The spelling in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// How a backend behind TLS is reached. Connections of different settings are never exchanged for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// Its certificate must be good for its name.
    pub verify: bool,
    /// Who may have signed it; `None`: whom the system trusts.
    pub ca: Option<PemFile>,
    /// The name that it is asked for and must show; `None`: the host of its URL.
    pub server_name: Option<String>,
    /// What we show when it asks: certificate and key.
    pub client: Option<(PemFile, PemFile)>,
}

impl Default for BackendTls {
    fn default() -> Self {
        Self { verify: true, ca: None, server_name: None, client: None }
    }
}

/// A file with its content as it was read when the configuration was. What it holds is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Where it was read.
    pub path: String,
    /// What it held.
    pub bytes: Arc<[u8]>,
}

impl PemFile {
    /// Tells contents apart, and says nothing about them.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", crc64(&self.bytes))
    }
}

impl fmt::Debug for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PemFile({:?})", self.path)
    }
}

impl Tls {
    /// Every file that was read, with the key that names it.
    pub(crate) fn files(&self) -> Vec<(String, &PemFile)> {
        let mut files = Vec::new();
        for (index, certificate) in self.certificates.iter().enumerate() {
            let key = |key: &str| format!("tls.certificates[{index}].{key}");
            files.push((key("cert"), &certificate.cert));
            files.push((key("key"), &certificate.key));
            files.extend(certificate.ocsp.as_ref().map(|file| (key("ocsp"), file)));
        }
        files.extend(self.client_ca.as_ref().map(|file| ("tls.client_ca".to_owned(), file)));
        files.extend(self.client_crl.as_ref().map(|file| ("tls.client_crl".to_owned(), file)));
        files
    }
}

impl BackendTls {
    /// As [`Tls::files`], under the keys of a route's `backend_tls`.
    pub(crate) fn files(&self) -> Vec<(&'static str, &PemFile)> {
        let mut files = Vec::new();
        files.extend(self.ca.as_ref().map(|file| ("ca", file)));
        if let Some((cert, key)) = &self.client {
            files.extend([("cert", cert), ("key", key)]);
        }
        files
    }
}
