//! An origin as a process of its own: prints its address, then behaves in one of a few ways until it is killed.
//!
//! Started by `harness::services`. Ways: `answer` (200 to everything), `silent` (takes requests, never
//! answers), `mid-head` (half a response head), `mid-length` (part of a body of known length), `mid-chunk`
//! (one chunk and a piece of the next), `websocket` (upgrades, then echoes bytes).

#![forbid(unsafe_code)]

use harness::{Conn, Origin};

fn main() {
    let way = std::env::args().nth(1).unwrap_or_default();
    let origin = Origin::start(move |conn| behave(&way, conn));
    println!("{}", origin.addr());
    loop {
        std::thread::park();
    }
}

fn behave(way: &str, conn: &mut Conn) {
    while let Some(request) = conn.request() {
        match way {
            "answer" => conn.answer("from the process"),
            "silent" => {}
            "mid-head" => conn.send("HTTP/1.1 200 OK\r\nContent-Le"),
            "mid-length" => conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"),
            "mid-chunk" => {
                conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n64\r\nmore");
            }
            "websocket" => {
                let key = request.field("sec-websocket-key").unwrap_or_default();
                conn.send(harness::ws::switch(key));
                conn.echo_bytes();
            }
            other => panic!("no way to behave is called {other:?}"),
        }
    }
}
