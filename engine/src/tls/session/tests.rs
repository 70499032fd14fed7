//! Our side against rustls' machine with buffers, whose bytes are damaged on their way. The fuzz target `tls_bytes` does the
//! same for longer.

use std::io::Write;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use super::*;
use crate::tls::provider;

struct Pair {
    own: Session,
    client: ClientConnection,
    plain: Vec<u8>,
}

impl Pair {
    /// Both have shaken hands.
    fn new() -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        let der = certificate.der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let server = server.unwrap().with_no_client_auth().with_single_cert(vec![der.clone()], key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(der).unwrap();
        let client = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("a.example").unwrap();
        let mut pair = Pair {
            own: Session::server(UnbufferedServerConnection::new(Arc::new(server)).unwrap()),
            client: ClientConnection::new(Arc::new(client), name).unwrap(),
            plain: Vec::new(),
        };
        while pair.own.is_handshaking() || pair.client.is_handshaking() {
            let wire = pair.client_sends();
            pair.own_receives(&wire).unwrap();
        }
        pair
    }

    fn client_sends(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut wire).unwrap();
        }
        wire
    }

    fn client_writes(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.client.writer().write_all(bytes).unwrap();
        self.client_sends()
    }

    /// What our side says to it goes to the client; returned is its length.
    fn own_receives(&mut self, mut wire: &[u8]) -> Result<usize, Error> {
        let mut out = Vec::new();
        let mut outcome = Ok(());
        while !wire.is_empty() && outcome.is_ok() {
            let taken = self.own.receive(wire, &mut self.plain, &mut out);
            outcome = taken.map(|taken| wire = &wire[taken..]);
        }
        self.client.read_tls(&mut &out[..]).unwrap();
        let _ = self.client.process_new_packets();
        outcome.map(|()| out.len())
    }
}

#[test]
fn plaintext_comes_out_however_records_are_cut() {
    let text: Vec<u8> = (0..40_000).map(|at| (at % 251) as u8).collect();
    for longest in [1, 7, 4096, usize::MAX] {
        let mut pair = Pair::new();
        let wire = pair.client_writes(&text);
        for piece in wire.chunks(longest) {
            pair.own_receives(piece).unwrap();
        }
        assert!(pair.plain == text, "in pieces of {longest}");
        assert!(!pair.own.is_mid_record());
        assert!(pair.own.end().is_err(), "nobody has said that it is all");
        pair.client.send_close_notify();
        let wire = pair.client_sends();
        pair.own_receives(&wire).unwrap();
        assert!(pair.own.is_peer_closed() && pair.own.end().is_ok());
    }
}

#[test]
fn a_damaged_record_is_an_error_and_what_came_before_it_is_not_lost() {
    let mut pair = Pair::new();
    let mut wire = pair.client_writes(b"whole");
    let whole = wire.len();
    wire.extend(pair.client_writes(b"damaged"));
    wire[whole + 7] ^= 1;
    assert_eq!(pair.own_receives(&wire), Err(Error::DecryptError));
    assert_eq!(pair.plain, b"whole");
    assert!(pair.own.is_failed() && pair.own.end().is_err());
    assert_eq!(pair.own.incoming_bytes(), 0, "nothing is kept");
    let again = pair.own.receive(&wire, &mut Vec::new(), &mut Vec::new());
    assert!(again.is_err(), "it stays over");
}

/// Found by `tls_bytes`: rustls would say more than that nothing will follow, and in a debug build panicked.
#[test]
fn nothing_is_said_behind_our_own_end_whatever_comes() {
    let mut pair = Pair::new();
    let mut out = Vec::new();
    pair.own.close(&mut Vec::new(), &mut out);
    assert!(!out.is_empty());
    let wire = pair.client_writes(b"still here");
    assert_eq!(pair.own_receives(&wire), Ok(0));
    assert_eq!(pair.plain, b"still here");
    let mut wire = pair.client_writes(b"damaged");
    wire[7] ^= 1;
    let mut out = Vec::new();
    assert_eq!(pair.own.receive(&wire, &mut Vec::new(), &mut out), Err(Error::DecryptError));
    assert!(out.is_empty(), "not even an alert");
    assert!(pair.own.is_failed() && pair.own.end().is_err());
}
