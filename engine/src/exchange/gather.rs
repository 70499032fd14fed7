//! Collects what one side is to be sent: small things are copied together, long pieces go as they are.

use crate::io::{Lease, freeze, take_buf};
use crate::metrics::counters::Counter;
use crate::tls::stream::Stream;

/// Pieces up to this size are copied: one send of one buffer is cheaper than a gathered one.
const COPY_BYTES_MAX: usize = 1024;

/// Bytes for one stream. What is left is sent when dropped.
pub(crate) struct Gather<'a> {
    stream: &'a Stream,
    buf: Option<Vec<u8>>,
    /// Counts the bytes.
    total: &'a Counter,
}

impl<'a> Gather<'a> {
    pub(crate) fn new(stream: &'a Stream, total: &'a Counter) -> Gather<'a> {
        Gather { stream, buf: None, total }
    }

    /// Where heads and framing are written.
    #[inline]
    pub(crate) fn buf(&mut self) -> &mut Vec<u8> {
        self.buf.get_or_insert_with(take_buf)
    }

    /// Adds received bytes: `len` of them, as a view made by `view` if they are worth one.
    pub(crate) fn piece(&mut self, bytes: &[u8], view: impl FnOnce() -> Lease) {
        if bytes.len() <= COPY_BYTES_MAX {
            self.buf().extend_from_slice(bytes);
            return;
        }
        self.flush();
        self.total.add(bytes.len() as u64);
        self.stream.send(view());
    }

    fn flush(&mut self) {
        if let Some(buf) = self.buf.take() {
            self.total.add(buf.len() as u64);
            self.stream.send(freeze(buf));
        }
    }
}

impl Drop for Gather<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
