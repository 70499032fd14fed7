//! A request, a message and a piece of a body cost no allocation once a connection runs.
//!
//! The proxy runs in this process, on one core; client and origin are threads that never allocate either while they
//! work (`peers.rs`). So every allocation of the process between two points in time is the core's, and there must be
//! none. Connections are open and everything is warm by then: for a thousand rounds twice as many connections have been
//! busy, so that no pool of spare things has to grow when by chance more of them are out at once than ever before.
//!
//! One test for all of it: a second one in this process would be counted too. It runs on both drivers.

#![forbid(unsafe_code)]

mod peers;

use std::alloc::System;
use std::fmt::Write;

use config_core::ProxyConfig;
use engine::ProxyServer;
use peers::{Client, Origin, Script};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Client connections while it counts.
const CONNECTIONS: usize = 8;
/// Client connections before that.
const WARM_UP_CONNECTIONS: usize = 2 * CONNECTIONS;
const WARM_UP_ROUNDS: usize = 1_000;
const ROUNDS: usize = 10_000;

#[test]
fn a_running_connection_allocates_nothing() {
    assert_counts();
    let mut faults = String::new();
    for runtime in ["uring", "epoll"] {
        for script in peers::scripts() {
            let stats = measure(runtime, &script);
            if stats.allocations + stats.reallocations > 0 {
                let per_round = (stats.allocations + stats.reallocations) as f64 / ROUNDS as f64;
                let _ = writeln!(faults, "{} on {runtime}: {per_round:.4} for each, {stats:?}", script.name);
            }
        }
    }
    assert!(faults.is_empty(), "allocations in the steady state:\n{faults}");
}

/// What the process allocated while `script` ran [`ROUNDS`] times, connections taken in turn.
fn measure(runtime: &str, script: &Script) -> Stats {
    let origin = Origin::start(script.clone(), WARM_UP_CONNECTIONS);
    let config = ProxyConfig::builder()
        .target(&origin.url())
        .listen("127.0.0.1:0")
        .cores("1")
        .runtime(runtime)
        .json(&format!(r#"{{"pool": {{"maxSize": {WARM_UP_CONNECTIONS}}}}}"#));
    let mut server = ProxyServer::new(config.build().expect("the configuration is right").snapshot(1));
    server.start().unwrap_or_else(|error| panic!("{runtime}: {error}"));
    let address = server.addresses()[0];
    let mut clients: Vec<Client> = (0..WARM_UP_CONNECTIONS).map(|_| Client::open(address, script)).collect();
    run(&mut clients, script, WARM_UP_ROUNDS);
    clients.truncate(CONNECTIONS);
    run(&mut clients, script, WARM_UP_ROUNDS);

    let region = Region::new(ALLOCATOR);
    run(&mut clients, script, ROUNDS);
    let stats = region.change();

    drop(clients);
    server.stop();
    stats
}

/// All clients send, then all read, so that several exchanges are under way at once.
fn run(clients: &mut [Client], script: &Script, rounds: usize) {
    for _ in 0..rounds / clients.len() {
        for client in clients.iter_mut() {
            client.send(script);
        }
        for client in clients.iter_mut() {
            client.read(script);
        }
    }
}

/// The counter counts: without this, a broken counter would make the test above pass.
fn assert_counts() {
    let region = Region::new(ALLOCATOR);
    let kept = std::hint::black_box(Box::new(1_u64));
    assert_eq!(region.change().allocations, 1);
    drop(kept);
}
