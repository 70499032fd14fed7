//! Dead backends get no requests, and come back: retries, circuits, probes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::services::OriginProcess;
use harness::{Client, Gate, Origin, Settings, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_origin");

/// An origin that answers 200 or 503, as it is told; probes at `/health` too.
fn switchable(name: &'static str) -> (Origin, Arc<AtomicBool>, Arc<AtomicUsize>) {
    let (well, probes) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (state, count) = (Arc::clone(&well), Arc::clone(&probes));
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            count.fetch_add(usize::from(request.target == "/health"), Ordering::SeqCst);
            if state.load(Ordering::SeqCst) {
                conn.answer(name);
            } else {
                conn.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
            }
        }
    });
    (origin, well, probes)
}

fn route(origins: &[&Origin], lines: &str) -> String {
    let backends: Vec<String> =
        origins.iter().map(|origin| format!("{{ url = \"{}\" }}", origin.url())).collect();
    format!("[[route]]\nvhost = \"*\"\nbackends = [{}]\n{lines}\n", backends.join(", "))
}

#[test]
fn no_request_that_may_be_repeated_fails_when_one_of_three_backends_is_killed() {
    let mut victim = OriginProcess::start(PROGRAM, "answer");
    let (one, two) = (Origin::answering("ok"), Origin::answering("ok"));
    let backends = format!(
        "backends = [{{ url = \"{}\" }}, {{ url = \"{}\" }}, {{ url = \"{}\" }}]",
        one.url(),
        victim.url(),
        two.url()
    );
    let pinion = Settings::routes(&format!("[[route]]\nvhost = \"*\"\n{backends}\n")).cores("2").start();
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let mut client = pinion.client();
            let (stop, answered, failed) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&failed));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let good = client.get("/").status == 200;
                    (if good { &answered } else { &failed }).fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let enough = |count: usize| answered.load(Ordering::SeqCst) >= count;
    wait::until("the load runs", || enough(500));
    victim.kill();
    let before = answered.load(Ordering::SeqCst);
    wait::until("the load runs on", || enough(before + 3_000));
    stop.store(true, Ordering::SeqCst);
    clients.into_iter().for_each(|client| client.join().expect("every answer was whole"));
    assert_eq!(failed.load(Ordering::SeqCst), 0);
    assert!(harness::statistics::sum(&pinion.statistics(), "retries") > 0, "somebody was on the victim");
}

#[test]
fn failures_in_a_row_open_the_circuit_and_a_trial_closes_it() {
    let (sick, well, _) = switchable("sick");
    let (healthy, _, _) = switchable("healthy");
    let breaker =
        "[circuit_breaker]\nfailure_threshold = 3\nreset_timeout_ms = 300\nreset_timeout_ms_max = 300\n";
    let pinion = Settings::routes(&format!("{breaker}{}", route(&[&sick, &healthy], ""))).start();
    let mut client = pinion.client();
    well.store(false, Ordering::SeqCst);
    let statuses: Vec<u16> = (0..10).map(|_| client.get("/").status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 3, "{statuses:?}");
    pinion.wait_log("the circuit is open");
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "healthy");
    }
    well.store(true, Ordering::SeqCst);
    wait::until("a trial has found it well", || client.get("/").text() == "sick");
    let texts: Vec<String> = (0..10).map(|_| client.get("/").text()).collect();
    assert_eq!(texts.iter().filter(|text| *text == "sick").count(), 5, "{texts:?}");
}

/// Two backends; the first answers 503 until the gate opens, from then on with a head and half a body, after which it does
/// as `then` says, and goes on if that is true.
fn half_answering(then: impl Fn(&mut harness::Conn) -> bool + Send + Sync + 'static) -> (Origin, Gate) {
    let recovered = Gate::new();
    let told = recovered.clone();
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            if !told.is_open() {
                conn.send("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
                continue;
            }
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsick");
            if !then(conn) {
                return;
            }
        }
    });
    (origin, recovered)
}

/// Opens the circuit of `sick`, and returns a client that has the head of the trial's answer.
fn on_trial(pinion: &harness::Pinion, recovered: &Gate) -> Client {
    let mut client = pinion.client();
    wait::until("the sick one has answered", || client.get("/").status == 503);
    pinion.wait_log("the circuit is open");
    recovered.open();
    // Whoever is on the trial has no end of its answer yet.
    wait::some("somebody is on the trial", || {
        let mut client = pinion.client();
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.head();
        (head.fields.length() == Some(8)).then_some(client)
    })
}

const BREAKER: &str = "[circuit_breaker]\nfailure_threshold = 1\nreset_timeout_ms = 200\n";

