//! A pooled connection that had died is replaced; a request is repeated only where that is safe.

use harness::ports::Refusing;
use harness::{Origin, Settings, proxy, wait};

/// Closes each connection after its first answer without saying so before: it dies in the pool.
fn closing_after_each() -> Origin {
    Origin::start(|conn| {
        if conn.request().is_some() {
            conn.answer("ok");
        }
    })
}

#[test]
fn dead_pooled_connection_is_replaced() {
    let origin = closing_after_each();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for _ in 0..100 {
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn post_on_a_dead_pooled_connection_goes_to_a_new_one() {
    let origin = closing_after_each();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for at in 1..=20 {
        // The close of the pooled connection is seen before the next request is sent.
        wait::until("the connection in the pool has died", || origin.live() == 0);
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().text(), "ok");
        assert_eq!(origin.requests().len(), at, "each request arrives once");
    }
}

/// Takes the second request of a connection and resets instead of answering.
fn resetting_the_second() -> Origin {
    Origin::start(|conn| {
        if conn.request().is_some() {
            conn.answer("ok");
            conn.request();
            conn.reset_on_close();
        }
    })
}

#[test]
fn idempotent_request_is_repeated() {
    let origin = resetting_the_second();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "ok");
    }
    assert!(origin.requests().len() > 10, "some were repeated");
}

#[test]
fn post_is_never_repeated_once_it_was_sent() {
    let origin = resetting_the_second();
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.send(post).response().status, 200);
    assert_eq!(client.send(post).response().status, 502);
    assert_eq!(origin.requests().len(), 2, "the second one arrived once");
}

#[test]
fn refused_connection_goes_to_the_next_backend() {
    let refusing = Refusing::new();
    let origin = Origin::answering("ok");
    let pinion = Settings::to_url(&format!("http://{}", refusing.addr())).and(&origin).start();
    let mut client = pinion.client();
    for _ in 0..10 {
        client.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(client.response().text(), "ok", "nothing of it had been sent, so POST is safe too");
    }
    assert_eq!(origin.requests().len(), 10);
}

#[test]
fn retries_are_counted() {
    let (one, two) = (Refusing::new(), Refusing::new());
    let origin = Origin::answering("ok");
    let pinion = Settings::to_url(&format!("http://{}", one.addr()))
        .and_url(&format!("http://{}", two.addr()))
        .and(&origin)
        .route("retries = 0")
        .start();
    let mut client = pinion.client();
    let statuses: Vec<u16> = (0..6).map(|_| client.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 502).count(), 4, "{statuses:?}");
}

#[test]
fn backend_that_always_fails_ends_in_502() {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.reset_on_close();
    });
    let pinion = proxy(&origin);
    let mut client = pinion.client();
    assert_eq!(client.get("/").status, 502);
    let attempts = origin.requests().len();
    assert!((1..=4).contains(&attempts), "a bounded number of attempts: {attempts}");
    assert_eq!(client.get("/").status, 502, "the client's connection goes on");
}
