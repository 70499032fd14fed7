//! HTTP/1.1 over one connection as a client of this program sees it: send bytes, read one whole answer.
//!
//! Used by well-behaved clients, and by those attackers that are owed an answer. It never panics on what comes:
//! every oddity is a [`Broken`], for `judge.rs` to weigh. What must hold: bytes after an answer stay for the next.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use harness::message::Fields;

/// How long one answer may take: far above every deadline of the proxy, and above the time that a new connection waits
/// for its place when there are too few.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection and what was read ahead.
pub(crate) struct Link {
    pub(crate) stream: TcpStream,
    buf: Vec<u8>,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) fields: Fields,
}

impl Head {
    fn parse(raw: &[u8]) -> Option<Head> {
        let text = String::from_utf8_lossy(raw);
        let (line, lines) = text.split_once("\r\n")?;
        let status = line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        Some(Head { status, fields: Fields::parse(lines) })
    }

    /// The backend process that answered, by its own word.
    pub(crate) fn backend(&self) -> Option<&str> {
        self.fields.one("x-backend")
    }

    /// The proxy's name for the request, as its log has it.
    pub(crate) fn request_id(&self) -> &str {
        self.fields.one("x-request-id").unwrap_or("-")
    }

    /// No further request may be sent.
    pub(crate) fn says_close(&self) -> bool {
        self.fields.has_token("connection", "close")
    }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// Why there is no whole answer.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) how: &'static str,
    /// The head, where that much had come.
    pub(crate) head: Option<Head>,
}

impl Broken {
    fn before_head(how: &'static str) -> Broken {
        Broken { how, head: None }
    }
}

impl Link {
    /// Connects.
    pub(crate) async fn open(addr: SocketAddr) -> Result<Link, Broken> {
        match timeout(PATIENCE, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => Ok(Link::over(stream)),
            Ok(Err(_)) => Err(Broken::before_head("connect refused")),
            Err(_) => Err(Broken::before_head("connect timed out")),
        }
    }

    /// Takes over a connected socket.
    pub(crate) fn over(stream: TcpStream) -> Link {
        // A peer that has already gone shows on the first read or write.
        let _ = stream.set_nodelay(true);
        Link { stream, buf: Vec::new() }
    }

    /// Sends a request and reads its answer. A request that was not taken whole may have been answered nevertheless.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer, Broken> {
        match timeout(PATIENCE, self.stream.write_all(request)).await {
            Ok(_) => self.answer().await,
            Err(_) => Err(Broken::before_head("request not taken in time")),
        }
    }

    /// Reads the next answer whole.
    pub(crate) async fn answer(&mut self) -> Result<Answer, Broken> {
        timeout(PATIENCE, self.read_answer())
            .await
            .unwrap_or_else(|_| Err(Broken::before_head("no whole answer in time")))
    }

    async fn read_answer(&mut self) -> Result<Answer, Broken> {
        let head = self.head().await?;
        let within = |how| Broken { how, head: Some(head.clone()) };
        let body = if head.status == 101 || head.status == 204 {
            Vec::new()
        } else if head.fields.chunked() {
            self.chunks().await.map_err(within)?
        } else if let Some(len) = head.fields.length() {
            self.exactly(len).await.map_err(within)?
        } else {
            return Err(within("an answer without a length"));
        };
        Ok(Answer { head, body })
    }

    /// Reads the next head that is not an interim one (101 is final).
    async fn head(&mut self) -> Result<Head, Broken> {
        loop {
            let raw = self.until(b"\r\n\r\n").await.map_err(Broken::before_head)?;
            let head = Head::parse(&raw).ok_or(Broken::before_head("not a response head"))?;
            if head.status >= 200 || head.status == 101 {
                return Ok(head);
            }
        }
    }

    async fn chunks(&mut self) -> Result<Vec<u8>, &'static str> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let digits = String::from_utf8_lossy(&line).trim_end().to_owned();
            let len = usize::from_str_radix(&digits, 16).map_err(|_| "not a chunk size")?;
            if len == 0 {
                let end = self.until(b"\r\n").await?;
                return if end == b"\r\n" { Ok(body) } else { Err("trailers that nobody sent") };
            }
            body.extend(self.exactly(len).await?);
            if self.exactly(2).await? != b"\r\n" {
                return Err("a chunk longer than its size");
            }
        }
    }

    async fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, &'static str> {
        loop {
            if let Some(at) = self.buf.windows(mark.len()).position(|window| window == mark) {
                return Ok(self.take(at + mark.len()));
            }
            self.fill().await?;
        }
    }

    /// Exactly so many bytes.
    pub(crate) async fn exactly(&mut self, count: usize) -> Result<Vec<u8>, &'static str> {
        while self.buf.len() < count {
            self.fill().await?;
        }
        Ok(self.take(count))
    }

    async fn fill(&mut self) -> Result<(), &'static str> {
        let mut piece = [0; 16_384];
        match self.stream.read(&mut piece).await {
            Ok(0) => Err("closed"),
            Ok(count) => {
                self.buf.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(_) => Err("reset"),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buf.split_off(count);
        std::mem::replace(&mut self.buf, rest)
    }
}
