//! See `fuzz::tls_bytes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::tls_bytes(data));
