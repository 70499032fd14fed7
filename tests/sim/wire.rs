//! A peer's end of a connection: bytes in, bytes out, each with its patience.
//!
//! Used by clients and origins. Parses just enough HTTP to judge what the proxy sent; shares nothing with the product.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use engine::io::{Alarm, Stream, freeze, now_ms, sleep};

/// How a peer's reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The other side said its last byte.
    Fin,
    /// The connection was reset.
    Reset,
    /// Nothing came for as long as this peer waits.
    Silence,
    /// What came is not HTTP.
    Nonsense,
}

/// Bytes that a head may have before it counts as nonsense.
const HEAD_BYTES_MAX: usize = 80 * 1024;

/// Bytes that the peers of one kind have said and heard.
#[derive(Default)]
pub(crate) struct Traffic {
    pub(crate) sent: Cell<u64>,
    pub(crate) received: Cell<u64>,
}

/// One end of a connection.
pub(crate) struct Wire {
    pub(crate) stream: Rc<Stream>,
    buf: Vec<u8>,
    alarm: Alarm,
    patience: Duration,
    traffic: Rc<Traffic>,
    /// So many times more, it rests before it reads on; and how long.
    pub(crate) rests: (u32, Duration),
    /// When the first bytes of the last head were there.
    pub(crate) head_began_ms: u64,
}

impl Wire {
    pub(crate) fn new(stream: Stream, patience: Duration, traffic: &Rc<Traffic>) -> Wire {
        stream.start_receiving();
        let (stream, traffic) = (Rc::new(stream), Rc::clone(traffic));
        let (buf, alarm, rests) = (Vec::new(), Alarm::new(), (0, Duration::ZERO));
        Wire { stream, buf, alarm, patience, traffic, rests, head_began_ms: 0 }
    }

    /// What is needed to send beside a reader of the wire.
    pub(crate) fn sender(&self) -> Sender {
        let (stream, traffic) = (Rc::clone(&self.stream), Rc::clone(&self.traffic));
        Sender { stream, patience: self.patience, traffic }
    }

    /// Whether a fault of the network has touched the connection.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.stream.is_disturbed()
    }

    /// Waits for more bytes.
    async fn fill(&mut self) -> Result<(), End> {
        if self.rests.0 > 0 {
            self.rests.0 -= 1;
            sleep(self.rests.1).await;
        }
        self.alarm.set(Some(now_ms() + self.patience.as_millis() as u64));
        let (stream, alarm) = (&self.stream, &self.alarm);
        let received = std::future::poll_fn(|_| match stream.poll_recv() {
            std::task::Poll::Ready(input) => std::task::Poll::Ready(Some(input)),
            std::task::Poll::Pending => alarm.poll().map(|()| None),
        })
        .await;
        match received {
            Some(Ok(Some(lease))) => {
                self.traffic.received.set(self.traffic.received.get() + lease.len() as u64);
                self.buf.extend_from_slice(&lease);
            }
            Some(Ok(None)) => return Err(End::Fin),
            Some(Err(_)) => return Err(End::Reset),
            None => return Err(End::Silence),
        }
        Ok(())
    }

    /// The next bytes, whatever they are; at most `max`.
    pub(crate) async fn some(&mut self, max: usize) -> Result<Vec<u8>, End> {
        if self.buf.is_empty() {
            self.fill().await?;
        }
        let count = self.buf.len().min(max);
        Ok(self.buf.drain(..count).collect())
    }

    /// The next head, its empty line included.
    pub(crate) async fn head(&mut self) -> Result<Head, End> {
        if self.buf.is_empty() {
            self.fill().await?;
        }
        self.head_began_ms = now_ms();
        loop {
            if let Some(end) = find(&self.buf, b"\r\n\r\n") {
                let bytes: Vec<u8> = self.buf.drain(..end + 4).collect();
                return Head::parse(&bytes).ok_or(End::Nonsense);
            }
            if self.buf.len() > HEAD_BYTES_MAX {
                return Err(End::Nonsense);
            }
            self.fill().await?;
        }
    }

    /// The next line, without its end.
    async fn line(&mut self) -> Result<String, End> {
        loop {
            if let Some(end) = find(&self.buf, b"\r\n") {
                let bytes: Vec<u8> = self.buf.drain(..end + 2).collect();
                return String::from_utf8(bytes[..end].to_vec()).map_err(|_| End::Nonsense);
            }
            if self.buf.len() > HEAD_BYTES_MAX {
                return Err(End::Nonsense);
            }
            self.fill().await?;
        }
    }

    /// Reads a body to its end and hands each piece to `take`.
    pub(crate) async fn body(&mut self, framing: Framing, mut take: impl FnMut(&[u8])) -> Result<(), End> {
        match framing {
            Framing::None => Ok(()),
            Framing::Length(length) => self.exactly(length, &mut take).await,
            Framing::UntilClose => loop {
                match self.some(usize::MAX).await {
                    Ok(bytes) => take(&bytes),
                    Err(End::Fin) => return Ok(()),
                    Err(end) => return Err(end),
                }
            },
            Framing::Chunked => {
                loop {
                    let line = self.line().await?;
                    let size = line.split(';').next().unwrap_or_default();
                    let size = u64::from_str_radix(size, 16).map_err(|_| End::Nonsense)?;
                    if size == 0 {
                        break;
                    }
                    self.exactly(size, &mut take).await?;
                    if !self.line().await?.is_empty() {
                        return Err(End::Nonsense);
                    }
                }
                while !self.line().await?.is_empty() {}
                Ok(())
            }
        }
    }

    async fn exactly(&mut self, mut left: u64, take: &mut impl FnMut(&[u8])) -> Result<(), End> {
        while left > 0 {
            let bytes = self.some(usize::try_from(left).unwrap_or(usize::MAX)).await?;
            left -= bytes.len() as u64;
            take(&bytes);
        }
        Ok(())
    }
}

