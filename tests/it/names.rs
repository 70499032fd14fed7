//! Backends by name: kept resolved by TTL, with all their addresses, and with the last good ones when look-ups fail.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harness::dns::NameServer;
use harness::ports::Refusing;
use harness::statistics::sum;
use harness::{Origin, Settings, wait};

const NAME: &str = "backend.test";

/// Origins on one port of several addresses, each answering with its address.
fn origins<const N: usize>(addresses: [&'static str; N]) -> (u16, [Origin; N]) {
    let found = wait::some("a port that is free on all addresses", || {
        let mut port = 0;
        let mut origins = Vec::new();
        for address in addresses {
            let addr: SocketAddr = SocketAddr::new(address.parse().expect("an address"), port);
            // Somebody else may have the port there: begin anew.
            let origin = Origin::try_start_at(addr, move |conn| conn.answer_all(address)).ok()?;
            port = origin.addr().port();
            origins.push(origin);
        }
        Some((port, origins))
    });
    let (port, origins) = found;
    (port, origins.try_into().unwrap_or_else(|_| panic!("one for each address")))
}

fn settings(dns: &NameServer, port: u16) -> Settings {
    Settings::to_url(&format!("http://{NAME}:{port}")).set("dns", &dns.line())
}

#[test]
fn a_change_of_address_is_followed_by_ttl_also_by_connections_that_are_open() {
    let (port, [old, new]) = origins(["127.0.0.2", "127.0.0.3"]);
    let dns = NameServer::start();
    dns.answer(NAME, &["127.0.0.2"], 1);
    let pinion = settings(&dns, port).start();
    let mut client = pinion.client();
    assert_eq!(client.get("/").text(), "127.0.0.2");
    dns.answer(NAME, &["127.0.0.3"], 1);
    // The backend connection is kept alive and is still there; it leads to the wrong place now.
    wait::until("the new address is used", || client.get("/").text() == "127.0.0.3");
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "127.0.0.3");
        assert_eq!(pinion.client().get("/").text(), "127.0.0.3");
    }
    wait::until("the idle connection to the old address is closed", || old.live() == 0);
    assert_eq!(new.live(), 1);
}

#[test]
fn a_long_ttl_is_not_asked_again_and_a_ttl_of_nothing_not_at_once() {
    let (port, [_origin]) = origins(["127.0.0.2"]);
    let dns = NameServer::start();
    dns.answer(NAME, &["127.0.0.2"], 600);
    dns.answer("other.test", &["127.0.0.2"], 0);
    let pinion = settings(&dns, port).and_url(&format!("http://other.test:{port}")).start();
    let begun = Instant::now();
    wait::until("the name without a TTL is asked again", || dns.asked("other.test") >= 3);
    assert!(begun.elapsed() >= Duration::from_millis(1900), "a second between two look-ups");
    assert_eq!(dns.asked(NAME), 1);
    assert_eq!(pinion.client().get("/").text(), "127.0.0.2");
}

#[test]
fn a_look_up_that_fails_keeps_the_last_answer() {
    let (port, [_origin, _other]) = origins(["127.0.0.2", "127.0.0.3"]);
    let dns = NameServer::start();
    dns.answer(NAME, &["127.0.0.2"], 1);
    let pinion = settings(&dns, port).start();
    assert_eq!(pinion.client().get("/").text(), "127.0.0.2");
    let fails = || dns.fail(NAME);
    let goes = || dns.remove(NAME);
    let ways: [&dyn Fn(); 2] = [&fails, &goes];
    for (at, end) in ways.into_iter().enumerate() {
        let before = dns.asked(NAME);
        end();
        // Three at least, so that an answer to the second was taken.
        wait::until("it is looked up in vain", || dns.asked(NAME) >= before + 3);
        pinion.wait_log("cannot be resolved");
        for _ in 0..5 {
            assert_eq!(pinion.client().get("/").text(), "127.0.0.2", "way {at}");
        }
        dns.answer(NAME, &["127.0.0.2"], 1);
        let before = dns.asked(NAME);
        wait::until("it is looked up again", || dns.asked(NAME) >= before + 2);
    }
    dns.answer(NAME, &["127.0.0.3"], 1);
    wait::until("the next good answer is taken", || pinion.client().get("/").text() == "127.0.0.3");
}

