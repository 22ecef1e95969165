//! The machine, whatever the configuration says: other SQLite libraries, the clock.

use std::io;
use std::path::Path;

use super::{Finding, note, ok, output_of, warning};
use crate::cli::text::outside;
use crate::store::OLDEST_SQLITE;

/// Oldest SQLite that surely has JSON functions, which the rules of the table need.
const WITH_JSON: [u32; 3] = [3, 38, 0];

/// Exists once systemd-timesyncd has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

pub(in crate::cli) async fn probe() -> Vec<Finding> {
    let script = "import sqlite3; print(sqlite3.sqlite_version)";
    let (shell, python) = (
        output_of("sqlite3", &["--version"]).await,
        output_of("python3", &["-c", script]).await,
    );
    vec![
        sqlite("host.sqlite3", "sqlite3", shell),
        sqlite("host.python3", "python3's sqlite3 module", python),
        synchronised().await,
    ]
}

/// What a library of this version means for those who enqueue with it.
fn sqlite(check: &'static str, name: &str, answer: Option<io::Result<String>>) -> Finding {
    let by_hand = format!(
        "whoever enqueues with it should know whether it is older than {OLDEST_SQLITE}; try it by hand"
    );
    let text = match answer {
        None => return ok(check, format!("{name} is not on the search path")),
        Some(Err(error)) => {
            let text = format!("{name} does not say its version: {error}");
            return note(check, text).advise(by_hand);
        }
        Some(Ok(text)) => text,
    };
    let word = text.split_whitespace().next().unwrap_or_default();
    let (version, shown) = (numbers(word), outside(word, 60));
    let Some(version) = version else {
        return note(check, format!("{name} says no version but {shown:?}")).advise(by_hand);
    };
    let text = format!("{name} has SQLite {shown}");
    if version < WITH_JSON {
        return warning(check, format!("{text}, older than 3.38")).advise(
            "the rules of the jobs table need JSON functions that it may not have, so its INSERTs fail; enqueue with: \
             jobtrackd enqueue ID",
        );
    }
    if Some(version) < numbers(OLDEST_SQLITE) {
        return note(check, format!("{text}, older than {OLDEST_SQLITE}")).advise(
            "it can damage the file when it checkpoints while the daemon does; begin every session that writes with: \
             PRAGMA wal_autocheckpoint=0;",
        );
    }
    ok(check, text)
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let mut next = || parts.next().flatten();
    let (major, minor) = (next()?, next()?);
    Some([major, minor, next().unwrap_or(0)])
}

pub(super) async fn synchronised() -> Finding {
    let check = "clock.synchronised";
    if Path::new(SYNCHRONISED).exists() {
        return ok(check, "the clock was set from the network");
    }
    let arguments = ["show", "-p", "NTPSynchronized", "--value"];
    match output_of("timedatectl", &arguments).await {
        Some(Ok(yes)) if yes == "yes" => ok(check, "the clock is synchronised"),
        Some(Ok(no)) if no == "no" => warning(check, "the clock is not synchronised").advise(
            "deadlines and retries go by it, and receivers refuse signatures that are five minutes off; run: timedatectl \
             set-ntp true",
        ),
        _ => note(check, "it is not known here whether the clock is synchronised").advise(
            "receivers refuse signatures that are five minutes off; compare with another machine: date -u",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn old_versions_of_sqlite_are_distinguished_by_what_they_break() {
        for (said, level) in [
            ("3.37.2 2022-01-06", Level::Warning),
            ("2.8.17", Level::Warning),
            ("3.38.0 2022-02-22", Level::Note),
            ("3.51.2", Level::Note),
            ("3.51.3 x", Level::Ok),
            ("3.100", Level::Ok),
            ("", Level::Note),
            ("command not understood", Level::Note),
        ] {
            let found = sqlite("host.sqlite3", "sqlite3", Some(Ok(said.to_owned())));
            assert_eq!(found.level, level, "{said}: {found:?}");
            assert_eq!(found.advice.is_none(), level == Level::Ok);
        }
        let silent = sqlite(
            "host.sqlite3",
            "sqlite3",
            Some(Err(io::Error::other("no answer"))),
        );
        assert_eq!(silent.level, Level::Note);
        assert_eq!(sqlite("host.sqlite3", "sqlite3", None).level, Level::Ok);
    }
}
