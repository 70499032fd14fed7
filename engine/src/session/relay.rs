//! One session: bytes go through as they came, in leases; the meters read frame heads as they pass.
//!
//! ```text
//!   Open ──limit, idle, drain, protocol error──► Closing: Close frames to both sides, no more input is forwarded
//!     └──a side ends──────────────────────────► Closing: what is on its way still arrives
//!   Closing ──all sent, or a grace period──► both connections close
//! ```
//!
//! The task holds no table and no configuration: a day-long session must not pin an old one.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use protocol::ws::close::write_close;
use protocol::ws::frame::Role;
use protocol::ws::meter::{Boundary, Meter, MeterLimits};

use crate::conn::client::ClientConn;
use crate::exchange::choose::Hold;
use crate::h1::upgrade::Session;
use crate::io::{Alarm, Lease, Task, freeze, now_ms, spawn};
use crate::local::Local;
use crate::local::clients::{Closing, Place};
use crate::tls::stream::Stream;

/// Receives handled in one turn before others have theirs.
const BUDGET: usize = 16;
/// How long the two sides have to take the last bytes and to close.
const GRACE_MS: u64 = 2_000;
/// How long a frame in flight may take to end before the Close that waits behind it is given up.
const FRAME_GRACE_MS: u64 = 1_000;

/// The longest Close frame: head, mask, and a control frame's payload (RFC 6455 5.5).
const CLOSE_BYTES_MAX: usize = 2 + 4 + 125;

/// Why a session is closed by us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    Idle,
    Drain,
    Violation(u16, &'static str),
}

impl Reason {
    /// Close code (RFC 6455 7.4.1) and text.
    fn close(self) -> (u16, &'static str) {
        match self {
            Reason::Idle => (1001, "idle"),
            Reason::Drain => (1001, "going away"),
            Reason::Violation(code, text) => (code, text),
        }
    }
}

/// One direction: from a source to a sink.
struct Direction {
    meter: Meter,
    ended: bool,
}

struct Relay {
    local: Rc<Local>,
    client: Stream,
    backend: Stream,
    up: Direction,
    down: Direction,
    alarm: Alarm,
    closing: Rc<Closing>,
    active_ms: u64,
    idle_ms: u64,
    high: u32,
    low: u32,
    /// Counted when dropped.
    _place: Place,
    _hold: Option<Hold>,
}

/// Starts the session in a task of its own, so that the memory of the exchange is given back.
pub(crate) fn start(conn: ClientConn, mut session: Session) {
    let Some(backend) = session.backend_conn.take() else { return };
    let (mut relay, early_up) = Relay::new(conn, backend.stream, &mut session);
    relay.local.counters().sessions.add(1);
    let reason = relay.forward_early(early_up, session.early);
    // By reference: a future that took the relay itself would keep room for it twice.
    spawn(async move { relay.run(reason).await });
}

impl Relay {
    fn new(mut conn: ClientConn, backend: Stream, session: &mut Session) -> (Relay, Option<Lease>) {
        let view = conn.local.view();
        let model = view.model();
        let limits =
            MeterLimits { message_bytes_max: session.message_bytes_max, extensions: session.deflate };
        let direction = |sender| Direction { meter: Meter::new(sender, limits), ended: false };
        let early = conn.intake.take();
        let relay = Relay {
            up: direction(Role::Client),
            down: direction(Role::Server),
            closing: conn.place.become_session(session.hold.as_ref().map_or(0, Hold::serial)),
            active_ms: now_ms(),
            idle_ms: session.idle_ms,
            high: model.limits.high_water_bytes,
            low: model.limits.low_water_bytes,
            client: conn.stream,
            alarm: conn.alarm,
            _place: conn.place,
            _hold: session.hold.take(),
            local: conn.local,
            backend,
        };
        (relay, early)
    }

    /// The session's task. Its future is all that an idle session keeps, so nothing else lives across its awaits.
    async fn run(&mut self, early: Option<Reason>) {
        self.closing.belongs_to(Task::current());
        let reason = match early {
            Some(reason) => Some(reason),
            None => poll_fn(|_| self.poll()).await,
        };
        // Boxed: only a session that ends pays for the room that its end takes.
        Box::pin(self.end(reason)).await;
        self.local.counters().sessions_ended.add(1);
    }

    /// What came in one piece with the heads, before the relay began.
    fn forward_early(&mut self, up: Option<Lease>, down: Option<Lease>) -> Option<Reason> {
        let up = up.and_then(|lease| self.pass_up(lease));
        up.or_else(|| down.and_then(|lease| self.pass_down(lease)))
    }

