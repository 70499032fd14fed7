//! `[tls]`, and `secure` and `backend_tls` of routes. Files are read here, once for each validation; whether what they hold
//! will do is for the data plane to say, which can parse it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bounds;
use super::limits::narrow;
use super::section::{Findings, Section, Written};
use crate::defaults;
use crate::model::{
    BackendTls, Certificate, ClientAuth, Listener, PemFile, ProxyVersion, Tls, TlsVersion, Upstream,
};
use crate::origin::Origin;

/// Most certificates: each is parsed on every publication.
const CERTIFICATES_MAX: usize = 10_000;
/// Longest file: a bundle of every public root has a quarter of it.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

const CLIENT_AUTHS: [(&str, Option<ClientAuth>); 3] = [
    ("off", Some(ClientAuth::Off)),
    ("optional", Some(ClientAuth::Optional)),
    ("required", Some(ClientAuth::Required)),
];
const VERSIONS: [(&str, Option<TlsVersion>); 2] =
    [("1.2", Some(TlsVersion::V1_2)), ("1.3", Some(TlsVersion::V1_3))];

pub(crate) fn tls(mut section: Section<'_>, listen: &[Listener], findings: &mut Findings) -> Tls {
    let certificates = certificates(&mut section, findings);
    let tls = Tls {
        certificates,
        client_auth: section.choice("client_auth", &CLIENT_AUTHS, ClientAuth::Off, findings),
        client_ca: file(&mut section, "client_ca", findings),
        client_crl: file(&mut section, "client_crl", findings),
        min_version: section.choice("min_version", &VERSIONS, TlsVersion::V1_2, findings),
        handshake_timeout_ms: section.number(
            "handshake_timeout_ms",
            bounds::DEADLINE_MS,
            defaults::TLS_HANDSHAKE_TIMEOUT_MS,
            findings,
        ),
        handshakes_max: narrow(section.number(
            "handshakes_max",
            bounds::HANDSHAKES,
            defaults::TLS_HANDSHAKES_MAX,
            findings,
        )),
        hsts_max_age_s: section.number_or_none("hsts_max_age_s", bounds::HSTS_S, findings).map(narrow),
    };
    let place = |key: &str| section.origin(key).unwrap_or_else(|| section.place().clone());
    let mut refuse = |key: &str, problem: &str, allowed: &str| {
        findings.refuse(&place(key), &section.path_of(key), problem.to_owned(), allowed);
    };
    if tls.client_auth != ClientAuth::Off && !section.has("client_ca") {
        refuse("client_auth", "nobody could have signed what clients show", "write client_ca = \"FILE\"");
    }
    if tls.client_auth == ClientAuth::Off {
        for key in ["client_ca", "client_crl"].into_iter().filter(|key| section.has(key)) {
            refuse(key, "clients are not asked", "write client_auth = \"required\", or remove it");
        }
    }
    if !section.has("certificates")
        && let Some(listener) = listen.iter().find(|listener| listener.tls)
    {
        let problem = format!("no certificate for the listener {listener}");
        let allowed =
            "write [tls] certificates = [{ cert = \"FILE\", key = \"FILE\" }], or give --cert and --key";
        refuse("certificates", &problem, allowed);
    }
    section.finish(findings);
    tls
}

