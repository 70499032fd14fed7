//! WebSocket sessions: both sides send the frames of the plan and compare what arrives, byte for byte, with what the other
//! sends.
//!
//! What must hold: whatever happens, a side hears the beginning of what the other has said, and behind it at most a Close
//! of the proxy, where that splits no frame.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use engine::io::sleep;
use engine::simulation::{self, Chance};
use harness::ws::{self, opcode};

use crate::backend::part_of;
use crate::bodies::{Owner, Part};
use crate::ledger::Ledger;
use crate::message::pieces;
use crate::plan::{Exchange, Session, SessionEnd};
use crate::wire::{End, Sender, Wire};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Backend,
}

impl Side {
    fn other(self) -> Side {
        if self == Side::Client { Side::Backend } else { Side::Client }
    }
}

const MASK: [u8; 4] = [0x11, 0xEE, 0x5A, 0x03];
/// Longest pause between two pieces: below every idle time.
const PAUSE_MS_MAX: u64 = 100;
const FIN: u8 = 0x80;
/// A client's frame that is not masked (RFC 6455 5.1).
const BARE: &[u8] = b"\x82\x04bare";
const PING: &[u8] = b"still there";

/// What one side says.
struct Speech {
    bytes: Vec<u8>,
    /// Where frames begin and end.
    boundaries: Vec<usize>,
    /// How it stops, if not by its last byte.
    leaves: Option<bool>,
    /// A frame that breaks the rules follows.
    is_bare: bool,
}

impl Speech {
    fn of(exchange: &Exchange, session: &Session, side: Side) -> Speech {
        let (sizes, part, mask) = match side {
            Side::Client => (&session.up, Part::Up, Some(MASK)),
            Side::Backend => (&session.down, Part::Down, None),
        };
        let mut chance = Chance::new(u64::from(exchange.number) << 1 | u64::from(mask.is_some()));
        let is_bare = session.end == SessionEnd::Violation && side == Side::Client;
        let mut payload = Payload { owner: Owner { exchange: exchange.number, part }, at: 0 };
        let mut speech = Speech { bytes: Vec::new(), boundaries: vec![0], leaves: None, is_bare };
        for size in sizes {
            speech.say_message(*size, &mut payload, mask, &mut chance);
        }
        match session.end {
            SessionEnd::Silent => {}
            _ if is_bare => {}
            _ => speech.say(&ws::frame(FIN | opcode::CLOSE, &1000_u16.to_be_bytes(), mask)),
        }
        speech.leave(session.end, side);
        speech
    }

    fn say(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.boundaries.push(self.bytes.len());
    }

    fn say_message(&mut self, size: u64, payload: &mut Payload, mask: Option<[u8; 4]>, chance: &mut Chance) {
        if chance.below(3) > 0 {
            return self.say(&ws::frame(FIN | opcode::BINARY, &payload.take(size), mask));
        }
        let first = chance.below(size + 1);
        self.say(&ws::frame(opcode::BINARY, &payload.take(first), mask));
        if chance.below(2) == 0 {
            self.say(&ws::frame(FIN | opcode::PING, PING, mask));
        }
        self.say(&ws::frame(FIN | opcode::CONTINUATION, &payload.take(size - first), mask));
    }

    fn leave(&mut self, end: SessionEnd, side: Side) {
        let (part, reset) = match (end, side) {
            (SessionEnd::ClientGone { part, reset }, Side::Client) => (part, reset),
            (SessionEnd::BackendGone { part, reset }, Side::Backend) => (part, reset),
            _ => return,
        };
        self.bytes.truncate(part_of(self.bytes.len(), part));
        self.leaves = Some(reset);
    }
}

struct Payload {
    owner: Owner,
    at: u64,
}

impl Payload {
    fn take(&mut self, size: u64) -> Vec<u8> {
        let bytes = self.owner.bytes(self.at, size as usize);
        self.at += size;
        bytes
    }
}

/// How the other side was heard.
#[derive(Debug)]
struct Heard {
    bytes: usize,
    /// The code of a Close that the other side did not say.
    close: Option<u16>,
    /// The first byte of the frame that breaks the rules came alone, before anybody could know.
    is_torn: bool,
    end: Option<End>,
}

/// One side of a session, from the byte behind the 101 to its end.
pub(crate) async fn speak(ledger: &Ledger, wire: &mut Wire, exchange: &Exchange, side: Side) {
    let Some(session) = &exchange.session else { return };
    let own = Speech::of(exchange, session, side);
    let other = Speech::of(exchange, session, side.other());
    let mut chance = Chance::new(u64::from(exchange.number) ^ 0x3333);
    let sender = wire.sender();
    let heard = {
        let mut says = pin!(say(&sender, &own, &mut chance));
        let mut hears = pin!(hear(wire, &other));
        let (mut said, mut heard) = (None, None);
        poll_fn(|ctx| {
            if heard.is_none()
                && let Poll::Ready(value) = hears.as_mut().poll(ctx)
            {
                heard = Some(value);
            }
            if said.is_none()
                && let Poll::Ready(goes_on) = says.as_mut().poll(ctx)
            {
                said = Some(goes_on);
            }
            match (&heard, said) {
                (_, Some(false)) => Poll::Ready(None),
                (Some(heard), _) if heard.as_ref().is_ok_and(|heard| heard.end.is_some()) => {
                    Poll::Ready(Some(()))
                }
                (Some(Err(_)), _) | (Some(_), Some(true)) => Poll::Ready(Some(())),
                _ => Poll::Pending,
            }
        })
        .await
        .and(heard)
    };
    simulation::remark(|| {
        format!("{side:?} of session {} heard {heard:?} of {}", exchange.number, other.bytes.len())
    });
    match heard {
        Some(Ok(heard)) => judge(ledger, wire, exchange, session, side, (&heard, &other)),
        Some(Err(what)) => ledger.violate(format!("{side:?} of session {}: {what}", exchange.number)),
        None => {}
    }
}