    /// Relays until the session is to end: `Some` reason of ours, or `None` when a side has ended it.
    fn poll(&mut self) -> Poll<Option<Reason>> {
        // Neither direction brings the other anything: each is asked until it has nothing more, and then left alone.
        let up = self.pump(Relay::pump_up);
        match up.and_then(|up| self.pump(Relay::pump_down).map(|down| up && down)) {
            Err(end) => Poll::Ready(end),
            Ok(true) => self.watch(),
            Ok(false) => {
                if let Some(task) = Task::current() {
                    task.wake();
                }
                Poll::Pending
            }
        }
    }

    /// Moves one direction on until it has nothing more to move; false if its budget for this turn was used up before.
    fn pump(
        &mut self,
        mut step: impl FnMut(&mut Relay) -> Result<bool, Option<Reason>>,
    ) -> Result<bool, Option<Reason>> {
        for _ in 0..BUDGET {
            if !step(self)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn watch(&mut self) -> Poll<Option<Reason>> {
        if self.closing.is_asked() {
            return Poll::Ready(Some(Reason::Drain));
        }
        self.alarm.set(Some(self.active_ms + self.idle_ms));
        self.alarm.poll().map(|()| Some(Reason::Idle))
    }

    /// One receive from the client. `Err` ends the session.
    fn pump_up(&mut self) -> Result<bool, Option<Reason>> {
        match receive(&self.client, &self.backend, self.high, self.low) {
            Received::Nothing => Ok(false),
            Received::Bytes(lease) => {
                self.local.counters().client_bytes_in.add(lease.len() as u64);
                self.pass_up(lease).map_or(Ok(true), |reason| Err(Some(reason)))
            }
            Received::End => {
                self.up.ended = true;
                Err(None)
            }
        }
    }

    fn pump_down(&mut self) -> Result<bool, Option<Reason>> {
        match receive(&self.backend, &self.client, self.high, self.low) {
            Received::Nothing => Ok(false),
            Received::Bytes(lease) => {
                self.local.counters().backend_bytes_in.add(lease.len() as u64);
                self.pass_down(lease).map_or(Ok(true), |reason| Err(Some(reason)))
            }
            Received::End => {
                self.down.ended = true;
                Err(None)
            }
        }
    }

    fn pass_up(&mut self, lease: Lease) -> Option<Reason> {
        let passed = pass(&mut self.up.meter, lease, &self.backend, &mut self.active_ms);
        let counters = self.local.counters();
        counters.messages_in.add(passed.messages);
        counters.backend_bytes_out.add(passed.bytes);
        passed.reason
    }

    fn pass_down(&mut self, lease: Lease) -> Option<Reason> {
        let passed = pass(&mut self.down.meter, lease, &self.client, &mut self.active_ms);
        let counters = self.local.counters();
        counters.messages_out.add(passed.messages);
        counters.client_bytes_out.add(passed.bytes);
        passed.reason
    }

    /// Says why to both sides where that is possible, lets the last bytes leave, then closes.
    async fn end(&mut self, reason: Option<Reason>) {
        if reason.is_none() {
            self.hear_other_side().await;
        }
        if let Some(reason) = reason {
            if !matches!(reason, Reason::Violation(..)) {
                self.finish_frames().await;
            }
            let (code, text) = reason.close();
            let mask = self.local.ids.random().to_ne_bytes();
            let mask = [mask[0], mask[1], mask[2], mask[3]];
            let to_client = say_close(&self.down.meter, &self.client, code, text, None);
            let to_backend = say_close(&self.up.meter, &self.backend, code, text, Some(mask));
            self.local.counters().client_bytes_out.add(to_client);
            self.local.counters().backend_bytes_out.add(to_backend);
        }
        self.client.end_output();
        self.backend.end_output();
        self.alarm.set(Some(now_ms() + GRACE_MS));
        let (client, backend, alarm) = (&self.client, &self.backend, &self.alarm);
        poll_fn(|_| {
            let sent = client.poll_sent_below(0).is_ready() & backend.poll_sent_below(0).is_ready();
            if sent { Poll::Ready(()) } else { alarm.poll() }
        })
        .await;
        // A side that closed first has nothing more to hear; the other gets a moment to close in its turn.
        let _ = client.shutdown_write();
        let _ = backend.shutdown_write();
        let (client_ended, backend_ended) = (self.up.ended, self.down.ended);
        poll_fn(|_| {
            let client_done = client_ended || drained(client);
            let backend_done = backend_ended || drained(backend);
            if client_done && backend_done { Poll::Ready(()) } else { alarm.poll() }
        })
        .await;
    }

    /// One side has said its last byte: the other hears of it, and what it still says (its Close, most of all) arrives.
    async fn hear_other_side(&mut self) {
        self.alarm.set(Some(now_ms() + GRACE_MS));
        let mut told = false;
        (if self.up.ended { &self.backend } else { &self.client }).end_output();
        poll_fn(|_| {
            let listener = if self.up.ended { &self.backend } else { &self.client };
            if !told && listener.poll_sent_below(0).is_ready() {
                told = true;
                // It fails where the listener has gone too; its end is seen below.
                let _ = listener.shutdown_write();
            }
            loop {
                let moved = if self.up.ended { self.pump_down() } else { self.pump_up() };
                match moved {
                    Ok(true) => {}
                    Ok(false) => return self.alarm.poll(),
                    Err(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// Lets frames that are half way through end, so that a Close can stand behind them.
    async fn finish_frames(&mut self) {
        self.alarm.set(Some(now_ms() + FRAME_GRACE_MS));
        poll_fn(|_| {
            let up_whole = at_boundary(&self.up.meter) || !matches!(self.pump_up(), Ok(true));
            let down_whole = at_boundary(&self.down.meter) || !matches!(self.pump_down(), Ok(true));
            let whole = at_boundary(&self.up.meter) && at_boundary(&self.down.meter);
            if whole || self.up.ended || self.down.ended {
                return Poll::Ready(());
            }
            if (!up_whole || !down_whole)
                && let Some(task) = Task::current()
            {
                task.wake();
            }
            self.alarm.poll()
        })
        .await;
    }
}

enum Received {
    Nothing,
    Bytes(Lease),
    End,
}

/// Bytes from one side, if the other has room for them.
fn receive(from: &Stream, to: &Stream, high: u32, low: u32) -> Received {
    match to.poll_room(high, low) {
        Poll::Pending => return Received::Nothing,
        Poll::Ready(Err(_)) => return Received::End,
        Poll::Ready(Ok(())) => {}
    }
    match from.poll_recv() {
        Poll::Pending => Received::Nothing,
        Poll::Ready(Ok(Some(lease))) => Received::Bytes(lease),
        Poll::Ready(Ok(None) | Err(_)) => Received::End,
    }
}

/// What became of one piece.
struct Passed {
    messages: u64,
    /// Bytes that were forwarded.
    bytes: u64,
    /// Why the session must end.
    reason: Option<Reason>,
}

/// Meters and forwards bytes; of those that break a rule, only what stands before.
fn pass(meter: &mut Meter, mut lease: Lease, to: &Stream, active_ms: &mut u64) -> Passed {
    let (messages, reason) = match meter.feed(&lease) {
        Ok(passed) => {
            if passed.frames > 0 {
                *active_ms = now_ms();
            }
            (passed.messages, None)
        }
        Err(violation) => {
            lease.truncate(violation.forward);
            let reason = Reason::Violation(violation.error.code(), violation.error.public_text());
            (violation.passed.messages, Some(reason))
        }
    };
    let bytes = lease.len() as u64;
    to.send(lease);
    Passed { messages: messages.into(), bytes, reason }
}

/// Queues a Close frame where it splits no frame of that direction; returns its length.
fn say_close(meter: &Meter, to: &Stream, code: u16, text: &str, mask: Option<[u8; 4]>) -> u64 {
    if !at_boundary(meter) || meter.boundary() == Boundary::Closed {
        return 0;
    }
    // Not from the pool: when thousands of sessions are closed at once, each needs a few bytes, not a head's room.
    let mut out = Vec::with_capacity(CLOSE_BYTES_MAX);
    write_close(&mut out, code, text, mask);
    let bytes = out.len() as u64;
    to.send(freeze(out));
    bytes
}

fn at_boundary(meter: &Meter) -> bool {
    !matches!(meter.boundary(), Boundary::InFrame(_))
}

/// Reads and forgets; true at the end of the stream.
fn drained(stream: &Stream) -> bool {
    loop {
        match stream.poll_recv() {
            Poll::Ready(Ok(Some(_))) => {}
            Poll::Ready(Ok(None) | Err(_)) => return true,
            Poll::Pending => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The size of the future that `start` would spawn.
    fn future_bytes<F: Future>(_: impl FnOnce(Relay) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_session_keeps_little() {
        let bytes = future_bytes(|mut relay| async move { relay.run(None).await });
        assert!(bytes <= 312, "{bytes} bytes for each idle session");
    }
}
