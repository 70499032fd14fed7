//! What a socket has received and nobody has taken yet. Nearly always nothing or one piece, so an idle or quiet socket
//! holds no queue; a busy one takes a queue from its core's spare ones, so that long bodies allocate nothing either.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::buffers::{Lease, freeze};

/// An inbox of more pieces than this stops receiving however few bytes they are: each may hold a whole buffer, and a
/// peer may send single bytes.
const PIECES_HIGH: usize = 64;
/// An inbox of at most this many pieces receives again.
const PIECES_LOW: usize = 16;
/// A piece longer than this stays in its buffer: a usual head is a tenth of it.
const COPIED_BYTES_MAX: usize = 2048;

/// Empty queues that a core keeps: as many sockets can have several pieces at once without an allocation.
const SPARE_MAX: usize = 256;

thread_local! {
    /// This core's spare queues, all empty.
    static SPARE: RefCell<Vec<Queue>> = const { RefCell::new(Vec::new()) };
}

/// Boxed: every socket has room for one and nearly none has one, so 8 bytes instead of 32.
type Queue = Box<VecDeque<Lease>>;

#[derive(Default)]
pub(crate) struct Inbox {
    first: Option<Lease>,
    /// What follows the first; only while there is something.
    rest: Option<Queue>,
    bytes: u32,
}

impl Inbox {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Moves a single short piece out of its buffer.
    pub(crate) fn let_buffer_go(&mut self) {
        if self.rest.is_none()
            && let Some(lease) = self.first.take_if(|lease| lease.len() <= COPIED_BYTES_MAX)
        {
            self.first = Some(freeze(lease.to_vec()));
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, lease: Lease) {
        self.bytes += lease.len() as u32;
        if self.first.is_none() {
            self.first = Some(lease);
        } else {
            self.rest.get_or_insert_with(spare_queue).push_back(lease);
        }
    }

    /// Puts a piece back to where it was taken from.
    pub(crate) fn put_back(&mut self, lease: Lease) {
        self.bytes += lease.len() as u32;
        if let Some(second) = self.first.replace(lease) {
            self.rest.get_or_insert_with(spare_queue).push_front(second);
        }
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<Lease> {
        let lease = self.first.take()?;
        self.bytes -= lease.len() as u32;
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty()
                && let Some(queue) = self.rest.take()
            {
                keep_queue(queue);
            }
        }
        Some(lease)
    }

    /// Holds more than `bytes_high`, or too many pieces: stop receiving.
    #[inline]
    pub(crate) fn is_over(&self, bytes_high: u32) -> bool {
        self.bytes > bytes_high || self.pieces() > PIECES_HIGH
    }

    /// Holds at most `bytes_low`, in few pieces: go on receiving.
    #[inline]
    pub(crate) fn is_under(&self, bytes_low: u32) -> bool {
        self.bytes <= bytes_low && self.pieces() <= PIECES_LOW
    }

    #[cfg(feature = "simulation")]
    pub(crate) fn len(&self) -> usize {
        self.bytes as usize
    }

    fn pieces(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

fn spare_queue() -> Queue {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::new(VecDeque::with_capacity(PIECES_LOW)))
}

/// Keeps a queue that has become empty, unless it grew, or there are enough.
fn keep_queue(queue: Queue) {
    debug_assert!(queue.is_empty());
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < SPARE_MAX && queue.capacity() <= 2 * PIECES_HIGH {
            spare.push(queue);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &'static str) -> Lease {
        Lease::from_static(text.as_bytes())
    }

    #[test]
    fn keeps_order_also_when_pieces_are_put_back() {
        let mut inbox = Inbox::default();
        for text in ["one", "two", "three"] {
            inbox.push(piece(text));
        }
        let one = inbox.take().unwrap();
        inbox.put_back(one);
        inbox.put_back(piece("zero"));
        assert!(inbox.is_under(15) && inbox.is_over(14), "4 + 3 + 3 + 5 bytes");
        let order: Vec<String> = std::iter::from_fn(|| inbox.take())
            .map(|lease| String::from_utf8_lossy(&lease).into_owned())
            .collect();
        assert_eq!(order, ["zero", "one", "two", "three"]);
        assert!(inbox.is_empty() && inbox.rest.is_none() && inbox.bytes == 0);
    }

    #[test]
    fn many_small_pieces_are_as_much_as_many_bytes() {
        let mut inbox = Inbox::default();
        for _ in 0..=PIECES_HIGH {
            inbox.push(piece("x"));
        }
        assert!(inbox.is_over(1_000_000) && !inbox.is_under(1_000_000));
        while inbox.pieces() > PIECES_LOW {
            inbox.take();
        }
        assert!(inbox.is_under(1_000_000));
    }
}
