//! The schema runs in the SQLite of whoever inserts, which may be as old as 3.37.

use std::collections::BTreeSet;

use super::bench::Bench;

/// What the schema may call: in SQLite since before 3.37 (those of JSON are built in since 3.38 and were a usual extension
/// before).
const OLD_FUNCTIONS: [&str; 15] = [
    "abs",
    "cast",
    "coalesce",
    "instr",
    "json_each",
    "json_type",
    "json_valid",
    "julianday",
    "length",
    "lower",
    "printf",
    "replace",
    "round",
    "strftime",
    "substr",
];

/// Words that stand before a bracket without being functions; so do the names of tables.
const WORDS: [&str; 16] = [
    "and", "as", "check", "default", "exists", "from", "in", "key", "not", "or", "raise", "table",
    "then", "unique", "values", "when",
];

/// Identifiers of `sql` that are followed by a bracket. Texts and comments are left out.
fn called(sql: &str) -> BTreeSet<String> {
    let code: Vec<&str> = sql
        .lines()
        .map(|line| line.split_once("--").map_or(line, |(code, _)| code))
        .collect();
    let code = code.join(" ");
    let bare: Vec<&str> = code.split(['\'', '"']).step_by(2).collect();
    let bare = bare.join(" ");
    let word_before = |at: usize| {
        let word = bare[..at]
            .trim_end()
            .rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next();
        word.map(str::to_ascii_lowercase)
            .filter(|word| !word.is_empty())
    };
    bare.match_indices('(')
        .filter_map(|(at, _)| word_before(at))
        .collect()
}

#[tokio::test]
async fn the_schema_uses_nothing_newer_than_sqlite_3_37() {
    let mut bench = Bench::fresh().await;
    let names = bench.outsider.rows("SELECT name FROM sqlite_schema").await;
    let query = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE '\\_sqlx%' ESCAPE '\\'";
    let mut calls = 0;
    for sql in bench.outsider.rows(query).await {
        let head: String = sql.chars().take(40).collect();
        for word in called(&sql) {
            calls += 1;
            let known = OLD_FUNCTIONS.contains(&word.as_str())
                || WORDS.contains(&word.as_str())
                || names.contains(&word);
            assert!(known, "{head} calls {word}");
        }
        for newer in [
            "->",
            "IS DISTINCT",
            "IS NOT DISTINCT",
            "FULL JOIN",
            "RIGHT JOIN",
        ] {
            assert!(!sql.contains(newer), "{head} holds {newer}");
        }
    }
    assert!(calls > 100, "{calls}");
}

#[test]
fn calls_are_found_and_texts_are_not() {
    let sql =
        "WHEN unixepoch ( 1 ) > abs(x) -- no comment(1)\n AND y = 'not text(1)' AND (z) IN (1)";
    let expected = ["abs", "and", "in", "unixepoch"].map(str::to_owned);
    assert_eq!(called(sql), BTreeSet::from(expected));
}
