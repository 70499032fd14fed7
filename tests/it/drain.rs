//! SIGTERM and SIGINT: exchanges in flight finish, sessions are told, the exit code is 0 and comes in time.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use harness::ws::{self, client_frame, close_code, opcode};
use harness::{End, Gate, Origin, Settings, wait};
use rustix::process::Signal;

#[test]
fn exchange_in_flight_finishes() {
    let answer = Gate::new();
    let told = answer.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            told.wait();
            conn.answer("finished");
        }
    });
    let mut pinion = Settings::to(&origin).start();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_requests(1);
    pinion.terminate();
    wait::until("new clients are refused", || {
        TcpStream::connect_timeout(&pinion.addr(), wait::PATIENCE).is_err()
    });
    assert!(pinion.is_running());
    answer.open();
    let response = client.response();
    assert_eq!(response.text(), "finished");
    assert!(response.says_close(), "the client is told not to come back on this connection");
    client.closed();
    assert_eq!(pinion.wait_exit().code(), Some(0));
}

#[test]
fn large_body_in_flight_finishes() {
    let go_on = Gate::new();
    let told = go_on.clone();
    let origin = Origin::start(move |conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n");
            conn.send(vec![1; 1_000_000]);
            told.wait();
            conn.send(vec![1; 2_000_000]);
            conn.until_closed();
        }
    });
    let mut pinion = Settings::to(&origin).start();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(client.head().status, 200);
    client.exactly(1_000_000);
    pinion.signal(Signal::INT);
    wait::until("new clients are refused", || {
        TcpStream::connect_timeout(&pinion.addr(), wait::PATIENCE).is_err()
    });
    go_on.open();
    client.exactly(2_000_000);
    client.closed();
    assert_eq!(pinion.wait_exit().code(), Some(0));
}

#[test]
fn idle_connections_do_not_delay_the_end() {
    let origin = Origin::answering("ok");
    let mut pinion = Settings::to(&origin).start();
    let mut idle: Vec<_> = (0..20).map(|_| pinion.client()).collect();
    for client in &mut idle[..10] {
        assert_eq!(client.get("/").status, 200);
    }
    let begun = Instant::now();
    pinion.terminate();
    assert_eq!(pinion.wait_exit().code(), Some(0));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "far from the 30 s of the time-out: {:?}",
        begun.elapsed()
    );
    for client in &mut idle {
        client.closed();
    }
}

#[test]
fn request_on_its_way_over_an_idle_connection_is_answered() {
    let origin = Origin::answering("ok");
    let mut pinion = Settings::to(&origin).start();
    let mut used = pinion.client();
    assert_eq!(used.get("/").status, 200);
    let mut fresh = pinion.client();
    // So that the second one has been accepted too: what is only in the backlog goes with the listener.
    assert_eq!(pinion.client().get("/").status, 200);
    pinion.terminate();
    wait::until("new clients are refused", || {
        TcpStream::connect_timeout(&pinion.addr(), wait::PATIENCE).is_err()
    });
    for client in [&mut used, &mut fresh] {
        let response = client.get("/");
        assert_eq!(response.text(), "ok");
        assert!(response.says_close(), "the client is told not to come back on this connection");
        assert_eq!(client.closed(), End::Closed);
    }
    assert_eq!(pinion.wait_exit().code(), Some(0));
}

