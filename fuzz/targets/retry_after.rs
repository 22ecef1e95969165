//! See `tests/it/fuzz/checks/retry_after.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobtrackd_fuzz::run("retry_after", bytes));
