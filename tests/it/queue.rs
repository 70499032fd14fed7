//! A route's limit of exchanges in flight is exact over all cores, and who waits is served in order or told so.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::{Client, Gate, Origin, Pinion, Settings, wait};

/// An origin that counts the exchanges that it has at once, and holds them until the gate opens.
fn holding(gate: &Gate) -> (Origin, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (in_flight, peak, held) = (Arc::clone(&now), Arc::clone(&most), gate.clone());
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            peak.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            held.wait();
            in_flight.fetch_sub(1, Ordering::SeqCst);
            conn.answer(&request.target);
        }
    });
    (origin, now, most)
}

fn proxy(origin: &Origin, lines: &str) -> Pinion {
    let backends = format!("backends = [{{ url = \"{}\" }}]", origin.url());
    Settings::routes(&format!("[[route]]\nvhost = \"*\"\n{backends}\n{lines}\n")).cores("2").start()
}

fn asking(pinion: &Pinion, count: usize) -> Vec<Client> {
    (0..count)
        .map(|number| {
            let mut client = pinion.client();
            client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client
        })
        .collect()
}

#[test]
fn never_more_are_in_flight_and_everybody_is_served() {
    let gate = Gate::new();
    let (origin, now, most) = holding(&gate);
    let pinion = proxy(&origin, "req_active_length = 3\nreq_queue_length = 100\nqueue_timeout_ms = 20000");
    let clients = asking(&pinion, 60);
    wait::until("as many as may are in flight", || now.load(Ordering::SeqCst) == 3);
    gate.open();
    for (number, mut client) in clients.into_iter().enumerate() {
        assert_eq!(client.response().text(), format!("/{number}"));
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
    let used: Vec<bool> = pinion.statistics().iter().map(|core| core.counter("requests") > 0).collect();
    assert_eq!(used, [true, true], "both cores took part");
}

#[test]
fn a_full_queue_and_a_long_wait_get_503_and_a_client_that_leaves_frees_its_place() {
    let gate = Gate::new();
    let (origin, now, most) = holding(&gate);
    let pinion = proxy(&origin, "req_active_length = 1\nreq_queue_length = 1\nqueue_timeout_ms = 700");
    let mut first = asking(&pinion, 1);
    wait::until("the place is taken", || now.load(Ordering::SeqCst) == 1);
    let refused = |client: &mut Client| {
        let answer = client.response();
        assert_eq!(answer.status, 503);
        assert!(answer.fields.one("retry-after").is_some());
    };
    // One waits in vain; once it does, the next is refused at once.
    let mut waiting = asking(&pinion, 1).remove(0);
    let mut turned_away = asking(&pinion, 8);
    let answered =
        turned_away.iter_mut().map(|client| client.response().status).filter(|status| *status == 503);
    assert_eq!(answered.count(), 8, "whoever of the nine waited was told after its time");
    refused(&mut waiting);
    // Who leaves makes room for another.
    let leaver = asking(&pinion, 1).remove(0);
    leaver.reset();
    gate.open();
    assert_eq!(first.remove(0).response().text(), "/0");
    let mut late = asking(&pinion, 1).remove(0);
    assert_eq!(late.response().text(), "/0");
    assert_eq!(most.load(Ordering::SeqCst), 1);
}
