//! Every deadline ends what it should, in its time, and answers as it should.

use std::time::{Duration, Instant};

use harness::ports::Unanswering;
use harness::ws::{self, client_frame, close_code, opcode, server_frame};
use harness::{Gate, Origin, Settings, wait};

/// A deadline of the tests: short, yet longer than any pause of a busy machine that matters here.
const SHORT_MS: u64 = 400;

/// Checks that something took at least the deadline, and not for ever.
fn in_time(begun: Instant, at_least_ms: u64) {
    let took = begun.elapsed();
    // A timer may be counted from a tick that began just before.
    assert!(took + Duration::from_millis(20) >= Duration::from_millis(at_least_ms), "too early: {took:?}");
    assert!(took < Duration::from_secs(8), "too late: {took:?}");
}

fn timeout(settings: Settings, name: &str) -> Settings {
    settings.set("timeouts", &format!("{name} = {SHORT_MS}"))
}

#[test]
fn slow_head_is_answered_with_408() {
    let origin = Origin::answering("ok");
    let pinion = timeout(Settings::to(&origin), "request_head_ms").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: te");
    assert_eq!(client.response().status, 408);
    client.closed();
    in_time(begun, SHORT_MS);
    assert_eq!(origin.connections(), 0);
}

#[test]
fn slow_head_of_a_later_request_is_answered_with_408() {
    let origin = Origin::answering("ok");
    let pinion = timeout(Settings::to(&origin), "request_head_ms").start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").status, 200);
    client.send("GET / HT");
    assert_eq!(client.response().status, 408);
    client.closed();
}

#[test]
fn trickled_head_is_too_slow() {
    // At least 500 bytes a second after the first second, long before the head's own deadline of 10 s.
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).start();
    let begun = Instant::now();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\nX: ");
    // A byte now and then: as fast as the pauses between two looks, which is far below the pace.
    wait::until("the proxy ends the trickle", || {
        let began = Instant::now();
        wait::until("a pause of the trickle", || began.elapsed() > Duration::from_millis(20));
        client.try_send("a").is_err()
    });
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn idle_client_is_closed_silently() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).set("server", &format!("idle_timeout_ms = {SHORT_MS}")).start();
    let mut silent = pinion.client();
    let begun = Instant::now();
    let mut client = pinion.client();
    assert_eq!(client.get("/").status, 200);
    client.closed();
    in_time(begun, SHORT_MS);
    // One that never said anything at all ends too: by this deadline or by the head's.
    let (_, _) = silent.rest();
}

#[test]
fn backend_that_does_not_connect_is_answered_with_504() {
    let unanswering = Unanswering::new();
    let url = format!("http://{}", unanswering.addr());
    let pinion = timeout(Settings::to_url(&url).route("retries = 0"), "connect_ms").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    assert_eq!(client.get("/").status, 504);
    in_time(begun, SHORT_MS);
}

#[test]
fn silent_backend_is_answered_with_504() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.until_closed();
    });
    let pinion = timeout(Settings::to(&origin), "first_byte_ms").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().status, 504);
    in_time(begun, SHORT_MS);
    wait::until("the silent backend's connection ends", || origin.live() == 0);
    assert_eq!(origin.requests().len(), 1, "POST is not repeated");
}

#[test]
fn deadline_is_not_doubled_by_what_went_before() {
    // The request's own bytes are progress, but not the backend's.
    let origin = Origin::start(|conn| {
        conn.request();
        conn.until_closed();
    });
    let pinion = Settings::to(&origin).set("timeouts", "first_byte_ms = 1500").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(client.response().status, 504);
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1_450) && took < Duration::from_millis(2_700), "{took:?}");
}

#[test]
fn backend_that_begins_in_time_may_take_longer() {
    let go_on = Gate::new();
    let told = go_on.clone();
    let origin = Origin::start(move |conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            told.wait();
            conn.send("rest");
            conn.until_closed();
        }
    });
    let pinion = timeout(Settings::to(&origin), "first_byte_ms").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    client.head();
    wait::until("the deadline has passed", || begun.elapsed() > Duration::from_millis(3 * SHORT_MS));
    go_on.open();
    assert_eq!(client.exactly(8), b"halfrest");
}

