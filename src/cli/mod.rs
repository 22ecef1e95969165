//! The commands, one file per command or family.

pub mod simulate;
