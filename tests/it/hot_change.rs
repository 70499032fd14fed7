//! Routes change a thousand times a second under load: nothing is lost, and every answer is of a table that was in force.
//!
//! The data plane runs in the test's own process, as an embedder has it, and is published to by its library call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use config_core::model::{Field, Route};
use config_core::{ProxyConfig, Snapshot};
use engine::ProxyServer;
use harness::{Client, Origin};

const CHANGES: u32 = 2_000;
const CLIENTS: usize = 4;

/// The route that changes, as of publication `epoch`: it says so in its answers, and every other time it has another backend
/// in front.
fn changed(route: &Route, epoch: u32) -> Route {
    let mut next = route.clone();
    next.response_headers = vec![Field { name: "X-Epoch".to_owned(), value: epoch.to_string() }];
    let mut upstream = (*route.upstream).clone();
    if epoch % 2 == 1 {
        upstream.backends.reverse();
    }
    next.upstream = Arc::new(upstream);
    next
}

#[test]
fn a_thousand_changes_a_second_lose_and_misroute_nothing() {
    let origins = [Origin::answering("moving"), Origin::answering("moving"), Origin::answering("still")];
    let json = format!(
        r#"{{"server": {{"listen": ["127.0.0.1:0"], "cores": "2"}}, "route": [
            {{"id": "moving", "vHost": "moving.example", "backends": [{{"url": "{}"}}, {{"url": "{}"}}]}},
            {{"id": "still", "vHost": "*", "backends": [{{"url": "{}"}}]}}]}}"#,
        origins[0].url(),
        origins[1].url(),
        origins[2].url()
    );
    let config = ProxyConfig::from_json(&json).expect("valid");
    let mut server = ProxyServer::new(config.snapshot(1));
    server.start().expect("it starts");
    let (publisher, address) = (server.publisher().expect("it runs"), server.addresses()[0]);
    let (committed, begun) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicU32::new(1)));
    let (stop, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (committed, begun) = (Arc::clone(&committed), Arc::clone(&begun));
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            std::thread::spawn(move || {
                let mut kept = Client::connect(address);
                let mut last = 0;
                while !stop.load(Ordering::SeqCst) {
                    let mut fresh;
                    let client = match answers.fetch_add(1, Ordering::SeqCst) % 8 {
                        0 => {
                            fresh = Client::connect(address);
                            &mut fresh
                        }
                        _ => &mut kept,
                    };
                    let host = if number % 2 == 0 { "moving.example" } else { "other.example" };
                    let in_force = committed.load(Ordering::SeqCst);
                    let answer = client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).response();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    let epoch =
                        answer.fields.one("x-epoch").map(|epoch| epoch.parse::<u32>().expect("a number"));
                    if host == "other.example" {
                        assert_eq!((answer.text().as_str(), epoch), ("still", None));
                        continue;
                    }
                    assert_eq!(answer.text(), "moving");
                    let epoch = epoch.unwrap_or(1);
                    let newest = begun.load(Ordering::SeqCst);
                    // A core hears of a table by a message, so one that was just committed may not be in force there.
                    assert!(epoch <= newest, "epoch {epoch} of {newest}");
                    assert!(epoch + 50 >= in_force, "epoch {epoch} when {in_force} was committed long ago");
                    last = last.max(epoch);
                }
                last
            })
        })
        .collect();
    let began = Instant::now();
    for epoch in 2..2 + CHANGES {
        let current = publisher.current();
        let route =
            current.model().routes.iter().find(|route| route.id.as_str() == "moving").expect("it is there");
        let mut model = current.model().clone();
        model.routes = model.routes.with(Arc::new(changed(route, epoch))).expect("no conflict");
        begun.store(epoch, Ordering::SeqCst);
        let prepared = publisher.prepare(Arc::new(Snapshot::new(model, epoch))).expect("it compiles");
        publisher.commit(prepared);
        committed.store(epoch, Ordering::SeqCst);
        let due = began + Duration::from_millis(u64::from(epoch));
        std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
    }
    stop.store(true, Ordering::SeqCst);
    let last = clients.into_iter().map(|client| client.join().expect("every answer was right")).max();
    assert!(answers.load(Ordering::SeqCst) > 500, "the load went on");
    assert!(last > Some(CHANGES / 2), "answers came of late tables too: {last:?}");
    let epochs: Vec<u32> = server.stats().cores.iter().map(|core| core.epoch).collect();
    assert_eq!(epochs, [1 + CHANGES; 2], "every core serves from the last table");
}
