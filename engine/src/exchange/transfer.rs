//! One attempt: the request goes up to the backend while its answer comes down to the client, in one task.
//!
//! ```text
//!   client ──intake──► conn.machine ──body──► backend        request:  Sending ─► Flushing ─► Done
//!                                                                          └─► Abandoned (the backend takes no more)
//!   client ◄── conn.machine ◄──events── backend.machine ◄──intake── backend
//!                                                            answer:   Awaited ─► Body ─► Done
//! ```
//!
//! Back-pressure: a side that has more than the high water mark unsent is given nothing more, and its source is not
//! read; the source's own inbox then fills and stops receiving. Each turn has a budget, so one exchange cannot hold the
//! core. Nothing here borrows the core's scratch over an await.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::Poll;

use protocol::h1::client::ResponseEvent;
use protocol::h1::server::RequestEvent;
use protocol::rules::cookie;
use protocol::ws::handshake;
use protocol::{ResponseError, ResponseFraming, ResponseHead, Span, Status};

use super::gather::Gather;
use super::pace::{self, BodyPace};
use super::replay::Replay;
use super::request::{Request, StickyCookie};
use super::{finish, verdict};
use crate::conn::client::ClientConn;
use crate::conn::intake::Intake;
use crate::error::{Cause, Fault};
use crate::h1::upgrade::Session;
use crate::io::{Pace, Task, now_ms, now_us, process_ms, return_buf, take_buf};
use crate::local::View;
use crate::tls::check::HSTS;
use crate::upstream::lease::BackendConn;

/// Receives handled in one turn before others have theirs.
const BUDGET: usize = 16;
/// How long a backend may leave `Expect: 100-continue` unanswered before we answer it, as clients give up on waiting
/// after about as long (RFC 9110 10.1.1).
const CONTINUE_MS: u64 = 1_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestSide {
    Sending,
    /// Read whole; the backend has not yet taken all of the body.
    Flushing,
    Done,
    /// The backend takes no more; its answer may still come.
    Abandoned,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerSide {
    Awaited,
    Body,
    Done,
}

/// How an attempt that did not fail ended.
pub(crate) enum Outcome {
    Answered,
    Upgraded(Box<Session>),
}

pub(crate) struct Transfer<'a> {
    conn: &'a mut ClientConn,
    view: &'a View,
    request: &'a Request<'a>,
    replay: &'a mut Replay,
    backend: BackendConn,
    /// Bytes of the backend that its machine has not used up.
    intake: Intake,
    request_side: RequestSide,
    answer_side: AnswerSide,
    upgraded: Option<Box<Session>>,
    /// When to answer the client's `Expect` ourselves.
    continue_at: Option<u64>,
    /// When either body last moved, or the request ended.
    progress_ms: u64,
    /// Bytes that the two sockets had taken by then.
    taken: (u64, u64),
    backend_taken_before: u64,
    request_pace: BodyPace,
    answer_pace: BodyPace,
    /// Of the final answer, once it has come.
    status: u16,
    /// When the attempt began, where the strategy wants to know how long the first byte takes.
    began_us: Option<u64>,
}

