//! Conformance of the store's verbs: what every backend has to do, told through [`bench::Bench`], and what only SQLite
//! promises to the programs that share its file.

mod bench;
mod given;

mod attempts;
mod bookkeeping;
mod deleting;
mod intake;
mod interleavings;
mod lanes;
mod lock;
mod reading;
mod recording;
mod rows;
mod steps;
mod timeline;
mod updates;
mod urls;