/// Says all; false if the connection is over with that.
async fn say(sender: &Sender, own: &Speech, chance: &mut Chance) -> bool {
    for piece in pieces(&own.bytes, 1 + chance.any_scale(10), chance) {
        if sender.send(piece).await.is_err() {
            return true;
        }
        if chance.below(2) == 0 {
            sleep(Duration::from_millis(chance.below(PAUSE_MS_MAX))).await;
        }
    }
    if own.is_bare {
        let _ = sender.send(BARE).await;
    }
    match own.leaves {
        Some(true) => {
            let _ = sender.flush().await;
            sender.stream.reset_on_close();
            return false;
        }
        Some(false) => {
            let _ = sender.finish().await;
        }
        None => {
            let _ = sender.flush().await;
        }
    }
    true
}

/// Hears the other side out: until all of it has come, where it says Close, else until the end.
async fn hear(wire: &mut Wire, other: &Speech) -> Result<Heard, String> {
    let mut heard = Heard { bytes: 0, close: None, is_torn: false, end: None };
    let says_close = other.bytes.len() == *other.boundaries.last().unwrap_or(&0);
    let mut rest = Vec::new();
    while !(says_close && heard.bytes == other.bytes.len() && heard.bytes > 0 && is_close(other)) {
        let bytes = match wire.some(usize::MAX).await {
            Ok(bytes) => bytes,
            Err(end) => {
                heard.end = Some(end);
                break;
            }
        };
        let expected = &other.bytes[heard.bytes..];
        let same = bytes.iter().zip(expected).take_while(|(left, right)| left == right).count();
        if rest.is_empty() {
            heard.bytes += same;
            rest.extend_from_slice(&bytes[same..]);
        } else {
            rest.extend_from_slice(&bytes);
        }
    }
    if rest.is_empty() {
        return Ok(heard);
    }
    if other.is_bare && rest == BARE[..1] {
        return Ok(Heard { is_torn: true, ..heard });
    }
    close_of(&heard, other, rest)
}

/// The last frame is a Close.
fn is_close(speech: &Speech) -> bool {
    let start = speech.boundaries.iter().rev().nth(1).copied().unwrap_or(0);
    speech.bytes.get(start).is_some_and(|first| *first == FIN | opcode::CLOSE)
}

/// What differs must be a Close of the proxy at the end of a frame. Its first bytes may be those of the frame that would
/// have come.
fn close_of(heard: &Heard, other: &Speech, rest: Vec<u8>) -> Result<Heard, String> {
    let start = other.boundaries.iter().rev().find(|at| **at <= heard.bytes).copied().unwrap_or(0);
    let mut frame = other.bytes[start..heard.bytes].to_vec();
    frame.extend(rest);
    let len =
        frame.get(1).map_or(0, |second| usize::from(second & 0x7F) + if second & 0x80 != 0 { 4 } else { 0 })
            + 2;
    let Some(code) = ws::close_code(&frame).filter(|_| frame.len() <= len) else {
        return Err(format!("the stream differs at {}: {:?}", heard.bytes, &frame[..frame.len().min(20)]));
    };
    // A Close that is cut off is still one.
    Ok(Heard { bytes: start, close: Some(code), is_torn: false, end: heard.end })
}

fn judge(
    ledger: &Ledger,
    wire: &Wire,
    exchange: &Exchange,
    session: &Session,
    side: Side,
    (heard, other): (&Heard, &Speech),
) {
    let number = exchange.number;
    let is_calm = ledger.is_calm() && !wire.is_disturbed();
    let may_close = match heard.close {
        None => true,
        Some(1001) => {
            let is_excused = !is_calm || is_other_disturbed(ledger, exchange);
            session.end == SessionEnd::Silent || ledger.drained.get() || is_excused
        }
        Some(1002) => session.end == SessionEnd::Violation,
        Some(_) => false,
    };
    ledger.check(may_close, || format!("session {number} is closed with {:?} to the {side:?}", heard.close));
    ledger.check(heard.end != Some(End::Silence) || wire.is_disturbed(), || {
        format!("{side:?} of session {number} waits for ever")
    });
    if !is_calm || ledger.drained.get() || is_other_disturbed(ledger, exchange) {
        return;
    }
    let must_hear_all = match session.end {
        SessionEnd::Close | SessionEnd::Silent => true,
        SessionEnd::ClientGone { reset, .. } => side == Side::Backend && !reset,
        SessionEnd::BackendGone { reset, .. } => side == Side::Client && !reset,
        SessionEnd::Violation => side == Side::Backend,
    };
    ledger.check(!must_hear_all || heard.bytes == other.bytes.len(), || {
        format!("{side:?} of session {number} hears {} of {}: {heard:?}", heard.bytes, other.bytes.len())
    });
    let code = match session.end {
        SessionEnd::Silent => Some(1001),
        SessionEnd::Violation if side == Side::Backend && !heard.is_torn => Some(1002),
        SessionEnd::Violation => heard.close,
        _ => None,
    };
    ledger.check(heard.close == code, || {
        format!("{side:?} of session {number} gets {:?}, not {code:?}", heard.close)
    });
}

/// In a hostile world the other side's connection may have been touched, which this side cannot see.
fn is_other_disturbed(ledger: &Ledger, exchange: &Exchange) -> bool {
    ledger.plan.manner == crate::plan::Manner::Hostile || exchange.act != crate::plan::ClientAct::Good
}