fn certificates(section: &mut Section<'_>, findings: &mut Findings) -> Vec<Certificate> {
    let place = section.origin("certificates");
    let path = section.path_of("certificates");
    let sections = section.sections("certificates", findings).unwrap_or_default();
    if let Some(place) = place.filter(|_| sections.is_empty() || sections.len() > CERTIFICATES_MAX) {
        let problem = format!("found a list of {}", sections.len());
        findings.refuse(&place, &path, problem, format!("allowed: 1 to {CERTIFICATES_MAX}"));
        return Vec::new();
    }
    let mut certificates: Vec<Certificate> = Vec::new();
    for mut section in sections {
        let place = section.place().clone();
        let mut needed = |key: &'static str, findings: &mut Findings| {
            if !section.has(key) {
                let path = section.path_of(key);
                findings.refuse(&place, &path, "missing".to_owned(), "write cert = \"FILE\", key = \"FILE\"");
            }
            file(&mut section, key, findings)
        };
        let (cert, key) = (needed("cert", findings), needed("key", findings));
        let ocsp = file(&mut section, "ocsp", findings);
        let is_default = section.boolean("default", false, findings);
        if is_default && certificates.iter().any(|other| other.is_default) {
            let place = section.origin("default").unwrap_or(place);
            let path = section.path_of("default");
            findings.refuse(&place, &path, "another one is the default already".to_owned(), "one default");
        }
        section.finish(findings);
        if let (Some(cert), Some(key)) = (cert, key) {
            certificates.push(Certificate { cert, key, ocsp, is_default });
        }
    }
    certificates
}

/// `secure` and `backend_tls` of a route: how backends with `https` or `wss` are reached.
pub(crate) fn backend_tls(section: &mut Section<'_>, findings: &mut Findings) -> BackendTls {
    let verify = section.boolean("secure", true, findings);
    let mut inner = section.section("backend_tls", findings);
    let server_name = inner.text("server_name", findings);
    let server_name = server_name.and_then(|written| host_name(&written, findings));
    let ca = file(&mut inner, "ca", findings);
    let (cert, key) = (file(&mut inner, "cert", findings), file(&mut inner, "key", findings));
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if let Some(place) = inner.origin(one).filter(|_| inner.has(one) && !inner.has(other)) {
            let problem = format!("without {other}");
            findings.refuse(&place, &inner.path_of(one), problem, "a certificate needs its key");
        }
    }
    inner.finish(findings);
    BackendTls { verify, ca, server_name, client: cert.zip(key) }
}

/// How a route has its backends reached.
#[derive(Clone, Copy)]
pub(crate) struct Ways<'a> {
    pub(crate) tls: &'a Arc<BackendTls>,
    pub(crate) send_proxy: Option<ProxyVersion>,
}

impl Ways<'_> {
    /// Has every backend reached so: what is said of TLS, if it is behind it.
    pub(crate) fn lay(self, upstream: &mut Upstream) {
        for backend in &mut upstream.backends {
            backend.send_proxy = self.send_proxy;
            if let Some(own) = &mut backend.tls {
                own.clone_from(self.tls);
            }
        }
    }
}

fn host_name(written: &Written, findings: &mut Findings) -> Option<String> {
    let name = written.text.trim().to_ascii_lowercase();
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    if is_name {
        return Some(name);
    }
    let problem = format!("found {:?}", written.text);
    findings.refuse(&written.origin, &written.path, problem, "a host name or an address is expected");
    None
}

fn file(section: &mut Section<'_>, key: &'static str, findings: &mut Findings) -> Option<PemFile> {
    let written = section.text(key, findings)?;
    let path = beside_its_mention(&written);
    match read(&path) {
        Ok(bytes) => Some(PemFile { path: path.display().to_string(), bytes }),
        Err(problem) => {
            let problem = format!("{}: {problem}", path.display());
            findings.refuse(&written.origin, &written.path, problem, "a file that can be read is expected");
            None
        }
    }
}

/// A path in a file is relative to the folder of that file; one of a flag or a variable, to the working directory.
fn beside_its_mention(written: &Written) -> PathBuf {
    let path = Path::new(written.text.trim());
    match &written.origin {
        Origin::File { file, .. } => Path::new(&**file).parent().unwrap_or(Path::new("")).join(path),
        _ => path.to_owned(),
    }
}

/// Regular files only: a pipe would have the start wait for who knows whom.
fn read(path: &Path) -> Result<Arc<[u8]>, String> {
    let told = fs::metadata(path).map_err(|error| error.to_string())?;
    if !told.is_file() {
        return Err("not a regular file".to_owned());
    }
    if told.len() > FILE_BYTES_MAX {
        return Err(format!("longer than {FILE_BYTES_MAX} bytes"));
    }
    fs::read(path).map(Into::into).map_err(|error| error.to_string())
}
