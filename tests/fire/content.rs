//! Which bytes belong to which request: everybody computes them, nobody stores them.
//!
//! Used by the origin to answer, by well-behaved clients to check, and for request bodies in both. Two ids never
//! share a body, so an answer that went to the wrong client cannot look right.

use crate::dice::Dice;

/// The first `len` bytes of the stream that belongs to `id`.
pub(crate) fn bytes(id: u64, len: usize) -> Vec<u8> {
    let mut dice = Dice::new(id);
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        out.extend(dice.next().to_le_bytes());
    }
    out.truncate(len);
    out
}

/// What a client uploads with request `id`: another stream than that of the answer.
pub(crate) fn upload(id: u64, len: usize) -> Vec<u8> {
    bytes(!id, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_has_its_own_bytes() {
        assert_eq!(bytes(7, 20), bytes(7, 20));
        assert_eq!(bytes(7, 20)[..13], bytes(7, 13));
        assert_ne!(bytes(7, 20), bytes(8, 20));
        assert_ne!(bytes(7, 20), upload(7, 20));
        assert_eq!(bytes(7, 0), b"");
    }
}
