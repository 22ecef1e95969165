//! Conformance of the store's verbs: what every backend has to do, told through [`bench::Bench`], and what only SQLite
//! promises to the programs that share its file.

mod bench;
mod given;

mod rows;

mod row_urls;

mod row_metadata;

mod schema;

mod updates;
mod users;

mod intake;

mod recording;

mod steps;

mod lanes;

mod attempts;

mod interleavings;

mod bookkeeping;

mod reading;

mod watching;

mod timeline;

mod deleting;

mod pruning;

mod steering;

mod apart;

mod files;

mod released;

mod backup;

mod restore;

mod refusals;

mod faults;

mod lock;
