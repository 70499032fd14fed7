//! The HTTP clients of the load: one task per connection, closed loop or one connection per request.
//!
//! Spawned by [`super::Generator::run`]. A task ends when the tally says stop, or with its first fault: a run
//! with faults is flagged, so going on would only hide how many clients were left. A request costs a task no
//! allocation and no copy, and an answer that is byte by byte one that was right before costs one comparison.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use engine::io::{Lease, Pace, TcpOptions, TcpStream};

use super::answer::{Fault, check_head, check_piece};
use super::open::Schedule;
use super::tally::Tally;
use super::tls::{Secure, Secured};
use super::wire::{Place, Wire};

/// Answers with a body longer than this are received in large buffers.
const BULK_BYTES_MIN: usize = 16 * 1024;
/// A right answer up to this length is remembered whole.
const KNOWN_BYTES_MAX: usize = 2048;

/// What the clients of a run ask for and expect.
pub(crate) struct Ask {
    /// The request on the wire. Leaked once per run, so that a send needs no copy and no count.
    request: Lease,
    body_len: usize,
    /// The last answer that was checked and right, head and body, if it arrived in one piece.
    known: RefCell<Vec<u8>>,
}

impl Ask {
    /// A `GET` for a body of `body_len` bytes; `closes` adds `Connection: close`.
    pub(crate) fn new(body_len: usize, closes: bool) -> Rc<Ask> {
        let close = if closes { "Connection: close\r\n" } else { "" };
        let head = format!("GET /b/{body_len} HTTP/1.1\r\nHost: bench.example\r\n");
        let fields = "User-Agent: pinion-bench\r\nAccept: */*\r\n";
        let request = format!("{head}{fields}{close}\r\n").into_bytes();
        Rc::new(Ask { request: Lease::from_static(Vec::leak(request)), body_len, known: RefCell::default() })
    }

    fn is_long(&self) -> bool {
        self.body_len >= BULK_BYTES_MIN
    }

    fn knows(&self, answer: &[u8]) -> bool {
        *self.known.borrow() == answer
    }

    fn remember(&self, answer: &[u8]) {
        if answer.len() <= KNOWN_BYTES_MAX {
            let mut known = self.known.borrow_mut();
            known.clear();
            known.extend_from_slice(answer);
        }
    }
}

/// Connects with `TCP_NODELAY`.
pub(crate) async fn connect(target: SocketAddr) -> Result<TcpStream, Fault> {
    Ok(TcpStream::connect(target, &TcpOptions::default()).await?)
}

/// Connects `count` times.
pub(crate) async fn connect_all(place: &Place, count: usize) -> Result<Vec<Wire>, Fault> {
    let mut wires = Vec::with_capacity(count);
    while wires.len() < count {
        wires.push(place.connect().await?);
    }
    Ok(wires)
}

/// The next received bytes; the end of the stream is a fault.
pub(crate) async fn receive(wire: &Wire) -> Result<Lease, Fault> {
    wire.recv().await?.ok_or(Fault::Closed)
}

/// Closed loop on one kept connection: the next request leaves when the answer is complete.
pub(crate) async fn keep_asking(wire: Wire, ask: Rc<Ask>, tally: Rc<Tally>) {
    let _guard = tally.client();
    while tally.goes_on().await {
        if let Err(fault) = exchange(&wire, &ask).await {
            return tally.fault(&fault);
        }
        tally.finish();
    }
}

/// A new connection for each request; the peer closes it, as it was asked to.
pub(crate) async fn keep_connecting(target: SocketAddr, ask: Rc<Ask>, tally: Rc<Tally>) {
    let _guard = tally.client();
    while !tally.is_stopping() {
        if let Err(fault) = exchange_and_close(target, &ask).await {
            return tally.fault(&fault);
        }
        tally.finish();
    }
}

