//! Backends: they answer as the plan says, and check what the proxy sends them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use engine::io::{self, Accepted, TcpListener, now_ms, sleep};
use engine::simulation::{self, Chance};

use crate::bodies::{Checker, Owner, Part};
use crate::ledger::Ledger;
use crate::message::{MARKER, UNASKED, pieces};
use crate::plan::{Answer, BackendAct, ClientAct, Exchange, Framing, Manner};
use crate::session;
use crate::settings::backend_address;
use crate::wire::{self, End, Head, Wire};

const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts until the world closes. The task must be woken then.
pub(crate) async fn listen(ledger: Rc<Ledger>, index: usize) {
    let address: SocketAddr = backend_address(index).parse().expect("an address");
    let listener = TcpListener::simulated(address);
    loop {
        let next = std::future::poll_fn(|_| {
            if ledger.closing.get() {
                return Poll::Ready(None);
            }
            listener.poll_accept().map(Some)
        });
        match next.await {
            None => return,
            Some(Ok(accepted)) => {
                ledger.backend_conns.set(ledger.backend_conns.get() + 1);
                ledger.backend_conns_open.set(ledger.backend_conns_open.get() + 1);
                io::spawn(serve(Rc::clone(&ledger), index, address, accepted));
            }
            Some(Err(_)) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Counts a connection until it has ended.
struct Open(Rc<Ledger>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.backend_conns_open.set(self.0.backend_conns_open.get() - 1);
    }
}

async fn serve(ledger: Rc<Ledger>, index: usize, address: SocketAddr, accepted: Accepted) {
    let _open = Open(Rc::clone(&ledger));
    let wire = ledger.backend_wire(accepted.into_stream().into());
    let mut conn = Conn { ledger: Rc::clone(&ledger), index, address, wire, served: 0, spoiled_ms: None };
    loop {
        match conn.wire.head().await {
            Ok(head) => {
                if conn.exchange(head).await.is_none() {
                    return;
                }
            }
            Err(End::Silence) if !conn.wire.is_disturbed() => {
                return ledger.violate(format!("a connection to backend {index} stays for ever"));
            }
            Err(End::Nonsense) => return ledger.violate(format!("backend {index} gets nonsense")),
            Err(_) => return,
        }
    }
}

struct Conn {
    ledger: Rc<Ledger>,
    index: usize,
    address: SocketAddr,
    wire: Wire,
    served: u32,
    /// From when on the proxy must not use it any more; it ought not to before.
    spoiled_ms: Option<u64>,
}

impl Conn {
    /// One exchange; `None` when the connection has ended.
    async fn exchange(&mut self, head: Head) -> Option<()> {
        let ledger = Rc::clone(&self.ledger);
        let exchange = self.identify(&ledger, &head)?;
        let number = exchange.number;
        let reused = self.served > 0;
        self.served += 1;
        let attempt = ledger.begin_attempt(exchange, reused);
        let answer = exchange.answer(attempt);
        simulation::remark(|| {
            format!("backend {} has exchange {number}/{attempt}: {:?}", self.index, answer.act)
        });
        self.check_attempt(exchange, &head, attempt);
        if self.spoiled_ms.is_some() {
            ledger.revise(exchange, BackendAct::CloseBefore { reset: false, read: false });
            return None;
        }
        if exchange.expect && answer.says_continue && answer.act != BackendAct::Early {
            self.wire.sender().send(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        let reads = !matches!(answer.act, BackendAct::Early | BackendAct::CloseBefore { read: false, .. });
        if reads && !self.read_body(exchange, &head).await {
            return None;
        }
        for _ in 0..answer.interims {
            let interim = format!("HTTP/1.1 103 Early Hints\r\nX-Exchange: {number}/{attempt}\r\n\r\n");
            self.wire.sender().send(interim.as_bytes()).await.ok()?;
        }
        sleep(Duration::from_millis(answer.delay_ms)).await;
        self.answer(exchange, &head, answer, attempt).await
    }

    /// The exchange that a head belongs to.
    fn identify<'a>(&self, ledger: &'a Ledger, head: &Head) -> Option<&'a Exchange> {
        let number = head.words[1].strip_prefix("/e/").and_then(|number| number.parse().ok());
        let exchange = number.and_then(|number| ledger.exchange(number));
        let Some(exchange) = exchange else {
            ledger.violate(format!("backend {} is asked for {:?}", self.index, head.words));
            return None;
        };
        ledger.check(head.field("x-asks").and_then(|asks| asks.parse().ok()) == number, || {
            format!("exchange {} has the fields of {:?}", exchange.number, head.field("x-asks"))
        });
        Some(exchange)
    }

    fn check_attempt(&self, exchange: &Exchange, head: &Head, attempt: u32) {
        let (ledger, number) = (&self.ledger, exchange.number);
        ledger
            .check(head.words[0] == exchange.method, || format!("exchange {number} became {:?}", head.words));
        ledger.check(exchange.is_idempotent() || attempt == 0, || {
            format!("exchange {number} is not idempotent and comes again")
        });
        ledger.check(attempt < 2 * (1 + ledger.plan.settings.retries), || {
            format!("exchange {number} is tried too often: {attempt}")
        });
        let framing = match exchange.body {
            None => wire::Framing::None,
            Some(body) if body.framing == Framing::Length => wire::Framing::Length(body.bytes),
            Some(_) => wire::Framing::Chunked,
        };
        ledger.check(head.request_framing() == Some(framing), || {
            format!("exchange {number} is framed as {:?}", head.request_framing())
        });
        ledger
            .check(!is_head_broken(exchange), || format!("exchange {number} has no whole head, but arrives"));
        if let Some(since_ms) = self.spoiled_ms
            && ledger.is_clock_straight()
            && !self.wire.is_disturbed()
        {
            let began_ms = self.wire.head_began_ms;
            ledger.check(began_ms < since_ms, || {
                format!(
                    "exchange {number} came at {began_ms} ms on a connection that was over since {since_ms} ms"
                )
            });
        }
    }

    /// Reads and checks the request's body; false when the connection has ended.
    async fn read_body(&mut self, exchange: &Exchange, head: &Head) -> bool {
        let (ledger, number) = (Rc::clone(&self.ledger), exchange.number);
        let Some(framing) = head.request_framing() else { return false };
        let mut checker = Checker::new(Owner { exchange: number, part: Part::Request });
        let end = self.wire.body(framing, |bytes| checker.take(bytes)).await;
        ledger.check(checker.wrong_at.is_none(), || {
            format!("the body of request {number} is wrong at {:?}", checker.wrong_at)
        });
        let planned = exchange.body.map_or(0, |body| body.bytes);
        let is_partial = matches!(exchange.act, ClientAct::Cut { .. } | ClientAct::Stall { .. });
        match end {
            Ok(()) => {
                ledger.check(checker.seen == planned && !is_partial, || {
                    format!("the body of request {number} ends at {} of {planned}", checker.seen)
                });
                true
            }
            Err(end) => {
                let is_excused = is_partial
                    || matches!(exchange.act, ClientAct::Leave { .. } | ClientAct::Malformed)
                    || self.wire.is_disturbed()
                    || ledger.has_left(number)
                    || ledger.plan.manner == Manner::Hostile;
                ledger.check(is_excused, || {
                    format!("the body of request {number} breaks off at {}: {end:?}", checker.seen)
                });
                false
            }
        }
    }

    async fn answer(
        &mut self,
        exchange: &Exchange,
        head: &Head,
        answer: &Answer,
        attempt: u32,
    ) -> Option<()> {
        let key = head.field("sec-websocket-key").unwrap_or_default();
        let message = exchange.answer_message(attempt, key);
        let span = message.bytes.len() - message.head_len;
        let partial = |part: u64| message.head_len + (span.saturating_sub(1) as u64 * part / 1000) as usize;
        match answer.act {
            BackendAct::CloseBefore { reset, .. } => return self.end(reset).await,
            BackendAct::StallBefore => return self.wait_for_end(exchange).await,
            BackendAct::Cut { part, reset } => {
                self.send(exchange, answer, &message.bytes[..partial(part)]).await?;
                return self.end(reset).await;
            }
            BackendAct::Stall { part } => {
                self.send(exchange, answer, &message.bytes[..partial(part)]).await?;
                return self.wait_for_end(exchange).await;
            }
            _ => self.send(exchange, answer, &message.bytes).await?,
        }
        match answer.act {
            BackendAct::MalformedHead | BackendAct::MalformedBody | BackendAct::BadAccept => {
                return self.wait_for_end(exchange).await;
            }
            BackendAct::Early => {
                let is_whole = self.read_rest(head).await;
                self.wire.sender().flush().await.ok()?;
                return if is_whole && !answer.close { Some(()) } else { None };
            }
            _ if answer.status == 101 => {
                session::speak(&self.ledger, &mut self.wire, exchange, session::Side::Backend).await;
                return None;
            }
            _ if answer.close => {
                self.wire.sender().finish().await.ok()?;
                return None;
            }
            // It came in one piece with the answer.
            BackendAct::Poison => self.spoiled_ms = Some(0),
            BackendAct::SilentClose { after_ms } => {
                sleep(Duration::from_millis(after_ms)).await;
                simulation::disturb(self.address);
                self.wire.sender().finish().await.ok()?;
                self.spoiled_ms = Some(now_ms() + self.ledger.plan.known_ms());
            }
            BackendAct::Babble { after_ms } => {
                sleep(Duration::from_millis(after_ms)).await;
                simulation::disturb(self.address);
                let words =
                    if after_ms % 2 == 0 { unasked_answer() } else { b"and by the way\r\n\r\n".to_vec() };
                self.wire.sender().send(&words).await.ok()?;
                self.wire.sender().flush().await.ok()?;
                self.spoiled_ms = Some(now_ms() + self.ledger.plan.known_ms());
            }
            _ => {}
        }
        Some(())
    }

    async fn send(&self, exchange: &Exchange, answer: &Answer, bytes: &[u8]) -> Option<()> {
        let mut chance = Chance::new(u64::from(exchange.number) ^ 0xA5A5);
        let sender = self.wire.sender();
        for piece in pieces(bytes, answer.pace.pieces, &mut chance) {
            sender.send(piece).await.ok()?;
            if answer.pace.pause_ms_max > 0 {
                sleep(Duration::from_millis(chance.below(answer.pace.pause_ms_max))).await;
            }
        }
        Some(())
    }

    /// Reads the body of a request that has been answered; whether all of it came.
    async fn read_rest(&mut self, head: &Head) -> bool {
        let Some(framing) = head.request_framing() else { return false };
        self.wire.body(framing, |_| {}).await.is_ok()
    }

    /// Ends the connection.
    async fn end(&self, reset: bool) -> Option<()> {
        self.wire.sender().flush().await.ok()?;
        if reset {
            self.wire.stream.reset_on_close();
        }
        None
    }

    /// Says no more: the proxy must end it.
    async fn wait_for_end(&mut self, exchange: &Exchange) -> Option<()> {
        let end = loop {
            if let Err(end) = self.wire.some(usize::MAX).await {
                break end;
            }
        };
        self.ledger.check(end != End::Silence || self.wire.is_disturbed(), || {
            format!("exchange {}: the proxy waits for ever for a backend that says no more", exchange.number)
        });
        None
    }
}

/// A whole answer that nobody has asked for. It names the time, for the judge of who gets it.
fn unasked_answer() -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{MARKER}: {UNASKED}/{}\r\nContent-Length: 0\r\n\r\n", now_ms()).into_bytes()
}

/// The client never sends a whole head that keeps the rules.
fn is_head_broken(exchange: &Exchange) -> bool {
    let part = match exchange.act {
        ClientAct::Malformed => return true,
        ClientAct::Cut { part, .. } | ClientAct::Stall { part } => part,
        _ => return false,
    };
    let request = exchange.request();
    part_of(request.bytes.len(), part) < request.head_len
}

/// So many per mille of a length, never all of it.
pub(crate) fn part_of(len: usize, part: u64) -> usize {
    (len.saturating_sub(1) as u64 * part / 1000) as usize
}
