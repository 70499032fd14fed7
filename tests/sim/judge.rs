//! Reads what a client gets and judges it by the plan and by what the backends saw.
//!
//! Some promises hold whatever happens: no answer is another's, no byte is wrong, nothing that broke off looks whole. The
//! others hold where no fault has touched those who took part: every request is answered, and as planned.

use std::cell::Cell;
use std::time::Duration;

use engine::io::sleep;
use engine::simulation;
use harness::ws;

use crate::backend::part_of;
use crate::bodies::{Checker, Owner, Part};
use crate::ledger::Ledger;
use crate::message::{MARKER, UNASKED};
use crate::plan::{BackendAct, ClientAct, Exchange, Framing, Manner, Reading, SessionEnd};
use crate::session;
use crate::wire::{End, Head, Wire};

/// Whether the client's connection can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    GoesOn,
    Over,
}

/// What came before on the connection.
#[derive(Default)]
pub(crate) struct Before {
    /// The proxy may close it although it has not said so.
    may_end: bool,
    /// The client has read so late that the proxy may have given it up.
    is_late: bool,
    /// When the client began to ask what it now reads the answers of.
    pub(crate) asked_ms: u64,
}

/// So many reads of an answer are slow, where they are.
const RESTS: u32 = 8;
/// What else a client may be late by.
const LATE_MS: u64 = 1_000;
/// Early answers are sure to arrive if the request is at most this long: the rest is read and forgotten.
const FORGOTTEN_BYTES: u64 = 100 * 1024;

/// Reads the answers of a batch.
pub(crate) async fn read(
    ledger: &Ledger,
    wire: &mut Wire,
    batch: &[&Exchange],
    go_ahead: &Cell<bool>,
    before: &mut Before,
) -> Flow {
    for (at, exchange) in batch.iter().enumerate() {
        match exchange.reading {
            Reading::Eager => {}
            Reading::Resting { ms } => wire.rests = (RESTS, Duration::from_millis(ms)),
            Reading::Late { ms } => sleep(Duration::from_millis(ms)).await,
        }
        let later = &batch[at + 1..];
        let mut judge = Judge { ledger, exchange, later, interims: 0, continued: false };
        before.is_late |= judge.is_late();
        let flow = judge.answer(wire, go_ahead, before).await;
        if flow == Flow::Over {
            return Flow::Over;
        }
    }
    Flow::GoesOn
}

/// When this answer was said, if nobody had asked for it.
fn unasked(head: &Head) -> Option<u64> {
    head.field(MARKER)?.strip_prefix(UNASKED)?.strip_prefix('/')?.parse().ok()
}

struct Judge<'a> {
    ledger: &'a Ledger,
    exchange: &'a Exchange,
    /// What was asked in one go with it.
    later: &'a [&'a Exchange],
    interims: u32,
    /// A 100 has come.
    continued: bool,
}

