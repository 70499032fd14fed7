//! One world from its first turn to its last, and what must hold when it has ended.

use std::rc::Rc;
use std::time::Duration;

use engine::io::{self, Options, Runtime, now_ms, sleep};
use engine::simulation::{self, Proxy, Report};

use crate::ledger::Ledger;
use crate::plan::{Manner, Plan};
use crate::settings::Settings;
use crate::{backend, client};

/// How often the main task looks at the world, at first and later.
const LOOK: Duration = Duration::from_millis(20);
const LATER_LOOK: Duration = Duration::from_millis(200);
const LATER_MS: u64 = 5_000;
/// The clients of a world are done by then, whatever happens.
const CLIENTS_MS_MAX: u64 = 6 * 3_600_000;
/// A proxy without clients has let go of everything by then.
const QUIET_MS_MAX: u64 = 120_000;
/// More than a drain ever takes: the longest deadlines of an exchange, one after the other.
const DRAIN_PATIENCE: Duration = Duration::from_secs(400);
/// Bytes in one large buffer of the core: a side may have had one just before its mark.
const LARGE_BYTES: usize = 256 * 1024;
/// What may lie queued above the high mark: a large buffer, a kept request body, a head.
const ABOVE_MARK_BYTES: usize = LARGE_BYTES + 64 * 1024 + 64 * 1024;
/// What may lie unread: the inbox's own mark, and what comes before a cancelled receive ends.
const UNREAD_BYTES_MAX: usize = 64 * 1024 + 2 * LARGE_BYTES;

/// How a world ended.
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) report: Report,
    pub(crate) exchanges: usize,
}

/// Runs the world of a plan.
pub(crate) fn run(plan: Plan) -> Outcome {
    let exchanges = plan.exchanges.len();
    let (small, large) = plan.buffers;
    let options = Options::simulated(plan.rules, small, large);
    let ledger = Ledger::new(plan);
    let shared = Rc::clone(&ledger);
    let mut runtime = Runtime::new(options).expect("memory for the buffers of a core");
    let ended = runtime.block_on(async move {
        live(&shared).await;
        (simulation::report(), simulation::trace())
    });
    let (mut violations, mut trace) = ledger.take_violations();
    let report = match ended {
        Ok((report, all)) => {
            violations.extend(report.violations.iter().map(|what| format!("the core: {what}")));
            if trace.is_empty() {
                trace = all;
            }
            report
        }
        Err(error) => {
            violations.push(format!("the world ended: {error}"));
            Report::default()
        }
    };
    Outcome { violations, trace, report, exchanges }
}

async fn live(ledger: &Rc<Ledger>) {
    let plan = &ledger.plan;
    let backends = (0..plan.backends).map(|index| io::spawn(backend::listen(Rc::clone(ledger), index)));
    let backends: Vec<io::Task> = backends.collect();
    io::yield_now().await;
    let address = client::PROXY.parse().expect("an address");
    let proxy = Proxy::install(plan.settings.snapshot(1), address).expect("numeric addresses");
    // From its next turn on it can be told things.
    io::yield_now().await;
    for index in 0..plan.clients.len() {
        io::spawn(client::run(Rc::clone(ledger), index));
    }
    serve_clients(ledger, &proxy).await;
    if !ledger.drained.get() {
        become_quiet(ledger, &proxy).await;
        ledger.drained.set(true);
        proxy.drain(Duration::ZERO);
    }
    if !proxy.ended(DRAIN_PATIENCE).await {
        ledger.violate(format!("the drain does not end: {} clients are left", proxy.connections()));
        proxy.stop();
        proxy.ended(DRAIN_PATIENCE).await;
    }
    ledger.closing.set(true);
    backends.iter().for_each(|backend| backend.wake());
    // A backend whose connection is stalled for ever waits as long as it can.
    while ledger.backend_conns_open.get() > 0 && now_ms() < 2 * CLIENTS_MS_MAX {
        sleep(LATER_LOOK).await;
    }
    check_memory(ledger).await;
    check_counters(ledger, &proxy);
}

/// Until the clients are done: publishes, drains, and looks at what is held.
async fn serve_clients(ledger: &Ledger, proxy: &Proxy) {
    let plan = &ledger.plan;
    let mut reloads: Vec<&(u64, Vec<usize>)> = plan.reloads.iter().collect();
    reloads.sort_by_key(|(at_ms, _)| std::cmp::Reverse(*at_ms));
    let mut epoch = 1;
    while ledger.clients_left.get() > 0 {
        let now = now_ms();
        while let Some((_, backends)) = reloads.pop_if(|(at_ms, _)| *at_ms <= now) {
            epoch += 1;
            let settings = Settings { backends: backends.clone(), ..plan.settings.clone() };
            simulation::remark(|| format!("publish: backends {backends:?}"));
            proxy.publish(settings.snapshot(epoch)).expect("numeric addresses");
        }
        if plan.drain_at_ms.is_some_and(|at_ms| at_ms <= now) && !ledger.drained.replace(true) {
            simulation::remark(|| "drain".to_owned());
            proxy.drain(Duration::from_millis(now % 1_500));
        }
        check_sizes(ledger, proxy);
        if now > CLIENTS_MS_MAX {
            return ledger.violate(format!("{} clients are not done", ledger.clients_left.get()));
        }
        sleep(if now < LATER_MS { LOOK } else { LATER_LOOK }).await;
    }
}