impl<'a> Transfer<'a> {
    /// Queues the head, and what is kept of the body, to the backend.
    pub(crate) fn begin(
        conn: &'a mut ClientConn,
        view: &'a View,
        request: &'a Request<'a>,
        mut backend: BackendConn,
        replay: &'a mut Replay,
    ) -> Transfer<'a> {
        let backend_taken_before = backend.stream.taken();
        backend.machine = request.machine.clone();
        conn.local.counters().backend_bytes_out.add(request.encoded.len() as u64);
        backend.stream.send(request.encoded.clone());
        let now = now_ms();
        let mut transfer = Transfer {
            taken: (conn.stream.taken(), backend_taken_before),
            request_side: RequestSide::Sending,
            answer_side: AnswerSide::Awaited,
            upgraded: None,
            continue_at: request.continue_awaited.then_some(now + CONTINUE_MS),
            progress_ms: now,
            intake: Intake::default(),
            request_pace: conn.machine.request_body_left().map_or(BodyPace::untold(), BodyPace::of_length),
            answer_pace: BodyPace::untold(),
            status: 0,
            began_us: request.upstream.balancer.needs_latency().then(now_us),
            conn,
            view,
            request,
            replay,
            backend,
            backend_taken_before,
        };
        transfer.send_replay();
        transfer
    }

    /// Moves bytes both ways until the answer is complete or something fails.
    pub(crate) async fn run(&mut self) -> Result<Outcome, Fault> {
        poll_fn(|_| self.poll()).await
    }

    /// The client has had a part of the final answer.
    pub(crate) fn answered(&self) -> bool {
        self.answer_side != AnswerSide::Awaited
    }

    /// Status of the final answer, if there was one.
    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Ends the attempt; the connection is good for another only if its machine says so.
    pub(crate) fn into_backend(self) -> BackendConn {
        if !self.intake.is_empty() && self.upgraded.is_none() {
            // Bytes behind the end of the answer: whatever they are, nobody may get them.
            let mut backend = self.backend;
            backend.spoiled = true;
            return backend;
        }
        self.backend
    }

    fn poll(&mut self) -> Poll<Result<Outcome, Fault>> {
        for _ in 0..BUDGET {
            let up = self.pump_request()?;
            let down = self.pump_answer()?;
            if let Some(session) = self.upgraded.take() {
                return Poll::Ready(Ok(Outcome::Upgraded(session)));
            }
            if self.answer_side == AnswerSide::Done {
                return Poll::Ready(Ok(Outcome::Answered));
            }
            if !up && !down {
                return self.watch_time();
            }
        }
        if let Some(task) = Task::current() {
            task.wake();
        }
        Poll::Pending
    }

    // ---- the request, upwards ----

    fn send_replay(&mut self) {
        let body = self.replay.body();
        if !body.is_empty() {
            let mut gather = Gather::new(&self.backend.stream, &self.conn.local.counters().backend_bytes_out);
            // It was framed the same way before, so it fits.
            let fits = self.backend.machine.request_body().piece(body.len() as u64, gather.buf());
            debug_assert!(fits.is_ok());
            gather.buf().extend_from_slice(body);
        }
        if self.conn.machine.is_request_read() {
            self.end_request();
        }
    }

    fn end_request(&mut self) {
        let mut gather = Gather::new(&self.backend.stream, &self.conn.local.counters().backend_bytes_out);
        let ended = self.backend.machine.request_body().end(gather.buf(), None);
        debug_assert!(ended.is_ok(), "the client's machine counts the same length");
        drop(gather);
        self.request_side =
            if self.replay.body().is_empty() { RequestSide::Done } else { RequestSide::Flushing };
    }

    /// Moves the request on by at most one receive. False when there is nothing to do now.
    fn pump_request(&mut self) -> Result<bool, Fault> {
        match self.request_side {
            RequestSide::Sending => self.pump_body(),
            _ if self.conn.stream.is_broken() => Err(Fault::client(Cause::ClientGone)),
            RequestSide::Flushing if self.backend.stream.poll_sent_below(0).is_ready() => {
                // From now on the backend is waited for, and it alone.
                self.request_side = RequestSide::Done;
                self.progress_ms = now_ms();
                Ok(true)
            }
            RequestSide::Flushing | RequestSide::Done | RequestSide::Abandoned => Ok(false),
        }
    }

    fn pump_body(&mut self) -> Result<bool, Fault> {
        let limits = &self.view.model().limits;
        if let Some(pace) = self.request_pace.change(&self.backend.stream, limits) {
            self.conn.stream.set_pace(pace);
        }
        match pace::poll_room(&self.backend.stream, limits) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => {
                // The backend closed its side. What it has answered decides; its end will tell.
                self.request_side = RequestSide::Abandoned;
                return Ok(false);
            }
        }
        if !self.conn.intake.is_empty() && self.feed_request()? {
            return Ok(true);
        }
        match self.conn.stream.poll_recv() {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(Some(lease))) => {
                self.progress_ms = now_ms();
                self.conn.local.counters().client_bytes_in.add(lease.len() as u64);
                self.request_pace.note(lease.len());
                self.conn.intake.push(lease);
                self.feed_request()
            }
            Poll::Ready(Ok(None)) => Err(Fault::client(Cause::ClientGone)),
            Poll::Ready(Err(error)) => Err(Fault::client(Cause::Network(error))),
        }
    }

    /// Feeds what is in the intake; true if any of it was used.
    fn feed_request(&mut self) -> Result<bool, Fault> {
        let local = Rc::clone(&self.conn.local);
        let mut head = local.request_head.borrow_mut();
        let mut gather = Gather::new(&self.backend.stream, &local.counters().backend_bytes_out);
        let conn = &mut *self.conn;
        let mut any = false;
        loop {
            let used = conn.machine.feed(now_ms(), &self.view.table.limits, conn.intake.bytes(), &mut head);
            let used = used.map_err(|error| Fault::client(Cause::Request(error)))?;
            let body = self.backend.machine.request_body();
            while let Some(event) = conn.machine.next_event() {
                let written = match event {
                    RequestEvent::Head => Ok(()),
                    RequestEvent::Body(span) => {
                        let bytes = span.of(conn.intake.bytes());
                        self.replay.keep(bytes);
                        let written = body.piece(bytes.len() as u64, gather.buf());
                        gather.piece(bytes, || view_of(&conn.intake, span));
                        written
                    }
                    RequestEvent::Trailers => {
                        self.replay.lose();
                        body.end(gather.buf(), Some((conn.intake.bytes(), &head.fields)))
                    }
                    RequestEvent::End => {
                        self.request_side = RequestSide::Flushing;
                        body.end(gather.buf(), None)
                    }
                };
                written.map_err(|error| Fault::client(Cause::Encode(error)))?;
            }
            conn.intake.consume(used);
            any |= used > 0;
            if used == 0 || self.request_side == RequestSide::Flushing || conn.intake.is_empty() {
                break;
            }
        }
        if self.request_side == RequestSide::Flushing {
            conn.stream.set_pace(Pace::Stream);
        }
        if any {
            self.continue_at = None;
        }
        Ok(any || self.request_side == RequestSide::Flushing)
    }

    // ---- the answer, downwards ----

    /// Moves one receive's worth of the answer. False when there is nothing to do now.
    fn pump_answer(&mut self) -> Result<bool, Fault> {
        let limits = &self.view.model().limits;
        if let Some(pace) = self.answer_pace.change(&self.conn.stream, limits) {
            self.backend.stream.set_pace(pace);
        }
        match pace::poll_room(&self.conn.stream, limits) {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Err(Fault::client(Cause::Network(error))),
        }
        match self.backend.stream.poll_recv() {
            Poll::Pending => return Ok(false),
            Poll::Ready(Ok(Some(lease))) => {
                self.conn.local.counters().backend_bytes_in.add(lease.len() as u64);
                self.answer_pace.note(lease.len());
                self.intake.push(lease);
            }
            Poll::Ready(Ok(None)) => {
                let ended = self.backend.machine.on_eof();
                ended.map_err(|error| self.origin_closed(error))?;
                return self.take_answer(true).map(|()| true);
            }
            Poll::Ready(Err(error)) => return Err(self.origin_failed(error)),
        }
        self.progress_ms = now_ms();
        self.take_answer(false)?;
        Ok(true)
    }

    /// Takes the machine's events, feeding it with what is in the intake unless the stream has ended.
    fn take_answer(&mut self, at_end: bool) -> Result<(), Fault> {
        let local = Rc::clone(&self.conn.local);
        let mut head = local.response_head.borrow_mut();
        let conn = &mut *self.conn;
        let mut gather = Gather::new(&conn.stream, &local.counters().client_bytes_out);
        loop {
            let machine = &mut self.backend.machine;
            let input = if at_end { &[] } else { self.intake.bytes() };
            let used = if at_end { Ok(0) } else { machine.feed(&self.view.table.limits, input, &mut head) };
            let used = used.map_err(|error| Fault::origin(Cause::Response(error)))?;
            while let Some(event) = machine.next_event() {
                match event {
                    ResponseEvent::Interim => {
                        self.continue_at = None;
                        if conn.machine.write_interim(gather.buf(), input, &head) {
                            finish::count(local.counters(), head.status);
                        }
                    }
                    ResponseEvent::Upgraded => {
                        let Some(key) = &self.request.upgrade else { continue };
                        let checked = handshake::check_response(input, &head, key);
                        checked.map_err(|error| Fault::origin(Cause::Handshake(error)))?;
                        finish::count(local.counters(), head.status);
                        let set = response_set(self.request, b"", input, &mut head);
                        conn.machine.write_upgrade(gather.buf(), input, &head, &set);
                        return_buf(set);
                        let deflate = handshake::deflate_accepted(input, &head);
                        self.intake.consume(used);
                        self.upgraded = Some(Session::new(deflate, self.intake.take()));
                        return Ok(());
                    }
                    ResponseEvent::Head => {
                        self.continue_at = None;
                        self.answer_side = AnswerSide::Body;
                        self.status = head.status.code();
                        verdict::tell_head(self.request, self.status);
                        if let Some(began_us) = self.began_us {
                            let took_us = now_us().saturating_sub(began_us);
                            let balancer = &self.request.upstream.balancer;
                            balancer.on_first_byte(self.request.backend, took_us, process_ms());
                        }
                        finish::count(local.counters(), head.status);
                        let hsts = if conn.peer.secured.is_some() { self.view.hsts() } else { b"" };
                        let set = response_set(self.request, hsts, input, &mut head);
                        conn.machine.write_response(gather.buf(), input, &head, &set, local.draining.get());
                        return_buf(set);
                        if let ResponseFraming::Length(bytes) = head.framing {
                            self.answer_pace = BodyPace::of_length(bytes.saturating_sub(input.len() as u64));
                        }
                    }
                    ResponseEvent::Body(span) => {
                        let bytes = span.of(input);
                        let framed = conn.machine.body().piece(bytes.len() as u64, gather.buf());
                        framed.map_err(|error| Fault::origin(Cause::Encode(error)))?;
                        gather.piece(bytes, || view_of(&self.intake, span));
                    }
                    ResponseEvent::Trailers => {
                        let ended = conn.machine.end_body(gather.buf(), Some((input, &head.fields)));
                        ended.map_err(|error| Fault::origin(Cause::Encode(error)))?;
                    }
                    ResponseEvent::End => {
                        let ended = conn.machine.end_body(gather.buf(), None);
                        ended.map_err(|error| Fault::origin(Cause::Encode(error)))?;
                        self.answer_side = AnswerSide::Done;
                        self.backend.stream.set_pace(Pace::Stream);
                    }
                }
            }
            self.intake.consume(used);
            if used == 0 || self.answer_side == AnswerSide::Done || self.intake.is_empty() {
                return Ok(());
            }
        }
    }

    /// Nothing of an answer had come: another attempt may be safe.
    fn origin_closed(&self, error: ResponseError) -> Fault {
        match error {
            ResponseError::ClosedBeforeHead { nothing_received: true } => {
                self.safe_if_unheard(Fault::origin(Cause::ClosedEarly))
            }
            other => Fault::origin(Cause::Response(other)),
        }
    }

    fn origin_failed(&self, error: io::Error) -> Fault {
        let fault = Fault::origin(Cause::Network(error));
        let silent = self.answer_side == AnswerSide::Awaited && self.intake.is_empty();
        if silent { self.safe_if_unheard(fault) } else { fault }
    }

    fn safe_if_unheard(&self, fault: Fault) -> Fault {
        let stream = &self.backend.stream;
        let unsent = stream.taken() == self.backend_taken_before && !stream.is_sending();
        if unsent || self.request.idempotent { fault.retry_safe() } else { fault }
    }

    // ---- time ----

    /// Arms the deadline that applies now, and acts if it has passed.
    fn watch_time(&mut self) -> Poll<Result<Outcome, Fault>> {
        loop {
            let now = now_ms();
            if self.continue_at.take_if(|at| *at <= now).is_some() {
                self.answer_expectation();
            }
            let mut at = self.progress_ms + self.first_look_ms();
            if at <= now {
                let taken = (self.conn.stream.taken(), self.backend.stream.taken());
                if taken != self.taken && (self.client_is_slow() || self.backend_is_slow()) {
                    // A slow peer has taken bytes since: that is progress too.
                    self.taken = taken;
                    self.progress_ms = now;
                    continue;
                }
                at = self.progress_ms + self.patience_ms();
                if at <= now {
                    return Poll::Ready(Err(self.timed_out()));
                }
            }
            self.conn.alarm.set(Some(self.continue_at.map_or(at, |continue_at| continue_at.min(at))));
            if self.conn.alarm.poll().is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// The whole request is with the kernel, and nothing of the answer has come.
    fn awaits_first_byte(&self) -> bool {
        self.answer_side == AnswerSide::Awaited && !self.is_uploading()
    }

    fn is_uploading(&self) -> bool {
        matches!(self.request_side, RequestSide::Sending | RequestSide::Flushing)
    }

    /// When to look first: bytes that were queued a moment ago do not show yet whether their peer is slow.
    fn first_look_ms(&self) -> u64 {
        let timeouts = &self.request.route.timeouts;
        if self.awaits_first_byte() {
            return timeouts.first_byte_ms;
        }
        timeouts.body_progress_ms.min(timeouts.write_stall_ms)
    }

    /// How long the side that is waited for now may take.
    fn patience_ms(&self) -> u64 {
        let timeouts = &self.request.route.timeouts;
        if self.awaits_first_byte() {
            timeouts.first_byte_ms
        } else if self.client_is_slow() || self.backend_is_slow() {
            timeouts.write_stall_ms
        } else {
            timeouts.body_progress_ms
        }
    }

    fn timed_out(&self) -> Fault {
        match self.answer_side {
            _ if self.awaits_first_byte() => Fault::origin(Cause::FirstByteTimeout),
            AnswerSide::Awaited if self.backend_is_slow() => Fault::origin(Cause::WriteStalled),
            AnswerSide::Awaited => Fault::client(Cause::BodyStalled),
            _ if self.client_is_slow() => Fault::client(Cause::WriteStalled),
            _ => Fault::origin(Cause::BodyStalled),
        }
    }

    fn client_is_slow(&self) -> bool {
        self.answer_side == AnswerSide::Body && self.conn.stream.unsent() > 0
    }

    fn backend_is_slow(&self) -> bool {
        self.is_uploading() && self.backend.stream.unsent() > 0
    }

    /// The backend has not said 100, and the client is waiting for it: say it ourselves.
    fn answer_expectation(&mut self) {
        let mut gather = Gather::new(&self.conn.stream, &self.conn.local.counters().client_bytes_out);
        if self.conn.machine.write_continue(gather.buf()) {
            finish::count(self.conn.local.counters(), Status::CONTINUE);
        }
    }
}

/// The lines that the route adds to an answer; what the backend says under the same names is withheld.
/// `hsts` is added where neither has said anything about it.
fn response_set(request: &Request<'_>, hsts: &[u8], input: &[u8], head: &mut ResponseHead) -> Vec<u8> {
    let (set, cookie) = (&request.route.response_set, request.cookie());
    if set.is_empty() && cookie.is_none() && hsts.is_empty() {
        return Vec::new();
    }
    set.withhold_from(input, &mut head.fields);
    let mut lines = take_buf();
    lines.extend_from_slice(set.lines());
    if !hsts.is_empty() && !set.has(HSTS) && head.fields.value_by_text(HSTS.as_bytes(), input).is_none() {
        lines.extend_from_slice(hsts);
    }
    if let Some(StickyCookie { name, token, secure }) = cookie {
        cookie::write_set(&mut lines, name, token, secure);
    }
    lines
}

fn view_of(intake: &Intake, span: Span) -> crate::io::Lease {
    intake.view(span.start as usize, span.len as usize)
}
