//! Bytes that were received and not yet used up, as one stretch: what a machine is fed with.

use crate::io::{Lease, freeze, take_buf};

/// Nearly always a view onto the one buffer that came; only an incomplete head is joined with what follows it.
#[derive(Default)]
pub(crate) struct Intake {
    bytes: Option<Lease>,
}

impl Intake {
    /// What is there.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or(&[])
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_none()
    }

    /// Adds what came after it.
    pub(crate) fn push(&mut self, more: Lease) {
        let joined = match self.bytes.take() {
            None => more,
            Some(before) => {
                let mut buf = take_buf();
                buf.extend_from_slice(&before);
                buf.extend_from_slice(&more);
                freeze(buf)
            }
        };
        self.bytes = (!joined.is_empty()).then_some(joined);
    }

    /// Takes the first `count` bytes out, as a view.
    pub(crate) fn take_front(&mut self, count: usize) -> Lease {
        let Some(bytes) = &mut self.bytes else { return Lease::from_static(b"") };
        if count >= bytes.len() {
            return self.bytes.take().unwrap_or_else(|| Lease::from_static(b""));
        }
        bytes.split_to(count)
    }

    /// Forgets the first `count` bytes.
    #[inline]
    pub(crate) fn consume(&mut self, count: usize) {
        let Some(bytes) = &mut self.bytes else { return };
        if count >= bytes.len() {
            self.bytes = None;
        } else {
            bytes.advance(count);
        }
    }

    /// A view onto a part of what is there.
    pub(crate) fn view(&self, start: usize, len: usize) -> Lease {
        let Some(bytes) = &self.bytes else { return Lease::from_static(b"") };
        let mut view = bytes.clone();
        view.advance(start);
        view.truncate(len);
        view
    }

    /// All that is there, leaving nothing.
    pub(crate) fn take(&mut self) -> Option<Lease> {
        self.bytes.take()
    }
}
