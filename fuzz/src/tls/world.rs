//! One connection between our side and a peer, with what is on its way to us in reach of whoever wants to change it.

use std::io::{Read, Write};

use engine::internals::tls::Connection;

use super::ends::Peer;
use super::{OUT_BYTES_MAX, RECEIVED_BYTES_MAX, bounded};

/// Head of a record: type, version, length.
const HEAD_BYTES: usize = 5;
/// Type of a record with a part of a handshake (RFC 8446 5.1).
const HANDSHAKE: u8 = 22;
/// Most that is on its way: beyond it nobody writes or comes in between.
const ON_ITS_WAY_BYTES_MAX: usize = 512 * 1024;
/// How often the peer takes new keys: of more, without data between them, rustls thinks the worst.
const NEW_KEYS_MAX: usize = 16;

/// Where its debug assertions are on, as they are in a fuzzer, rustls 0.23 panics when something wrong comes after our
/// `close_notify`, for it takes that for a fatal alert and asserts that there is but one. Then nothing is changed behind it;
/// the corpus tests do so all the same.
const RUSTLS_ASSERTS: bool = cfg!(fuzzing);

pub(super) struct World {
    own: Connection,
    peer: rustls::Connection,
    /// What the peer has sent and we have not received.
    on_its_way: Vec<u8>,
    /// Beginning of a record of which the rest is on its way; as long as nobody changes anything.
    begun: Vec<u8>,
    /// Somebody has changed that.
    is_changed: bool,
    is_failed: bool,
    /// Plaintext that each side has written, and the other got.
    peer_wrote: Vec<u8>,
    own_got: usize,
    own_wrote: Vec<u8>,
    peer_got: usize,
    has_peer_ended: bool,
    has_own_ended: bool,
    new_keys: usize,
}

impl World {
    pub(super) fn new(peer: &Peer) -> World {
        let mut world = World {
            own: peer.own_connection(),
            peer: peer.connection(),
            on_its_way: Vec::new(),
            begun: Vec::new(),
            is_changed: false,
            is_failed: false,
            peer_wrote: Vec::new(),
            own_got: 0,
            own_wrote: Vec::new(),
            peer_got: 0,
            has_peer_ended: false,
            has_own_ended: false,
            new_keys: 0,
        };
        world.peer_sends();
        world.hand_out();
        world
    }

    /// A whole connection, from the handshake to both ends.
    pub(super) fn exchange(mut self) {
        self.settle();
        self.own_writes(10);
        self.peer_writes(10);
        self.settle();
        self.peer_ends();
        self.own_ends();
        self.end_when_all_is_there();
    }

    fn end_when_all_is_there(mut self) {
        self.settle();
        self.end();
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.own.is_resumed()
    }

    /// All arrives.
    pub(super) fn settle(&mut self) {
        while !self.on_its_way.is_empty() {
            self.arrive(RECEIVED_BYTES_MAX);
        }
    }

    /// All arrives, in pieces of these lengths as far as they go.
    pub(super) fn arrive_in(&mut self, lens: impl Iterator<Item = usize>) {
        for len in lens {
            self.arrive(len);
        }
        self.settle();
    }

    pub(super) fn peer_writes(&mut self, len: usize) {
        if self.has_peer_ended || self.on_its_way.len() > ON_ITS_WAY_BYTES_MAX {
            return;
        }
        let bytes = text(self.peer_wrote.len(), len);
        // It keeps only so much before the handshake.
        let Ok(taken) = self.peer.writer().write(&bytes) else {
            return assert!(self.is_changed, "only an alert stops it");
        };
        self.peer_wrote.extend_from_slice(&bytes[..taken]);
        self.peer_sends();
    }

    pub(super) fn own_writes(&mut self, len: usize) {
        if self.own.is_handshaking() || self.has_own_ended || len == 0 {
            return;
        }
        let bytes = text(self.own_wrote.len(), len);
        let outcome = self.own.send(&bytes);
        assert_eq!(outcome.is_err(), self.is_failed, "{outcome:?}");
        if outcome.is_ok() {
            self.own_wrote.extend_from_slice(&bytes);
        }
        self.hand_out();
    }

