//! The HTTP clients of the load: one task per connection, closed loop or one connection per request.
//!
//! Spawned by [`super::Generator::run`]. A task ends when the tally says stop, or with its first fault: a run
//! with faults is flagged, so going on would only hide how many clients were left.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use monoio::buf::IoBufMut as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::TcpStream;

use super::answer::{Fault, check_head, check_piece};
use super::open::Schedule;
use super::tally::Tally;

/// Receive buffer of a client of small answers: head and body of 128 bytes, with room for what peers add.
const SMALL_BUF_BYTES: usize = 2048;
/// Receive buffer of a client of long bodies.
const LARGE_BUF_BYTES: usize = 256 * 1024;

/// What a client asks for and expects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    /// The request on the wire. Leaked once per run, so that a send needs no copy.
    pub(crate) request: &'static [u8],
    pub(crate) body_len: usize,
}

impl Ask {
    /// A `GET` for a body of `body_len` bytes; `closes` adds `Connection: close`.
    pub(crate) fn new(body_len: usize, closes: bool) -> Ask {
        let close = if closes { "Connection: close\r\n" } else { "" };
        let head = format!("GET /b/{body_len} HTTP/1.1\r\nHost: bench.example\r\n");
        let fields = "User-Agent: pinion-bench\r\nAccept: */*\r\n";
        let request = format!("{head}{fields}{close}\r\n").into_bytes();
        Ask { request: Vec::leak(request), body_len }
    }

    /// A receive buffer that suits the answers.
    pub(crate) fn buf(&self) -> Vec<u8> {
        Vec::with_capacity(if self.body_len > SMALL_BUF_BYTES { LARGE_BUF_BYTES } else { SMALL_BUF_BYTES })
    }
}

/// Connects with `TCP_NODELAY`.
pub(crate) async fn connect(target: SocketAddr) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect_addr(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects `count` times.
pub(crate) async fn connect_all(target: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Fault> {
    let mut streams = Vec::with_capacity(count);
    while streams.len() < count {
        streams.push(connect(target).await?);
    }
    Ok(streams)
}

/// Closed loop on one kept connection: the next request leaves when the answer is complete.
pub(crate) async fn keep_asking(mut stream: TcpStream, ask: Ask, tally: Rc<Tally>) {
    let _guard = tally.client();
    let mut buf = ask.buf();
    while !tally.is_stopping() {
        match exchange(&mut stream, ask, buf).await {
            Ok(back) => buf = back,
            Err(fault) => return tally.fault(&fault),
        }
        tally.finish();
    }
}

/// A new connection for each request; the peer closes it, as it was asked to.
pub(crate) async fn keep_connecting(target: SocketAddr, ask: Ask, tally: Rc<Tally>) {
    let _guard = tally.client();
    let mut buf = ask.buf();
    while !tally.is_stopping() {
        match exchange_and_close(target, ask, buf).await {
            Ok(back) => buf = back,
            Err(fault) => return tally.fault(&fault),
        }
        tally.finish();
    }
}

/// Open loop on one kept connection: serves the schedule's due requests; latency counts from when each was due.
pub(crate) async fn keep_schedule(mut stream: TcpStream, ask: Ask, tally: Rc<Tally>, schedule: Rc<Schedule>) {
    let _guard = tally.client();
    let mut buf = ask.buf();
    while let Some(due) = schedule.next_due().await {
        match exchange(&mut stream, ask, buf).await {
            Ok(back) => buf = back,
            Err(fault) => return tally.fault(&fault),
        }
        tally.latency(Instant::now().saturating_duration_since(due));
        tally.finish();
    }
}

/// One request, one whole and right answer. Gives the buffer back.
pub(crate) async fn exchange(stream: &mut TcpStream, ask: Ask, buf: Vec<u8>) -> Result<Vec<u8>, Fault> {
    stream.write_all(ask.request).await.0?;
    let (head_len, mut buf) = read_head(stream, ask.body_len, buf).await?;
    let mut at = buf.len() - head_len;
    check_piece(&buf[head_len..], 0, ask.body_len)?;
    while at < ask.body_len {
        let (read, back) = stream.read(buf).await;
        buf = back;
        if read? == 0 {
            return Err(Fault::Closed);
        }
        check_piece(&buf, at, ask.body_len)?;
        at += buf.len();
    }
    Ok(buf)
}

/// Reads until the answer's head is complete and right; the buffer then holds it and what came with it.
async fn read_head(stream: &mut TcpStream, body_len: usize, buf: Vec<u8>) -> Result<(usize, Vec<u8>), Fault> {
    let (read, mut buf) = stream.read(buf).await;
    if read? == 0 {
        return Err(Fault::Closed);
    }
    loop {
        if let Some(head_len) = check_head(&buf, body_len)? {
            return Ok((head_len, buf));
        }
        if buf.len() == buf.capacity() {
            return Err(Fault::HeadTooLong);
        }
        let filled = buf.len();
        let (read, slice) = stream.read(buf.slice_mut(filled..)).await;
        buf = slice.into_inner();
        if read? == 0 {
            return Err(Fault::Closed);
        }
    }
}

async fn exchange_and_close(target: SocketAddr, ask: Ask, buf: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let mut stream = connect(target).await?;
    let buf = exchange(&mut stream, ask, buf).await?;
    match stream.read(buf).await {
        (Ok(0), buf) => Ok(buf),
        (Ok(_), _) => Err(Fault::Body),
        (Err(error), _) => Err(Fault::Io(error)),
    }
}

/// Names of the fields that `target` must have added to a request, which are absent from what the origin saw.
pub(crate) async fn missing_fields(target: SocketAddr, names: &[&'static str]) -> Result<(), Fault> {
    const REQUEST: &[u8] = b"GET /head HTTP/1.1\r\nHost: bench.example\r\n\r\n";
    let mut stream = connect(target).await?;
    stream.write_all(REQUEST).await.0?;
    let mut seen = Vec::new();
    loop {
        let (read, piece) = stream.read(Vec::with_capacity(SMALL_BUF_BYTES)).await;
        if read? == 0 {
            return Err(Fault::Closed);
        }
        seen.extend_from_slice(&piece);
        // The answer's own head, then the forwarded request's head as its body.
        if memchr::memmem::find_iter(&seen, b"\r\n\r\n").count() == 2 {
            break;
        }
    }
    let seen = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !seen.contains(&format!("\r\n{}: ", name.to_ascii_lowercase())))
        .copied()
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Fault::Forwarded(missing.join(", "))) }
}
