//! Clients that people really use: curl, hyper, tungstenite.

use std::process::{Command, Output};
use std::time::Duration;

use harness::files::Folder;
use harness::{Origin, Pinion, proxy};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use sha1_smol::Sha1;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, WebSocket};

use crate::bodies::pattern;

/// Large enough to pass every buffer many times, and no multiple of any.
const LARGE: usize = 50_000_017;

fn curl(args: &[&str]) -> Output {
    let output =
        Command::new("curl").args(["--silent", "--show-error", "--max-time", "60"]).args(args).output();
    let output = output.expect("curl is installed: `cargo x test` installs it");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "curl {args:?}: {error}");
    output
}

fn sha1(bytes: &[u8]) -> String {
    Sha1::from(bytes).digest().to_string()
}

/// Sends back the hash of what it gets; sends a large body to a GET, by length, chunks or until close.
fn hashing() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/length" => {
                    conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"));
                    conn.send(pattern(LARGE));
                }
                "/chunks" => {
                    conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                    for piece in pattern(LARGE).chunks(99_991) {
                        conn.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
                    }
                    conn.send("0\r\n\r\n");
                }
                "/close" => {
                    conn.send("HTTP/1.1 200 OK\r\n\r\n");
                    conn.send(pattern(LARGE));
                    return;
                }
                _ => conn.answer(&sha1(&request.body)),
            }
        }
    })
}

fn url(pinion: &Pinion, path: &str) -> String {
    format!("http://{}{path}", pinion.addr())
}

#[test]
fn curl_downloads_large_bodies_whole() {
    let origin = hashing();
    let pinion = proxy(&origin);
    let expected = sha1(&pattern(LARGE));
    for path in ["/length", "/chunks", "/close"] {
        let output = curl(&[&url(&pinion, path)]);
        assert_eq!(output.stdout.len(), LARGE, "{path}");
        assert_eq!(sha1(&output.stdout), expected, "{path}");
    }
}

#[test]
fn curl_uploads_large_bodies_whole() {
    let origin = hashing();
    let pinion = proxy(&origin);
    let folder = Folder::new();
    let body = pattern(LARGE);
    let file = folder.write("body", &body);
    let data = format!("@{}", file.display());
    let target = url(&pinion, "/upload");
    // With a length and `Expect: 100-continue`, then in chunks.
    for more in [&["--header", "Expect: 100-continue"][..], &["--header", "Transfer-Encoding: chunked"]] {
        let output = curl(&[&["--data-binary", &data, &target], more].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout), sha1(&body), "{more:?}");
    }
}

#[test]
fn curl_reuses_its_connection() {
    let origin = Origin::answering("ok");
    let pinion = proxy(&origin);
    let target = url(&pinion, "/");
    let output = curl(&["--write-out", "%{num_connects} ", &target, &target, &target]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok1 ok0 ok0 ");
}

#[test]
fn curl_sees_head_and_http_1_0() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            if request.method == "HEAD" {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
            } else {
                conn.answer("ok");
            }
        }
    });
    let pinion = proxy(&origin);
    let target = url(&pinion, "/");
    let head = curl(&["--head", &target]);
    assert!(String::from_utf8_lossy(&head.stdout).to_lowercase().contains("content-length: 2"));
    assert_eq!(curl(&["--http1.0", &target]).stdout, b"ok");
}

#[test]
fn hyper_gets_its_own_answers_at_once_on_many_connections() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            conn.answer(&format!("{} {body}", request.target));
        }
    });
    let pinion = proxy(&origin);
    let addr = pinion.addr();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let all = async {
        let mut tasks = Vec::new();
        for connection in 0..16 {
            tasks.push(tokio::spawn(async move {
                let stream = tokio::net::TcpStream::connect(addr).await.expect("the proxy accepts");
                let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .expect("hyper is content");
                tokio::spawn(driver);
                for at in 0..50 {
                    let path = format!("/{connection}/{at}");
                    let body = "b".repeat(at * 37);
                    let request = hyper::Request::post(&path)
                        .header("host", "test")
                        .body(Full::new(Bytes::from(body.clone())))
                        .expect("a valid request");
                    let response = sender.send_request(request).await.expect("an answer");
                    assert_eq!(response.status(), 200);
                    let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
                    assert_eq!(bytes, format!("{path} {body}"));
                }
            }));
        }
        for task in tasks {
            task.await.expect("every connection gets its own answers");
        }
    };
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("in time");
    });
}

/// A real WebSocket server and client on both ends.
#[test]
fn tungstenite_talks_through_the_proxy() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let backend = listener.local_addr().expect("a bound socket has an address");
    let server = std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the proxy connects");
        let mut socket = tungstenite::accept(stream).expect("the proxy's handshake is right");
        while let Ok(message) = socket.read() {
            if message.is_text() || message.is_binary() {
                socket.send(message).expect("the echo is taken");
            }
        }
    });
    let pinion = harness::Settings::to_url(&format!("ws://{backend}")).start();
    let stream =
        std::net::TcpStream::connect_timeout(&pinion.addr(), harness::wait::PATIENCE).expect("connected");
    stream.set_read_timeout(Some(harness::wait::PATIENCE)).expect("a time-out can be set");
    let (mut socket, response): (WebSocket<_>, _) =
        tungstenite::client(format!("ws://{}/chat", pinion.addr()), stream).expect("upgraded");
    assert_eq!(response.status(), 101);
    for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        let text = Message::text("x".repeat(size));
        socket.send(text.clone()).expect("sent");
        assert!(socket.read().expect("echoed") == text, "text of {size}");
        let binary = Message::binary(pattern(size));
        socket.send(binary.clone()).expect("sent");
        assert!(socket.read().expect("echoed") == binary, "binary of {size}");
    }
    socket.send(Message::Ping(Bytes::from_static(b"p"))).expect("sent");
    assert_eq!(socket.read().expect("answered"), Message::Pong(Bytes::from_static(b"p")));
    let close = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
    socket.close(Some(close.clone())).expect("sent");
    assert_eq!(socket.read().expect("answered"), Message::Close(Some(close)));
    assert!(matches!(socket.read(), Err(tungstenite::Error::ConnectionClosed)), "an orderly end");
    server.join().expect("the server saw an orderly end too");
}