/// Open loop on one kept connection: serves the schedule's due requests; latency counts from when each was due.
pub(crate) async fn keep_schedule(wire: Wire, ask: Rc<Ask>, tally: Rc<Tally>, schedule: Rc<Schedule>) {
    let _guard = tally.client();
    while let Some(due) = schedule.next_due().await {
        if let Err(fault) = exchange(&wire, &ask).await {
            return tally.fault(&fault);
        }
        tally.latency(Instant::now().saturating_duration_since(due));
        tally.finish();
    }
}

/// A new TLS connection each time, closed as soon as the handshake is done; `resumes` tells whether all but the first take
/// up the keys of the one before.
pub(crate) async fn keep_shaking_hands(target: Secured, resumes: bool, tally: Rc<Tally>) {
    let _guard = tally.client();
    let target = match resumes {
        true => Secured { trust: target.trust.resuming(), ..target },
        false => target,
    };
    let mut expected = false;
    while !tally.is_stopping() {
        if let Err(fault) = shake_hands(&target, expected).await {
            return tally.fault(&fault);
        }
        expected = resumes;
        tally.finish();
    }
}

async fn shake_hands(target: &Secured, resumed: bool) -> Result<(), Fault> {
    let secure = Secure::connect(target).await?;
    if secure.is_resumed() != resumed {
        return Err(Fault::Resumption);
    }
    secure.close().await
}

/// One request, one whole and right answer.
async fn exchange(wire: &Wire, ask: &Ask) -> Result<(), Fault> {
    if ask.is_long() {
        wire.set_pace(Pace::Bulk);
    }
    wire.send(ask.request.clone())?;
    let first = receive(wire).await?;
    if ask.knows(&first) {
        return Ok(());
    }
    check_answer(wire, ask, first).await
}

/// Checks an answer that begins with `first`, and receives what is missing of it.
async fn check_answer(wire: &Wire, ask: &Ask, first: Lease) -> Result<(), Fault> {
    let mut at = match check_head(&first, ask.body_len)? {
        Some(head_len) => {
            check_piece(&first[head_len..], 0, ask.body_len)?;
            if first.len() == head_len + ask.body_len {
                ask.remember(&first);
            }
            first.len() - head_len
        }
        None => check_split_head(wire, ask.body_len, &first).await?,
    };
    drop(first);
    while at < ask.body_len {
        wire.set_pace(Pace::bulk_if(ask.is_long()));
        let piece = receive(wire).await?;
        check_piece(&piece, at, ask.body_len)?;
        at += piece.len();
    }
    Ok(())
}

/// Receives and checks the rest of a head of which only `start` is there; gives the bytes of the body that came with
/// it, checked.
async fn check_split_head(wire: &Wire, body_len: usize, start: &[u8]) -> Result<usize, Fault> {
    let mut seen = start.to_vec();
    loop {
        seen.extend_from_slice(&receive(wire).await?);
        if let Some(head_len) = check_head(&seen, body_len)? {
            check_piece(&seen[head_len..], 0, body_len)?;
            return Ok(seen.len() - head_len);
        }
    }
}

async fn exchange_and_close(target: SocketAddr, ask: &Ask) -> Result<(), Fault> {
    let wire = Wire::Plain(connect(target).await?);
    exchange(&wire, ask).await?;
    match wire.recv().await? {
        None => Ok(()),
        Some(_) => Err(Fault::Body),
    }
}

/// Names of the fields that `target` must have added to a request, which are absent from what the origin saw.
pub(crate) async fn missing_fields(place: &Place, names: &[&'static str]) -> Result<(), Fault> {
    const REQUEST: &[u8] = b"GET /head HTTP/1.1\r\nHost: bench.example\r\n\r\n";
    let wire = place.connect().await?;
    wire.send(Lease::from_static(REQUEST))?;
    let mut seen = Vec::new();
    // The answer's own head, then the forwarded request's head as its body.
    while memchr::memmem::find_iter(&seen, b"\r\n\r\n").count() < 2 {
        seen.extend_from_slice(&receive(&wire).await?);
    }
    let seen = String::from_utf8_lossy(&seen).to_ascii_lowercase();
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !seen.contains(&format!("\r\n{}: ", name.to_ascii_lowercase())))
        .copied()
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Fault::Forwarded(missing.join(", "))) }
}
