//! Strategies and sticky cookies, seen from outside.

use std::collections::BTreeMap;

use harness::{Origin, Pinion, Settings};

fn names(count: usize) -> Vec<Origin> {
    const NAMES: [&str; 4] = ["a", "b", "c", "d"];
    NAMES[..count].iter().map(|name| Origin::answering(name)).collect()
}

fn proxy(origins: &[Origin], weights: &[u32], lines: &str) -> Pinion {
    let backend =
        |(origin, weight): (&Origin, &u32)| format!("{{ url = \"{}\", weight = {weight} }}", origin.url());
    let backends: Vec<String> = origins.iter().zip(weights).map(backend).collect();
    let route = format!("[[route]]\nvhost = \"*\"\nbackends = [{}]\n{lines}\n", backends.join(", "));
    Settings::routes(&route).start()
}

fn counts(pinion: &Pinion, requests: usize) -> BTreeMap<String, usize> {
    let mut client = pinion.client();
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        *counts.entry(client.get("/").text()).or_insert(0) += 1;
    }
    counts
}

#[test]
fn weights_are_shares_and_the_heaviest_comes_in_no_burst() {
    let origins = names(3);
    let pinion = proxy(&origins, &[5, 1, 1], "strategy = \"weighted\"");
    let mut client = pinion.client();
    let texts: Vec<String> = (0..70).map(|_| client.get("/").text()).collect();
    let count = |name: &str| texts.iter().filter(|text| *text == name).count();
    assert_eq!((count("a"), count("b"), count("c")), (50, 10, 10));
    let longest = texts.split(|text| text != "a").map(<[String]>::len).max();
    assert!(longest <= Some(4), "{texts:?}");
}

#[test]
fn every_strategy_serves() {
    for strategy in ["round_robin", "weighted", "least_connections", "random", "ip_hash", "LEAST_LATENCY"] {
        let origins = names(3);
        let pinion = proxy(&origins, &[1, 2, 3], &format!("strategy = \"{strategy}\""));
        let counts = counts(&pinion, 60);
        assert_eq!(counts.values().sum::<usize>(), 60, "{strategy}");
        let expected = if strategy == "ip_hash" { 1 } else { 2 };
        assert!(counts.len() >= expected, "{strategy}: {counts:?}");
    }
}

#[test]
fn a_hashed_field_keeps_its_clients_together() {
    let origins = names(4);
    let pinion = proxy(&origins, &[1; 4], "strategy = \"ip_hash\"\nhash_key = \"header:X-User\"");
    let mut client = pinion.client();
    let mut of_user = BTreeMap::new();
    for round in 0..3 {
        for user in 0..40 {
            let wire = format!("GET / HTTP/1.1\r\nHost: a\r\nX-User: u{user}\r\n\r\n");
            let text = client.send(wire).response().text();
            let known = of_user.entry(user).or_insert_with(|| text.clone());
            assert_eq!(*known, text, "user {user} in round {round}");
        }
    }
    let used: std::collections::BTreeSet<&String> = of_user.values().collect();
    assert_eq!(used.len(), 4, "forty users are on all of them");
}

#[test]
fn least_connections_counts_what_is_in_flight() {
    let gate = harness::Gate::new();
    let held = gate.clone();
    let slow = Origin::start(move |conn| {
        while conn.request().is_some() {
            held.wait();
            conn.answer("slow");
        }
    });
    let quick = Origin::answering("quick");
    let backends = format!("backends = [{{ url = \"{}\" }}, {{ url = \"{}\" }}]", slow.url(), quick.url());
    let route = format!("[[route]]\nvhost = \"*\"\nstrategy = \"least_connections\"\n{backends}\n");
    let pinion = Settings::routes(&route).start();
    // One exchange hangs on the slow one; from then on nobody else is sent there.
    let mut hung = None;
    for _ in 0..10 {
        let mut client = pinion.client();
        let answered = quick.requests().len();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let is_somewhere = || !slow.requests().is_empty() || quick.requests().len() > answered;
        harness::wait::until("the request is somewhere", is_somewhere);
        if !slow.requests().is_empty() {
            hung = Some(client);
            break;
        }
        client.response();
    }
    let mut hung = hung.expect("one of ten was sent to the slow one");
    let mut client = pinion.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "quick");
    }
    gate.open();
    assert_eq!(hung.response().text(), "slow");
}

#[test]
fn a_sticky_cookie_brings_a_client_back_until_its_backend_is_gone() {
    let origins = names(3);
    let pinion = proxy(&origins, &[1; 3], "sticky = \"lb\"");
    let mut client = pinion.client();
    let first = client.get("/");
    let cookie = first.fields.one("set-cookie").expect("a new client is given a cookie").to_owned();
    let pair = cookie.split(';').next().expect("name and value").to_owned();
    assert!(pair.starts_with("lb=") && cookie.contains("HttpOnly"), "{cookie}");
    assert!(!cookie.contains("127.0.0.1"), "it says nothing of where the backend is");
    for _ in 0..9 {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; {pair}\r\n\r\n");
        let again = client.send(wire).response();
        assert_eq!(again.text(), first.text());
        assert_eq!(again.fields.one("set-cookie"), None, "it has it already");
    }
    let unknown = client.send("GET / HTTP/1.1\r\nHost: a\r\nCookie: lb=ffff\r\n\r\n").response();
    assert!(unknown.fields.one("set-cookie").is_some(), "a cookie of nobody is replaced");
}