/// Bytes that a peer leaves queued before it goes on.
const QUEUED_BYTES_MAX: u32 = 16 * 1024;

/// The sending half.
pub(crate) struct Sender {
    pub(crate) stream: Rc<Stream>,
    patience: Duration,
    traffic: Rc<Traffic>,
}

impl Sender {
    /// Queues bytes and waits until nearly all have left.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), End> {
        self.traffic.sent.set(self.traffic.sent.get() + bytes.len() as u64);
        for piece in bytes.chunks(QUEUED_BYTES_MAX as usize) {
            self.stream.send(freeze(piece.to_vec()));
            sent_below(&self.stream, QUEUED_BYTES_MAX, self.patience).await?;
        }
        Ok(())
    }

    /// Waits until all has left.
    pub(crate) async fn flush(&self) -> Result<(), End> {
        sent_below(&self.stream, 0, self.patience).await
    }

    /// All has left, and no more will come.
    pub(crate) async fn finish(&self) -> Result<(), End> {
        self.flush().await?;
        self.stream.shutdown_write().map_err(|_| End::Reset)
    }
}

/// Waits until at most `bytes` are queued.
async fn sent_below(stream: &Stream, bytes: u32, patience: Duration) -> Result<(), End> {
    let alarm = Alarm::new();
    alarm.set(Some(now_ms() + patience.as_millis() as u64));
    std::future::poll_fn(|_| match stream.poll_sent_below(bytes) {
        std::task::Poll::Ready(Ok(())) => std::task::Poll::Ready(Ok(())),
        std::task::Poll::Ready(Err(_)) => std::task::Poll::Ready(Err(End::Reset)),
        std::task::Poll::Pending => alarm.poll().map(|()| Err(End::Silence)),
    })
    .await
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

/// First line and fields of a message.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) words: [String; 3],
    fields: Vec<(String, String)>,
}

impl Head {
    fn parse(bytes: &[u8]) -> Option<Head> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (line, rest) = text.split_once("\r\n")?;
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let words = [words.next()?, words.next()?, words.next()?];
        let lines = rest.split("\r\n").filter(|line| !line.is_empty());
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        });
        Some(Head { words, fields: fields.collect::<Option<_>>()? })
    }

    /// The first value of a field, its name in lower case.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields
            .iter()
            .filter(|(own, _)| own == name)
            .flat_map(|(_, value)| value.split(','))
            .any(|part| part.trim().eq_ignore_ascii_case(token))
    }

    /// The status of an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.words[0].starts_with("HTTP/1.").then(|| self.words[1].parse().ok()).flatten()
    }

    /// Framing of a request's body (RFC 9112 6.3).
    pub(crate) fn request_framing(&self) -> Option<Framing> {
        if self.has_token("transfer-encoding", "chunked") {
            return Some(Framing::Chunked);
        }
        match self.field("content-length") {
            None => Some(Framing::None),
            Some(length) => length.parse().ok().map(Framing::Length),
        }
    }

    /// Framing of an answer's body (RFC 9112 6.3).
    pub(crate) fn answer_framing(&self, to_head: bool) -> Option<Framing> {
        let status = self.status()?;
        if to_head || status == 204 || status == 304 || status < 200 {
            return Some(Framing::None);
        }
        match self.request_framing()? {
            Framing::None => Some(Framing::UntilClose),
            framing => Some(framing),
        }
    }
}
