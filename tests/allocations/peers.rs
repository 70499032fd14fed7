//! Client and origin that do not allocate while they work: fixed messages, fixed buffers, blocking sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

/// Nothing here takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Room for the largest message of a script, with its framing.
const BUF_BYTES: usize = 256 * 1024;

/// What is said again and again, the same on every connection.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) name: &'static str,
    /// Sent once by each side before everything else: the handshake of a WebSocket.
    opening: Option<(Vec<u8>, Vec<u8>)>,
    /// What the client sends each time.
    question: Vec<u8>,
    /// How the question ends as the origin gets it. Nothing before its end ends so.
    question_end: Vec<u8>,
    /// What the origin sends each time.
    answer: Vec<u8>,
    /// How the answer ends as the client gets it. Nothing before its end ends so.
    answer_end: Vec<u8>,
}

/// Everything that must not allocate.
pub(crate) fn scripts() -> Vec<Script> {
    let get = b"GET /a/b?c=d HTTP/1.1\r\nHost: bench.test\r\nAccept: */*\r\nUser-Agent: a\r\n\r\n".to_vec();
    let blank = b"\r\n\r\n".to_vec();
    let body = |len: usize| [vec![b'x'; len - 4], b"END.".to_vec()].concat();
    let sized = |first: &str, len: usize| {
        [format!("{first}\r\nHost: a\r\nContent-Length: {len}\r\n\r\n").into_bytes(), body(len)].concat()
    };
    let script = |name, question: Vec<u8>, question_end: &[u8], answer: Vec<u8>, answer_end: &[u8]| Script {
        name,
        opening: None,
        question,
        question_end: question_end.to_vec(),
        answer,
        answer_end: answer_end.to_vec(),
    };
    let ok = "HTTP/1.1 200 OK";
    let end = b"END.";
    let mut scripts = vec![
        script("GET, 128 bytes back", get.clone(), &blank, sized(ok, 128), end),
        script("GET, nothing back", get.clone(), &blank, b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), &blank),
        script("GET with a path to normalise", normalised(), &blank, sized(ok, 128), end),
        script("GET, 64 KiB back", get.clone(), &blank, sized(ok, 64 << 10), end),
        script("GET, chunks back", get, &blank, chunked(ok), b"\r\n0\r\n\r\n"),
        script("POST of 2 KiB", sized("POST / HTTP/1.1", 2 << 10), end, sized(ok, 128), end),
        script("POST of 64 KiB", sized("POST / HTTP/1.1", 64 << 10), end, sized(ok, 128), end),
        script(
            "PUT of 2 KiB, kept for another attempt",
            sized("PUT / HTTP/1.1", 2 << 10),
            end,
            sized(ok, 128),
            end,
        ),
        script("POST of chunks", chunked("POST / HTTP/1.1"), b"\r\n0\r\n\r\n", chunked(ok), b"\r\n0\r\n\r\n"),
    ];
    scripts.extend(
        [("WebSocket, 64 bytes", 64), ("WebSocket, 2 KiB", 2 << 10), ("WebSocket, 100 KiB", 100 << 10)]
            .map(echo),
    );
    scripts
}

/// A path that must be written anew, and fields that are neither tidy nor forwarded.
fn normalised() -> Vec<u8> {
    b"GET /a/./b/%7e/../c%2fd HTTP/1.1\r\nHost:a\r\nConnection: keep-alive, x-own\r\nX-Own: 1\r\n\
      X-Forwarded-For: 1.1.1.1\r\nCookie:  a=b \r\n\r\n"
        .to_vec()
}

/// Chunks of a few sizes behind a first line. What they hold never looks like their end.
fn chunked(first: &str) -> Vec<u8> {
    let mut message = format!("{first}\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").into_bytes();
    for len in [1, 5, 900, 3_000, 17] {
        message.extend_from_slice(format!("{len:x}\r\n").as_bytes());
        message.extend(std::iter::repeat_n(b'x', len));
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"0\r\n\r\n");
    message
}

/// Masked binary frames up, the same payload down. The mask is zeros, so that both ends look alike.
fn echo((name, len): (&'static str, usize)) -> Script {
    let frame = |mask: u8| {
        let mut frame = vec![0x82];
        match len {
            0..126 => frame.push(mask | len as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend(std::iter::repeat_n(0, usize::from(mask >> 7) * 4));
        frame.extend(std::iter::repeat_n(b'x', len - 4));
        frame.extend_from_slice(b"END.");
        frame
    };
    let ask = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    // RFC 6455 1.3.
    let agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    Script {
        name,
        opening: Some((ask.into(), agree.into())),
        question: frame(0x80),
        question_end: b"END.".to_vec(),
        answer: frame(0),
        answer_end: b"END.".to_vec(),
    }
}

/// One end of a connection.
struct Peer {
    stream: TcpStream,
    buf: Box<[u8]>,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).expect("a TCP socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
        Peer { stream, buf: vec![0; BUF_BYTES].into_boxed_slice() }
    }

    fn send(&mut self, message: &[u8]) {
        self.stream.write_all(message).expect("the proxy takes it");
    }

    /// Reads until what has come ends with `end`; false when the other side closed instead.
    fn read(&mut self, end: &[u8]) -> bool {
        let mut len = 0;
        while !self.buf[..len].ends_with(end) {
            match self.stream.read(&mut self.buf[len..]) {
                Ok(0) | Err(_) => return false,
                Ok(count) => len += count,
            }
        }
        true
    }
}

/// A client with one connection.
pub(crate) struct Client(Peer);

impl Client {
    pub(crate) fn open(address: SocketAddr, script: &Script) -> Client {
        let mut peer = Peer::new(TcpStream::connect(address).expect("the proxy listens"));
        if let Some((ask, _)) = &script.opening {
            peer.send(ask);
            assert!(peer.read(b"\r\n\r\n"), "{}: no handshake", script.name);
        }
        Client(peer)
    }

    pub(crate) fn send(&mut self, script: &Script) {
        self.0.send(&script.question);
    }

    pub(crate) fn read(&mut self, script: &Script) {
        assert!(self.0.read(&script.answer_end), "{}: no answer", script.name);
    }
}

/// An origin that answers every connection by the script.
pub(crate) struct Origin {
    address: SocketAddr,
}

impl Origin {
    /// Serves so many connections, a thread each, until they close. The first answer waits until there are as many
    /// questions: so each client has a backend connection of its own before anything is measured.
    pub(crate) fn start(script: Script, connections: usize) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let all = Arc::new(Barrier::new(connections));
        thread::spawn(move || {
            for _ in 0..connections {
                let (stream, _) = listener.accept().expect("the proxy connects");
                let (script, all) = (script.clone(), Arc::clone(&all));
                thread::spawn(move || serve(stream, &script, &all));
            }
        });
        Origin { address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

fn serve(stream: TcpStream, script: &Script, all: &Barrier) {
    let mut peer = Peer::new(stream);
    if let Some((_, agree)) = &script.opening
        && peer.read(b"\r\n\r\n")
    {
        peer.send(agree);
    }
    let mut is_first = true;
    while peer.read(&script.question_end) {
        if std::mem::take(&mut is_first) {
            all.wait();
        }
        peer.send(&script.answer);
    }
}
