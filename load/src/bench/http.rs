//! One HTTP connection of a bench: sends the request, reads the answer of whatever server that is.
//!
//! Made and used by `worker`. An answer that is byte by byte one that was read before costs one comparison.

use std::cell::RefCell;

use engine::io::{Lease, Pace, TcpStream};

use super::counts::{Answer, Failure, Trouble};
use super::plan::{Ask, Place};
use super::reader::Reader;
use super::request;

/// An answer up to this length is remembered whole.
const KNOWN_BYTES_MAX: usize = 4096;
/// A piece as long as a small buffer of the loop announces a long body: larger buffers then cost less.
const LONG_PIECE_BYTES: usize = 4096;

/// What the connections of one thread share.
pub(super) struct Http {
    request: Lease,
    is_head: bool,
    /// The last answer that came in one piece and left the connection open, and its status.
    known: RefCell<(Vec<u8>, u16)>,
}

impl Http {
    pub(super) fn new(place: &Place, ask: &Ask) -> Http {
        // Leaked once per thread, so that a send needs no copy and no count.
        let request = Lease::from_static(Vec::leak(request::http(place, ask)));
        Http { request, is_head: ask.method == "HEAD", known: RefCell::default() }
    }

    /// One request and its whole answer.
    pub(super) async fn exchange(&self, stream: &TcpStream) -> Result<Answer, Trouble> {
        stream.send(self.request.clone());
        let mut reader = Reader::new(self.is_head);
        let mut bytes = 0;
        // The start of a head or line that has not ended; nearly always empty, and then it holds no memory.
        let mut pending = Vec::new();
        loop {
            let piece = match stream.recv().await {
                Ok(Some(piece)) => piece,
                Ok(None) if reader.on_end() => break,
                Ok(None) => return Err(Trouble::new(Failure::Closed, "the answer was not complete")),
                Err(error) => return Err(Trouble::new(Failure::Reset, error)),
            };
            if bytes == 0
                && let Some(answer) = self.known(&piece)
            {
                return Ok(answer);
            }
            stream.set_pace(Pace::bulk_if(piece.len() >= LONG_PIECE_BYTES));
            feed(&mut reader, &mut pending, &piece)?;
            bytes += piece.len() as u64;
            if reader.is_done() {
                if reader.keeps() && bytes == piece.len() as u64 {
                    self.remember(&piece, reader.status());
                }
                break;
            }
        }
        Ok(Answer { status: reader.status(), keeps: reader.keeps(), bytes })
    }

    fn known(&self, piece: &[u8]) -> Option<Answer> {
        let known = self.known.borrow();
        (known.0 == piece).then(|| Answer { status: known.1, keeps: true, bytes: piece.len() as u64 })
    }

    fn remember(&self, answer: &[u8], status: u16) {
        if answer.len() <= KNOWN_BYTES_MAX {
            let mut known = self.known.borrow_mut();
            known.0.clear();
            known.0.extend_from_slice(answer);
            known.1 = status;
        }
    }
}

/// Feeds a piece, behind what is pending; leaves in `pending` what was not used.
fn feed(reader: &mut Reader, pending: &mut Vec<u8>, piece: &[u8]) -> Result<(), Trouble> {
    let malformed = |what| Trouble::new(Failure::Malformed, what);
    if pending.is_empty() {
        let used = reader.feed(piece).map_err(malformed)?;
        pending.extend_from_slice(&piece[used..]);
    } else {
        pending.extend_from_slice(piece);
        let used = reader.feed(pending).map_err(malformed)?;
        pending.drain(..used);
    }
    Ok(())
}