impl Judge<'_> {
    async fn answer(&mut self, wire: &mut Wire, go_ahead: &Cell<bool>, before: &mut Before) -> Flow {
        let number = self.exchange.number;
        let head = loop {
            let head = match wire.head().await {
                Ok(head) => head,
                Err(end) => {
                    simulation::remark(|| format!("client gets nothing for {number}: {end:?}"));
                    self.nothing(wire, end, before);
                    return Flow::Over;
                }
            };
            match head.status() {
                Some(100) => {
                    self.continued = true;
                    go_ahead.set(true);
                }
                Some(103) => {
                    self.check_marker(&head);
                    self.interims += 1;
                }
                _ => break head,
            }
            self.ledger.count_answer(100);
        };
        let Some(status) = head.status() else {
            self.ledger.violate(format!("exchange {number} gets {:?}", head.words));
            return Flow::Over;
        };
        simulation::remark(|| format!("client gets {status} for {number}"));
        if let Some(said_ms) = unasked(&head) {
            self.check_unasked(said_ms, before);
            return Flow::Over;
        }
        match self.check_marker(&head) {
            Some(attempt) if status == 101 => self.session(wire, &head, attempt).await,
            Some(attempt) => self.of_backend(wire, &head, status, attempt, before).await,
            None => self.of_proxy(wire, &head, status, before).await,
        }
    }

    fn violate(&self, what: impl FnOnce() -> String) {
        let exchange = self.exchange;
        let record = self.ledger.record(exchange.number);
        let who =
            format!("exchange {} ({} {:?}, {record:?})", exchange.number, exchange.method, exchange.act);
        self.ledger.violate(format!("{who}: {}", what()));
    }

    fn check(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violate(what);
        }
    }

    /// An answer that nobody had asked for may be taken for this one's only if it was on its way when this one was asked: of
    /// what was there before, the proxy had to know.
    fn check_unasked(&self, said_ms: u64, before: &Before) {
        let plan = &self.ledger.plan;
        let was_known = before.asked_ms > said_ms + plan.known_ms() && plan.manner != Manner::Hostile;
        self.check(!was_known, || {
            format!("asked at {} ms, it gets what a backend said unasked at {said_ms} ms", before.asked_ms)
        });
    }

    /// The attempt that answered; `None` for an answer of the proxy itself.
    fn check_marker(&self, head: &Head) -> Option<u32> {
        let (number, attempt) = head.field(MARKER)?.split_once('/')?;
        let attempt = attempt.parse().unwrap_or(u32::MAX);
        self.check(number.parse() == Ok(self.exchange.number), || format!("it gets the answer of {number}"));
        self.check(attempt < self.ledger.record(self.exchange.number).attempts, || {
            format!("attempt {attempt} answers, which no backend has seen")
        });
        Some(attempt)
    }

    /// No fault that somebody could notice has had to do with it.
    fn is_calm(&self, wire: &Wire) -> bool {
        !wire.is_disturbed() && self.ledger.is_calm()
    }

    /// The client reads so late that the proxy may have given it up, or its connection for idle.
    fn is_late(&self) -> bool {
        let settings = &self.ledger.plan.settings;
        let patience_ms = settings.stall_ms.min(settings.idle_ms);
        matches!(self.exchange.reading, Reading::Late { ms } if ms + LATE_MS >= patience_ms)
    }

    // ---- an answer of a backend ----

    async fn of_backend(
        &mut self,
        wire: &mut Wire,
        head: &Head,
        status: u16,
        attempt: u32,
        before: &mut Before,
    ) -> Flow {
        let (exchange, answer) = (self.exchange, self.exchange.answer(attempt));
        self.ledger.count_answer(status);
        self.check(status == answer.status, || format!("{} became {status}", answer.status));
        let Some(framing) = head.answer_framing(exchange.method == "HEAD") else {
            self.violate(|| "nobody knows where the answer ends".to_owned());
            return Flow::Over;
        };
        let mut checker = Checker::new(Owner { exchange: exchange.number, part: Part::Answer });
        let end = wire.body(framing, |bytes| checker.take(bytes)).await;
        wire.rests.0 = 0;
        self.check(checker.wrong_at.is_none(), || format!("its answer is wrong at {:?}", checker.wrong_at));
        match end {
            Err(end) => {
                self.broken_off(wire, answer.act, end, before);
                Flow::Over
            }
            Ok(()) => {
                let planned = if exchange.has_answer_body(status) { answer.body.bytes } else { 0 };
                self.check(checker.seen == planned && answer.act.answers_wholly(), || {
                    format!(
                        "its answer ends at {} of {planned} and looks whole ({:?})",
                        checker.seen, answer.act
                    )
                });
                if self.ledger.plan.manner == Manner::Clean {
                    self.check(self.interims == answer.interims, || {
                        format!("{} interim answers", self.interims)
                    });
                }
                let is_forced = answer.act == BackendAct::Early || (exchange.expect && !self.continued);
                before.may_end |= is_forced;
                self.after(wire, head, is_forced).await
            }
        }
    }

    fn broken_off(&self, wire: &Wire, act: BackendAct, end: End, before: &Before) {
        self.check(end != End::Nonsense, || "its answer is framed as nonsense".to_owned());
        self.check(end != End::Silence || wire.is_disturbed(), || "its answer never ends".to_owned());
        self.check(end != End::Fin, || "its answer is cut, but ends in order".to_owned());
        let is_excused = before.is_late || self.may_be_lost(act) || self.is_cut_later();
        let is_right = is_excused || act.breaks_off() || !self.is_calm(wire);
        self.check(is_right, || format!("its answer breaks off: {end:?} ({act:?})"));
    }

    /// A cut for the sake of a later answer takes with it what was still on its way.
    fn is_cut_later(&self) -> bool {
        self.later.iter().any(|exchange| {
            let act = self.ledger.record(exchange.number).act;
            matches!(exchange.act, ClientAct::Cut { .. }) || act.is_some_and(BackendAct::breaks_off)
        })
    }

    /// An early answer may be lost when a long request is still coming.
    fn may_be_lost(&self, act: BackendAct) -> bool {
        act == BackendAct::Early && self.exchange.body.is_some_and(|body| body.bytes > FORGOTTEN_BYTES)
    }

    /// After a whole answer: does the connection live on?
    async fn after(&mut self, wire: &mut Wire, head: &Head, is_forced: bool) -> Flow {
        let exchange = self.exchange;
        if !head.has_token("connection", "close") {
            self.check(!exchange.close, || "close is not confirmed".to_owned());
            return if exchange.act == ClientAct::Good { Flow::GoesOn } else { Flow::Over };
        }
        let is_reason = exchange.close
            || is_forced
            || self.ledger.drained.get()
            || matches!(exchange.act, ClientAct::Cut { .. } | ClientAct::Stall { .. })
            || !self.is_calm(wire);
        self.check(is_reason, || "its connection is closed for no reason".to_owned());
        match wire.head().await {
            Ok(head) => self.violate(|| format!("{:?} comes behind the last answer", head.words)),
            Err(End::Silence) if !wire.is_disturbed() => {
                self.violate(|| "its connection is not closed as was said".to_owned());
            }
            Err(End::Nonsense) => self.violate(|| "nonsense comes behind the last answer".to_owned()),
            Err(_) => {}
        }
        Flow::Over
    }

    async fn session(&mut self, wire: &mut Wire, head: &Head, attempt: u32) -> Flow {
        let (exchange, answer) = (self.exchange, self.exchange.answer(attempt));
        let is_right =
            exchange.session.is_some() && answer.act != BackendAct::BadAccept && answer.status == 101;
        self.check(is_right, || "a session that nobody asked for, or a false one".to_owned());
        let accept = ws::accept(ws::KEY);
        self.check(head.field("sec-websocket-accept") == Some(accept.as_str()), || "a false key".to_owned());
        self.ledger.seen.sessions.set(self.ledger.seen.sessions.get() + 1);
        self.ledger.count_answer(101);
        if let Some(plan) = &exchange.session {
            let [up, down] = self.ledger.seen.messages.get();
            self.ledger.seen.messages.set([up + plan.up.len() as u64, down + plan.down.len() as u64]);
        }
        session::speak(self.ledger, wire, exchange, session::Side::Client).await;
        Flow::Over
    }

    // ---- an answer of the proxy ----

    async fn of_proxy(&mut self, wire: &mut Wire, head: &Head, status: u16, before: &mut Before) -> Flow {
        self.ledger.count_answer(status);
        let framing =
            head.answer_framing(self.exchange.method == "HEAD").unwrap_or(crate::wire::Framing::None);
        let end = wire.body(framing, |_| {}).await;
        self.check(matches!(status, 400 | 408 | 502 | 503 | 504), || format!("the proxy answers {status}"));
        let is_excused = before.is_late || self.is_cut_later();
        self.check(end.is_ok() || is_excused || !self.is_calm(wire), || {
            format!("the proxy's {status} breaks off: {end:?}")
        });
        if self.is_calm(wire) {
            let expected = self.expected();
            // A reset may overtake the beginning of the answer that it cuts.
            let is_lost = expected.is_none() && status == 502 && self.is_reset_by_backend();
            // Who stalls is told so, unless the backend's failure comes first.
            let is_stalled = status == 408 && matches!(self.exchange.act, ClientAct::Stall { .. });
            let is_unusable = status == 503
                && self.ledger.may_be_open()
                && self.ledger.record(self.exchange.number).attempts == 0;
            self.check(is_lost || is_stalled || is_unusable || expected == Some(status), || {
                format!("the proxy answers {status}, not {expected:?}")
            });
            self.check(!self.must_be_repeated(), || format!("{status}, but it was not tried again"));
        }
        before.may_end = true;
        self.after(wire, head, true).await
    }

    /// What the proxy should answer by itself.
    fn expected(&self) -> Option<u16> {
        if self.exchange.act == ClientAct::Malformed {
            return Some(400);
        }
        match self.ledger.record(self.exchange.number).act? {
            BackendAct::CloseBefore { .. } | BackendAct::MalformedHead | BackendAct::BadAccept => Some(502),
            BackendAct::StallBefore => Some(504),
            _ => None,
        }
    }

    fn is_reset_by_backend(&self) -> bool {
        let ends = self.exchange.session.as_ref().map(|session| session.end);
        matches!(self.ledger.record(self.exchange.number).act, Some(BackendAct::Cut { reset: true, .. }))
            || matches!(ends, Some(SessionEnd::BackendGone { reset: true, .. }))
    }

    /// One attempt failed in a way that asks for another, and there was one to be had (decision 0009).
    fn must_be_repeated(&self) -> bool {
        let (exchange, plan) = (self.exchange, &self.ledger.plan);
        let record = self.ledger.record(exchange.number);
        let is_small = exchange.body.is_none_or(|body| body.bytes <= 60_000);
        let failed = matches!(record.act, Some(BackendAct::CloseBefore { .. }));
        let answer = exchange.answer(0);
        // An interim answer is a sign of work on the request.
        let is_silent = answer.interims == 0 && !(exchange.expect && answer.says_continue);
        let fewest = plan.reloads.iter().map(|(_, backends)| backends.len()).min().unwrap_or(usize::MAX);
        let has_other =
            fewest.min(plan.backends) > 1 && plan.settings.retries > 0 && !self.ledger.may_be_open();
        let can = record.reused || has_other;
        failed
            && record.attempts == 1
            && exchange.is_idempotent()
            && is_small
            && is_silent
            && can
            && exchange.act == ClientAct::Good
    }

    // ---- no answer ----

    fn nothing(&self, wire: &Wire, end: End, before: &Before) {
        self.check(end != End::Nonsense, || "it gets nonsense".to_owned());
        self.check(end != End::Silence || wire.is_disturbed(), || "it never gets an answer".to_owned());
        let record = self.ledger.record(self.exchange.number);
        if !self.is_calm(wire) || before.may_end || before.is_late || self.is_cut_later() {
            return;
        }
        if self.ledger.drained.get() && record.attempts == 0 {
            return;
        }
        let request = self.exchange.request();
        let is_excused = match self.exchange.act {
            ClientAct::Cut { .. } => true,
            // Without a byte of it nothing is owed; an answer that has begun is cut.
            ClientAct::Stall { part } => {
                part_of(request.bytes.len(), part) == 0
                    || record.act.is_some_and(|act| act == BackendAct::Early)
            }
            _ => record.act.is_some_and(|act| act.breaks_off() || self.may_be_lost(act)),
        };
        self.check(is_excused, || format!("it gets no answer: {end:?}"));
        if record.act.is_some_and(BackendAct::breaks_off) && matches!(self.exchange.act, ClientAct::Good) {
            self.check(end == End::Reset, || format!("a cut is no {end:?}"));
        }
        debug_assert!(self.exchange.body.is_none_or(|body| body.framing != Framing::UntilClose));
    }
}
