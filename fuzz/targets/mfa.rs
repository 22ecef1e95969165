//! See `tests/it/fuzz/checks/mfa.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| jobtrackd_fuzz::run("mfa", bytes));
