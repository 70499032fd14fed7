//! The part of a request body that has been sent, kept for another attempt while that is possible.
//!
//! Made once per exchange by `forward.rs`; each attempt adds what it sends, and the next one begins with it. The memory
//! is the core's, so that a body costs no allocation: an exchange borrows it when the first piece comes and gives it
//! back when it ends, however it ends.

use std::rc::Rc;

use super::request::{REPLAY_BYTES_MAX, Request};
use crate::local::Local;

/// Spare buffers that a core keeps, of [`REPLAY_BYTES_MAX`] at most.
const SPARE_MAX: usize = 16;

pub(crate) struct Replay {
    local: Rc<Local>,
    wanted: bool,
    complete: bool,
    body: Vec<u8>,
}

impl Replay {
    pub(crate) fn new(local: &Rc<Local>, request: &Request<'_>) -> Replay {
        let wanted = request.idempotent && request.replayable;
        Replay { local: Rc::clone(local), wanted, complete: true, body: Vec::new() }
    }

    /// Everything that was read of the body is still there.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// What has been read of the body, as long as it is complete.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// A piece of the body is sent.
    pub(crate) fn keep(&mut self, piece: &[u8]) {
        if !self.wanted || !self.complete || (self.body.len() + piece.len()) as u64 > REPLAY_BYTES_MAX {
            return self.lose();
        }
        if self.body.capacity() == 0
            && let Some(spare) = self.local.replay_bodies.borrow_mut().pop()
        {
            self.body = spare;
        }
        self.body.extend_from_slice(piece);
    }

    /// The body cannot be sent again.
    pub(crate) fn lose(&mut self) {
        self.complete = false;
        self.give_back();
    }

    fn give_back(&mut self) {
        let mut body = std::mem::take(&mut self.body);
        if body.capacity() == 0 {
            return;
        }
        let mut spare = self.local.replay_bodies.borrow_mut();
        if spare.len() < SPARE_MAX {
            body.clear();
            spare.push(body);
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.give_back();
    }
}
