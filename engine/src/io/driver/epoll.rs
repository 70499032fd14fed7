//! The driver on epoll, for kernels and containers that refuse io_uring: operations are tried at once, and again when
//! epoll says that their socket is ready.
//!
//! ```text
//!  push ──► queue ──turn──► tried ──done──► completion
//!                             │ EAGAIN: waits in its socket's slot ◄──┐
//!                             └──────── epoll: readable, writable ────┘
//! ```
//!
//! Readiness is edge-triggered: a socket is tried until it says `EAGAIN`, and only then waited for. A receive or accept
//! with more to give than its share of a turn is tried again in the next one.
//!
//! Called by `driver/mod.rs`. What must hold: whatever an operation points to is used only between its being pushed and
//! its completion, as with io_uring.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use socket2::SockRef;

use crate::io::ring::buffers::{Buffers, Size};
use crate::io::ring::ops::{Action, Completion, Kind, Operation};
use crate::io::ring::slab::Key;

/// Events taken in one turn.
const EVENTS: usize = 1024;
/// Pieces received, or sockets accepted, for one socket in one turn; the others have theirs first.
const TURN_SHARE: usize = 16;
/// A unix socket whose backlog is full cannot be waited for: the connect is tried again this often.
const CONNECT_AGAIN: Duration = Duration::from_millis(2);
/// The token of the mailbox; slots have smaller ones.
const MAILBOX: Token = Token(usize::MAX);

pub(crate) struct Epoll {
    state: RefCell<State>,
    events: RefCell<Events>,
}

struct State {
    poll: Poll,
    queue: VecDeque<Operation>,
    /// What is known of each slot's descriptor, by the slot's index.
    watched: Vec<Option<Watched>>,
    /// Slots to try again in the next turn.
    again: VecDeque<u32>,
    /// Connects to a full unix backlog.
    connects: Vec<Operation>,
    completions: Vec<Completion>,
    mailbox: Option<Operation>,
}

/// One registered descriptor and its operations that wait.
struct Watched {
    fd: RawFd,
    readable: bool,
    writable: bool,
    /// Receive or accept.
    input: Option<Operation>,
    /// Send, or a connect under way.
    output: Option<Operation>,
}

impl Epoll {
    pub(super) fn open() -> io::Result<Epoll> {
        let state = State {
            poll: Poll::new()?,
            queue: VecDeque::new(),
            watched: Vec::new(),
            again: VecDeque::new(),
            connects: Vec::new(),
            completions: Vec::new(),
            mailbox: None,
        };
        Ok(Epoll { state: RefCell::new(state), events: RefCell::new(Events::with_capacity(EVENTS)) })
    }

    pub(super) fn push(&self, operation: &Operation) {
        self.state.borrow_mut().queue.push_back(*operation);
    }

    pub(super) fn has_completions(&self) -> bool {
        !self.state.borrow().completions.is_empty()
    }

    pub(super) fn collect(&self, completions: &mut Vec<Completion>) {
        completions.append(&mut self.state.borrow_mut().completions);
    }

    /// Tries what is queued, then waits for readiness: not at all if something has completed, else at most `timeout`.
    pub(super) fn turn(&self, buffers: &Buffers, timeout: Option<Duration>) -> io::Result<()> {
        let state = &mut *self.state.borrow_mut();
        for _ in 0..state.again.len() {
            if let Some(index) = state.again.pop_front() {
                state.input_ready(index, buffers);
            }
        }
        for connect in std::mem::take(&mut state.connects) {
            state.connect(connect);
        }
        while let Some(operation) = state.queue.pop_front() {
            state.begin(operation, buffers);
        }
        let timeout = state.patience(timeout);
        let events = &mut *self.events.borrow_mut();
        match state.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome?,
        }
        for event in &*events {
            state.ready(event, buffers);
        }
        Ok(())
    }
}

impl State {
    fn patience(&self, timeout: Option<Duration>) -> Option<Duration> {
        if !self.completions.is_empty() || !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        if self.connects.is_empty() {
            return timeout;
        }
        Some(timeout.map_or(CONNECT_AGAIN, |timeout| timeout.min(CONNECT_AGAIN)))
    }

    fn begin(&mut self, operation: Operation, buffers: &Buffers) {
        match operation.action {
            Action::Close => return self.close(&operation),
            Action::Cancel { kind } => return self.cancel(&operation, kind),
            Action::WatchMailbox => return self.watch_mailbox(operation),
            _ => {}
        }
        let watched = match self.watch(&operation) {
            Ok(watched) => watched,
            Err(error) => return self.complete(&operation, errno(&error)),
        };
        match operation.action {
            Action::Connect { .. } => self.connect(operation),
            Action::Send { .. } | Action::SendGathered { .. } => {
                watched.output = Some(operation);
                if watched.writable {
                    self.output_ready(operation.key.index);
                }
            }
            _ => {
                watched.input = Some(operation);
                if watched.readable {
                    self.input_ready(operation.key.index, buffers);
                }
            }
        }
    }