#[test]
fn response_body_without_progress_is_cut() {
    let origin = Origin::start(|conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
            conn.until_closed();
        }
    });
    let pinion = timeout(Settings::to(&origin), "body_progress_ms").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    let cut = client.try_response().expect_err("the last chunk never comes");
    assert_eq!(cut.head.map(|head| head.status), Some(200));
    in_time(begun, SHORT_MS);
    wait::until("the backend's connection ends", || origin.live() == 0);
}

#[test]
fn request_body_without_progress_ends_the_exchange() {
    let origin = Origin::answering("ok");
    let pinion = timeout(Settings::to(&origin), "body_progress_ms").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\npart");
    let (answer, _) = client.rest();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    in_time(begun, SHORT_MS);
    wait::until("the backend's connection ends", || origin.live() == 0);
    assert_eq!(origin.requests(), []);
}

#[test]
fn client_that_takes_no_bytes_is_cut() {
    let origin = Origin::start(|conn| {
        if conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = [b"10000\r\n".as_slice(), &[b'a'; 0x10000], b"\r\n"].concat();
            while conn.try_send(&chunk).is_ok() {}
        }
    });
    let pinion = timeout(Settings::to(&origin), "write_stall_ms").start();
    let mut client = harness::Client::connect_small(pinion.addr(), 4_096);
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    wait::until("the backend is let go", || origin.connections() == 1 && origin.live() == 0);
    // What had been sent can still be read; the end is visible.
    let cut = client.try_response().expect_err("the body was cut");
    assert_eq!(cut.head.map(|head| head.status), Some(200));
}

#[test]
fn backend_that_takes_no_bytes_is_given_up() {
    let release = Gate::new();
    let told = release.clone();
    let origin = Origin::start_small(4_096, move |conn| {
        // Holds the connection without reading from it.
        told.wait();
        conn.until_closed();
    });
    let pinion = timeout(Settings::to(&origin), "write_stall_ms").start();
    let mut client = pinion.client();
    let begun = Instant::now();
    client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 100000000\r\n\r\n");
    let piece = vec![b'a'; 65_536];
    wait::until("the proxy gives up", || {
        while let Ok(count) = client.send_some(&piece) {
            if count == 0 {
                return false;
            }
        }
        true
    });
    in_time(begun, SHORT_MS);
    release.open();
}

#[test]
fn idle_session_is_closed_with_1001() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            let (bytes, _) = conn.until_closed();
            assert_eq!(close_code(&bytes), Some(1001), "the backend is told too: {bytes:?}");
        }
    });
    let pinion = timeout(Settings::to(&origin), "websocket_idle_ms").start();
    let begun = Instant::now();
    let mut client = pinion.client();
    assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    let (bytes, _) = client.rest();
    assert_eq!(close_code(&bytes), Some(1001), "{bytes:?}");
    in_time(begun, SHORT_MS);
    wait::until("the backend's side ends", || origin.live() == 0);
}

#[test]
fn pings_keep_a_session() {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ws::switch(request.field("sec-websocket-key").unwrap_or_default()));
            let ping = client_frame(opcode::PING, b"");
            loop {
                // The test ends the session, not the proxy.
                if conn.next_frame().as_deref() != Some(ping.as_slice()) {
                    return;
                }
                conn.send(server_frame(opcode::PONG, b""));
            }
        }
    });
    let pinion = timeout(Settings::to(&origin), "websocket_idle_ms").start();
    let mut client = pinion.client();
    assert_eq!(client.send(ws::upgrade("/")).response().status, 101);
    let begun = Instant::now();
    let pong = server_frame(opcode::PONG, b"");
    while begun.elapsed() < Duration::from_millis(4 * SHORT_MS) {
        client.send(client_frame(opcode::PING, b""));
        assert_eq!(client.exactly(pong.len()), pong);
        let pause = Instant::now();
        wait::until("a pause between two pings", || pause.elapsed() > Duration::from_millis(SHORT_MS / 4));
    }
}
