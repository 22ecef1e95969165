//! See `tests/it/fuzz/checks/signing_key.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobtrackd_fuzz::run("signing_key", bytes));
