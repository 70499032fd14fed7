//! What the simulation has found, or finds too seldom, each as small worlds of its own, made for the one thing that goes wrong.

use engine::simulation::{Chance, Rules};

use crate::plan::{
    Answer, BackendAct, Body, ClientAct, Exchange, Framing, Manner, Pace, Plan, Reading, Visit,
};
use crate::run;
use crate::settings::draw_settings;

const WORLDS: u64 = 100;
const AT_ONCE: Pace = Pace { pieces: 1, pause_ms_max: 0 };

/// A world in which nothing goes wrong: one client asks on one connection, one thing after the other.
fn calm(seed: u64, exchanges: Vec<Exchange>) -> Plan {
    let batches = (0..exchanges.len()).map(|index| vec![index]).collect();
    let mut settings = draw_settings(1, &mut Chance::new(seed));
    settings.connections_max = 100;
    settings.pool_max = 10;
    settings.pool_idle_ms = 60_000;
    Plan {
        manner: Manner::Clean,
        rules: Rules::calm(seed),
        buffers: (64, 4),
        backends: 1,
        settings,
        reloads: Vec::new(),
        drain_at_ms: None,
        clients: vec![vec![Visit { pause_ms: 0, batches }]],
        exchanges,
    }
}

fn exchange(number: u32, method: &'static str, body_bytes: Option<u64>, answer: Answer) -> Exchange {
    Exchange {
        number,
        method,
        body: body_bytes.map(|bytes| Body { bytes, framing: Framing::Length }),
        pace: AT_ONCE,
        expect: false,
        close: false,
        act: ClientAct::Good,
        reading: Reading::Eager,
        answers: [answer; 2],
        session: None,
    }
}

fn answer(bytes: u64, act: BackendAct) -> Answer {
    Answer {
        status: 200,
        body: Body { bytes, framing: Framing::Length },
        pace: AT_ONCE,
        interims: 0,
        says_continue: false,
        delay_ms: 0,
        close: false,
        trailers: false,
        act,
    }
}

fn must_hold(plan: Plan) {
    let seed = plan.rules.seed;
    let violations = run::run(plan).violations;
    assert!(violations.is_empty(), "world {seed}:\n  {}", violations.join("\n  "));
}

/// A backend closed its idle connection while a request was on its way: the end was seen before the send was confirmed, and
/// the request counted as not sent.
#[test]
fn a_post_is_not_repeated_while_its_send_is_unconfirmed() {
    for seed in 0..WORLDS {
        let closing = |number| answer(10, BackendAct::SilentClose { after_ms: u64::from(number % 3) });
        let exchanges = (0..20).map(|number| exchange(number, "POST", Some(0), closing(number)));
        let mut plan = calm(seed, exchanges.collect());
        plan.manner = Manner::Rude;
        plan.rules.jitter_us_max = 3_000;
        must_hold(plan);
    }
}

/// Of two cancellations one missed, and the other was confirmed last: nobody cancelled again, and the socket stayed open
/// for ever.
#[test]
fn a_cancellation_that_missed_is_repeated_whichever_is_confirmed_last() {
    for seed in 0..WORLDS {
        let cut = answer(200_000, BackendAct::Cut { part: 900, reset: true });
        let mut exchanges = vec![exchange(0, "GET", None, cut)];
        exchanges[0].reading = Reading::Late { ms: 500 };
        let mut plan = calm(seed, exchanges);
        plan.manner = Manner::Rude;
        plan.rules.send_buffer_bytes = 600;
        plan.rules.missed_cancels = 500;
        must_hold(plan);
    }
}

/// The table before the current one is kept, and with it were idle connections to backends that were gone.
#[test]
fn idle_connections_to_a_backend_that_is_gone_are_closed() {
    let exchanges = (0..6).map(|number| exchange(number, "GET", None, answer(10, BackendAct::Good)));
    let mut plan = calm(1, exchanges.collect());
    plan.backends = 2;
    plan.settings.backends = vec![0, 1];
    plan.exchanges[5].answers[0].delay_ms = 2_000;
    plan.reloads = vec![(1_000, vec![0])];
    must_hold(plan);
}

/// What a client did not take in time was dropped, and the connection closed with FIN, as if that were all.
#[test]
fn an_answer_that_is_not_taken_is_cut_with_a_reset() {
    let mut exchanges = vec![exchange(0, "GET", None, answer(200_000, BackendAct::Good))];
    exchanges[0].close = true;
    exchanges[0].reading = Reading::Late { ms: 60_000 };
    let mut plan = calm(1, exchanges);
    plan.manner = Manner::Rude;
    plan.rules.send_buffer_bytes = 5_000;
    plan.rules.receive_buffer_bytes = 5_000;
    must_hold(plan);
}

/// A 100 that the proxy says by itself was in no counter.
#[test]
fn a_100_of_our_own_is_counted() {
    let mut exchanges = vec![exchange(0, "PUT", Some(1_000), answer(10, BackendAct::Good))];
    exchanges[0].expect = true;
    must_hold(calm(1, exchanges));
}

/// A whole answer that nobody asked for waits on an idle connection: with a pool that does not look, the next client gets it.
/// Only some worlds in ten thousand come to that.
#[test]
fn an_answer_that_nobody_asked_for_reaches_nobody() {
    for seed in 0..WORLDS {
        let babbling = answer(10, BackendAct::Babble { after_ms: 10 });
        let mut plan = calm(
            seed,
            vec![exchange(0, "GET", None, babbling), exchange(1, "GET", None, answer(10, BackendAct::Good))],
        );
        let visit = |pause_ms, index| Visit { pause_ms, batches: vec![vec![index]] };
        plan.clients = vec![vec![visit(0, 0), visit(60 + 8 * seed, 1)]];
        plan.manner = Manner::Rude;
        plan.rules.segment_bytes_max = u32::MAX;
        must_hold(plan);
    }
}
