//! What a socket sends: queued bytes leave at the end of the turn, one operation at a time, in order.

use crate::io::ring::buffers::Lease;
use crate::io::ring::ops::Completion;
use crate::io::ring::ring::Core;
use crate::io::ring::slab::Key;

impl Core {
    /// Queues bytes behind those already queued; they leave at the end of the turn.
    pub(crate) fn queue_send(&self, key: Key, lease: Lease) {
        if lease.is_empty() {
            return;
        }
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return };
        if socket.send_error != 0 {
            return;
        }
        let outbox = socket.outbox.get_or_insert_with(|| self.spare_outbox());
        outbox.push(lease);
        if !socket.dirty && !outbox.sending {
            socket.dirty = true;
            self.dirty.borrow_mut().push(key);
        }
    }

    /// Sends what is queued at once, and FIN in the same packet as its end; true if the kernel took all of it. Else the
    /// rest goes the usual way, without FIN.
    pub(crate) fn finish(&self, key: Key) -> bool {
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else { return false };
        let fd = socket.fd;
        let Some(outbox) = socket.outbox.as_mut().filter(|outbox| !outbox.sending) else { return false };
        let Ok(taken) = self.driver().send_ahead(fd, outbox.message()) else { return false };
        socket.taken += taken as u64;
        outbox.advance(taken);
        if !outbox.is_empty() {
            return false;
        }
        if let Some(outbox) = socket.outbox.take() {
            self.keep_outbox(outbox);
        }
        self.driver().shutdown_write(fd).is_ok()
    }

    /// Hands every socket with queued bytes and no send in flight to the kernel.
    pub(crate) fn flush(&self) {
        let mut dirty = self.dirty.take();
        for key in dirty.drain(..) {
            let mut sockets = self.sockets.borrow_mut();
            let Some(socket) = sockets.get_mut(key) else { continue };
            socket.dirty = false;
            let (fd, closing) = (socket.fd, socket.closing);
            let Some(outbox) = socket.outbox.as_mut() else { continue };
            if closing || outbox.sending || outbox.is_empty() {
                continue;
            }
            outbox.sending = true;
            socket.in_flight += 1;
            self.push(&outbox.operation(fd, key));
        }
        // Keep the capacity.
        let mut list = self.dirty.borrow_mut();
        if list.is_empty() {
            *list = dirty;
        }
    }

    pub(crate) fn sent(&self, completion: Completion) {
        let key = completion.key;
        let mut sockets = self.sockets.borrow_mut();
        let Some(socket) = sockets.get_mut(key) else {
            debug_assert!(false, "a slot is not reused while a send is in flight");
            return;
        };
        socket.in_flight -= 1;
        let Some(outbox) = socket.outbox.as_mut() else { return };
        outbox.sending = false;
        match completion.result {
            sent @ 0.. => {
                socket.taken += sent as u64;
                outbox.advance(sent as usize);
            }
            error if -error == libc::EAGAIN || -error == libc::EINTR => {}
            error => {
                socket.send_error = -error;
                outbox.clear();
            }
        }
        if socket.closing {
            return self.finish_close(key, &mut sockets);
        }
        if !outbox.is_empty() {
            socket.dirty = true;
            self.dirty.borrow_mut().push(key);
        }
        let (unsent, failed) = (outbox.bytes(), socket.send_error != 0);
        if unsent == 0
            && let Some(outbox) = socket.outbox.take()
        {
            self.keep_outbox(outbox);
        }
        if let Some(writer) = socket.writer
            && (failed || unsent <= socket.writer_below as usize)
        {
            socket.writer = None;
            self.tasks.wake(writer);
        }
        if failed && let Some(reader) = socket.reader {
            self.tasks.wake(reader);
        }
    }
}
