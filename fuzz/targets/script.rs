//! See `tests/it/fuzz/checks/script.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobtrackd_fuzz::run("script", bytes));
