//! Has the crate built again when the migrations change, which `sqlx::migrate!` reads as it is compiled.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
