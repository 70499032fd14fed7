//! The backend process: this program, started as `fire origin NAME ADDR`, so that it can be killed with SIGKILL.
//!
//! What attackers asked for is answered by a thread behind the others: what an answer costs this machine is not to show as
//! the proxy's latency. A connection goes to that thread for one answer and comes back.
//!
//! Prints its address once it listens, then one line for each POST that arrived whole; `backends.rs` reads both. It
//! ends when its standard input does, so that it never outlives the program that started it.
//!
//! | target | answer |
//! |---|---|
//! | `GET /bytes/ID/LEN` `GET /chunks/ID/LEN` | the bytes of that id, with a length or in chunks |
//! | `POST /post/ID/LEN` | the same, if the upload is that of the id; else 422 |
//! | `POST /sink` | 200 once the body has come |
//! | `GET /large/LEN` | so many zeros |
//! | `GET /drip/LEN` | so many bytes, one every 50 ms |
//! | `GET /silent` `/cut` `/reset` `/nonsense` | nothing; half a body; a reset; no HTTP |
//! | `GET /ws` | an echo of WebSocket messages |

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use harness::message::Request;
use harness::ws::{self, opcode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::time::sleep;

use crate::{content, frames, threads};

/// Most bytes of a head; the proxy sends less.
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// Send buffer of each connection. On loopback the kernel would give each 4 MB: hundreds of answers that nobody reads
/// then take all the memory that the machine has for TCP and all this process's time, and what is measured is that.
const SEND_BYTES: u32 = 128 * 1024;
/// Pause behind each 64 KiB of a large answer: hundreds of them at once, all that the processor can give, would be measured
/// as the proxy's latency. Those who ask for them read far more slowly.
const LARGE_PAUSE: Duration = Duration::from_millis(20);
const BACKLOG: u32 = 1_024;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs the origin until its parent is gone.
pub(crate) fn run(name: &str, addr: &str) -> std::io::Result<()> {
    threads::settle_as_well_behaved();
    end_with_parent();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let origin = Origin {
        name: Box::leak(name.to_owned().into_boxed_str()),
        for_all: runtime.handle().clone(),
        for_attackers: thread_for_attackers()?,
    };
    let origin: &'static Origin = Box::leak(Box::new(origin));
    runtime.block_on(async {
        let listener = listen(addr)?;
        say(&listener.local_addr()?.to_string());
        loop {
            // Out of descriptors, or a peer that has gone: the next one may do better.
            match listener.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(serve(origin, BufReader::new(stream)));
                }
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    })
}

fn listen(addr: &str) -> std::io::Result<TcpListener> {
    let addr: SocketAddr = addr.parse().map_err(std::io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    // A killed backend comes back at the same address.
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BYTES)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

fn end_with_parent() {
    std::thread::spawn(|| {
        let mut nothing = [0];
        while std::io::stdin().read(&mut nothing).is_ok_and(|count| count > 0) {}
        std::process::exit(0);
    });
}

/// One line to the parent; its reader is always there, so this does not block for long.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Who answers, and on which threads.
struct Origin {
    name: &'static str,
    for_all: Handle,
    for_attackers: Handle,
}

/// A runtime on a thread of its own, behind everybody.
fn thread_for_attackers() -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::spawn(move || {
        threads::settle_as_attacker();
        runtime.block_on(std::future::pending::<()>());
    });
    Ok(handle)
}

async fn serve(origin: &'static Origin, mut stream: BufReader<TcpStream>) {
    while let Some(request) = read_request(&mut stream).await {
        if is_of_attackers(&request) {
            if let Ok(stream) = stream.into_inner().into_std() {
                origin.for_attackers.spawn(answer_behind(origin, stream, request));
            }
            return;
        }
        if answer(origin.name, &mut stream, &request).await.is_none() {
            return;
        }
    }
}

/// The well-behaved come from another address, or past the proxy.
fn is_of_attackers(request: &Request) -> bool {
    request.field("x-forwarded-for").is_some_and(|client| client != Ipv4Addr::LOCALHOST.to_string())
}

/// One answer on the thread for attackers; then the connection is everybody's again.
async fn answer_behind(origin: &'static Origin, stream: std::net::TcpStream, request: Request) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let mut stream = BufReader::new(stream);
    if answer(origin.name, &mut stream, &request).await.is_some()
        && let Ok(stream) = stream.into_inner().into_std()
    {
        origin.for_all.spawn(serve_again(origin, stream));
    }
}

/// Boxed, for the two take turns without end.
fn serve_again(origin: &'static Origin, stream: std::net::TcpStream) -> BoxFuture {
    Box::pin(async move {
        if let Ok(stream) = TcpStream::from_std(stream) {
            serve(origin, BufReader::new(stream)).await;
        }
    })
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        raw.push(stream.read_u8().await.ok()?);
        if raw.len() > HEAD_BYTES_MAX {
            return None;
        }
    }
    let mut request = Request::parse(0, raw);
    if request.fields.chunked() {
        request.body = read_chunks(stream).await?;
    } else if let Some(len) = request.fields.length() {
        request.body = vec![0; len];
        stream.read_exact(&mut request.body).await.ok()?;
    }
    Some(request)
}

