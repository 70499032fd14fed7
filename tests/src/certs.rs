//! Certificates made on the spot: an authority of the test's own, and what it signs, as files for the proxy and as
//! settings for the harness's own ends of TLS connections.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::files::Folder;
use crate::process::run_program;

/// Who signs.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    key_pem: String,
    folder: Folder,
    count: AtomicUsize,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// P-256.
    Ecdsa,
    /// 2,048 bits.
    Rsa,
    /// Ed25519.
    Ed25519,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Chain in PEM.
    pub cert: PathBuf,
    /// Key in PEM.
    pub key: PathBuf,
    chain: Vec<CertificateDer<'static>>,
    key_pem: String,
    serial: u64,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Authority {
    /// One that nobody knows yet.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "The test's own authority");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let key_pem = key.serialize_pem();
        let issuer = Issuer::new(params, key);
        Authority { issuer, pem, key_pem, folder: Folder::new(), count: AtomicUsize::new(0) }
    }

    /// Its own certificate, as a file.
    pub fn file(&self) -> PathBuf {
        self.folder.write("ca.pem", &self.pem)
    }

    /// A certificate for these hosts, with a P-256 key.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_as(Kind::Ecdsa, names, |_| {})
    }

    /// One with something of its own.
    pub fn issue_as(
        &self,
        kind: Kind,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certificate {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names that a certificate may have");
        params.serial_number = Some(SerialNumber::from(number as u64));
        params.distinguished_name.push(DnType::CommonName, format!("number {number}"));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = match kind {
            Kind::Ecdsa => KeyPair::generate(),
            Kind::Rsa => KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256),
            Kind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
        };
        let key = key.expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let key_pem = key.serialize_pem();
        Certificate {
            cert: self.folder.write(&format!("{number}.pem"), certificate.pem()),
            key: self.folder.write(&format!("{number}.key"), &key_pem),
            chain: vec![certificate.der().clone()],
            key_pem,
            serial: number as u64,
        }
    }

    /// One that ended long ago.
    pub fn issue_expired(&self, names: &[&str]) -> Certificate {
        self.issue_as(Kind::Ecdsa, names, |params| {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        })
    }

    /// A file with the list of what is revoked.
    pub fn revoke(&self, revoked: &[&Certificate]) -> PathBuf {
        let of = |certificate: &&Certificate| RevokedCertParams {
            serial_number: SerialNumber::from(certificate.serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(of).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("a list").pem().expect("as PEM");
        self.folder.write("crl.pem", list)
    }

    /// The answer of this authority's responder, which is `openssl ocsp`, that `certificate` is good for so many days.
    pub fn ocsp_response(&self, certificate: &Certificate, valid_days: u32) -> Vec<u8> {
        let number = format!("{:02X}", certificate.serial);
        // A line of OpenSSL's own database: valid, its end, when it was revoked, its number, its file, its subject.
        let index = format!("V\t401231235959Z\t\t{number}\tunknown\t/CN=number {}\n", certificate.serial);
        let folder = Folder::new();
        let index = folder.write("index.txt", index);
        let key = folder.write("ca.key", &self.key_pem);
        let (ca, response) = (self.file(), folder.path().join("response.der"));
        let request = folder.path().join("request.der");
        let [ca, key, index, cert] = [&ca, &key, &index, &certificate.cert].map(|path| path.display());
        let [asked, answered] = [&request, &response].map(|path| path.display());
        openssl(&format!("ocsp -no_nonce -issuer {ca} -cert {cert} -reqout {asked}"));
        let signed = format!("-index {index} -CA {ca} -rsigner {ca} -rkey {key} -ndays {valid_days}");
        openssl(&format!("ocsp {signed} -reqin {asked} -respout {answered}"));
        std::fs::read(response).expect("openssl wrote it")
    }

    /// A client that trusts this authority alone, and shows `own`.
    pub fn client(&self, own: Option<&Certificate>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        let own_pem = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("our own");
        roots.add(own_pem).expect("our own");
        let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        match own {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.private_key()).expect("a pair"),
        }
    }
}

impl Certificate {
    /// A server that shows it; with an authority, to clients that show one of that authority.
    pub fn server(&self, clients: Option<&Authority>) -> ServerConfig {
        let provider = Arc::new(provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let pem = CertificateDer::from_pem_slice(authority.pem.as_bytes()).expect("an authority's");
                roots.add(pem).expect("an authority's");
                let verifier =
                    rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
                builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
            }
        };
        let mut config =
            builder.with_single_cert(self.chain.clone(), self.private_key()).expect("a pair of our own");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// As an entry of `tls.certificates`.
    pub fn toml(&self) -> String {
        format!("cert = {:?}, key = {:?}", self.cert, self.key)
    }

    fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("our own")
    }
}

fn openssl(command: &str) {
    let args: Vec<&str> = command.split(' ').collect();
    let output = run_program("openssl".as_ref(), &args);
    assert_eq!(output.code, Some(0), "{}", output.text);
}

fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}
