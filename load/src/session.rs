//! The WebSocket clients of the load: sessions that echo, and sessions that only stay open.
//!
//! Spawned by [`super::Generator::run`]. Every message carries its session's number and its own, so an echo
//! that belongs to another session or to an earlier message is a fault.

use std::rc::Rc;

use engine::io::{Lease, freeze, take_buf};

use super::answer::{Fault, HEAD_BYTES_MAX};
use super::client::receive;
use super::frame::{BINARY, write_masked};
use super::origin::accept_for;
use super::tally::Tally;
use super::wire::{Place, Wire};

/// Payload of every message.
const PAYLOAD_BYTES: usize = 64;
/// The frame of an echo: two bytes of head, since the server does not mask.
const ECHO_BYTES: usize = 2 + PAYLOAD_BYTES;
/// The key of RFC 6455 1.3: every client sends the same one, since no cache is in question.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];

/// One open session.
pub(crate) struct Session {
    wire: Wire,
    number: u64,
    message: u64,
}

impl Session {
    /// Connects and upgrades; `number` tells this session from the others.
    pub(crate) async fn open(place: &Place, number: u64) -> Result<Session, Fault> {
        let wire = place.connect().await?;
        let head = "GET /ws HTTP/1.1\r\nHost: bench.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        let request = format!("{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n");
        wire.send(freeze(request.into_bytes()))?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.extend_from_slice(&receive(&wire).await?);
            if answer.len() > HEAD_BYTES_MAX {
                return Err(Fault::HeadTooLong);
            }
        }
        let head = String::from_utf8_lossy(&answer);
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains(&accept_for(KEY.as_bytes())) {
            return Err(Fault::Status(head.lines().next().unwrap_or_default().to_owned()));
        }
        Ok(Session { wire, number, message: 0 })
    }

    /// Sends one message and waits for its echo.
    pub(crate) async fn echo(&mut self) -> Result<(), Fault> {
        self.message += 1;
        let payload = payload(self.number, self.message);
        let mut out = take_buf();
        write_masked(BINARY, &payload, MASK, &mut out);
        self.wire.send(freeze(out))?;
        let first = receive(&self.wire).await?;
        if is_echo(&first, &payload) {
            return Ok(());
        }
        self.receive_rest(first, &payload).await
    }

    /// The echo came in pieces, or is wrong.
    async fn receive_rest(&self, first: Lease, payload: &[u8; PAYLOAD_BYTES]) -> Result<(), Fault> {
        let mut seen = first.to_vec();
        drop(first);
        while seen.len() < ECHO_BYTES {
            seen.extend_from_slice(&receive(&self.wire).await?);
        }
        if is_echo(&seen, payload) { Ok(()) } else { Err(Fault::Echo) }
    }
}

/// Closed loop on one session: the next message leaves when the echo is there.
pub(crate) async fn keep_echoing(mut session: Session, tally: Rc<Tally>) {
    let _guard = tally.client();
    while tally.goes_on().await {
        if let Err(fault) = session.echo().await {
            return tally.fault(&fault);
        }
        tally.finish();
    }
}

/// Exactly the one frame that echoes `payload`.
fn is_echo(seen: &[u8], payload: &[u8; PAYLOAD_BYTES]) -> bool {
    const HEAD: [u8; 2] = [0x80 | BINARY, PAYLOAD_BYTES as u8];
    seen.split_first_chunk().is_some_and(|(head, echoed)| *head == HEAD && echoed == payload)
}

/// The payload of one message.
fn payload(session: u64, message: u64) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [b'.'; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&session.to_le_bytes());
    payload[8..16].copy_from_slice(&message.to_le_bytes());
    payload
}