async fn read_chunks(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await.ok()?);
        }
        let digits = std::str::from_utf8(&line).ok()?.trim();
        let len = usize::from_str_radix(digits, 16).ok()?;
        let mut piece = vec![0; len + 2];
        stream.read_exact(&mut piece).await.ok()?;
        if len == 0 {
            return Some(body);
        }
        body.extend_from_slice(&piece[..len]);
    }
}

/// Answers one request; `None` when the connection is to close.
async fn answer(name: &str, stream: &mut BufReader<TcpStream>, request: &Request) -> Option<()> {
    let mut parts = request.target.split('/').skip(1);
    let kind = parts.next().unwrap_or_default();
    let mut number = || parts.next().and_then(|part| part.parse::<u64>().ok()).unwrap_or(0);
    let head = |status: &str, framing: &str| {
        format!("HTTP/1.1 {status}\r\nX-Backend: {name}\r\n{framing}\r\n\r\n").into_bytes()
    };
    let with_length = |status: &str, body: &[u8]| {
        let mut out = head(status, &format!("Content-Length: {}", body.len()));
        out.extend_from_slice(body);
        out
    };
    match kind {
        "bytes" => {
            let body = content::bytes(number(), number() as usize);
            send(stream, &with_length("200 OK", &body)).await
        }
        "chunks" => {
            let body = content::bytes(number(), number() as usize);
            let mut out = head("200 OK", "Transfer-Encoding: chunked");
            for piece in body.chunks(5_000) {
                out.extend(format!("{:x}\r\n", piece.len()).bytes());
                out.extend_from_slice(piece);
                out.extend(b"\r\n");
            }
            out.extend(b"0\r\n\r\n");
            send(stream, &out).await
        }
        "post" => {
            let (id, len) = (number(), number() as usize);
            say(&format!("post {id}"));
            if request.body != content::upload(id, request.body.len()) {
                return send(stream, &with_length("422 Unprocessable Content", b"")).await;
            }
            send(stream, &with_length("200 OK", &content::bytes(id, len))).await
        }
        "sink" => send(stream, &with_length("200 OK", b"taken")).await,
        "large" => {
            let len = number();
            send(stream, &head("200 OK", &format!("Content-Length: {len}"))).await?;
            let zeros = [0; 65_536];
            let mut left = len;
            while left > 0 {
                let count = left.min(zeros.len() as u64);
                send(stream, &zeros[..count as usize]).await?;
                left -= count;
                sleep(LARGE_PAUSE).await;
            }
            Some(())
        }
        "drip" => {
            let len = number();
            send(stream, &head("200 OK", &format!("Content-Length: {len}"))).await?;
            for _ in 0..len {
                sleep(Duration::from_millis(50)).await;
                send(stream, b".").await?;
            }
            Some(())
        }
        "silent" => {
            // Until the proxy has had enough.
            let _ = stream.read_u8().await;
            None
        }
        "cut" => {
            let out = with_length("200 OK", &[b'.'; 1_000]);
            send(stream, &out[..out.len() / 2]).await?;
            None
        }
        "reset" => {
            let _ = stream.get_ref().set_zero_linger();
            None
        }
        "nonsense" => {
            send(stream, b"no HTTP at all\r\n\r\n").await?;
            None
        }
        "ws" => {
            let key = request.field("sec-websocket-key").unwrap_or_default();
            send(stream, ws::switch_with(key, &format!("X-Backend: {name}\r\n")).as_bytes()).await?;
            echo(stream).await;
            None
        }
        _ => send(stream, &with_length("404 Not Found", b"")).await,
    }
}

async fn send(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).await.ok()
}

/// Sends every message back, piece by piece as it was cut into frames, and answers pings and Close.
async fn echo(stream: &mut BufReader<TcpStream>) {
    while let Some(frame) = frames::read(stream).await {
        let first = match frame.opcode() {
            opcode::PING => 0x80 | opcode::PONG,
            opcode::PONG => continue,
            _ => frame.first,
        };
        let sent = send(stream, &ws::frame(first, &frame.payload, None)).await;
        if sent.is_none() || frame.opcode() == opcode::CLOSE {
            return;
        }
    }
}
