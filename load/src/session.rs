//! The WebSocket clients of the load: sessions that echo, and sessions that only stay open.
//!
//! Spawned by [`super::Generator::run`]. Every message carries its session's number and its own, so an echo
//! that belongs to another session or to an earlier message is a fault.

use std::net::SocketAddr;
use std::rc::Rc;

use monoio::buf::IoBufMut as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::TcpStream;

use super::answer::Fault;
use super::client::connect;
use super::frame::{BINARY, Frame, write_masked};
use super::origin::accept_for;
use super::tally::Tally;

/// Payload of every message.
pub(crate) const PAYLOAD_BYTES: usize = 64;
/// The key of RFC 6455 1.3: every client sends the same one, since no cache is in question.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const BUF_BYTES: usize = 512;

/// One open session.
pub(crate) struct Session {
    stream: TcpStream,
    number: u64,
    message: u64,
    buf: Vec<u8>,
    out: Vec<u8>,
}

impl Session {
    /// Connects and upgrades; `number` tells this session from the others.
    pub(crate) async fn open(target: SocketAddr, number: u64) -> Result<Session, Fault> {
        let mut stream = connect(target).await?;
        let head = "GET /ws HTTP/1.1\r\nHost: bench.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        let request = format!("{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n");
        stream.write_all(request.into_bytes()).await.0?;
        let mut buf = Vec::with_capacity(BUF_BYTES);
        while !buf.ends_with(b"\r\n\r\n") {
            let filled = buf.len();
            let (read, slice) = stream.read(buf.slice_mut(filled..)).await;
            buf = slice.into_inner();
            if read? == 0 || buf.len() == buf.capacity() {
                return Err(Fault::Closed);
            }
        }
        let head = String::from_utf8_lossy(&buf);
        if !head.starts_with("HTTP/1.1 101 ") || !head.contains(&accept_for(KEY.as_bytes())) {
            return Err(Fault::Status(head.lines().next().unwrap_or_default().to_owned()));
        }
        Ok(Session { stream, number, message: 0, buf, out: Vec::with_capacity(BUF_BYTES) })
    }

    /// Sends one message and waits for its echo.
    pub(crate) async fn echo(&mut self) -> Result<(), Fault> {
        self.message += 1;
        let payload = payload(self.number, self.message);
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        write_masked(&payload, [0x5a, 0xc3, 0x17, 0x88], &mut out);
        let (written, out) = self.stream.write_all(out).await;
        written?;
        self.out = out;
        let mut buf = std::mem::take(&mut self.buf);
        buf.clear();
        loop {
            let filled = buf.len();
            let (read, slice) = self.stream.read(buf.slice_mut(filled..)).await;
            buf = slice.into_inner();
            if read? == 0 {
                return Err(Fault::Closed);
            }
            let Some(frame) = Frame::read(&buf) else { continue };
            let is_ours = frame.opcode == BINARY && frame.mask.is_none() && frame.wire_len() == buf.len();
            if !is_ours || buf[frame.payload_start..] != payload {
                return Err(Fault::Echo);
            }
            self.buf = buf;
            return Ok(());
        }
    }
}

/// Closed loop on one session: the next message leaves when the echo is there.
pub(crate) async fn keep_echoing(mut session: Session, tally: Rc<Tally>) {
    let _guard = tally.client();
    while !tally.is_stopping() {
        if let Err(fault) = session.echo().await {
            return tally.fault(&fault);
        }
        tally.finish();
    }
}

/// The payload of one message.
fn payload(session: u64, message: u64) -> [u8; PAYLOAD_BYTES] {
    let mut payload = [b'.'; PAYLOAD_BYTES];
    payload[..8].copy_from_slice(&session.to_le_bytes());
    payload[8..16].copy_from_slice(&message.to_le_bytes());
    payload
}
