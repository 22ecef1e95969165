//! See `tests/it/fuzz/checks/event_answer.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobtrackd_fuzz::run("event_answer", bytes));
