//! Both ends of a connection: ours, and a peer that is rustls' own machine with buffers.

use std::sync::{Arc, OnceLock};

use config_core::model::{Backend, BackendTls, Certificate, ClientAuth, PemFile, Tls, TlsVersion};
use config_core::{Draft, ProxyConfig};
use engine::internals::tls::{Client, Connection, Server};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ServerSessionMemoryCache;
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion,
};

use super::Switches;

const HOST: &str = "a.example";
/// Longest record of a peer that writes short ones.
const SHORT_RECORD_BYTES: usize = 64;
/// Sessions that a side remembers.
const SESSIONS: usize = 8;

/// Which sides there are, and what each of them needs for one connection after another.
pub(super) enum Peer {
    Client { config: Arc<ClientConfig> },
    Server { config: Arc<ServerConfig>, own: Box<Client> },
}

/// What all inputs share: a certificate, which is a matter of a millisecond, and what is made of it. Ed25519, for its
/// signatures are all of one length.
struct Shared {
    certificate: PemFile,
    key: PemFile,
    server: Server,
    backend: Backend,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let key = KeyPair::generate_for(&PKCS_ED25519).expect("a key");
        let params = CertificateParams::new([HOST.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let file =
            |path: &str, text: String| PemFile { path: path.to_owned(), bytes: text.into_bytes().into() };
        let (certificate, key) = (file("cert.pem", certificate), file("key.pem", key.serialize_pem()));
        let pair = Certificate { cert: certificate.clone(), key: key.clone(), ocsp: None, is_default: false };
        let tls = Tls {
            certificates: vec![pair],
            client_auth: ClientAuth::Off,
            client_ca: None,
            client_crl: None,
            min_version: TlsVersion::V1_2,
            handshake_timeout_ms: 10_000,
            handshakes_max: 100,
            hsts_max_age_s: None,
        };
        let server = Server::compile(&tls).expect("a pair of our own");
        Shared { backend: backend(&certificate), server, certificate, key }
    })
}

fn backend(ca: &PemFile) -> Backend {
    let mut draft = Draft::new();
    let file = format!("[[route]]\nvhost = \"*\"\nbackends = [{{ url = \"https://{HOST}\" }}]\n");
    draft.add_toml("fuzz.toml", &file, &|_| None);
    let config: ProxyConfig =
        draft.validate().unwrap_or_else(|errors| panic!("a route of our own: {errors}"));
    let route = config.model().routes.iter().next().expect("one route");
    let tls = BackendTls { ca: Some(ca.clone()), ..BackendTls::default() };
    Backend { tls: Some(Arc::new(tls)), ..route.upstream.backends[0].clone() }
}

impl Peer {
    pub(super) fn of(switches: Switches) -> Peer {
        let versions: &[&SupportedProtocolVersion] = if switches.is_tls12() { &[&TLS12] } else { &[&TLS13] };
        let record_bytes_max = switches.short_records().then_some(SHORT_RECORD_BYTES);
        let chain = vec![CertificateDer::from_pem_slice(&shared().certificate.bytes).expect("our own")];
        if switches.is_client() {
            let key = PrivateKeyDer::from_pem_slice(&shared().key.bytes).expect("our own");
            let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions);
            let builder = builder.expect("versions that there are").with_no_client_auth();
            let mut config = builder.with_single_cert(chain, key).expect("a pair of our own");
            config.max_fragment_size = record_bytes_max;
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            // What was remembered for other inputs is of no use to this one.
            let own = Box::new(Client::compile(&shared().backend).expect("a backend of our own"));
            Peer::Server { config: Arc::new(config), own }
        } else {
            let mut roots = RootCertStore::empty();
            roots.add(chain[0].clone()).expect("our own");
            let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
            let builder = builder.expect("versions that there are").with_root_certificates(roots);
            let mut config = builder.with_no_client_auth();
            config.max_fragment_size = record_bytes_max;
            config.resumption = Resumption::in_memory_sessions(SESSIONS);
            Peer::Client { config: Arc::new(config) }
        }
    }

    /// A new connection of our side.
    pub(super) fn own_connection(&self) -> Connection {
        let connection = match self {
            Peer::Client { .. } => shared().server.connection(),
            Peer::Server { own, .. } => own.connection(),
        };
        connection.expect("nothing has come yet")
    }

    /// A new connection of the peer's side.
    pub(super) fn connection(&self) -> rustls::Connection {
        match self {
            Peer::Client { config } => {
                let name = ServerName::try_from(HOST).expect("a name");
                let connection = ClientConnection::new(Arc::clone(config), name);
                connection.expect("nothing has come yet").into()
            }
            Peer::Server { config, .. } => {
                ServerConnection::new(Arc::clone(config)).expect("nothing has come yet").into()
            }
        }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
