//! A unit file of systemd.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| live_response::fuzzing::unit(bytes));
