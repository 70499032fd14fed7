//! A well-behaved WebSocket session: one message after the other at fixed times, each echo checked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::ws::{self, opcode};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};

use super::Shared;
use super::tally::{Lane, Row};
use crate::content;
use crate::dice::Dice;
use crate::frames::{self, Frame};
use crate::http::Link;
use crate::judge::Class;

/// How long an echo may take: above every deadline of the proxy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A session and the backend process that it is with.
struct Session {
    stream: BufReader<TcpStream>,
    backend: Option<String>,
}

/// Sends `rate` messages a second until it is told to stop; opens a new session where one has ended.
pub(super) async fn run(shared: Arc<Shared>, rate: u64, mut dice: Dice) {
    let step = Duration::from_micros(1_000_000 / rate.max(1));
    let mut session: Option<Session> = None;
    let mut due = Instant::now() + step.mul_f64(dice.below(1_000) as f64 / 1_000.0);
    loop {
        let was_busy = Instant::now() > due;
        sleep_until(due.into()).await;
        if shared.stopped() {
            break;
        }
        let counts_from = if was_busy { due } else { Instant::now() };
        due += step;
        let mut open = match session.take() {
            Some(open) => open,
            None => match begin(&shared).await {
                Some(open) => open,
                None => continue,
            },
        };
        if echoes(&shared, &mut open, &mut dice, counts_from).await {
            session = Some(open);
        }
    }
    if let Some(mut open) = session {
        let close = ws::client_frame(opcode::CLOSE, &1000_u16.to_be_bytes());
        if open.stream.write_all(&close).await.is_ok() {
            // Its Close, or the end: both are well.
            let _ = timeout(PATIENCE, frames::read(&mut open.stream)).await;
        }
    }
}

/// The handshake is a GET, so it must succeed as long as one backend lives.
async fn begin(shared: &Shared) -> Option<Session> {
    let mut link = match Link::open(shared.addr).await {
        Ok(link) => link,
        Err(broken) => {
            shared.note(|tally| tally.no_connection(Lane::Session, broken.how));
            return None;
        }
    };
    shared.note(|tally| tally.sent(Row::Get));
    let outcome = link.exchange(ws::upgrade("/ws").as_bytes()).await;
    let (class, what) = match &outcome {
        Ok(answer) if answer.head.status == 101 => (Class::Good, String::new()),
        Ok(answer) => (Class::Lost, format!("status {}", answer.head.status)),
        Err(broken) => (Class::Lost, broken.how.to_owned()),
    };
    note(shared, Row::Get, class, || format!("handshake: {what}"));
    let backend = outcome.ok().filter(|_| class == Class::Good)?.head.backend().map(str::to_owned);
    // The origin speaks only when spoken to, so nothing has been read ahead.
    Some(Session { stream: BufReader::new(link.stream), backend })
}

/// One message and its echo. False when the session has ended.
async fn echoes(shared: &Shared, session: &mut Session, dice: &mut Dice, due: Instant) -> bool {
    let id = shared.id();
    let payload = content::bytes(id, dice.between(0, 2_000) as usize);
    shared.note(|tally| tally.sent(Row::Message));
    let sent = session.stream.write_all(&ws::client_frame(opcode::BINARY, &payload)).await;
    let echo = timeout(PATIENCE, frames::read(&mut session.stream)).await;
    let (class, what) = match (sent, echo) {
        (_, Ok(Some(Frame { first: 0x82, payload: echoed }))) if echoed == payload => (Class::Good, "echo"),
        (_, Ok(Some(frame)))
            if frame.opcode() == opcode::CLOSE && shared.kills.has(session.backend.as_deref()) =>
        {
            (Class::CutByKill, "closed")
        }
        (_, Ok(Some(frame))) if frame.opcode() == opcode::CLOSE => (Class::Lost, "a Close"),
        (_, Ok(Some(_))) => (Class::Wrong, "another frame"),
        (_, Ok(None)) | (Err(_), _) if shared.kills.has(session.backend.as_deref()) => {
            (Class::CutByKill, "cut")
        }
        (_, Ok(None)) | (Err(_), _) => (Class::Lost, "the session ended"),
        (_, Err(_)) => (Class::Lost, "no echo in time"),
    };
    if class == Class::Good {
        shared.note(|tally| tally.took(Lane::Session, due.elapsed()));
    }
    note(shared, Row::Message, class, || format!("message {id} to {:?}: {what}", session.backend));
    class == Class::Good
}

fn note(shared: &Shared, row: Row, class: Class, text: impl FnOnce() -> String) {
    shared.note(|tally| {
        tally.judged(row, class);
        if matches!(class, Class::Wrong | Class::Lost) {
            tally.trouble(format!("Session {class:?}: {}", text()));
        }
    });
}
