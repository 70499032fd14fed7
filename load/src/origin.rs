//! The origin behind every proxy: answers from memory, echoes WebSocket messages, runs on the load thread.
//!
//! Spawned by [`super::Generator::run`]; one task per connection. It serves `GET /b/LEN` (a body of that many
//! bytes), `GET /head` (the request head as it arrived, for the check of forwarded fields) and a WebSocket
//! upgrade on `/ws` (echo). A request that is none of these closes the connection, so a proxy that sends
//! something else shows up as faults at the client.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use monoio::buf::IoBufMut as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _, CancelHandle};
use monoio::net::{TcpListener, TcpStream};

use super::answer::{decimal, value_of, wire};
use super::frame::{CLOSE, Frame, write_echo};

/// A request head longer than this closes the connection.
const HEAD_BYTES_MAX: usize = 4096;
/// RFC 6455 1.3: appended to the client's key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the connections of one origin share.
pub(crate) struct Origin {
    /// Complete answers by body length. Leaked once per length, so that a send needs no copy.
    answers: RefCell<HashMap<usize, &'static [u8]>>,
    open: Cell<usize>,
}

impl Origin {
    pub(crate) fn new() -> Rc<Origin> {
        Rc::new(Origin { answers: RefCell::default(), open: Cell::new(0) })
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// Accepts until `cancel` is pulled.
    pub(crate) async fn accept_all(self: Rc<Self>, listener: TcpListener, cancel: CancelHandle) {
        while let Ok((stream, _)) = listener.cancelable_accept(cancel.clone()).await {
            let origin = Rc::clone(&self);
            monoio::spawn(async move {
                origin.open.set(origin.open.get() + 1);
                // A proxy may close whenever it likes; whether that was right shows at the client.
                let _ = origin.serve(stream).await;
                origin.open.set(origin.open.get() - 1);
            });
        }
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buf = Vec::with_capacity(HEAD_BYTES_MAX);
        let mut last: (usize, &'static [u8]) = (usize::MAX, &[]);
        loop {
            let (complete, filled) = read_head(&mut stream, buf).await?;
            buf = filled;
            if !complete {
                return Ok(());
            }
            // Only our own clients and bare relays leave this field in; a real proxy keeps the connection.
            let closes = memchr::memmem::find(&buf, b"\r\nConnection: close\r\n").is_some();
            match Asked::of(&buf) {
                Asked::Body(len) if len == last.0 => stream.write_all(last.1).await.0?,
                Asked::Body(len) => {
                    last = (len, self.answer(len));
                    stream.write_all(last.1).await.0?
                }
                Asked::Head => stream.write_all(head_as_answer(&buf)).await.0?,
                Asked::Echo(accept) => {
                    stream.write_all(switching(&accept)).await.0?;
                    return echo(stream).await;
                }
                Asked::Nothing => return Ok(()),
            };
            if closes {
                return Ok(());
            }
        }
    }

    fn answer(&self, len: usize) -> &'static [u8] {
        self.answers.borrow_mut().entry(len).or_insert_with(|| Vec::leak(wire(len)))
    }
}

/// What a request head asks of this origin.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Body(usize),
    Head,
    /// The value for `Sec-WebSocket-Accept`.
    Echo(String),
    Nothing,
}

impl Asked {
    fn of(head: &[u8]) -> Asked {
        let Some(rest) = head.strip_prefix(b"GET /") else { return Asked::Nothing };
        let path = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
        if let Some(digits) = path.strip_prefix(b"b/") {
            return decimal(digits).map_or(Asked::Nothing, Asked::Body);
        }
        match path {
            b"head" => Asked::Head,
            b"ws" => accept_of(head).map_or(Asked::Nothing, Asked::Echo),
            _ => Asked::Nothing,
        }
    }
}

/// Reads until the head is complete. The proxies send one request at a time without a body, so a head ends
/// exactly where the bytes end. Gives `false` when the proxy closed.
async fn read_head(stream: &mut TcpStream, buf: Vec<u8>) -> io::Result<(bool, Vec<u8>)> {
    let (read, mut buf) = stream.read(buf).await;
    let mut filled = read?;
    while filled != 0 && !buf.ends_with(b"\r\n\r\n") {
        if filled == buf.capacity() {
            return Ok((false, buf));
        }
        let (read, slice) = stream.read(buf.slice_mut(filled..)).await;
        buf = slice.into_inner();
        match read? {
            0 => return Ok((false, buf)),
            more => filled += more,
        }
    }
    Ok((filled != 0, buf))
}

/// `Sec-WebSocket-Accept` for the key in `head` (RFC 6455 4.2.2), if it is an upgrade at all.
fn accept_of(head: &[u8]) -> Option<String> {
    let lines = || head.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end);
    let upgrade = lines().find_map(|line| value_of(line, b"upgrade:"))?;
    let key = lines().find_map(|line| value_of(line, b"sec-websocket-key:"))?;
    upgrade.eq_ignore_ascii_case(b"websocket").then(|| accept_for(key))
}

/// The accept value that belongs to `key`.
pub(crate) fn accept_for(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(ACCEPT_SUFFIX);
    base64(&hash.digest().bytes())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word =
            group.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let is_padding = digit > group.len();
            let index = (word >> (18 - 6 * digit)) & 63;
            text.push(if is_padding { '=' } else { char::from(DIGITS[index as usize]) });
        }
    }
    text
}

fn switching(accept: &str) -> Vec<u8> {
    let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n").into_bytes()
}

fn head_as_answer(head: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len()).into_bytes();
    answer.extend_from_slice(head);
    answer
}

/// Echoes messages until the proxy closes or a close frame has been answered.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(512);
    let mut out = Vec::with_capacity(512);
    loop {
        let filled = buf.len();
        let (read, slice) = stream.read(buf.slice_mut(filled..)).await;
        buf = slice.into_inner();
        if read? == 0 {
            return Ok(());
        }
        let mut at = 0;
        let mut is_closing = false;
        out.clear();
        while let Some(frame) = Frame::read(&buf[at..]) {
            write_echo(frame, &buf[at..], &mut out);
            at += frame.wire_len();
            is_closing |= frame.opcode == CLOSE;
        }
        buf.drain(..at);
        if buf.len() == buf.capacity() {
            return Ok(()); // A frame larger than any the load sends.
        }
        if !out.is_empty() {
            let (written, sent) = stream.write_all(out).await;
            written?;
            out = sent;
        }
        if is_closing {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_value_is_that_of_the_rfc_example() {
        // RFC 6455 1.3.
        assert_eq!(accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn requests_are_told_apart() {
        assert_eq!(Asked::of(b"GET /b/128 HTTP/1.1\r\nHost: x\r\n\r\n"), Asked::Body(128));
        assert_eq!(Asked::of(b"GET /head HTTP/1.1\r\n\r\n"), Asked::Head);
        assert_eq!(Asked::of(b"POST /b/128 HTTP/1.1\r\n\r\n"), Asked::Nothing);
        assert_eq!(Asked::of(b"GET /b/-1 HTTP/1.1\r\n\r\n"), Asked::Nothing);
        assert_eq!(Asked::of(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"), Asked::Nothing);
        let upgrade =
            b"GET /ws HTTP/1.1\r\nupgrade: WebSocket\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        assert_eq!(Asked::of(upgrade), Asked::Echo("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned()));
    }
}