    /// The entry of an operation's slot; registers the descriptor when it is seen for the first time.
    fn watch(&mut self, operation: &Operation) -> io::Result<&mut Watched> {
        let index = operation.key.index as usize;
        if self.watched.len() <= index {
            self.watched.resize_with(index + 1, || None);
        }
        let place = &mut self.watched[index];
        if place.is_none() {
            SockRef::from(&borrow(operation.fd)).set_nonblocking(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut SourceFd(&operation.fd), Token(index), interest)?;
        }
        let fd = operation.fd;
        let watched =
            place.get_or_insert(Watched { fd, readable: true, writable: true, input: None, output: None });
        debug_assert_eq!(watched.fd, fd, "a slot is closed before it is used for another descriptor");
        Ok(watched)
    }

    fn watch_mailbox(&mut self, operation: Operation) {
        let source = &mut SourceFd(&operation.fd);
        match self.poll.registry().register(source, MAILBOX, Interest::READABLE) {
            Ok(()) => self.mailbox = Some(operation),
            Err(error) => tracing::error!(%error, "a core cannot be woken by the others"),
        }
    }

    fn ready(&mut self, event: &mio::event::Event, buffers: &Buffers) {
        if event.token() == MAILBOX {
            if let Some(operation) = self.mailbox {
                self.progress(&operation, 0, None);
            }
            return;
        }
        let index = event.token().0;
        let Some(Some(watched)) = self.watched.get_mut(index) else { return };
        let (input, output) = (
            event.is_readable() || event.is_read_closed() || event.is_error(),
            event.is_writable() || event.is_write_closed() || event.is_error(),
        );
        watched.readable |= input;
        watched.writable |= output;
        if output {
            self.output_ready(index as u32);
        }
        if input {
            self.input_ready(index as u32, buffers);
        }
    }

    /// Goes on with the receive or accept of a slot that may have something.
    fn input_ready(&mut self, index: u32, buffers: &Buffers) {
        for _ in 0..TURN_SHARE {
            let Some(Some(watched)) = self.watched.get_mut(index as usize) else { return };
            let Some(operation) = watched.input else { return };
            if !watched.readable {
                return;
            }
            let step = match operation.action {
                Action::Accept { .. } => accept(operation.fd),
                Action::ReceiveLarge { .. } => receive(operation.fd, Size::Large, buffers),
                _ => receive(operation.fd, Size::Small, buffers),
            };
            match step {
                Step::Again => watched.readable = false,
                Step::Filled { bytes, id } if matches!(operation.action, Action::Receive { again: true }) => {
                    self.progress(&operation, bytes, Some(id));
                }
                Step::Filled { bytes, id } => {
                    watched.input = None;
                    self.push(&operation, bytes, false, Some(id));
                }
                Step::Accepted(fd) if matches!(operation.action, Action::Accept { again: false }) => {
                    watched.input = None;
                    self.complete(&operation, fd);
                }
                Step::Accepted(fd) => self.progress(&operation, fd, None),
                Step::Over(result) => {
                    watched.input = None;
                    self.complete(&operation, result);
                }
            }
        }
        self.again.push_back(index);
    }

    /// Goes on with the send or connect of a slot that may have room.
    fn output_ready(&mut self, index: u32) {
        let Some(Some(watched)) = self.watched.get_mut(index as usize) else { return };
        let Some(operation) = watched.output else { return };
        let result = match operation.action {
            Action::Connect { .. } => connected(operation.fd),
            _ => send(&operation),
        };
        if result == -libc::EAGAIN {
            watched.writable = false;
            return;
        }
        watched.output = None;
        self.complete(&operation, result);
    }

    fn connect(&mut self, operation: Operation) {
        let Action::Connect { address, len } = operation.action else { return };
        // SAFETY: the address stays until the completion (see `Operation`); the kernel copies it during the call.
        let result = unsafe { libc::connect(operation.fd, address, len) };
        let errno = if result == 0 { 0 } else { errno(&io::Error::last_os_error()) };
        match -errno {
            libc::EINPROGRESS => {
                if let Some(Some(watched)) = self.watched.get_mut(operation.key.index as usize) {
                    watched.output = Some(operation);
                }
            }
            libc::EAGAIN => self.connects.push(operation),
            _ => self.complete(&operation, errno),
        }
    }

