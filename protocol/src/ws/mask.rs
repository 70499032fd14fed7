//! Masking and unmasking of payloads (RFC 6455 5.3), eight bytes at a time.
//!
//! Called by `message.rs` and `close.rs`, and by whoever samples messages. Masking is its own inverse. A key
//! is always *turned*: its first byte belongs to the first byte of the slice at hand.

/// The key for a payload that goes on `offset` bytes after the place that `key` belongs to.
pub fn turn(key: [u8; 4], offset: u64) -> [u8; 4] {
    // The bytes of a number rotate as the bytes of the key do, and no index can be wrong.
    u32::from_be_bytes(key).rotate_left(((offset & 3) as u32) * 8).to_be_bytes()
}

/// Masks (or unmasks) `payload` in place. `key` must be turned to the first byte of `payload`.
pub fn apply(payload: &mut [u8], key: [u8; 4]) {
    let word = doubled(key);
    let (words, tail) = payload.as_chunks_mut::<8>();
    for bytes in words {
        *bytes = (u64::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(word.to_ne_bytes()) {
        *byte ^= mask;
    }
}

/// Masks (or unmasks) `payload`, which begins `offset` bytes into the frame that `key` came with.
pub fn apply_at(payload: &mut [u8], key: [u8; 4], offset: u64) {
    apply(payload, turn(key, offset));
}

/// Appends `payload` to `out`, masked (or unmasked) with a turned `key`: one pass, no copy in between.
pub fn append(out: &mut Vec<u8>, payload: &[u8], key: [u8; 4]) {
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(copied) = out.get_mut(start..) {
        apply(copied, key);
    }
}

/// The key twice, as the machine lays out a word, so that one XOR masks eight bytes.
fn doubled(key: [u8; 4]) -> u64 {
    let [a, b, c, d] = key;
    u64::from_ne_bytes([a, b, c, d, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6455 5.3, byte by byte.
    fn plain(payload: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        payload.iter().enumerate().map(|(at, byte)| byte ^ key[(at + offset) % 4]).collect()
    }

    #[test]
    fn masks_the_hello_of_the_rfc() {
        // RFC 6455 5.7: the single-frame masked text message.
        let mut hello = *b"Hello";
        apply(&mut hello, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn agrees_with_the_definition_at_every_length_and_offset() {
        let key = [0x01, 0x80, 0xff, 0x5a];
        let payload: Vec<u8> = (0..67u8).map(|byte| byte.wrapping_mul(37)).collect();
        for len in 0..payload.len() {
            for offset in 0..9 {
                let mut masked = payload[..len].to_vec();
                apply_at(&mut masked, key, offset as u64);
                assert_eq!(masked, plain(&payload[..len], key, offset), "len {len} offset {offset}");
            }
        }
    }

    #[test]
    fn every_split_gives_the_same_bytes() {
        let key = [9, 8, 7, 6];
        let payload: Vec<u8> = (0..40u8).collect();
        let whole = plain(&payload, key, 0);
        for cut in 0..=payload.len() {
            let mut out = Vec::new();
            append(&mut out, &payload[..cut], key);
            append(&mut out, &payload[cut..], turn(key, cut as u64));
            assert_eq!(out, whole, "cut at {cut}");
        }
    }
}
