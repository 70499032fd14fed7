//! One TLS connection without its socket: received bytes go in, plaintext and bytes to be sent come out.
//!
//! rustls decrypts in place, so received bytes are copied once, into a buffer of ours; what it decrypted is copied once
//! more, into the buffer that is handed out. Both belong to the core's pool, and a connection at rest holds neither.
//!
//! What must hold: nothing here panics on what a peer sends, and what it makes us keep is at most a record and the longest
//! handshake message (64 KiB, which rustls bounds).

use std::io;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{Error, HandshakeKind};

use crate::io::{return_buf, take_buf};

/// Received bytes are handed to rustls in portions of whole records: at least this much, if there is.
const PORTION_BYTES: usize = 8 * 1024;
/// Plaintext of one record (RFC 8446 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// What a record is longer than its plaintext, at most: head, explicit nonce, tag, type (TLS 1.2's padded suites are not
/// spoken).
const RECORD_OVERHEAD: usize = 64;
/// Head of a record: type, version, length.
const RECORD_HEAD_BYTES: usize = 5;
/// Most that may wait for the rest of a handshake message: rustls gives up on longer ones by itself.
pub(crate) const INCOMING_BYTES_MAX: usize = 160 * 1024;

/// rustls' machine for either side.
enum Machine {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// A TLS connection.
pub(crate) struct Session {
    machine: Machine,
    /// Received and not used up: the beginning of a record, or records of an unfinished handshake message.
    incoming: Vec<u8>,
    records: Records,
    /// The peer has said that it sends no more.
    peer_closed: bool,
    /// We have.
    closed: bool,
    failed: bool,
}

/// Where records begin and end in what is received.
#[derive(Default)]
struct Records {
    head: [u8; RECORD_HEAD_BYTES],
    head_len: usize,
    /// What the record under way still lacks behind its head.
    left: usize,
}

impl Records {
    /// How much of `more` to take: up to the end of a record once there is enough, else all of it.
    fn portion(&mut self, more: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = more.get(at..).filter(|rest| !rest.is_empty()) {
            if self.left == 0 {
                let missing = RECORD_HEAD_BYTES - self.head_len;
                let taken = missing.min(rest.len());
                self.head[self.head_len..self.head_len + taken].copy_from_slice(&rest[..taken]);
                self.head_len += taken;
                at += taken;
                if self.head_len < RECORD_HEAD_BYTES {
                    break;
                }
                self.left = usize::from(u16::from_be_bytes([self.head[3], self.head[4]]));
                self.head_len = 0;
            } else {
                let taken = self.left.min(rest.len());
                self.left -= taken;
                at += taken;
            }
            if self.left == 0 && at >= PORTION_BYTES {
                break;
            }
        }
        at
    }
}

/// What came of a step.
enum Step {
    Again,
    Rest,
}

impl Session {
    pub(crate) fn server(machine: UnbufferedServerConnection) -> Session {
        Session::new(Machine::Server(machine))
    }

    pub(crate) fn client(machine: UnbufferedClientConnection) -> Session {
        Session::new(Machine::Client(machine))
    }

    fn new(machine: Machine) -> Session {
        Session {
            machine,
            incoming: Vec::new(),
            records: Records::default(),
            peer_closed: false,
            closed: false,
            failed: false,
        }
    }