    pub(super) fn arrive_record(&mut self) {
        if let Some(len) = record_len(&self.on_its_way) {
            self.arrive(len);
        }
    }

    pub(super) fn arrive(&mut self, len: usize) {
        let len = len.min(self.on_its_way.len()).min(RECEIVED_BYTES_MAX);
        let received: Vec<u8> = self.on_its_way.drain(..len).collect();
        if received.is_empty() {
            return;
        }
        if !self.is_changed {
            self.begun.extend_from_slice(&received);
            while let Some(len) = record_len(&self.begun) {
                self.begun.drain(..len);
            }
        }
        let outcome = self.own.receive(&received);
        if let Err(error) = &outcome {
            assert!(self.is_changed, "nobody has changed anything: {error}");
            self.is_failed = true;
        } else {
            assert!(!self.is_failed || self.own.is_peer_closed(), "it was over");
        }
        assert_eq!(self.own.is_failed(), self.is_failed);
        bounded(&mut self.own, len);
        self.hand_out();
    }

    pub(super) fn flip(&mut self, at: usize) {
        if let Some(at) = self.place(at).filter(|_| self.may_change()) {
            self.on_its_way[at] ^= 1 << (at % 8);
            self.is_changed = true;
        }
    }

    pub(super) fn lose(&mut self, at: usize) {
        if let Some(at) = self.place(at).filter(|_| self.may_change()) {
            self.on_its_way.remove(at);
            self.is_changed = true;
        }
    }

    pub(super) fn lose_last(&mut self, len: usize) {
        if !self.may_change() {
            return;
        }
        let left = self.on_its_way.len().saturating_sub(len);
        self.is_changed |= left < self.on_its_way.len();
        self.on_its_way.truncate(left);
    }

    pub(super) fn come_between(&mut self, bytes: &[u8], times: usize) {
        if !self.may_change() {
            return;
        }
        let times =
            times.min(ON_ITS_WAY_BYTES_MAX.saturating_sub(self.on_its_way.len()) / bytes.len().max(1));
        self.is_changed |= !bytes.is_empty() && times > 0;
        self.on_its_way.splice(..0, bytes.repeat(times));
    }

    pub(super) fn double_record(&mut self) {
        if let Some(len) = record_len(&self.on_its_way)
            && self.on_its_way.len() <= ON_ITS_WAY_BYTES_MAX
            && self.may_change()
        {
            let record = self.on_its_way[..len].to_vec();
            self.on_its_way.splice(..0, record);
            self.is_changed = true;
        }
    }

    pub(super) fn exchange_records(&mut self) {
        let Some(first) = record_len(&self.on_its_way).filter(|_| self.may_change()) else { return };
        let Some(second) = record_len(&self.on_its_way[first..]) else { return };
        self.on_its_way[..first + second].rotate_left(first);
        self.is_changed = true;
    }

