//! A backend process that is killed (`kill -9`) in any phase: the right status or a visible cut, no hang, no
//! descriptor left, and everything works once it is back.

use harness::services::OriginProcess;
use harness::ws::{self, client_frame, close_code, opcode};
use harness::{Client, Origin, Pinion, Settings, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_origin");
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// A process that behaves in `way`, and a proxy in front of it.
fn start(way: &str) -> (OriginProcess, Pinion) {
    let origin = OriginProcess::start(PROGRAM, way);
    let pinion = Settings::to_url(&origin.url()).start();
    (origin, pinion)
}

/// Kills the backend while `clients` are in the same phase, and checks what each of them sees.
fn killed(way: &str, reached: impl Fn(&mut Client), seen: impl Fn(&mut Client)) {
    let (mut origin, pinion) = start(way);
    let before = pinion.open_sockets();
    let mut clients: Vec<Client> = (0..8).map(|_| pinion.client()).collect();
    for client in &mut clients {
        client.send(REQUEST);
        reached(client);
    }
    // Both sides of each exchange are open before the backend dies.
    wait::until("every request is at the backend", || pinion.open_sockets() >= before + 16);
    origin.kill();
    for client in &mut clients {
        seen(client);
    }
    drop(clients);
    wait::until("every descriptor comes back", || pinion.open_sockets() <= before);
    // The port is dead now: a clear answer, at once.
    assert_eq!(pinion.client().get("/").status, 502);
    // And alive again on the same port.
    let _again = Origin::start_at(origin.addr(), |conn| conn.answer_all("back"));
    assert_eq!(pinion.client().get("/").text(), "back");
}

fn sees_502(client: &mut Client) {
    let response = client.response();
    assert_eq!(response.status, 502);
}

/// The head has come through before the backend dies.
fn has_the_head(client: &mut Client) {
    assert_eq!(client.head().status, 200);
}

/// The body ends without its end: fewer bytes than declared.
fn sees_a_short_body(client: &mut Client) {
    let (body, _) = client.rest();
    assert!(b"part".starts_with(&body), "of 100 bytes: {body:?}");
}

/// The body ends without its end: no last chunk.
fn sees_no_last_chunk(client: &mut Client) {
    let (body, _) = client.rest();
    let text = String::from_utf8_lossy(&body);
    assert!(!text.contains("\r\n0\r\n"), "looks whole: {text:?}");
}

#[test]
fn before_it_answers() {
    killed("silent", |_| {}, sees_502);
}

#[test]
fn in_its_head() {
    killed("mid-head", |_| {}, sees_502);
}

#[test]
fn in_a_body_of_known_length() {
    killed("mid-length", has_the_head, sees_a_short_body);
}

#[test]
fn in_a_chunk() {
    killed("mid-chunk", has_the_head, sees_no_last_chunk);
}

#[test]
fn while_its_connection_is_idle() {
    let (mut origin, pinion) = start("answer");
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "from the process");
    origin.kill();
    assert_eq!(client.get("/").status, 502, "nobody is there");
    let _again = Origin::start_at(origin.addr(), |conn| conn.answer_all("back"));
    assert_eq!(client.get("/").text(), "back", "on the same client connection");
}

#[test]
fn in_a_session() {
    let (mut origin, pinion) = start("websocket");
    let before = pinion.open_sockets();
    let mut clients: Vec<Client> = (0..8).map(|_| pinion.client()).collect();
    for client in &mut clients {
        assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    }
    origin.kill();
    for client in &mut clients {
        let (bytes, _) = client.rest();
        assert!(bytes.is_empty() || close_code(&bytes).is_some(), "{bytes:?}");
    }
    drop(clients);
    wait::until("every descriptor comes back", || pinion.open_sockets() <= before);
}

#[test]
fn while_it_takes_a_body() {
    let (mut origin, pinion) = start("silent");
    let mut client = pinion.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\nbeginning");
    let sockets = pinion.open_sockets();
    wait::until("the backend is connected", || pinion.open_sockets() >= sockets);
    origin.kill();
    assert_eq!(client.response().status, 502);
}

#[test]
fn one_of_two_is_enough() {
    let mut dying = OriginProcess::start(PROGRAM, "answer");
    let living = Origin::answering("living");
    let pinion = Settings::to(&living).and_url(&dying.url()).start();
    let mut client = pinion.client();
    let texts: Vec<String> = (0..4).map(|_| client.get("/").text()).collect();
    assert!(texts.contains(&"living".to_owned()), "{texts:?}");
    assert!(texts.contains(&"from the process".to_owned()), "{texts:?}");
    dying.kill();
    for _ in 0..20 {
        let response = client.get("/");
        assert_eq!((response.status, response.text().as_str()), (200, "living"));
    }
}

#[test]
fn upgraded_bytes_survive_until_the_end() {
    let (mut origin, pinion) = start("websocket");
    let mut client = pinion.client();
    assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    // The program echoes bytes as they are; a ping from the client comes back masked, which a server must
    // never do, so the proxy ends the session itself. It must not hang while the backend dies meanwhile.
    client.send(client_frame(opcode::PING, b"x"));
    origin.kill();
    client.rest();
}

#[test]
fn cause_stands_in_the_log_and_not_in_the_answer() {
    let refusing = harness::ports::Refusing::new();
    let pinion = Settings::to_url(&format!("http://{}", refusing.addr())).start();
    let response = pinion.client().get("/");
    assert_eq!(response.status, 502);
    let id = response.field("x-request-id").unwrap_or_default().to_owned();
    assert!(!id.is_empty(), "{:?}", response.fields);
    wait::until("the request's line in the log says why", || {
        pinion.log().lines().any(|line| line.contains(&id) && line.contains("refused"))
    });
    assert!(!response.text().contains("refused"), "{}", response.text());
}
