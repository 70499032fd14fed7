//! An operator takes a backend out: no more exchanges, its sessions close at the pace that is given, and it comes back only
//! when the operator says so.
//!
//! The data plane runs in the test's own process, as an embedder has it.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use config_core::{BackendId, ProxyConfig, RouteId};
use engine::{Maintenance, Pace, ProxyServer};
use harness::ws;
use harness::{Client, Gate, Origin, wait};

/// Answers with its name, or opens a session and keeps it until it is told to close.
fn backend(name: &'static str) -> Origin {
    Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            match request.fields.one("sec-websocket-key") {
                None => conn.answer(name),
                Some(key) => {
                    conn.send(ws::switch(key));
                    // The frame of who opened it, with the name for an answer; then nothing until the Close.
                    conn.next_frame();
                    conn.send(ws::server_frame(ws::opcode::TEXT, name.as_bytes()));
                    conn.until_closed();
                    return;
                }
            }
        }
    })
}

fn server(backends: &[(&str, &Origin)], lines: &str) -> ProxyServer {
    let backends: Vec<String> = backends
        .iter()
        .map(|(id, origin)| format!(r#"{{"id": "{id}", "url": "{}"}}"#, origin.url()))
        .collect();
    let json = format!(
        r#"{{"server": {{"listen": ["127.0.0.1:0"], "cores": "2"}}, {lines} "route": [
            {{"id": "all", "vHost": "*", "backends": [{}]}}]}}"#,
        backends.join(", ")
    );
    let config = ProxyConfig::from_json(&json).expect("valid");
    let mut server = ProxyServer::new(config.snapshot(1));
    server.start().expect("it starts");
    server
}

fn set(server: &ProxyServer, backend: &str, maintenance: Maintenance) -> bool {
    server.set_maintenance(&RouteId::new("all"), &BackendId::new(backend), maintenance)
}

fn get(server: &ProxyServer) -> String {
    Client::connect(server.addresses()[0]).get("/").text()
}

/// An open session, and the name of its backend.
fn session(server: &ProxyServer) -> (Client, String) {
    let mut client = Client::connect(server.addresses()[0]);
    assert_eq!(client.send(ws::upgrade("/")).head().status, 101);
    client.send(ws::client_frame(ws::opcode::TEXT, b"who"));
    let head = client.exactly(2);
    let name = client.exactly(head[1].into());
    (client, String::from_utf8(name).expect("a name"))
}

/// Whether the session hears a Close 1001 "going away" now.
fn is_told_to_close(client: &mut Client) -> bool {
    let expected = ws::server_frame(ws::opcode::CLOSE, b"\x03\xE9going away");
    assert_eq!(client.exactly(expected.len()), expected);
    true
}

#[test]
fn a_backend_that_is_out_gets_nothing_until_it_is_brought_back() {
    let (one, two) = (backend("one"), backend("two"));
    let server = server(&[("one", &one), ("two", &two)], "");
    assert!(set(&server, "one", Maintenance::On(Pace::AtOnce)));
    assert!(!set(&server, "one", Maintenance::On(Pace::AtOnce)), "it is out already");
    for _ in 0..10 {
        assert_eq!(get(&server), "two");
    }
    assert!(one.requests().is_empty());
    assert!(!set(&server, "three", Maintenance::Off), "there is no such backend");
    assert!(set(&server, "one", Maintenance::Off));
    let names: Vec<String> = (0..10).map(|_| get(&server)).collect();
    assert!(names.iter().any(|name| name == "one"), "{names:?}");
}

#[test]
fn an_exchange_under_way_finishes() {
    let gate = Gate::new();
    let told = gate.clone();
    let slow = Origin::start(move |conn| {
        while conn.request().is_some() {
            told.wait();
            conn.answer("slow");
        }
    });
    let server = server(&[("slow", &slow)], "");
    let mut client = Client::connect(server.addresses()[0]);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    slow.wait_requests(1);
    assert!(set(&server, "slow", Maintenance::On(Pace::AtOnce)));
    let refused = Client::connect(server.addresses()[0]).get("/");
    assert_eq!((refused.status, refused.field("retry-after").is_some()), (503, true));
    gate.open();
    assert_eq!(client.response_to("GET").text(), "slow");
}

