//! A job of `at`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| live_response::fuzzing::at(bytes));