    /// Takes a portion of what was received, at least one byte of it, and returns how much. Plaintext is added to `plain`,
    /// what must be sent to `out` (also with an error: the alert).
    ///
    /// # Errors
    /// When the peer breaks the protocol or is refused. The session is over then.
    pub(crate) fn receive(
        &mut self,
        received: &[u8],
        plain: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Result<usize, Error> {
        let taken = self.records.portion(received);
        if self.incoming.capacity() == 0 {
            self.incoming = take_buf();
        }
        self.incoming.extend_from_slice(&received[..taken]);
        let outcome = self.advance(plain, out);
        if self.incoming.is_empty() || outcome.is_err() {
            return_buf(std::mem::take(&mut self.incoming));
        }
        outcome.map(|()| taken)
    }

    /// Does all that can be done with what is there; a client's first flight too.
    ///
    /// # Errors
    /// As for [`Session::receive`].
    pub(crate) fn advance(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.failed || self.incoming.len() > INCOMING_BYTES_MAX {
            self.failed = true;
            return Err(Error::General("more than a handshake needs".to_owned()));
        }
        loop {
            let (discard, step) = match &mut self.machine {
                Machine::Server(machine) => step_server(
                    machine.process_tls_records(&mut self.incoming),
                    &mut self.peer_closed,
                    plain,
                    out,
                ),
                Machine::Client(machine) => step_client(
                    machine.process_tls_records(&mut self.incoming),
                    &mut self.peer_closed,
                    plain,
                    out,
                ),
            };
            self.incoming.drain(..discard.min(self.incoming.len()));
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Rest) => return Ok(()),
                Err(error) => {
                    self.failed = true;
                    self.write_alert(out);
                    return Err(error);
                }
            }
        }
    }

    /// The alert that goes with an error, if there is one, and if we have not said yet that nothing will follow.
    fn write_alert(&mut self, out: &mut Vec<u8>) {
        if self.closed {
            return;
        }
        let (mut ignored, mut closed) = (Vec::new(), false);
        // An alert is handed out before anything else is looked at; what follows it is the same error again.
        let _ = match &mut self.machine {
            Machine::Server(machine) => {
                step_server(machine.process_tls_records(&mut self.incoming), &mut closed, &mut ignored, out).1
            }
            Machine::Client(machine) => {
                step_client(machine.process_tls_records(&mut self.incoming), &mut closed, &mut ignored, out).1
            }
        };
    }

