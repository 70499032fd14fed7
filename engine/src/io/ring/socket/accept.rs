//! What a listener accepts: one connection, or all that come until it is told to stop.

use std::io;

use super::Receiving;
use crate::io::ring::buffers::Size;
use crate::io::ring::ops::{self, Completion, Kind};
use crate::io::ring::ring::Core;
use crate::io::ring::slab::Key;

impl Core {
    /// Arms the accept of a listener if it is not armed: for one connection, or for all that come.
    pub(crate) fn start_accept(&self, key: Key, again: bool) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.receiving == Receiving::Off && !socket.closing {
            socket.is_listener = true;
            socket.receiving = Receiving::Armed(Size::Small);
            socket.in_flight += 1;
            self.push(&ops::accept(socket.fd, key, again));
        }
    }

    /// Cancels the accept of a listener; what the kernel accepted meanwhile still arrives.
    pub(crate) fn stop_accept(&self, key: Key) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.receiving == Receiving::Armed(Size::Small) {
            socket.receiving = Receiving::Cancelling;
            socket.in_flight += 1;
            socket.cancels += 1;
            self.push(&ops::cancel(socket.fd, Kind::Accept, key));
        }
    }

    pub(crate) fn accepted(&self, completion: Completion) {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(completion.key) else { return };
        if !completion.more {
            socket.receiving = Receiving::Off;
            socket.in_flight -= 1;
        }
        let accepted = socket.accepted.get_or_insert_default();
        match completion.result {
            fd @ 0.. => accepted.push_back(Ok(fd)),
            error if -error == libc::ECANCELED => {}
            error => accepted.push_back(Err(io::Error::from_raw_os_error(-error))),
        }
        let news = !accepted.is_empty() || !completion.more;
        if socket.closing {
            return self.finish_close(completion.key, &mut sockets);
        }
        // Also when the accept has ended: the listener may have been asked to go on while its pause was unconfirmed.
        if let Some(reader) = socket.reader
            && news
        {
            self.tasks.wake(reader);
        }
    }
}
