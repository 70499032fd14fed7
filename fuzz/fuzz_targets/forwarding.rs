//! See `fuzz::forwarding`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::forwarding(data));
