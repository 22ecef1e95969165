//! Rebuilds the crate when the migrations change, which `sqlx::migrate!` reads when it is compiled.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
