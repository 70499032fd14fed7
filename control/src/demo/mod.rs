//! The echo backend of `pinion demo`: an ordinary HTTP and WebSocket server on a free port of this machine,
//! on its own thread, with a page to try it from a browser. The proxy treats it like any other backend.

mod certificate;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};

pub use certificate::Certificate;

/// Largest message that the echo takes, so that a curious visitor cannot fill the memory.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Starts the backend; returns its address once it accepts. It runs until the process ends.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("pinion-demo".to_owned()).spawn(move || {
        let ended = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, routes()).await
        });
        if let Err(error) = ended {
            tracing::error!(%error, "the demo backend ended");
        }
    })?;
    Ok(address)
}

fn routes() -> Router {
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/health", get(async || "ok\n"))
        .route("/echo", any(echo))
        .route("/echo/{*rest}", any(echo))
        .route("/ws", get(upgrade))
}

/// Answers with the request as it arrived, so that one can see what the proxy made of it.
async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let fields = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        serde_json::json!([name.as_str(), value])
    });
    let answer = serde_json::json!({
        "method": method.as_str(),
        "path": uri.to_string(),
        "headers": fields.collect::<Vec<_>>(),
        "body": String::from_utf8_lossy(&body),
    });
    ([(header::CONTENT_TYPE, "application/json")], format!("{answer:#}\n")).into_response()
}

async fn upgrade(request: WebSocketUpgrade) -> Response {
    request.max_message_size(MESSAGE_BYTES_MAX).on_upgrade(echo_messages)
}

/// Sends every message back. Pings and the closing handshake are answered below this.
async fn echo_messages(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let is_data = matches!(message, Message::Text(_) | Message::Binary(_));
        if is_data && socket.send(message).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn connect() -> TcpStream {
        let stream = TcpStream::connect(start().expect("the backend starts")).expect("it accepts");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket option");
        stream
    }

    fn exchange(request: &str) -> String {
        let mut stream = connect();
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer that ends");
        answer
    }

    #[test]
    fn the_echo_shows_the_request() {
        let answer = exchange(
            "POST /echo/a?b=1 HTTP/1.1\r\nHost: demo\r\nX-One: 1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        );
        for part in ["HTTP/1.1 200", "\"POST\"", "/echo/a?b=1", "x-one", "\"hello\""] {
            assert!(answer.contains(part), "{part}: {answer}");
        }
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let answer = exchange("GET / HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("WebSocket"), "{answer}");
        assert!(!answer.contains("https://"), "{answer}");
        assert!(
            exchange("GET /health HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n").ends_with("ok\n")
        );
    }

    #[test]
    fn websocket_messages_come_back() {
        let mut stream = connect();
        let request = "GET /ws HTTP/1.1\r\nHost: demo\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        // RFC 6455 5.2: a final text frame of two bytes, masked with zeros; the answer is unmasked.
        stream.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).expect("sent");
        let mut frame = [0; 4];
        stream.read_exact(&mut frame).expect("a frame");
        assert_eq!(frame, [0x81, 2, b'h', b'i']);
    }
}
