//! At its limits the proxy pauses and goes on: nothing is refused for good, nothing spins, nothing exits.

use std::time::{Duration, Instant};

use harness::{Client, Gate, Origin, Settings, wait};

const REQUEST: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

#[test]
fn accepting_pauses_at_max_connections() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).set("server", "max_connections = 4").start();
    let mut held: Vec<Client> = (0..4).map(|_| pinion.client()).collect();
    for client in &mut held {
        assert_eq!(client.get("/").status, 200);
    }
    // More wait in the backlog: connected by the kernel, not yet served.
    let mut waiting: Vec<Client> = (0..3).map(|_| pinion.client()).collect();
    for client in &mut waiting {
        client.send(REQUEST);
    }
    pinion.wait_log("max_connections");
    for client in &mut held {
        assert_eq!(client.get("/held").status, 200, "those who are in are served");
    }
    let served = origin.requests().iter().filter(|request| request.target == "/").count();
    assert_eq!(served, 4, "nobody over the limit is served");
    for mut client in waiting {
        held.pop();
        assert_eq!(client.response().text(), "ok");
        drop(client);
    }
    // All free again.
    drop(held);
    let mut again: Vec<Client> = (0..4).map(|_| pinion.client()).collect();
    for client in &mut again {
        assert_eq!(client.get("/").status, 200);
    }
}

#[test]
fn out_of_descriptors_is_a_pause() {
    let origin = Origin::answering("ok");
    let mut pinion = Settings::to(&origin).open_files(64).start();
    let mut clients: Vec<Client> = (0..100).map(|_| pinion.client()).collect();
    for client in &mut clients {
        client.send(REQUEST);
    }
    pinion.wait_log("descriptors for no more");

    // Nothing spins while it waits.
    let (begun, spent) = (Instant::now(), pinion.processor_time());
    wait::until("half a second of waiting", || begun.elapsed() > Duration::from_millis(500));
    let share = (pinion.processor_time() - spent).as_secs_f64() / begun.elapsed().as_secs_f64();
    assert!(share < 0.3, "uses {share:.2} of a processor while it waits");
    assert!(pinion.is_running());

    // As clients leave, the others come in.
    for mut client in clients {
        assert_eq!(client.response().text(), "ok");
    }
    wait::until("descriptors are free again", || pinion.open_files() < 40);
    for _ in 0..20 {
        assert_eq!(pinion.client().get("/").text(), "ok");
    }
}

/// Every client that is let in gets a backend connection of its own, however many wait outside.
#[test]
fn who_is_in_is_served_when_descriptors_run_out() {
    let gate = Gate::new();
    let at_gate = gate.clone();
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/together" {
                at_gate.wait();
            }
            conn.answer("ok");
        }
    });
    let pinion = Settings::to(&origin).open_files(64).start();
    let mut inside: Vec<Client> = (0..8).map(|_| pinion.client()).collect();
    for client in &mut inside {
        assert_eq!(client.get("/").status, 200);
    }
    // More than there are descriptors for, all in one moment, and they stay.
    let outside: Vec<Client> = (0..200).map(|_| pinion.client()).collect();
    pinion.wait_log("accepting pauses");
    for client in &mut inside {
        client.send("GET /together HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    origin.wait_requests(16);
    gate.open();
    for client in &mut inside {
        assert_eq!(client.response().status, 200);
    }
    assert!(pinion.open_files() < 64, "some are left for what nobody foresees");
    drop(outside);
}

/// Of each client's three requests exactly one meets the backend that holds, for backends come in turn. So each round
/// needs as many connections to another backend, and those of the rounds before lie idle.
#[test]
fn backend_connections_that_nobody_uses_give_way() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let origins: Vec<Origin> = (0..gates.len()).map(|own| holding(own, gates[own].clone())).collect();
    let settings = Settings::to(&origins[0]).and(&origins[1]).and(&origins[2]);
    let pinion = settings.set("pool", "max_size = 100").open_files(64).start();
    let mut clients: Vec<Client> = (0..14).map(|_| pinion.client()).collect();
    for (round, gate) in gates.iter().enumerate() {
        let held = |origin: &Origin| {
            origin.requests().iter().filter(|request| request.target == format!("/{round}")).count()
        };
        for (at, client) in clients.iter_mut().enumerate() {
            client.send(format!("GET /{round} HTTP/1.1\r\nHost: test\r\n\r\n").repeat(3));
            wait::until("one of the three is held", || held(&origins[round]) > at);
        }
        gate.open();
        for client in &mut clients {
            for _ in 0..3 {
                assert_eq!(client.response().status, 200, "round {round}");
            }
        }
    }
}

/// An origin that keeps requests for its own number until the gate opens.
fn holding(own: usize, gate: Gate) -> Origin {
    Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == format!("/{own}") {
                gate.wait();
            }
            conn.answer("ok");
        }
    })
}

#[test]
fn connections_leave_no_descriptors_behind() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).start();
    assert_eq!(pinion.client().get("/").status, 200);
    wait::until("the first client is gone", || pinion.open_sockets() > 0);
    let before = settled(&pinion);
    for round in 0..20 {
        let mut clients: Vec<Client> = (0..10).map(|_| pinion.client()).collect();
        for (at, client) in clients.iter_mut().enumerate() {
            match (round + at) % 4 {
                0 => assert_eq!(client.get("/").status, 200),
                1 => drop(client.send("GET / HTTP/1.1\r\nHost: te")),
                2 => drop(client.send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nhalf")),
                _ => drop(client.send("nonsense\r\n\r\n")),
            }
        }
        for (at, client) in clients.into_iter().enumerate() {
            if at % 2 == 0 { client.reset() } else { drop(client) }
        }
    }
    // The pool may keep up to ten connections to the backend.
    wait::until("descriptors come back", || pinion.open_files() <= before + 10);
    assert_eq!(pinion.client().get("/").status, 200);
}

/// The number of descriptors once it no longer changes from one look to the next.
fn settled(pinion: &harness::Pinion) -> usize {
    let mut last = 0;
    let mut since = Instant::now();
    wait::some("descriptors settle", || {
        let now = pinion.open_files();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_millis(200)).then_some(now)
    })
}