    fn cancel(&mut self, cancel: &Operation, kind: Kind) {
        let found = self.take_waiting(cancel.key, kind);
        if let Some(operation) = found {
            self.complete(&operation, -libc::ECANCELED);
        }
        self.complete(cancel, if found.is_some() { 0 } else { -libc::ENOENT });
    }

    fn take_waiting(&mut self, key: Key, kind: Kind) -> Option<Operation> {
        let is_meant = |operation: &mut Operation| operation.key == key && operation.kind() == kind;
        if let Some(at) = self.connects.iter_mut().position(is_meant) {
            return Some(self.connects.swap_remove(at));
        }
        let watched = self.watched.get_mut(key.index as usize)?.as_mut()?;
        watched.input.take_if(is_meant).or_else(|| watched.output.take_if(is_meant))
    }

    fn close(&mut self, operation: &Operation) {
        let index = operation.key.index as usize;
        let is_watched = |watched: &mut Watched| watched.fd == operation.fd;
        if self.watched.get_mut(index).and_then(|place| place.take_if(is_watched)).is_some() {
            // It can only fail for a descriptor that is not registered, and this one is.
            let _ = self.poll.registry().deregister(&mut SourceFd(&operation.fd));
        }
        // SAFETY: the socket's slot was the only owner of the descriptor and has given it up with this operation.
        unsafe { libc::close(operation.fd) };
    }

    /// The operation is over.
    fn complete(&mut self, operation: &Operation, result: i32) {
        self.push(operation, result, false, None);
    }

    /// The operation has something to show and goes on.
    fn progress(&mut self, operation: &Operation, result: i32, buffer: Option<u16>) {
        self.push(operation, result, true, buffer);
    }

    fn push(&mut self, operation: &Operation, result: i32, more: bool, buffer: Option<u16>) {
        let (kind, key) = (operation.kind(), operation.key);
        self.completions.push(Completion { kind, key, result, more, buffer });
    }
}

/// What one try gave.
enum Step {
    /// Nothing yet.
    Again,
    Filled {
        bytes: i32,
        id: u16,
    },
    Accepted(RawFd),
    /// The end, or a negative errno.
    Over(i32),
}

fn receive(fd: RawFd, size: Size, buffers: &Buffers) -> Step {
    let Some((id, start, len)) = buffers.take(size) else { return Step::Over(-libc::ENOBUFS) };
    // SAFETY: the buffer was just taken from those on offer: `len` bytes of it belong to this call alone.
    let received = unsafe { libc::recv(fd, start.as_ptr().cast(), len as usize, libc::MSG_DONTWAIT) };
    if let bytes @ 1.. = received {
        return Step::Filled { bytes: bytes as i32, id };
    }
    let error = io::Error::last_os_error();
    buffers.give_back(size, id);
    if received == 0 { Step::Over(0) } else { unless_again(&error) }
}

fn accept(fd: RawFd) -> Step {
    // SAFETY: null pointers say that the peer's address is not wanted.
    let accepted =
        unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), libc::SOCK_CLOEXEC) };
    if accepted >= 0 { Step::Accepted(accepted) } else { unless_again(&io::Error::last_os_error()) }
}

fn unless_again(error: &io::Error) -> Step {
    match errno(error) {
        again if again == -libc::EAGAIN => Step::Again,
        over => Step::Over(over),
    }
}

/// Bytes sent, or a negative errno.
fn send(operation: &Operation) -> i32 {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    let sent = match operation.action {
        // SAFETY: the piece stays in place until the completion, see `Operation`.
        Action::Send { start, len } => unsafe { libc::send(operation.fd, start.cast(), len as usize, flags) },
        // SAFETY: header, vectors and pieces stay in place until the completion, see `Operation`.
        Action::SendGathered { header } => unsafe { libc::sendmsg(operation.fd, header, flags) },
        _ => 0,
    };
    if sent >= 0 { i32::try_from(sent).unwrap_or(i32::MAX) } else { errno(&io::Error::last_os_error()) }
}

/// How a connect that was under way has ended: 0, `-EAGAIN` if it has not, or a negative errno.
fn connected(fd: RawFd) -> i32 {
    let fd = borrow(fd);
    let socket = SockRef::from(&fd);
    match (socket.take_error(), socket.peer_addr()) {
        (Ok(Some(error)), _) | (Err(error), _) => errno(&error),
        (Ok(None), Ok(_)) => 0,
        (Ok(None), Err(_)) => -libc::EAGAIN,
    }
}

fn borrow(fd: RawFd) -> BorrowedFd<'static> {
    // SAFETY: the descriptor of a slot stays open until its close operation, and no borrow is kept beyond one call.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// Negative, as io_uring has it.
fn errno(error: &io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(libc::EIO)
}
