//! Whether one backend is alive: one word that all cores share.
//!
//! ```text
//!             failures in a row, or trip            the wait is over: try_trial
//!    ALIVE ──────────────────────────────► OPEN ──────────────────────────────► TRIAL
//!      ▲                                    ▲ ▲                                 │ │ │
//!      │                                    │ └── failed: waits twice as long ──┘ │ │
//!      │                                    └──── dropped: nobody waits for it ───┘ │
//!      └────────────────────────────── succeeded ──────────────────────────────────┘
//!
//!    beside it: dead by probe (a probe sets and clears it), and maintenance (the operator sets it, and only he clears it)
//! ```
//!
//! Carried from table to table with its backend. `exchange/` asks before it picks and tells how it went; the prober tells
//! of probes; the control plane of maintenance. What must hold: while all is well nobody writes, so that the line stays in
//! every core's cache; over all cores one trial runs at a time; a trial that nobody hears of again gives way to another.
//!
//! Each change is a pure function of the word, made with one compare-and-exchange. The word says nothing about other
//! memory, so no ordering beyond its own is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use config_core::model::{ActiveCheck, CircuitBreaker};

use super::breaker::{Opened, timeout_ms};

/// How long others wait for a trial. It ends by its outcome or by being dropped; this is for one that hangs.
const TRIAL_MS_MAX: u64 = 60_000;
/// A backend that starts slowly begins with this share, so that it is tried at all.
const SHARE_MIN: f32 = 0.05;

/// The word and, beside it, what the one prober keeps.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct HealthState {
    /// A [`Word`], packed.
    word: AtomicU64,
    /// Probes of the same outcome in a row; the highest bit says which. Written by the prober alone.
    probes: AtomicU32,
}

/// What the word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    phase: Phase,
    /// The operator has taken it out.
    maintenance: bool,
    /// Probes fail.
    probe_dead: bool,
    /// Failures in a row while alive.
    failures: u32,
    /// Times in a row that the circuit has opened.
    openings: u32,
    /// Alive: since when. Open: until when. Trial: until when others wait for it.
    at_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Alive,
    Open,
    Trial,
}

/// Whether a backend may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// It may.
    Usable,
    /// By who gets [`HealthState::try_trial`].
    Trial,
    /// It may not.
    No,
}

/// What is known of a backend, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It serves.
    Alive,
    /// The circuit is open; for so long nobody is let through.
    Open {
        /// 0: the next exchange is the trial.
        for_ms: u64,
    },
    /// One exchange tries it out.
    HalfOpen,
    /// Probes fail.
    DeadByProbe,
    /// The operator has taken it out.
    Maintenance,
}

/// What a probe has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// It is dead.
    Died,
    /// It is alive again.
    CameBack,
    /// It answers; an exchange may try it out sooner than it would have.
    TrialSooner,
}

/// The one exchange that tries a backend out. Dropped without an outcome (the client left), it makes room for another.
#[derive(Debug)]
#[must_use]
pub(crate) struct Trial {
    health: Arc<HealthState>,
    /// Tells it from other trials; `None` once it has had its outcome.
    until_ms: Option<u64>,
}

impl HealthState {
    /// A backend that is taken to be alive since `since_ms`; 0: for ever, so that it has its full share at once.
    pub(crate) fn new(since_ms: u64) -> HealthState {
        HealthState { word: AtomicU64::new(Word::alive(since_ms).pack()), probes: AtomicU32::new(0) }
    }

    /// Whether it may be picked.
    #[inline]
    pub(crate) fn availability(&self, now_ms: u64) -> Availability {
        let word = self.word.load(Ordering::Relaxed);
        if word & Word::NOT_ALIVE == 0 {
            Availability::Usable
        } else {
            Word::unpack(word).availability(now_ms)
        }
    }

    /// Lets the caller try the backend out, if it is time and nobody else does.
    pub(crate) fn try_trial(self: &Arc<Self>, now_ms: u64) -> Option<Trial> {
        let (_, after) = self.update(|word| {
            (word.availability(now_ms) == Availability::Trial).then(|| Word {
                phase: Phase::Trial,
                at_ms: now_ms.saturating_add(TRIAL_MS_MAX),
                ..word
            })
        })?;
        Some(Trial { health: Arc::clone(self), until_ms: Some(after.at_ms) })
    }

