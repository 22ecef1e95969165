//! The commands, one file per command or family.

pub mod demo;

pub mod simulate;
