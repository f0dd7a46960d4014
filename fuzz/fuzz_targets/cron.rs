//! A crontab, and a calendar event.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| live_response::fuzzing::cron(bytes));
