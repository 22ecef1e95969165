//! The checks that the ordinary tests run, for the targets of cargo fuzz.

#[path = "../../tests/it/fuzz/checks/mod.rs"]
mod checks;

/// Runs the check of this name.
///
/// # Panics
/// When it does not hold.
pub fn run(name: &str, bytes: &[u8]) {
    checks::run(name, bytes);
}
