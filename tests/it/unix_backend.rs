//! A backend on a unix socket is served like any other.

use harness::files::Folder;
use harness::ws::{self, client_frame, opcode, server_frame};
use harness::{Origin, proxy, wait};

#[test]
fn requests_bodies_and_keep_alive_work() {
    let folder = Folder::new();
    let origin = Origin::start_unix(&folder.path().join("a.sock"), |conn| {
        while let Some(request) = conn.request() {
            conn.answer(&format!("{} {}", request.target, request.body.len()));
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for size in [0, 5, 100_000] {
        client.send(format!("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"));
        client.send(vec![b'x'; size]);
        assert_eq!(client.response().text(), format!("/a {size}"));
    }
    assert_eq!(origin.connections(), 1);
    let request = &origin.requests()[0];
    assert_eq!(request.field("host"), Some("test"));
    assert_eq!(request.field("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn sessions_work() {
    let folder = Folder::new();
    let origin = Origin::start_unix(&folder.path().join("b.sock"), |conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            while conn.next_frame().is_some() {
                conn.send(server_frame(opcode::TEXT, b"here"));
            }
        }
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    client.send(client_frame(opcode::TEXT, b"there"));
    assert_eq!(client.exactly(6), server_frame(opcode::TEXT, b"here"));
    drop(client);
    wait::until("the backend's side ends", || origin.live() == 0);
}

#[test]
fn missing_socket_is_answered_with_502() {
    let folder = Folder::new();
    let url = format!("unix:{}", folder.path().join("missing.sock").display());
    let pinion = harness::Settings::to_url(&url).start();
    assert_eq!(pinion.client().get("/").status, 502);
}