    /// What RFC 8446 5.1 allows: a message may be in several records. Only of those that are not encrypted this can be made
    /// on the way.
    pub(super) fn split_record(&mut self, at: usize) {
        let is_plain = self.peer.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_2);
        let may_split = is_plain && self.begun.is_empty();
        let Some(len) = record_len(&self.on_its_way).filter(|_| may_split) else { return };
        if self.on_its_way[0] != HANDSHAKE || len < HEAD_BYTES + 2 {
            return;
        }
        let head: [u8; 3] = self.on_its_way[..3].try_into().expect("three bytes");
        let body: Vec<u8> = self.on_its_way.drain(..len).skip(HEAD_BYTES).collect();
        let (one, other) = body.split_at(1 + at % (body.len() - 1));
        let record = |part: &[u8]| {
            let len = u16::try_from(part.len()).expect("it was a record");
            [&head[..], &len.to_be_bytes(), part].concat()
        };
        self.on_its_way.splice(..0, [record(one), record(other)].concat());
    }

    pub(super) fn peer_takes_keys(&mut self) {
        if self.peer.is_handshaking() || self.new_keys == NEW_KEYS_MAX || self.has_peer_ended {
            return;
        }
        // TLS 1.2 has no such thing.
        if self.peer.refresh_traffic_keys().is_ok() {
            self.new_keys += 1;
            self.peer_sends();
        }
    }

    pub(super) fn peer_ends(&mut self) {
        // What it has not been able to encrypt yet would never be sent.
        if !self.peer.is_handshaking() && !self.has_peer_ended {
            self.has_peer_ended = true;
            self.peer.send_close_notify();
            self.peer_sends();
        }
    }

    pub(super) fn own_ends(&mut self) {
        if self.own.is_handshaking() || (RUSTLS_ASSERTS && self.is_changed) {
            return;
        }
        self.has_own_ended = true;
        self.own.close();
        self.hand_out();
    }

    /// The connection ends, whatever is still on its way.
    pub(super) fn end(self) {
        let has_all = self.on_its_way.is_empty() && !self.is_changed;
        assert_eq!(self.own.end().is_ok(), self.own.is_peer_closed(), "only the peer's word is an end");
        if !has_all {
            return;
        }
        assert!(!self.own.is_handshaking() && !self.peer.is_handshaking(), "both have shaken hands");
        assert_eq!(self.own_got, self.peer_wrote.len(), "all has arrived");
        assert_eq!(self.peer_got, self.own_wrote.len(), "all has arrived there");
        assert_eq!(self.own.is_peer_closed(), self.has_peer_ended, "an end is seen, and no other");
    }

    /// Takes what our side has to say and has decrypted, and gives the peer its part.
    fn hand_out(&mut self) {
        let plain = self.own.take_plain();
        let expected = self.peer_wrote.get(self.own_got..).unwrap_or_default();
        assert!(expected.starts_with(&plain), "what comes out is what was written, at its place");
        self.own_got += plain.len();
        if self.own.is_peer_closed() {
            assert!(self.has_peer_ended, "only the peer's own word is an end");
            assert_eq!(self.own_got, self.peer_wrote.len(), "which comes behind all that it wrote");
        }
        let out = self.own.take_out();
        let written = out.len().saturating_sub(self.own_wrote.len() - self.peer_got);
        assert!(written <= OUT_BYTES_MAX, "{written} bytes are written for one answer");
        let mut rest = &out[..];
        while !rest.is_empty() {
            let is_taken = self.peer.read_tls(&mut rest).is_ok_and(|len| len > 0);
            if !is_taken || self.peer.process_new_packets().is_err() {
                assert!(self.is_changed, "what we say is as it must be");
                break;
            }
            self.peer_reads();
        }
        self.peer_sends();
    }

    fn peer_reads(&mut self) {
        let mut got = Vec::new();
        // It says that there is no more for now.
        let _ = self.peer.reader().read_to_end(&mut got);
        let expected = self.own_wrote.get(self.peer_got..).unwrap_or_default();
        assert!(expected.starts_with(&got), "what we write is what they read");
        self.peer_got += got.len();
    }

    fn peer_sends(&mut self) {
        while self.peer.wants_write() {
            self.peer.write_tls(&mut self.on_its_way).expect("into memory");
        }
    }

    fn may_change(&self) -> bool {
        !(RUSTLS_ASSERTS && self.has_own_ended)
    }

    /// Where `at` points to, counted in such steps that all of a flight is in reach.
    fn place(&self, at: usize) -> Option<usize> {
        let len = self.on_its_way.len();
        let step = len.div_ceil(256).max(1);
        (len > 0).then(|| at * step % len)
    }
}

/// The first record, if all of it is there.
fn record_len(bytes: &[u8]) -> Option<usize> {
    let (head, _) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let len = HEAD_BYTES + usize::from(u16::from_be_bytes([head[3], head[4]]));
    (len <= bytes.len()).then_some(len)
}

/// Bytes that tell where they stand.
fn text(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|at| (at % 251) as u8).collect()
}