    /// Encrypts. Plaintext that happens to be there already is added to `plain`.
    ///
    /// # Errors
    /// When the session is over, or its keys are used up.
    pub(crate) fn send(&mut self, bytes: &[u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Error> {
        self.advance(plain, out)?;
        self.write(out, Some(bytes))
    }

    /// Says that no more bytes will follow. Does nothing the second time, or before the handshake is done.
    pub(crate) fn close(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) {
        if self.closed || self.failed || self.is_handshaking() || self.advance(plain, out).is_err() {
            return;
        }
        self.closed = true;
        // It fails where an alert was the last word already.
        let _ = self.write(out, None);
    }

    /// Writes application data, or without any the end of it.
    fn write(&mut self, out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), Error> {
        let len = bytes.map_or(0, <[u8]>::len);
        let records = len.div_ceil(RECORD_BYTES_MAX).max(1);
        let mut room = len + records * RECORD_OVERHEAD;
        let start = out.len();
        // Twice at most: what else is due to be sent may need more room than the bytes themselves.
        for _ in 0..2 {
            out.resize(start + room, 0);
            let written = match &mut self.machine {
                Machine::Server(machine) => {
                    write_to(machine.process_tls_records(&mut self.incoming), bytes, &mut out[start..])
                }
                Machine::Client(machine) => {
                    write_to(machine.process_tls_records(&mut self.incoming), bytes, &mut out[start..])
                }
            };
            match written {
                Ok(written) => {
                    out.truncate(start + written);
                    return Ok(());
                }
                Err(Unwritten::Room(needed)) => room = needed,
                Err(Unwritten::Never(error)) => {
                    out.truncate(start);
                    self.failed = true;
                    return Err(error);
                }
            }
        }
        out.truncate(start);
        self.failed = true;
        Err(Error::General("no room for a record".to_owned()))
    }

    /// The handshake is not complete.
    pub(crate) fn is_handshaking(&self) -> bool {
        match &self.machine {
            Machine::Server(machine) => machine.is_handshaking(),
            Machine::Client(machine) => machine.is_handshaking(),
        }
    }

    /// The peer has said that it sends no more.
    pub(crate) fn is_peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// What it means that the socket has ended.
    ///
    /// # Errors
    /// Where the peer has not announced it: whoever is between us may have cut what it sent.
    pub(crate) fn end(&self) -> io::Result<()> {
        if self.peer_closed { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Nothing can be sent or received any more.
    pub(crate) fn is_failed(&self) -> bool {
        self.failed
    }

    /// Part of a record has come.
    pub(crate) fn is_mid_record(&self) -> bool {
        !self.incoming.is_empty()
    }

    /// Bytes that were received and are kept.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn incoming_bytes(&self) -> usize {
        self.incoming.len()
    }

    /// A long record is on its way: bytes that the record under way lacks.
    pub(crate) fn record_bytes_left(&self) -> usize {
        self.records.left
    }

    /// The certificates that the peer has shown, its own first.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match &self.machine {
            Machine::Server(machine) => machine.peer_certificates(),
            Machine::Client(machine) => machine.peer_certificates(),
        }
    }

    /// Whether keys of an earlier connection were taken up again.
    pub(crate) fn is_resumed(&self) -> bool {
        let kind = match &self.machine {
            Machine::Server(machine) => machine.handshake_kind(),
            Machine::Client(machine) => machine.handshake_kind(),
        };
        kind == Some(HandshakeKind::Resumed)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        return_buf(std::mem::take(&mut self.incoming));
    }
}

type Server = ServerConnectionData;
type Client = ClientConnectionData;

fn step_server(
    status: UnbufferedStatus<'_, '_, Server>,
    peer_closed: &mut bool,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Result<Step, Error>) {
    step(status, peer_closed, plain, out)
}

fn step_client(
    status: UnbufferedStatus<'_, '_, Client>,
    peer_closed: &mut bool,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Result<Step, Error>) {
    step(status, peer_closed, plain, out)
}

/// Does what the machine asks for. Returns how many received bytes are used up.
fn step<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    peer_closed: &mut bool,
    plain: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> (usize, Result<Step, Error>) {
    let mut discard = status.discard;
    let step = match status.state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            let mut outcome = Ok(Step::Again);
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => {
                        outcome = Err(error);
                        break;
                    }
                }
            }
            outcome
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let start = out.len();
            let written = data.encode(&mut []).or_else(|error| match error {
                EncodeError::InsufficientSize(needed) => {
                    out.resize(start + needed.required_size, 0);
                    data.encode(&mut out[start..])
                }
                EncodeError::AlreadyEncoded => Err(error),
            });
            out.truncate(start + written.as_ref().copied().unwrap_or(0));
            written.map(|_| Step::Again).map_err(|error| Error::General(error.to_string()))
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::PeerClosed) => {
            *peer_closed = true;
            Ok(Step::Again)
        }
        // Nothing to do without more bytes. (Early data does not occur: it is never offered.)
        Ok(_) => Ok(Step::Rest),
    };
    (discard, step)
}

enum Unwritten {
    /// So much room is needed.
    Room(usize),
    Never(Error),
}

fn write_to<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    bytes: Option<&[u8]>,
    out: &mut [u8],
) -> Result<usize, Unwritten> {
    let state = status.state.map_err(Unwritten::Never)?;
    debug_assert_eq!(status.discard, 0, "everything was advanced before");
    let ConnectionState::WriteTraffic(mut traffic) = state else {
        return Err(Unwritten::Never(Error::General("nothing can be sent any more".to_owned())));
    };
    let written = match bytes {
        Some(bytes) => traffic.encrypt(bytes, out),
        None => traffic.queue_close_notify(out),
    };
    written.map_err(|error| match error {
        EncryptError::InsufficientSize(needed) => Unwritten::Room(needed.required_size),
        EncryptError::EncryptExhausted => Unwritten::Never(Error::EncryptError),
    })
}

#[cfg(test)]
mod tests;
