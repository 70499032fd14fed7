//! Where a route limits its exchanges in flight, no more than that reach its backends, over all cores; the others wait in the
//! order in which they came, as many and as long as they may.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use config_core::status::GateStatus;
use config_core::{ProxyConfig, RouteId};
use engine::ProxyServer;
use harness::statistics::sum;
use harness::{Client, Gate, Origin, Pinion, Settings, wait};

const ASK: &str = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";

/// An origin that answers nothing before the gate is open.
fn holding() -> (Gate, Origin) {
    let gate = Gate::new();
    let told = gate.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            told.wait();
            conn.answer("ok");
        }
    });
    (gate, origin)
}

fn limited(origin: &Origin, active: u32, queued: u32) -> Settings {
    let lines = format!("req_active_length = {active}\nreq_queue_length = {queued}");
    Settings::to(origin).cores("2").route(&lines)
}

/// A client whose request the proxy has taken in.
fn asking(pinion: &Pinion, path: &str) -> Client {
    let before = sum(&pinion.statistics(), "requests");
    let mut client = pinion.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
    wait::until("the request is counted", || sum(&pinion.statistics(), "requests") > before);
    client
}

fn assert_refused(client: &mut Client) {
    let response = client.response_to("GET");
    assert_eq!((response.status, response.field("retry-after")), (503, Some("1")));
}

#[test]
fn no_more_than_the_limit_are_in_flight_over_all_cores() {
    const LIMIT: usize = 3;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, counts) = (Gate::new(), (Arc::clone(&now), Arc::clone(&most)));
    let told = gate.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            let (now, most) = &counts;
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            told.wait();
            std::thread::yield_now();
            now.fetch_sub(1, Ordering::SeqCst);
            conn.answer("ok");
        }
    });
    let pinion = limited(&origin, LIMIT as u32, 100).start();
    let mut clients: Vec<Client> = (0..40).map(|_| pinion.client()).collect();
    clients.iter_mut().for_each(|client| {
        client.send(ASK);
    });
    origin.wait_requests(LIMIT);
    gate.open();
    for round in 0..10 {
        for client in &mut clients {
            assert_eq!(client.response_to("GET").status, 200, "round {round}");
            client.send(ASK);
        }
    }
    for client in &mut clients {
        assert_eq!(client.response_to("GET").status, 200);
    }
    assert_eq!(most.load(Ordering::SeqCst), LIMIT);
    assert!(pinion.statistics().iter().all(|core| core.counter("requests") > 0), "both cores");
}

#[test]
fn who_waits_has_its_turn_in_the_order_of_arrival_over_all_cores() {
    let (gate, origin) = holding();
    let pinion = limited(&origin, 1, 10).start();
    let paths: Vec<String> = (0..10).map(|number| format!("/{number}")).collect();
    let mut clients: Vec<Client> = paths.iter().map(|path| asking(&pinion, path)).collect();
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response_to("GET").status, 200);
    }
    let order: Vec<String> = origin.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(order, paths);
}

#[test]
fn past_the_queue_is_503_at_once_and_the_client_may_go_on() {
    let (gate, origin) = holding();
    let pinion = limited(&origin, 1, 1).start();
    let (mut first, mut second) = (asking(&pinion, "/1"), asking(&pinion, "/2"));
    let mut third = pinion.client();
    third.send(ASK);
    assert_refused(&mut third);
    gate.open();
    for client in [&mut first, &mut second] {
        assert_eq!(client.response_to("GET").status, 200);
    }
    assert_eq!(third.get("/3").status, 200, "on the same connection");
}

#[test]
fn without_a_queue_nobody_waits() {
    let (gate, origin) = holding();
    let pinion = Settings::to(&origin).route("req_active_length = 1").start();
    let mut first = asking(&pinion, "/1");
    let mut second = pinion.client();
    second.send(ASK);
    assert_refused(&mut second);
    gate.open();
    assert_eq!(first.response_to("GET").status, 200);
}