#[test]
fn a_trial_whose_answer_streams_keeps_nobody_waiting() {
    let end = Gate::new();
    let told = end.clone();
    let (sick, recovered) = half_answering(move |conn| {
        told.wait();
        conn.send("sick");
        true
    });
    let (healthy, _, _) = switchable("healthy");
    let pinion = Settings::routes(&format!("{BREAKER}{}", route(&[&sick, &healthy], ""))).start();
    let mut on_trial = on_trial(&pinion, &recovered);
    // The first is not at its end: the circuit closed by its head.
    let mut others: Vec<Client> = (0..4).map(|_| pinion.client()).collect();
    for client in &mut others {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let lengths = others.iter_mut().map(|client| client.head().fields.length());
    assert_eq!(
        lengths.filter(|length| *length == Some(8)).count(),
        2,
        "every second one, as when all is well"
    );
    end.open();
    assert_eq!(on_trial.exactly(8), b"sicksick");
}

#[test]
fn a_trial_whose_body_breaks_off_is_a_failure_all_the_same() {
    let cut = Gate::new();
    let told = cut.clone();
    let (sick, recovered) = half_answering(move |conn| {
        told.wait();
        conn.reset_on_close();
        false
    });
    let (healthy, _, _) = switchable("healthy");
    let pinion = Settings::routes(&format!("{BREAKER}{}", route(&[&sick, &healthy], ""))).start();
    let _on_trial = on_trial(&pinion, &recovered);
    cut.open();
    wait::until("the circuit is open again", || pinion.log().matches("the circuit is open").count() >= 2);
}

#[test]
fn if_no_backend_is_left_the_client_is_told_when_to_come_back() {
    let (one, one_well, _) = switchable("one");
    let (two, two_well, _) = switchable("two");
    let breaker = "[circuit_breaker]\nfailure_threshold = 1\nreset_timeout_ms = 20000\n";
    let pinion = Settings::routes(&format!("{breaker}{}", route(&[&one, &two], ""))).start();
    one_well.store(false, Ordering::SeqCst);
    two_well.store(false, Ordering::SeqCst);
    let mut client = pinion.client();
    assert_eq!([client.get("/").status, client.get("/").status], [503, 503], "the backends' own");
    let before = one.requests().len() + two.requests().len();
    let answer = client.get("/");
    assert_eq!(answer.status, 503);
    let after: u64 = answer.fields.one("retry-after").expect("when").parse().expect("seconds");
    assert!((1..=20).contains(&after), "{after}");
    assert_eq!(one.requests().len() + two.requests().len(), before, "nobody was asked");
}

#[test]
fn below_the_panic_threshold_the_dead_are_asked_too() {
    let (one, one_well, _) = switchable("one");
    let (two, two_well, _) = switchable("two");
    let breaker = "[circuit_breaker]\nfailure_threshold = 1\nreset_timeout_ms = 20000\n";
    let lines = "panic_threshold = 40";
    let pinion = Settings::routes(&format!("{breaker}{}", route(&[&one, &two], lines))).start();
    let mut client = pinion.client();
    one_well.store(false, Ordering::SeqCst);
    two_well.store(false, Ordering::SeqCst);
    assert_eq!([client.get("/").status, client.get("/").status], [503, 503]);
    one_well.store(true, Ordering::SeqCst);
    two_well.store(true, Ordering::SeqCst);
    let mut texts = [client.get("/").text(), client.get("/").text()];
    texts.sort();
    assert_eq!(texts, ["one", "two"], "both, although both circuits are open");
}

#[test]
fn a_panic_ends_when_trials_have_found_backends_well() {
    let (one, one_well, _) = switchable("one");
    let (two, two_well, _) = switchable("two");
    let breaker =
        "[circuit_breaker]\nfailure_threshold = 1\nreset_timeout_ms = 200\nreset_timeout_ms_max = 20000\n";
    let lines = "panic_threshold = 40";
    let pinion = Settings::routes(&format!("{breaker}{}", route(&[&one, &two], lines))).start();
    let mut client = pinion.client();
    one_well.store(false, Ordering::SeqCst);
    two_well.store(false, Ordering::SeqCst);
    assert_eq!([client.get("/").status, client.get("/").status], [503, 503]);
    one_well.store(true, Ordering::SeqCst);
    wait::until("only the living one is asked", || (0..10).all(|_| client.get("/").text() == "one"));
}

#[test]
fn probes_take_a_backend_out_and_bring_it_back_once_per_process() {
    let (sick, well, probes) = switchable("sick");
    let (healthy, _, _) = switchable("healthy");
    let health =
        "[health]\nactive = \"http\"\ninterval_ms = 100\ntimeout_ms = 1000\nunhealthy_threshold = 2\n";
    let began = Instant::now();
    let pinion = Settings::routes(&format!("{health}{}", route(&[&sick, &healthy], ""))).cores("2").start();
    let mut client = pinion.client();
    wait::until("probes come", || probes.load(Ordering::SeqCst) >= 10);
    // A tenth less than the interval at the least, and not twice for two cores.
    assert!(began.elapsed() >= Duration::from_millis(9 * 90), "{:?}", began.elapsed());
    well.store(false, Ordering::SeqCst);
    pinion.wait_log("probes fail");
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "healthy");
    }
    well.store(true, Ordering::SeqCst);
    pinion.wait_log("probes succeed");
    wait::until("it is asked again", || client.get("/").text() == "sick");
}

#[test]
fn a_tcp_probe_needs_no_answer() {
    let origin = Origin::answering("here");
    let silent = OriginProcess::start(PROGRAM, "answer");
    let addr = silent.addr();
    let health =
        "[health]\nactive = \"tcp\"\ninterval_ms = 100\ntimeout_ms = 1000\nunhealthy_threshold = 1\n";
    let routes = format!(
        "{health}[[route]]\nvhost = \"*\"\nretries = 0\nbackends = [{{ url = \"{}\" }}, {{ url = \"http://{addr}\" }}]\n",
        origin.url()
    );
    let pinion = Settings::routes(&routes).start();
    drop(silent);
    pinion.wait_log("probes fail");
    let mut client = pinion.client();
    for _ in 0..10 {
        assert_eq!(client.get("/").text(), "here", "the dead one is not even tried");
    }
}