fn check_sizes(ledger: &Ledger, proxy: &Proxy) {
    let largest = simulation::largest();
    let high = ledger.plan.settings.high_water_bytes as usize;
    ledger.check(largest.unsent <= high + ABOVE_MARK_BYTES, || format!("a socket holds {largest:?}"));
    // Where cancellations miss, a receive goes on for longer than it should.
    let is_stoppable = ledger.plan.rules.missed_cancels == 0;
    ledger
        .check(largest.unread <= UNREAD_BYTES_MAX || !is_stoppable, || format!("a socket holds {largest:?}"));
    let (connections, max) = (proxy.connections(), ledger.plan.settings.connections_max as usize);
    // What was accepted when a drain begins is served, whatever the limit.
    ledger.check(connections <= max || ledger.drained.get(), || format!("{connections} clients are let in"));
}

/// Nobody asks any more: clients' connections end, then idle ones to backends.
async fn become_quiet(ledger: &Ledger, proxy: &Proxy) {
    let until_ms = now_ms() + ledger.plan.settings.pool_idle_ms + QUIET_MS_MAX;
    let is_hostile = ledger.plan.manner == Manner::Hostile;
    let is_quiet = || {
        let backends = if is_hostile { simulation::pooled() } else { ledger.backend_conns_open.get() };
        proxy.connections() == 0 && backends == 0
    };
    while !is_quiet() {
        if now_ms() > until_ms {
            return ledger.violate(format!(
                "without clients, {} of their connections stay, {} are pooled, {} are open to backends",
                proxy.connections(),
                simulation::pooled(),
                ledger.backend_conns_open.get()
            ));
        }
        sleep(LATER_LOOK).await;
    }
}

/// Everything is given back: the main task is all that is left.
async fn check_memory(ledger: &Ledger) {
    for _ in 0..10 {
        sleep(LOOK).await;
    }
    let gauges = io::gauges();
    ledger.check(gauges.tasks == 1, || format!("tasks are left: {gauges:?}"));
    ledger.check(gauges.sockets == 0, || format!("sockets are left: {gauges:?}"));
    ledger.check(gauges.timers == 0, || format!("timers are left: {gauges:?}"));
    ledger.check(gauges.buffers_leased == 0, || format!("buffers are left: {gauges:?}"));
    ledger.check(gauges.task_panics == 0, || format!("a task panicked: {gauges:?}"));
    let open = simulation::report().descriptors;
    ledger.check(open == 0, || format!("{open} descriptors are left"));
}

fn check_counters(ledger: &Ledger, proxy: &Proxy) {
    let counts = proxy.counters();
    let count = |name: &str| {
        let name = format!("pinion_{name}_total");
        counts.iter().find(|(own, _)| *own == name).map_or_else(|| panic!("no {name}"), |(_, value)| *value)
    };
    let seen = &ledger.seen;
    let answers = *seen.answers.borrow();
    let statuses = ["2xx", "3xx", "4xx", "5xx"].map(|class| count(&format!("responses_{class}")));
    let ends = statuses.iter().sum::<u64>() + count("sessions") + count("requests_unanswered");
    ledger.check(count("requests") == ends, || format!("{} requests, {ends} ends", count("requests")));
    ledger.check(count("sessions") == count("sessions_ended"), || "sessions that never end".to_owned());
    let tried = seen.connections.get() + seen.given_up.get();
    ledger.check(count("connections") <= tried, || "connections of nobody".to_owned());
    ledger.check(count("header_mismatches") == 0, || "damaged tables".to_owned());
    let (client, backend) = (&ledger.client_traffic, &ledger.backend_traffic);
    let bytes = [
        ("client_bytes_in", count("client_bytes_in") <= client.sent.get()),
        ("client_bytes_out", count("client_bytes_out") >= client.received.get()),
        ("backend_bytes_in", count("backend_bytes_in") <= backend.sent.get()),
        ("backend_bytes_out", count("backend_bytes_out") >= backend.received.get()),
    ];
    for (name, holds) in bytes {
        ledger.check(holds, || format!("{name} is {}", count(name)));
    }
    for (class, at) in [("2xx", 2), ("3xx", 3), ("4xx", 4), ("5xx", 5)] {
        let counted = count(&format!("responses_{class}"));
        ledger.check(counted >= answers[at], || {
            format!("{counted} answers {class}, clients saw {}", answers[at])
        });
    }
    if ledger.plan.manner != Manner::Clean || ledger.plan.drain_at_ms.is_some() {
        return;
    }
    let exact = [
        ("connections", seen.connections.get()),
        ("requests", ledger.plan.exchanges.len() as u64),
        ("requests_refused", 0),
        ("requests_unanswered", 0),
        ("responses_cut", 0),
        ("retries", 0),
        ("backend_failures", 0),
        ("responses_1xx", answers[1]),
        ("responses_2xx", answers[2]),
        ("responses_3xx", answers[3]),
        ("responses_4xx", answers[4]),
        ("responses_5xx", answers[5]),
        ("sessions", seen.sessions.get()),
        ("session_messages_in", seen.messages.get()[0]),
        ("session_messages_out", seen.messages.get()[1]),
        ("client_bytes_in", client.sent.get()),
        ("client_bytes_out", client.received.get()),
        ("backend_bytes_in", backend.sent.get()),
        ("backend_bytes_out", backend.received.get()),
        ("backend_connects", ledger.backend_conns.get()),
        (
            "backend_reuses",
            ledger.plan.exchanges.len() as u64 - ledger.backend_conns.get().min(count("requests")),
        ),
    ];
    for (name, expected) in exact {
        ledger.check(count(name) == expected, || format!("{name} is {}, not {expected}", count(name)));
    }
}