#[test]
fn idle_connections_end_in_order_when_their_grace_is_over() {
    let origin = Origin::answering("ok");
    for (grace_ms, least) in [(0, Duration::ZERO), (700, Duration::from_millis(650))] {
        let mut pinion =
            Settings::to(&origin).set("shutdown", &format!("idle_grace_ms = {grace_ms}")).start();
        let mut idle: Vec<_> = (0..5).map(|_| pinion.client()).collect();
        for client in &mut idle {
            assert_eq!(client.get("/").status, 200);
        }
        let begun = Instant::now();
        pinion.terminate();
        for client in idle {
            let mut client = client;
            assert_eq!(client.closed(), End::Closed, "a FIN, not a reset");
        }
        let took = begun.elapsed();
        assert!(took >= least, "{took:?} of a grace of {grace_ms} ms");
        assert_eq!(pinion.wait_exit().code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

#[test]
fn sessions_are_closed_with_1001_on_both_sides() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            let frame = conn.next_frame().unwrap_or_default();
            assert_eq!(close_code(&frame), Some(1001), "the backend is told: {frame:?}");
            conn.send(ws::server_frame(opcode::CLOSE, &1001_u16.to_be_bytes()));
            conn.until_closed();
        }
    });
    let mut pinion = Settings::to(&origin).start();
    let mut clients: Vec<_> = (0..5).map(|_| pinion.client()).collect();
    for client in &mut clients {
        assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    }
    let begun = Instant::now();
    pinion.terminate();
    for client in &mut clients {
        let frame = client.exactly(4);
        assert_eq!(close_code(&frame), Some(1001), "{frame:?}");
        // The answer that RFC 6455 5.5.1 asks for; the proxy may already have gone.
        let _ = client.try_send(client_frame(opcode::CLOSE, &1001_u16.to_be_bytes()));
    }
    assert_eq!(pinion.wait_exit().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn sessions_are_closed_at_the_configured_pace() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            conn.until_closed();
        }
    });
    let mut pinion = Settings::to(&origin).set("shutdown", "drain_per_second = 10").start();
    let mut clients: Vec<_> = (0..15).map(|_| pinion.client()).collect();
    for client in &mut clients {
        assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    }
    let begun = Instant::now();
    pinion.terminate();
    for client in &mut clients {
        assert_eq!(close_code(&client.rest().0), Some(1001));
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(900), "15 sessions at 10 a second need more than {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(pinion.wait_exit().code(), Some(0));
}

#[test]
fn end_comes_within_the_timeout() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.until_closed();
    });
    let mut pinion = Settings::to(&origin).set("shutdown", "timeout_ms = 500").start();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_requests(1);
    let begun = Instant::now();
    pinion.terminate();
    let status = pinion.wait_exit();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(450) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(status.code(), Some(0));
    let (bytes, _) = client.rest();
    assert!(bytes.is_empty() || bytes.starts_with(b"HTTP/1.1 50"), "{bytes:?}");
}

#[test]
fn second_signal_ends_at_once() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.until_closed();
    });
    let mut pinion = Settings::to(&origin).start();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.wait_requests(1);
    let begun = Instant::now();
    pinion.terminate();
    wait::until("draining has begun", || TcpStream::connect_timeout(&pinion.addr(), wait::PATIENCE).is_err());
    assert!(pinion.is_running());
    pinion.terminate();
    let status = pinion.wait_exit();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_ne!(status.code(), Some(0), "a stop that cut someone off is no orderly one");
}

#[test]
fn pipelined_requests_before_the_signal_are_answered() {
    let answer = Gate::new();
    let told = answer.clone();
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            told.wait();
            conn.answer(&request.target);
        }
    });
    let mut pinion = Settings::to(&origin).start();
    let mut client = pinion.client();
    client.send("GET /a HTTP/1.1\r\nHost: t\r\n\r\n");
    origin.wait_requests(1);
    pinion.terminate();
    wait::until("new clients are refused", || {
        TcpStream::connect_timeout(&pinion.addr(), wait::PATIENCE).is_err()
    });
    answer.open();
    assert_eq!(client.response().text(), "/a");
    client.rest();
    assert_eq!(pinion.wait_exit().code(), Some(0));
}

#[test]
fn whoever_waits_in_the_backlog_is_answered() {
    let origin = Origin::answering("ok");
    // With a backlog longer than descriptors suffice for, clients are accepted one by one: most of them wait.
    let mut pinion = Settings::to(&origin).set("server", "backlog = 65535").start();
    pinion.signal(Signal::STOP);
    let mut waiting: Vec<_> = (0..200).map(|_| pinion.client()).collect();
    pinion.terminate();
    pinion.signal(Signal::CONT);
    for client in &mut waiting {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert_eq!(pinion.wait_exit().code(), Some(0));
}
