//! What an answer, or its absence, means: good, wrong, lost, or the fault of a backend that was killed.
//!
//! Used for every request of a well-behaved client, and for attackers that are owed answers. The rules:
//!
//! - **Good**: 200 and exactly the bytes that belong to the request.
//! - **Wrong**: 200 with any other bytes, or word from a backend that the upload did not arrive as it was sent.
//! - **Cut by a kill**: the head had come, it names a backend process that has been killed, and the body is not whole.
//!   Nobody can repeat what the client has seen half of; it must only not look whole, and it does not.
//! - **In flight at a kill**: a POST without an answer whose time, from its first byte sent to its failure, touches the
//!   killing of a backend. It may have been acted upon, so it is not repeated. A GET gets no such excuse.
//! - **Lost**: everything else. Another backend lived, so there must be none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::content;
use crate::http::{Answer, Broken};

/// How long after a kill its resets may still be on their way through two loaded processes.
const KILL_ECHO: Duration = Duration::from_millis(250);

/// When which backend process was killed; shared by who kills and who judges.
#[derive(Clone, Default)]
pub(crate) struct Kills(Arc<Mutex<Vec<Kill>>>);

struct Kill {
    backend: String,
    begun: Instant,
    /// `None` while the process is being waited for.
    ended: Option<Instant>,
}

impl Kills {
    /// A process is about to be killed: noted before the signal is sent.
    pub(crate) fn begin(&self, backend: &str) {
        let kill = Kill { backend: backend.to_owned(), begun: Instant::now(), ended: None };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(kill);
    }

    /// The process is gone.
    pub(crate) fn end(&self) {
        if let Some(kill) = self.0.lock().unwrap_or_else(PoisonError::into_inner).last_mut() {
            kill.ended = Some(Instant::now());
        }
    }

    /// How many there were.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// True once that process has been killed, or is being killed.
    pub(crate) fn has(&self, backend: Option<&str>) -> bool {
        let kills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        backend.is_some_and(|name| kills.iter().any(|kill| kill.backend == name))
    }

    /// True if some process was killed while this lasted.
    fn touch(&self, from: Instant, to: Instant) -> bool {
        let kills = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kills.iter().any(|kill| kill.begun <= to && kill.ended.is_none_or(|ended| ended + KILL_ECHO >= from))
    }
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

/// One request, as far as its answer is judged by it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) id: u64,
    pub(crate) answer_len: usize,
    pub(crate) sent_at: Instant,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    Good,
    Wrong,
    Lost,
    CutByKill,
    InFlightAtKill,
}

/// Judges one request at the moment when its answer was whole or failed.
pub(crate) fn judge(kills: &Kills, asked: &Asked, outcome: &Result<Answer, Broken>) -> Class {
    match outcome {
        Ok(answer) if answer.head.status == 200 => {
            let own = answer.body == content::bytes(asked.id, asked.answer_len);
            if own { Class::Good } else { Class::Wrong }
        }
        Ok(answer) if answer.head.backend().is_some() => Class::Wrong,
        Err(Broken { head: Some(head), .. }) if kills.has(head.backend()) => Class::CutByKill,
        Ok(_) | Err(_) if asked.method == Method::Post && kills.touch(asked.sent_at, Instant::now()) => {
            Class::InFlightAtKill
        }
        Ok(_) | Err(_) => Class::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Head;
    use harness::message::Fields;

    fn head(status: u16, backend: Option<&str>) -> Head {
        let fields = backend.map(|name| ("X-Backend".to_owned(), name.to_owned()));
        Head { status, fields: Fields(fields.into_iter().collect()) }
    }

    fn asked(method: Method, sent_at: Instant) -> Asked {
        Asked { method, id: 9, answer_len: 3, sent_at }
    }

    fn whole(status: u16, backend: Option<&str>, body: &[u8]) -> Result<Answer, Broken> {
        Ok(Answer { head: head(status, backend), body: body.to_vec() })
    }

    fn cut(backend: Option<&str>) -> Result<Answer, Broken> {
        Err(Broken { how: "reset", head: backend.map(|name| head(200, Some(name))) })
    }

    #[test]
    fn only_a_kill_excuses() {
        let before = Instant::now() - Duration::from_secs(9);
        let kills = Kills::default();
        kills.begin("b2.1");
        kills.end();
        let now = Instant::now();
        let long_after = now + KILL_ECHO * 2;
        let own = content::bytes(9, 3);
        use {Class::*, Method::*};
        let rows = [
            (Get, before, whole(200, Some("b1.1"), &own), Good),
            (Get, before, whole(200, Some("b1.1"), b"abc"), Wrong),
            (Get, before, whole(200, Some("b1.1"), &own[..2]), Wrong),
            (Post, before, whole(422, Some("b1.1"), b""), Wrong), // the origin's own complaint
            (Get, before, cut(Some("b2.1")), CutByKill),
            (Get, before, cut(Some("b2.2")), Lost), // its successor lives
            (Get, before, cut(Some("b1.1")), Lost),
            (Get, before, cut(None), Lost),
            (Get, before, whole(502, None, b""), Lost),
            (Post, before, whole(502, None, b""), InFlightAtKill),
            (Post, before, cut(None), InFlightAtKill),
            (Post, long_after, whole(502, None, b""), Lost),
            (Post, before, whole(503, Some("b1.1"), b""), Wrong),
        ];
        for (at, (method, sent_at, outcome, expected)) in rows.into_iter().enumerate() {
            assert_eq!(judge(&kills, &asked(method, sent_at), &outcome), expected, "row {at}");
        }
    }

    #[test]
    fn a_kill_still_going_on_excuses_too() {
        let kills = Kills::default();
        kills.begin("b2.1");
        let outcome = whole(502, None, b"");
        assert_eq!(judge(&kills, &asked(Method::Post, Instant::now()), &outcome), Class::InFlightAtKill);
        assert_eq!(judge(&kills, &asked(Method::Get, Instant::now()), &outcome), Class::Lost);
    }
}
