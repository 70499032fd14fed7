//! See `fuzz::ws_handshake`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::ws_handshake(data));
