//! One connection seen as bytes: reading heads, lengths, chunks and ends, with a deadline on each read.
//!
//! Used by `client.rs` and `origin.rs`. Bytes that came early stay in the buffer for the next read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::{ClientConnection, ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::message::Fields;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Orderly: the peer sent a FIN.
    Closed,
    /// The peer sent a RST.
    Reset,
    /// The peer of a TLS connection sent a FIN without saying in TLS that this was all.
    Truncated,
    /// One of the two sides of a TLS connection has refused the other.
    Refused,
}

/// A connected socket of either family.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// Unix.
    Unix(UnixStream),
    /// TLS, as the client.
    TlsClient(Box<StreamOwned<ClientConnection, TcpStream>>),
    /// TLS, as the server.
    TlsServer(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Stream {
    /// The socket below.
    pub(crate) fn socket(&self) -> Result<&TcpStream, &UnixStream> {
        match self {
            Stream::Tcp(tcp) => Ok(tcp),
            Stream::Unix(unix) => Err(unix),
            Stream::TlsClient(tls) => Ok(&tls.sock),
            Stream::TlsServer(tls) => Ok(&tls.sock),
        }
    }
}

/// A connection and the bytes that were read ahead.
pub struct Wire {
    stream: Stream,
    buf: Vec<u8>,
    patience: Duration,
}

impl Wire {
    /// Takes over a connected socket; each read may last `patience`.
    pub fn new(stream: Stream, patience: Duration) -> Wire {
        let set = match stream.socket() {
            Ok(tcp) => tcp
                .set_nodelay(true)
                .and(tcp.set_read_timeout(Some(patience)))
                .and(tcp.set_write_timeout(Some(patience))),
            Err(unix) => unix.set_read_timeout(Some(patience)).and(unix.set_write_timeout(Some(patience))),
        };
        // A peer that has already gone shows on the first read or write.
        let _ = set;
        Wire { stream, buf: Vec::new(), patience }
    }

    /// Writes all bytes, or tells how the connection ended.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        let written = match &mut self.stream {
            Stream::Tcp(tcp) => tcp.write_all(bytes),
            Stream::Unix(unix) => unix.write_all(bytes),
            Stream::TlsClient(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
            Stream::TlsServer(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        };
        written.map_err(|error| self.end(&error))
    }

    /// Writes what the socket takes at once and returns how much; 0 when it takes nothing.
    pub fn send_some(&mut self, bytes: &[u8]) -> Result<usize, End> {
        let Stream::Tcp(tcp) = &mut self.stream else { panic!("only used on TCP") };
        let _ = tcp.set_nonblocking(true);
        let written = tcp.write(bytes);
        let _ = tcp.set_nonblocking(false);
        match written {
            Ok(count) => Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            Err(error) => Err(self.end(&error)),
        }
    }

    /// Bytes up to and with `mark`; `Err` when the connection ends before.
    pub fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, End> {
        let mut seen = 0_usize;
        loop {
            let from = seen.saturating_sub(mark.len());
            if let Some(at) = find(&self.buf[from..], mark) {
                return Ok(self.take(from + at + mark.len()));
            }
            seen = self.buf.len();
            self.fill()?;
        }
    }

    /// A message head with its empty line.
    pub fn head(&mut self) -> Result<Vec<u8>, End> {
        self.until(b"\r\n\r\n")
    }

    /// Exactly so many bytes.
    pub fn exactly(&mut self, count: usize) -> Result<Vec<u8>, End> {
        while self.buf.len() < count {
            self.fill()?;
        }
        Ok(self.take(count))
    }

    /// A chunked body, decoded, and its trailers.
    pub fn chunks(&mut self) -> Result<(Vec<u8>, Fields), End> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let digits = text.split(';').next().unwrap_or_default().trim().to_owned();
            let len =
                usize::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("not a chunk size: {text:?}"));
            if len == 0 {
                return Ok((body, self.trailers()?));
            }
            body.extend(self.exactly(len)?);
            assert_eq!(self.exactly(2)?, b"\r\n", "a chunk ends with CRLF");
        }
    }

    fn trailers(&mut self) -> Result<Fields, End> {
        let mut lines = String::new();
        loop {
            let line = self.until(b"\r\n")?;
            if line == b"\r\n" {
                return Ok(Fields::parse(&lines));
            }
            lines.push_str(&String::from_utf8_lossy(&line));
        }
    }

    /// Everything until the connection ends, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            if let Err(end) = self.fill() {
                return (std::mem::take(&mut self.buf), end);
            }
        }
    }

    /// Whatever comes next, at least one byte.
    pub fn some(&mut self) -> Result<Vec<u8>, End> {
        if self.buf.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buf))
    }

    /// What was read ahead and not yet taken.
    pub fn buffered(&self) -> &[u8] {
        &self.buf
    }

    /// Reads once. Ends the test when nothing comes in time.
    fn fill(&mut self) -> Result<(), End> {
        let mut piece = [0; 65_536];
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(tcp) => tcp.read(&mut piece),
                Stream::Unix(unix) => unix.read(&mut piece),
                Stream::TlsClient(tls) => tls.read(&mut piece),
                Stream::TlsServer(tls) => tls.read(&mut piece),
            };
            match read {
                Ok(0) => return Err(End::Closed),
                Ok(count) => {
                    self.buf.extend_from_slice(&piece[..count]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.end(&error)),
            }
        }
    }

    /// What an error says about the connection; running out of time ends the test.
    fn end(&self, error: &io::Error) -> End {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => End::Reset,
            ErrorKind::InvalidData => End::Refused,
            ErrorKind::UnexpectedEof => End::Truncated,
            ErrorKind::BrokenPipe | ErrorKind::NotConnected => End::Closed,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                panic!("nothing moved for {:?}; read so far: {:?}", self.patience, lossy(&self.buf))
            }
            _ => panic!("unexpected socket error: {error}"),
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buf.split_off(count);
        std::mem::replace(&mut self.buf, rest)
    }

    /// Says that nothing more will be written (FIN, and over TLS a word before it).
    pub fn half_close(&mut self) {
        self.say_end();
        self.shutdown(Shutdown::Write);
    }

    /// Ends both directions.
    pub fn close(&mut self) {
        self.say_end();
        self.shutdown(Shutdown::Both);
    }

    /// Ends both directions of the socket, and says nothing in TLS.
    pub fn truncate(&mut self) {
        self.shutdown(Shutdown::Both);
    }

    fn say_end(&mut self) {
        // Whoever has gone already need not hear it.
        let _ = match &mut self.stream {
            Stream::TlsClient(tls) => {
                tls.conn.send_close_notify();
                tls.flush()
            }
            Stream::TlsServer(tls) => {
                tls.conn.send_close_notify();
                tls.flush()
            }
            Stream::Tcp(_) | Stream::Unix(_) => Ok(()),
        };
    }

    fn shutdown(&self, how: Shutdown) {
        let _ = match self.stream.socket() {
            Ok(tcp) => tcp.shutdown(how),
            Err(unix) => unix.shutdown(how),
        };
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        if let Ok(tcp) = self.stream.socket() {
            let _ = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }

    /// The socket, to be changed.
    pub fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// The socket.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Bytes as text for a message, not too long.
pub fn lossy(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(600)];
    let more = if shown.len() < bytes.len() { format!("… ({} bytes)", bytes.len()) } else { String::new() };
    format!("{}{more}", String::from_utf8_lossy(shown))
}
