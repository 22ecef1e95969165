//! What only SQLite promises to the programs that share its file: its schema, its rows, its files. What every store has to do is
//! in `crates/store/src/conformance`.

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
mod words;

use jobtrackd::store::conformance::fixtures;
