//! The machine, whatever the configuration says: other SQLite libraries, the clock.

use std::path::Path;

use super::{Finding, tool};
use crate::cli::text::outside;
use crate::store::OLDEST_SQLITE;

/// Oldest SQLite that surely has JSON functions, which the rules of the table need.
const WITH_JSON: [u32; 3] = [3, 38, 0];

/// Exists once systemd-timesyncd has set the clock.
const SYNCHRONISED: &str = "/run/systemd/timesync/synchronized";

pub(in crate::cli) async fn look() -> Vec<Finding> {
    let mut findings = vec![
        sqlite(
            "host.sqlite3",
            "sqlite3",
            tool::ask("sqlite3", &["--version"]).await,
        ),
        sqlite(
            "host.python3",
            "python3's sqlite3 module",
            tool::ask(
                "python3",
                &["-c", "import sqlite3; print(sqlite3.sqlite_version)"],
            )
            .await,
        ),
    ];
    findings.push(synchronised().await);
    findings
}

/// What a library of this version means for those who enqueue with it.
fn sqlite(check: &'static str, who: &str, answer: Option<Result<String, String>>) -> Finding {
    let text = match answer {
        None => return Finding::ok(check, format!("{who} is not on the search path")),
        Some(Err(error)) => {
            return Finding::note(
                check,
                format!("{who} does not say its version: {error}"),
                format!(
                    "whoever enqueues with it should know whether it is older than {OLDEST_SQLITE}; try it by hand"
                ),
            );
        }
        Some(Ok(text)) => text,
    };
    let word = text.split_whitespace().next().unwrap_or_default();
    let Some(version) = numbers(word) else {
        return Finding::note(
            check,
            format!("{who} says no version but {:?}", outside(word, 60)),
            format!(
                "whoever enqueues with it should know whether it is older than {OLDEST_SQLITE}; try it by hand"
            ),
        );
    };
    let shown = outside(word, 60);
    if version < WITH_JSON {
        return Finding::warning(
            check,
            format!("{who} has SQLite {shown}, older than 3.38"),
            "the rules of the jobs table need JSON functions that it may not have, so its INSERTs fail; enqueue with: \
             jobtrackd enqueue ID",
        );
    }
    if Some(version) < numbers(OLDEST_SQLITE) {
        return Finding::note(
            check,
            format!("{who} has SQLite {shown}, older than {OLDEST_SQLITE}"),
            "it can damage the file when it checkpoints while the daemon does; begin every session that writes with: \
             PRAGMA wal_autocheckpoint=0;",
        );
    }
    Finding::ok(check, format!("{who} has SQLite {shown}"))
}

fn numbers(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    let mut next = || parts.next().flatten();
    let (major, minor) = (next()?, next()?);
    Some([major, minor, next().unwrap_or(0)])
}

async fn synchronised() -> Finding {
    let check = "clock.synchronised";
    if Path::new(SYNCHRONISED).exists() {
        return Finding::ok(check, "the clock was set from the network");
    }
    let arguments = ["show", "-p", "NTPSynchronized", "--value"];
    let answer = tool::ask("timedatectl", &arguments).await;
    match answer.as_ref().map(|answer| answer.as_deref()) {
        Some(Ok("yes")) => Finding::ok(check, "the clock is synchronised"),
        Some(Ok("no")) => Finding::warning(
            check,
            "the clock is not synchronised",
            "deadlines and retries go by it, and receivers refuse signatures that are five minutes off; run: \
             timedatectl set-ntp true",
        ),
        _ => Finding::note(
            check,
            "nobody here says whether the clock is synchronised",
            "receivers refuse signatures that are five minutes off; compare with another machine: date -u",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn old_versions_of_sqlite_are_told_apart_by_what_they_break() {
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
        let silent = sqlite("host.sqlite3", "sqlite3", Some(Err("no answer".to_owned())));
        assert_eq!(silent.level, Level::Note);
        assert_eq!(sqlite("host.sqlite3", "sqlite3", None).level, Level::Ok);
    }
}