#[test]
fn its_sessions_are_told_to_close_and_those_of_others_are_not() {
    let (one, two) = (backend("one"), backend("two"));
    let server = server(&[("one", &one), ("two", &two)], "");
    let (mut ours, mut others): (Vec<_>, Vec<_>) =
        (0..20).map(|_| session(&server)).partition(|(_, name)| name == "one");
    assert!(ours.len() > 4 && others.len() > 4);
    assert!(set(&server, "one", Maintenance::On(Pace::AtOnce)));
    assert!(ours.iter_mut().all(|(client, _)| is_told_to_close(client)));
    wait::until("the backend has lost its sessions", || one.live() == 0);
    drop(ours);
    // Those of the other are still there, and end with it.
    wait::until("theirs are gone", || server.active_connections() <= others.len());
    assert_eq!((server.active_connections(), two.live()), (others.len(), others.len()));
    assert!(set(&server, "two", Maintenance::On(Pace::AtOnce)));
    assert!(others.iter_mut().all(|(client, _)| is_told_to_close(client)));
}

#[test]
fn sessions_close_at_the_pace_that_is_given_over_all_cores() {
    const SESSIONS: usize = 12;
    let one = backend("one");
    for (lines, pace) in [
        ("", Pace::PerSecond(NonZeroU32::new(10).expect("not 0"))),
        (r#""shutdown": {"drainPerSecond": 10},"#, Pace::Configured),
    ] {
        let server = server(&[("one", &one)], lines);
        let mut sessions: Vec<_> = (0..SESSIONS).map(|_| session(&server).0).collect();
        let begun = Instant::now();
        assert!(set(&server, "one", Maintenance::On(pace)));
        sessions.iter_mut().for_each(|client| assert!(is_told_to_close(client)));
        // One core may have few of them, but one has half at least: six at five a second, the first at once.
        assert!(begun.elapsed() >= Duration::from_millis(900), "{pace:?}: {:?}", begun.elapsed());
    }
}

#[test]
fn another_pace_takes_the_place_of_the_first_and_a_backend_that_is_back_keeps_its_sessions() {
    let slowly = Maintenance::On(Pace::PerSecond(NonZeroU32::MIN));
    let one = backend("one");
    let server = server(&[("one", &one)], "");
    let mut sessions: Vec<_> = (0..8).map(|_| session(&server).0).collect();
    assert!(set(&server, "one", slowly));
    assert!(set(&server, "one", Maintenance::Off));
    // A second in which one or two of them would be told, were the drain still on.
    let (_never, second) = std::sync::mpsc::channel::<()>();
    let _ = second.recv_timeout(Duration::from_millis(2_500));
    let lost = 8 - one.live();
    assert!(lost <= 1, "whoever was told before, and nobody since: {lost}");
    assert!(set(&server, "one", slowly));
    assert!(!set(&server, "one", Maintenance::On(Pace::AtOnce)));
    wait::until("all are closed", || one.live() == 0);
    sessions.clear();
}

#[test]
fn a_session_that_begins_while_its_backend_is_out_is_told_too() {
    let gate = Gate::new();
    let told = gate.clone();
    let late = Origin::start(move |conn| {
        let Some(request) = conn.request() else { return };
        told.wait();
        conn.send(ws::switch(request.fields.one("sec-websocket-key").expect("a handshake")));
        conn.until_closed();
    });
    let server = server(&[("late", &late)], "");
    let mut client = Client::connect(server.addresses()[0]);
    client.send(ws::upgrade("/"));
    late.wait_requests(1);
    assert!(set(&server, "late", Maintenance::On(Pace::AtOnce)));
    gate.open();
    assert_eq!(client.head().status, 101);
    assert!(is_told_to_close(&mut client));
}

#[test]
fn a_drain_of_the_process_overtakes_that_of_a_backend() {
    let one = backend("one");
    let mut server = server(&[("one", &one)], "");
    let mut sessions: Vec<_> = (0..6).map(|_| session(&server).0).collect();
    assert!(set(&server, "one", Maintenance::On(Pace::PerSecond(NonZeroU32::MIN))));
    let closed = std::thread::spawn(move || {
        sessions.iter_mut().for_each(|client| assert!(is_told_to_close(client)));
    });
    assert!(server.drain(Duration::from_secs(15)).clean, "all at once, as nothing else is set");
    closed.join().expect("each was told");
}