#[test]
fn who_waits_too_long_gets_503_and_frees_its_place() {
    let (gate, origin) = holding();
    let pinion = limited(&origin, 1, 1).route("queue_timeout_ms = 50").start();
    let mut first = asking(&pinion, "/1");
    for _ in 0..3 {
        let mut late = pinion.client();
        late.send(ASK);
        assert_refused(&mut late);
    }
    gate.open();
    assert_eq!(first.response_to("GET").status, 200);
    assert_eq!(first.get("/2").status, 200);
    assert_eq!(origin.requests().len(), 2, "who gave up never reached the backend");
}

#[test]
fn a_client_that_leaves_the_queue_frees_its_place() {
    let (gate, origin) = holding();
    let pinion = limited(&origin, 1, 1).start();
    let mut first = asking(&pinion, "/1");
    for round in 0..3 {
        let before = pinion.open_sockets();
        let leaving = asking(&pinion, "/leaves");
        let mut refused = pinion.client();
        refused.send(ASK);
        assert_refused(&mut refused);
        drop((leaving, refused));
        wait::until(&format!("round {round}: the proxy has noticed"), || pinion.open_sockets() <= before);
    }
    let mut last = asking(&pinion, "/2");
    gate.open();
    for client in [&mut first, &mut last] {
        assert_eq!(client.response_to("GET").status, 200);
    }
    assert_eq!(origin.requests().len(), 2, "who left never reached the backend");
}

#[test]
fn new_limits_hold_for_those_who_wait() {
    let (gate, origin) = holding();
    let pinion = limited(&origin, 1, 4).start();
    let mut clients: Vec<Client> = ["/1", "/2", "/3", "/4"].map(|path| asking(&pinion, path)).into();
    assert_eq!(origin.wait_requests(1).len(), 1);
    pinion.write_config(&limited(&origin, 3, 4).toml());
    pinion.hang_up();
    // While the first still has its place.
    let begun = origin.wait_requests(3);
    assert_eq!(begun.iter().map(|request| request.target.as_str()).collect::<Vec<_>>().len(), 3);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response_to("GET").status, 200);
    }
}

#[test]
fn how_many_are_in_flight_and_wait_can_be_read() {
    let (gate, origin) = holding();
    let pinion = limited(&origin, 2, 7).start();
    let mut clients: Vec<Client> = (0..5).map(|_| asking(&pinion, "/")).collect();
    pinion.statistics();
    let line = "\"route\":\"default\",\"active\":2,\"waiting\":3,\"active_max\":2,\"queue_max\":7";
    pinion.wait_log(line);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response_to("GET").status, 200);
    }
}

/// As an embedder reads it.
#[test]
fn the_library_tells_of_gates_too() {
    let (gate, origin) = holding();
    let json = format!(
        r#"{{"server": {{"listen": ["127.0.0.1:0"], "cores": "1"}}, "route": [
            {{"id": "free", "vHost": "free.example", "backends": [{{"url": "{0}"}}]}},
            {{"id": "tight", "vHost": "*", "reqActiveLength": 1, "reqQueueLength": 1, "backends": [{{"url": "{0}"}}]}}]}}"#,
        origin.url()
    );
    let config = ProxyConfig::from_json(&json).expect("valid");
    let mut server = ProxyServer::new(config.snapshot(1));
    server.start().expect("it starts");
    let mut clients = [0, 1].map(|_| Client::connect(server.addresses()[0]));
    for client in &mut clients {
        client.send(ASK);
    }
    let known = |active, waiting| GateStatus {
        route: RouteId::new("tight"),
        active,
        waiting,
        active_max: 1,
        queue_max: 1,
    };
    wait::until("one is served and one waits", || server.stats().gates == [known(1, 1)]);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response_to("GET").status, 200);
    }
    wait::until("nobody is left", || server.status().expect("it runs").gates() == [known(0, 0)]);
}
