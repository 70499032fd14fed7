//! Several targets are taken in turn.

use std::collections::BTreeMap;

use harness::{Origin, Pinion, Settings};

#[test]
fn targets_are_taken_in_turn() {
    let origins = [Origin::answering("a"), Origin::answering("b"), Origin::answering("c")];
    let pinion = Settings::to(&origins[0]).and(&origins[1]).and(&origins[2]).start();
    let mut client = pinion.client();
    let texts: Vec<String> = (0..9).map(|_| client.get("/").text()).collect();
    for three in texts.chunks(3) {
        let mut sorted = three.to_vec();
        sorted.sort();
        assert_eq!(sorted, ["a", "b", "c"], "{texts:?}");
    }
    assert_eq!(texts[..3], texts[3..6], "the same turn each time");
}

#[test]
fn flags_take_several_targets_too() {
    let (one, two) = (Origin::answering("one"), Origin::answering("two"));
    let pinion = Pinion::start_with(
        &["--target", &one.url(), "--target", &two.url(), "--port", "0", "--cores", "1"],
        1,
    );
    let mut count = BTreeMap::new();
    for _ in 0..10 {
        *count.entry(pinion.client().get("/").text()).or_insert(0) += 1;
    }
    assert_eq!(count, BTreeMap::from([("one".to_owned(), 5), ("two".to_owned(), 5)]));
}

#[test]
fn every_core_serves() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).cores("2").start();
    // Connections are spread by a hash of their ports, so a few dozen reach both cores.
    let mut clients: Vec<_> = (0..64).map(|_| pinion.client()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
    let cores = pinion.statistics();
    assert!(cores.len() == 2 && cores.iter().all(|core| core.counter("requests") > 0), "{cores:?}");
    for client in &mut clients {
        assert_eq!(client.get("/").text(), "ok");
    }
}

#[test]
fn every_listener_serves() {
    let origin = Origin::answering("ok");
    let pinion = Settings::to(&origin).listeners(3).start();
    assert_eq!(pinion.addrs().len(), 3);
    for addr in pinion.addrs() {
        assert_eq!(harness::Client::connect(*addr).get("/").text(), "ok", "{addr}");
    }
}