    /// An exchange went well, as far as the backend is concerned. Of a backend whose circuit is open only its trial counts:
    /// others began before it opened.
    #[inline]
    pub(crate) fn on_success(&self, trial: Option<Trial>, now_ms: u64) {
        if let Some(trial) = trial {
            return trial.succeed(now_ms);
        }
        if self.word.load(Ordering::Relaxed) & Word::FAILURES != 0 {
            self.update(|word| (word.failures != 0).then_some(Word { failures: 0, ..word }));
        }
    }

    /// An exchange failed, and the backend is to blame. The answer is for the one who opened the circuit, to log it.
    pub(crate) fn on_failure(
        &self,
        trial: Option<Trial>,
        now_ms: u64,
        breaker: &CircuitBreaker,
    ) -> Option<Opened> {
        if let Some(trial) = trial {
            return trial.fail(now_ms, breaker);
        }
        let threshold = breaker.failure_threshold;
        if threshold == 0 {
            return None;
        }
        let (_, after) = self.update(|word| {
            let failures = word.failures.saturating_add(1).min(Word::FAILURES_MAX);
            match word.phase {
                Phase::Alive if failures >= threshold.min(Word::FAILURES_MAX) => {
                    Some(word.open(now_ms, breaker))
                }
                Phase::Alive => Some(Word { failures, ..word }),
                Phase::Open | Phase::Trial => None,
            }
        })?;
        after.opened(breaker)
    }

    /// Too many of a core's exchanges failed ([`LocalWindow`](super::breaker::LocalWindow)): opens the circuit.
    pub(crate) fn trip(&self, now_ms: u64, breaker: &CircuitBreaker) -> Option<Opened> {
        let (_, after) =
            self.update(|word| (word.phase == Phase::Alive).then(|| word.open(now_ms, breaker)))?;
        after.opened(breaker)
    }

    /// A probe ended. `check` is `None` where active checks are off and only dead backends are probed. Called by one
    /// prober at a time.
    ///
    /// A good probe does not close an open circuit, for exchanges fail where probes may not: it takes the doublings
    /// back, so that the trial is after the first wait.
    pub(crate) fn on_probe(
        &self,
        ok: bool,
        check: Option<&ActiveCheck>,
        breaker: &CircuitBreaker,
        now_ms: u64,
    ) -> Option<Probed> {
        let in_a_row = self.count_probe(ok);
        let threshold = match (ok, check) {
            (true, check) => check.map_or(1, |check| check.healthy_threshold),
            (false, Some(check)) => check.unhealthy_threshold,
            (false, None) => return None,
        };
        if in_a_row < threshold.max(1) {
            return None;
        }
        let (before, _) =
            self.update(|word| if ok { word.revived(now_ms, breaker) } else { word.killed() })?;
        Some(match (ok, before.probe_dead) {
            (false, _) => Probed::Died,
            (true, true) => Probed::CameBack,
            (true, false) => Probed::TrialSooner,
        })
    }

    /// Active checks were switched off: what they said no longer counts.
    pub(crate) fn forget_probes(&self, now_ms: u64) {
        self.probes.store(0, Ordering::Relaxed);
        self.update(|word| word.probe_dead.then(|| Word { probe_dead: false, ..word.restarted(now_ms) }));
    }

    /// The operator takes it out, or says that it is alive, whatever exchanges and probes have shown. True if that was
    /// news.
    pub(crate) fn set_maintenance(&self, on: bool, now_ms: u64) -> bool {
        let changed = self.update(|word| match (on, word.maintenance, word.condition(now_ms)) {
            (true, false, _) => Some(Word { maintenance: true, ..word }),
            (true, true, _) | (false, _, Condition::Alive) => None,
            (false, ..) => Some(Word::alive(now_ms)),
        });
        changed.is_some()
    }

