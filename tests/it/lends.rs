//! Cores lend each other idle connections to backends: a connection may change cores between two exchanges, and nobody
//! notices but the backend, which sees fewer.

use std::thread;

use harness::statistics::sum;
use harness::{Origin, Pinion, Settings, wait};

/// Asks over new connections, which reach one core or the other, until a connection to the backend has changed cores.
fn ask_until_lent(pinion: &Pinion, mut ask: impl FnMut()) {
    wait::until("a core lends a connection", || {
        for _ in 0..10 {
            ask();
        }
        sum(&pinion.statistics(), "backend_borrows") > 0
    });
}

#[test]
fn a_lent_connection_serves_on_the_other_core() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            conn.answer(&format!("{} on connection {}", request.target, conn.number));
        }
    });
    let pinion = Settings::to(&origin).cores("2").start();
    let mut number = 0;
    ask_until_lent(&pinion, || {
        number += 1;
        let text = pinion.client().get(&format!("/{number}")).text();
        assert!(text.starts_with(&format!("/{number} on connection ")), "{text}");
    });
    let cores = pinion.statistics();
    let each = |name: &str| sum(&cores, name);
    assert_eq!(each("backend_connects") + each("backend_reuses"), number, "{cores:?}");
    assert!(each("backend_reuses") >= each("backend_borrows"), "{cores:?}");
    assert_eq!(each("backend_connects"), origin.connections() as u64, "{cores:?}");
    assert_eq!(each("backend_failures") + each("retries"), 0, "{cores:?}");
    wait::until("connections that changed cores are open once", || origin.live() <= origin.connections());
}

#[test]
fn bodies_and_sessions_go_over_lent_connections_too() {
    let origin = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let body: Vec<u8> = request.body.iter().rev().copied().collect();
            conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
            conn.send(body);
        }
    });
    let pinion = Settings::to(&origin).cores("2").start();
    let body = crate::bodies::pattern(300_000);
    let backwards: Vec<u8> = body.iter().rev().copied().collect();
    ask_until_lent(&pinion, || {
        let mut client = pinion.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n", body.len()));
        client.send(&body);
        assert_eq!(client.response().body, backwards);
        // A small one leaves the connection ready to be lent.
        assert_eq!(
            client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab").response().text(),
            "ba"
        );
    });
}

#[test]
fn a_backend_that_closes_idle_connections_is_never_the_clients_concern() {
    // It closes right behind its answer without saying so: whoever takes the connection next may find it dead.
    let origin = Origin::start(|conn| {
        for _ in 0..2 {
            if conn.request().is_none() {
                return;
            }
            conn.answer("ok");
        }
    });
    let pinion = Settings::to(&origin).cores("2").start();
    let addr = pinion.addr();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..300 {
                    assert_eq!(harness::Client::connect(addr).get("/").text(), "ok");
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("every answer is right");
    }
}

#[test]
fn lending_outlives_a_reload() {
    let origin = Origin::answering("ok");
    let other = Origin::answering("other");
    let settings = Settings::to(&origin).cores("2");
    let pinion = settings.start();
    ask_until_lent(&pinion, || assert_eq!(pinion.client().get("/").text(), "ok"));
    // The first backend stays, one joins.
    pinion.write_config(&Settings::to(&origin).and(&other).cores("2").toml());
    pinion.hang_up();
    wait::until("the second backend answers", || pinion.client().get("/").text() == "other");
    let before = sum(&pinion.statistics(), "backend_borrows");
    wait::until("a core lends again", || {
        for _ in 0..10 {
            assert!(["ok", "other"].contains(&pinion.client().get("/").text().as_str()));
        }
        sum(&pinion.statistics(), "backend_borrows") > before
    });
}

#[test]
fn one_core_has_nobody_to_ask() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).start();
    for _ in 0..20 {
        assert_eq!(pinion.client().get("/").text(), "ok");
    }
    assert_eq!(sum(&pinion.statistics(), "backend_borrows"), 0);
    assert_eq!(origin.connections(), 1);
}