#[test]
fn all_addresses_of_a_name_are_used() {
    let (port, origins) = origins(["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1"]);
    let dns = NameServer::start();
    dns.answer(NAME, &["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1"], 60);
    let pinion = settings(&dns, port).set("pool", "max_size = 0\nidle_timeout_ms = 1").start();
    // Many at once, each over a connection of its own to the backend.
    let mut clients: Vec<_> = (0..16).map(|_| pinion.client()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.response_to("GET").status, 200);
    }
    let counts: Vec<usize> = origins.iter().map(Origin::connections).collect();
    let connections: usize = counts.iter().sum();
    for (address, count) in origins.iter().map(Origin::addr).zip(&counts) {
        assert!(*count * 4 + 4 > connections, "{address} has its share: {counts:?}");
    }
}

#[test]
fn an_address_that_refuses_is_passed_over() {
    let refusing = Refusing::new();
    let port = refusing.addr().port();
    let answer = "127.0.0.2".parse().map(|address| SocketAddr::new(address, port)).expect("an address");
    let _origin = Origin::start_at(answer, |conn| conn.answer_all("there"));
    let dns = NameServer::start();
    dns.answer(NAME, &["127.0.0.1", "127.0.0.2"], 60);
    let pinion = settings(&dns, port).route("retries = 0").start();
    for _ in 0..6 {
        let mut client = pinion.client();
        client.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        assert_eq!(client.response_to("GET").text(), "there");
    }
}

#[test]
fn a_name_that_does_not_resolve_at_first_comes_to_life() {
    let (port, [_late, known]) = origins(["127.0.0.2", "127.0.0.3"]);
    let dns = NameServer::start();
    let pinion = settings(&dns, port).and_url(&format!("http://127.0.0.3:{port}")).start();
    pinion.wait_log(NAME);
    let mut client = pinion.client();
    for _ in 0..6 {
        assert_eq!(client.get("/").text(), "127.0.0.3", "a backend without an address is not picked");
    }
    assert_eq!(known.requests().len(), 6);
    let retries: u64 = sum(&pinion.statistics(), "retries");
    assert_eq!(retries, 0, "nor tried in vain");
    dns.answer(NAME, &["127.0.0.2"], 1);
    wait::until("the name has come to life", || client.get("/").text() == "127.0.0.2");
}

#[test]
fn servers_that_do_not_answer_do_not_hold_up_the_start_for_ever() {
    let dns = NameServer::start();
    dns.keep_silent(NAME);
    let pinion = settings(&dns, 80).start();
    pinion.wait_log(NAME);
    let status = pinion.client().get("/").status;
    assert!(matches!(status, 502 | 503), "{status}: there is no backend yet");
}

#[test]
fn names_of_the_hosts_file_are_not_asked_for() {
    let (port, [_origin]) = origins(["127.0.0.1"]);
    let dns = NameServer::start();
    let pinion = Settings::to_url(&format!("http://localhost:{port}")).set("dns", &dns.line()).start();
    assert_eq!(pinion.client().get("/").text(), "127.0.0.1");
    assert_eq!(dns.asked("localhost"), 0);
}

#[test]
fn addresses_are_never_looked_up() {
    let origin = Origin::answering("ok");
    let dns = NameServer::start();
    let pinion = Settings::to(&origin).set("dns", &dns.line()).start();
    assert_eq!(pinion.client().get("/").text(), "ok");
    let threads = std::fs::read_dir(format!("/proc/{}/task", pinion.id())).expect("a child of ours");
    let names =
        threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    assert!(
        !names.map(|name| name.trim().to_owned()).any(|name| name == "pinion-dns"),
        "no thread for nothing"
    );
}

#[test]
fn a_new_name_is_looked_up_when_it_is_published_and_a_gone_one_no_more() {
    let (port, [_one, _two]) = origins(["127.0.0.2", "127.0.0.3"]);
    let dns = NameServer::start();
    dns.answer(NAME, &["127.0.0.2"], 1);
    dns.answer("next.test", &["127.0.0.3"], 1);
    let pinion = settings(&dns, port).start();
    assert_eq!(pinion.client().get("/").text(), "127.0.0.2");
    let next = Settings::to_url(&format!("http://next.test:{port}")).set("dns", &dns.line());
    pinion.write_config(&next.toml());
    pinion.hang_up();
    wait::until("the new name is used", || pinion.client().get("/").text() == "127.0.0.3");
    // The table before the running one is kept; the old name is in none after one more change.
    pinion.write_config(&next.route("retries = 1").toml());
    pinion.hang_up();
    // The other name's look-ups are the clock: one a second.
    wait::until("the old name is looked up no more", || {
        let (old, new) = (dns.asked(NAME), dns.asked("next.test"));
        wait::until("three more of the other", || dns.asked("next.test") >= new + 3);
        dns.asked(NAME) == old
    });
}