    /// How long it has been alive; `None` if it is not.
    pub(crate) fn alive_for_ms(&self, now_ms: u64) -> Option<u64> {
        let word = Word::unpack(self.word.load(Ordering::Relaxed));
        let is_alive = word.condition(now_ms) == Condition::Alive;
        is_alive.then(|| now_ms.saturating_sub(word.at_ms))
    }

    /// Since when it has been alive; 0 if it is not.
    #[inline]
    pub(crate) fn alive_since_ms(&self) -> u64 {
        let word = self.word.load(Ordering::Relaxed);
        if word & Word::NOT_ALIVE == 0 { word >> Word::AT_SHIFT } else { 0 }
    }

    /// Its part of a full share while it starts slowly, from a twentieth to 1; always 1 for a trial.
    #[inline]
    pub(crate) fn share(&self, now_ms: u64, slow_start_ms: u64) -> f32 {
        let word = self.word.load(Ordering::Relaxed);
        if slow_start_ms == 0 || word & Word::NOT_ALIVE != 0 {
            return 1.0;
        }
        let age_ms = now_ms.saturating_sub(word >> Word::AT_SHIFT);
        if age_ms >= slow_start_ms { 1.0 } else { (age_ms as f32 / slow_start_ms as f32).max(SHARE_MIN) }
    }

    /// What is known of it, for people.
    pub(crate) fn condition(&self, now_ms: u64) -> Condition {
        Word::unpack(self.word.load(Ordering::Relaxed)).condition(now_ms)
    }

    /// How many probes in a row, this one included, have had this outcome.
    fn count_probe(&self, ok: bool) -> u32 {
        const OK: u32 = 1 << 31;
        let outcome = if ok { OK } else { 0 };
        let before = self.probes.load(Ordering::Relaxed);
        let count = if before & OK == outcome { (before & !OK).saturating_add(1).min(!OK) } else { 1 };
        self.probes.store(outcome | count, Ordering::Relaxed);
        count
    }

    /// Changes the word as `change` says, before and after; `None` if it wants no change.
    fn update(&self, change: impl Fn(Word) -> Option<Word>) -> Option<(Word, Word)> {
        let mut packed = self.word.load(Ordering::Relaxed);
        loop {
            let before = Word::unpack(packed);
            let after = change(before)?;
            let next = after.pack();
            match self.word.compare_exchange_weak(packed, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((before, Word::unpack(next))),
                Err(other) => packed = other,
            }
        }
    }
}

impl Trial {
    fn succeed(mut self, now_ms: u64) {
        self.settle(|word| Word { phase: Phase::Alive, failures: 0, openings: 0, at_ms: now_ms, ..word });
    }

    fn fail(mut self, now_ms: u64, breaker: &CircuitBreaker) -> Option<Opened> {
        self.settle(|word| word.open(now_ms, breaker))?.opened(breaker)
    }

    /// Changes the word if the trial still runs, and was not given up for another one.
    fn settle(&mut self, change: impl Fn(Word) -> Word) -> Option<Word> {
        let until_ms = self.until_ms.take()?;
        let runs = |word: &Word| word.phase == Phase::Trial && word.at_ms == until_ms;
        let (_, after) = self.health.update(|word| runs(&word).then(|| change(word)))?;
        Some(after)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        self.settle(|word| Word { phase: Phase::Open, at_ms: 0, ..word });
    }
}

impl Word {
    // From the lowest bit: 2 of the phase, maintenance, dead by probe, 12 of failures, 6 of openings, 42 of the time.
    const MAINTENANCE: u64 = 1 << 2;
    const PROBE_DEAD: u64 = 1 << 3;
    const NOT_ALIVE: u64 = 0b1111;
    const FAILURES_SHIFT: u32 = 4;
    /// More failures in a row than this are not told apart; validation allows no higher threshold.
    const FAILURES_MAX: u32 = 0xFFF;
    const FAILURES: u64 = (Self::FAILURES_MAX as u64) << Self::FAILURES_SHIFT;
    const OPENINGS_SHIFT: u32 = 16;
    const OPENINGS_MAX: u32 = 0x3F;
    const AT_SHIFT: u32 = 22;
    /// 139 years.
    const AT_MAX: u64 = (1 << 42) - 1;

