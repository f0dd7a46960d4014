//! A registry hive and its transaction log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| live_response::fuzzing::hive(bytes));
