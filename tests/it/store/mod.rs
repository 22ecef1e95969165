//! Conformance of the store's verbs: what every backend has to do, shown through [`bench::Bench`], and what only SQLite
//! promises to the programs that share its file.

mod apart;
mod attempts;
mod backup;
mod bench;
mod deleting;
mod faults;
mod files;
mod intake;
mod lanes;
mod lock;
mod pruning;
mod reading;
mod recording;
mod refusals;
mod released;
mod restore;
mod row_metadata;
mod row_urls;
mod rows;
mod schema;
mod steering;
mod timeline;
mod updates;
mod users;
mod watching;

use jobtrackd::store::conformance::fixtures;