    fn alive(since_ms: u64) -> Word {
        Word {
            phase: Phase::Alive,
            maintenance: false,
            probe_dead: false,
            failures: 0,
            openings: 0,
            at_ms: since_ms,
        }
    }

    fn pack(self) -> u64 {
        let phase = match self.phase {
            Phase::Alive => 0,
            Phase::Open => 1,
            Phase::Trial => 2,
        };
        let flag = |on: bool, bit: u64| if on { bit } else { 0 };
        phase
            | flag(self.maintenance, Self::MAINTENANCE)
            | flag(self.probe_dead, Self::PROBE_DEAD)
            | u64::from(self.failures.min(Self::FAILURES_MAX)) << Self::FAILURES_SHIFT
            | u64::from(self.openings.min(Self::OPENINGS_MAX)) << Self::OPENINGS_SHIFT
            | self.at_ms.min(Self::AT_MAX) << Self::AT_SHIFT
    }

    fn unpack(word: u64) -> Word {
        Word {
            phase: match word & 3 {
                0 => Phase::Alive,
                1 => Phase::Open,
                _ => Phase::Trial,
            },
            maintenance: word & Self::MAINTENANCE != 0,
            probe_dead: word & Self::PROBE_DEAD != 0,
            failures: (word >> Self::FAILURES_SHIFT) as u32 & Self::FAILURES_MAX,
            openings: (word >> Self::OPENINGS_SHIFT) as u32 & Self::OPENINGS_MAX,
            at_ms: word >> Self::AT_SHIFT,
        }
    }

    fn condition(self, now_ms: u64) -> Condition {
        match self.phase {
            _ if self.maintenance => Condition::Maintenance,
            _ if self.probe_dead => Condition::DeadByProbe,
            Phase::Alive => Condition::Alive,
            Phase::Open => Condition::Open { for_ms: self.at_ms.saturating_sub(now_ms) },
            Phase::Trial if now_ms < self.at_ms => Condition::HalfOpen,
            Phase::Trial => Condition::Open { for_ms: 0 },
        }
    }

    fn availability(self, now_ms: u64) -> Availability {
        match self.condition(now_ms) {
            Condition::Alive => Availability::Usable,
            Condition::Open { for_ms: 0 } => Availability::Trial,
            _ => Availability::No,
        }
    }

    /// The circuit opens, for the first time or again.
    fn open(self, now_ms: u64, breaker: &CircuitBreaker) -> Word {
        let openings = (self.openings + 1).min(Self::OPENINGS_MAX);
        let at_ms = now_ms.saturating_add(timeout_ms(breaker, openings));
        Word { phase: Phase::Open, failures: 0, openings, at_ms, ..self }
    }

    fn opened(self, breaker: &CircuitBreaker) -> Option<Opened> {
        (self.phase == Phase::Open)
            .then(|| Opened { timeout_ms: timeout_ms(breaker, self.openings), openings: self.openings })
    }

    /// Probes fail; `None` if that is known.
    fn killed(self) -> Option<Word> {
        (!self.probe_dead).then_some(Word { probe_dead: true, ..self })
    }

    /// Probes succeed; `None` if that changes nothing.
    fn revived(self, now_ms: u64, breaker: &CircuitBreaker) -> Option<Word> {
        let next = Word { probe_dead: false, ..self };
        let next = match self.phase {
            Phase::Open if self.at_ms > now_ms => {
                let excess_ms = timeout_ms(breaker, self.openings).saturating_sub(timeout_ms(breaker, 1));
                let at_ms = self.at_ms.saturating_sub(excess_ms).max(now_ms);
                Word { openings: self.openings.min(1), at_ms, ..next }
            }
            _ if self.probe_dead => next.restarted(now_ms),
            _ => next,
        };
        (next != self).then_some(next)
    }

    /// Alive from now on, if its circuit is closed.
    fn restarted(self, now_ms: u64) -> Word {
        match self.phase {
            Phase::Alive => Word { failures: 0, at_ms: now_ms, ..self },
            Phase::Open | Phase::Trial => self,
        }
    }
}

#[cfg(test)]
mod tests;
