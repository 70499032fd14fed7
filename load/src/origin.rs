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

use engine::io::{Lease, TcpListener, TcpStream, freeze, return_buf, spawn, take_buf};
use memchr::memmem::Finder;

use super::answer::{decimal, value_of, wire};
use super::frame::{CLOSE, Frame, write_echo};

/// A request head longer than this closes the connection.
const HEAD_BYTES_MAX: usize = 4096;
/// A message that takes more than this with its frame's head closes the connection: the load sends none.
const MESSAGE_BYTES_MAX: usize = 70_000;
/// RFC 6455 1.3: appended to the client's key.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Complete answers by body length, leaked once per length, so that a send needs no copy and no count.
#[derive(Clone, Default)]
pub(crate) struct Answers(Rc<RefCell<HashMap<usize, &'static [u8]>>>);

impl Answers {
    fn of(&self, body_len: usize) -> Lease {
        Lease::from_static(self.0.borrow_mut().entry(body_len).or_insert_with(|| Vec::leak(wire(body_len))))
    }
}

/// What the connections of one origin share.
pub(crate) struct Origin {
    answers: Answers,
    /// Finds what only our own clients and bare relays leave in; a real proxy keeps the connection.
    closes: Finder<'static>,
    open: Cell<usize>,
}

impl Origin {
    pub(crate) fn new(answers: Answers) -> Rc<Origin> {
        Rc::new(Origin { answers, closes: Finder::new(b"\r\nConnection: close\r\n"), open: Cell::new(0) })
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// Accepts until the core ends.
    pub(crate) async fn accept_all(self: Rc<Self>, listener: TcpListener) {
        while let Ok(accepted) = listener.accept().await {
            let origin = Rc::clone(&self);
            let stream = accepted.into_stream();
            spawn(async move {
                origin.open.set(origin.open.get() + 1);
                // A proxy may close whenever it likes; whether that was right shows at the client.
                let _ = origin.serve(&stream).await;
                origin.open.set(origin.open.get() - 1);
            });
        }
    }

    async fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let mut last: Option<(usize, Lease)> = None;
        while let Some(head) = Head::receive(stream).await? {
            let answer = match Asked::of(&head) {
                Asked::Body(len) => match &last {
                    Some((last_len, answer)) if *last_len == len => answer.clone(),
                    _ => last.insert((len, self.answers.of(len))).1.clone(),
                },
                Asked::Head => freeze(head_as_answer(&head)),
                Asked::Echo(accept) => {
                    stream.send(freeze(switching(&accept)));
                    return echo(stream).await;
                }
                Asked::Nothing => return Ok(()),
            };
            stream.send(answer);
            if self.closes.find(&head).is_some() {
                return stream.sent_below(0).await;
            }
        }
        Ok(())
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

/// One request head: nearly always the piece that was received.
enum Head {
    Whole(Lease),
    Gathered(Vec<u8>),
}

impl Head {
    /// Receives until a head is complete; `None` when the proxy closed. The proxies send one request at a time without
    /// a body, so a head ends exactly where the bytes end.
    async fn receive(stream: &TcpStream) -> io::Result<Option<Head>> {
        let Some(first) = stream.recv().await? else { return Ok(None) };
        if first.ends_with(b"\r\n\r\n") {
            return Ok(Some(Head::Whole(first)));
        }
        let mut gathered = first.to_vec();
        drop(first);
        while !gathered.ends_with(b"\r\n\r\n") {
            match stream.recv().await? {
                Some(piece) if gathered.len() + piece.len() <= HEAD_BYTES_MAX => {
                    gathered.extend_from_slice(&piece);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(Head::Gathered(gathered)))
    }
}

impl std::ops::Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Head::Whole(lease) => lease,
            Head::Gathered(bytes) => bytes,
        }
    }
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
async fn echo(stream: &TcpStream) -> io::Result<()> {
    // The start of a frame that has not ended; nearly always empty, and then it holds no memory.
    let mut pending = Vec::new();
    while let Some(piece) = stream.recv().await? {
        let mut out = take_buf();
        let is_closing = if pending.is_empty() {
            let (used, is_closing) = echo_frames(&piece, &mut out);
            pending.extend_from_slice(&piece[used..]);
            is_closing
        } else {
            pending.extend_from_slice(&piece);
            let (used, is_closing) = echo_frames(&pending, &mut out);
            pending.drain(..used);
            is_closing
        };
        if out.is_empty() {
            return_buf(out)
        } else {
            stream.send(freeze(out))
        }
        if is_closing {
            return stream.sent_below(0).await;
        }
        if pending.len() > MESSAGE_BYTES_MAX {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes the echo of every whole frame in `input`; gives how much of it that was, and whether it asked to close.
fn echo_frames(input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
    let mut at = 0;
    let mut is_closing = false;
    while let Some(frame) = Frame::read(&input[at..]) {
        write_echo(frame, &input[at..], out);
        at += frame.wire_len();
        is_closing |= frame.opcode == CLOSE;
    }
    (at, is_closing)
}

#[cfg(test)]
mod tests {
    use super::super::frame::{BINARY, write_masked};
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

    #[test]
    fn frames_are_echoed_at_every_split_and_the_rest_is_left() {
        let mut wire = Vec::new();
        write_masked(BINARY, b"one", [1, 2, 3, 4], &mut wire);
        write_masked(BINARY, b"two more", [5, 6, 7, 8], &mut wire);
        let mut whole = Vec::new();
        assert_eq!(echo_frames(&wire, &mut whole), (wire.len(), false));
        for cut in 0..wire.len() {
            let mut out = Vec::new();
            let (used, _) = echo_frames(&wire[..cut], &mut out);
            let (rest, _) = echo_frames(&wire[used..], &mut out);
            assert_eq!(used + rest, wire.len(), "cut at {cut}");
            assert_eq!(out, whole, "cut at {cut}");
        }
        let close = [0x88, 0x80, 0, 0, 0, 0];
        assert_eq!(echo_frames(&close, &mut Vec::new()), (6, true));
    }
}
