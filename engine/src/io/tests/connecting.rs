//! Connecting: success and refusal are told, giving up half-way leaves nothing behind.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::pin;
use std::task::Poll;

use socket2::{Domain, Socket, Type};

use super::super::{TcpOptions, TcpStream, UnixStream, freeze, gauges};
use super::{finished, on_core, some_turns, until};

/// A socket file of this process in the directory for temporary files, removed at the end.
struct SocketFile(PathBuf);

impl SocketFile {
    fn new(name: &str) -> SocketFile {
        let path = std::env::temp_dir().join(format!("pinion-io-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        SocketFile(path)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Polls a future some times, then gives it up.
async fn given_up<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..5 {
        let polled = poll_fn(|ctx| Poll::Ready(future.as_mut().poll(ctx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        some_turns(1).await;
    }
    None
}

#[test]
fn a_connection_is_made_and_knows_its_peer() {
    on_core(async {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(host).unwrap();
            let address = listener.local_addr().unwrap();
            let stream = TcpStream::connect(address, &TcpOptions::default()).await.unwrap();
            assert_eq!(stream.peer_address(), Some(address));
            let (mut peer, _) = listener.accept().unwrap();
            stream.send(freeze(b"hello".to_vec()));
            stream.sent_below(0).await.unwrap();
            let mut hello = [0; 5];
            peer.read_exact(&mut hello).unwrap();
            assert_eq!(&hello, b"hello");
        }
    });
}

#[test]
fn a_refusal_is_told() {
    on_core(async {
        // Bound, so that nobody else takes the port; not listening.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        for _ in 0..20 {
            let refused =
                TcpStream::connect(address, &TcpOptions::default()).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        }
        until(|| gauges().sockets == 0).await;
    });
}

#[test]
fn a_connect_that_is_given_up_leaves_nothing() {
    on_core(async {
        // Its backlog is full, so that the kernel leaves further handshakes unanswered.
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let (mut made, mut pending) = (Vec::new(), 0);
        for _ in 0..60 {
            match given_up(TcpStream::connect(address, &TcpOptions::default())).await {
                Some(stream) => made.push(stream.unwrap()),
                None => pending += 1,
            }
        }
        assert!(pending >= 50, "the backlog took {} connections", made.len());
        until(|| gauges().sockets == made.len()).await;
        drop(made);
        until(|| gauges().sockets == 0).await;
    });
}

#[test]
fn unix_sockets_carry_bytes() {
    on_core(async {
        let file = SocketFile::new("echo");
        let listener = UnixListener::bind(&file.0).unwrap();
        let echo = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let mut buf = vec![0; 100_000];
            peer.read_exact(&mut buf).unwrap();
            peer.write_all(&buf).unwrap();
        });
        let stream = UnixStream::connect(&file.0).await.unwrap();
        assert_eq!(stream.peer_address(), None);
        stream.send(freeze(super::pattern(100_000)));
        let mut back = Vec::new();
        while let Some(lease) = stream.recv().await.unwrap() {
            back.extend_from_slice(&lease);
        }
        assert!(back == super::pattern(100_000));
        finished(echo).await;
    });
}

#[test]
fn unix_sockets_say_why_they_cannot_connect() {
    on_core(async {
        let file = SocketFile::new("nobody");
        let missing = UnixStream::connect(&file.0).await.expect_err("no such file");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        drop(UnixListener::bind(&file.0).unwrap());
        let refused = UnixStream::connect(&file.0).await.expect_err("the file has no listener any more");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let long = PathBuf::from("x".repeat(200));
        UnixStream::connect(&long).await.expect_err("the path is too long");
        until(|| gauges().sockets == 0).await;
    });
}

#[test]
fn a_unix_connect_that_is_given_up_leaves_nothing() {
    on_core(async {
        let file = SocketFile::new("full");
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&socket2::SockAddr::unix(&file.0).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let (mut made, mut pending) = (Vec::new(), 0);
        for _ in 0..10 {
            match given_up(UnixStream::connect(&file.0)).await {
                Some(stream) => made.push(stream.unwrap()),
                None => pending += 1,
            }
        }
        assert!(pending >= 5, "the backlog took {} connections", made.len());
        until(|| gauges().sockets == made.len()).await;
    });
}
