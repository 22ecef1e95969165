//! The walls of the architecture, checked and not remembered.

mod cycles;

use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of code in a file, without comments and the tests inside it; one that passes it has two jobs.
const MAX_LINES: usize = 400;

/// Which modules a module may use. `main` may use `cli` only; `cli` and `app` may use everything below them.
const MAY_USE: [(&str, &[&str]); 19] = [
    ("measuring", &[]),
    ("memory", &[]),
    ("heartbeat", &["store"]),
    ("tls", &[]),
    ("sockets", &["core", "clock", "tls"]),
    ("lifecycle", &[]),
    ("telemetry", &["core"]),
    ("config", &["core", "upstream", "webhook", "status"]),
    ("logging", &["config", "core", "clock"]),
    (
        "upstream",
        &["core", "clock", "memory", "sockets", "telemetry", "tls"],
    ),
    ("webhook", &["core", "clock", "sockets", "tls"]),
    (
        "writer",
        &["core", "clock", "heartbeat", "store", "telemetry"],
    ),
    (
        "tracker",
        &[
            "core",
            "clock",
            "heartbeat",
            "memory",
            "store",
            "upstream",
            "telemetry",
            "writer",
        ],
    ),
    (
        "dispatcher",
        &[
            "core",
            "clock",
            "heartbeat",
            "sockets",
            "store",
            "webhook",
            "writer",
            "telemetry",
        ],
    ),
    ("record", &["core", "store"]),
    ("words", &["core", "store"]),
    ("operator", &["core", "clock", "store", "webhook", "words"]),
    ("mfa", &["core", "clock", "store", "upstream"]),
    (
        "status",
        &[
            "core",
            "clock",
            "memory",
            "store",
            "tracker",
            "writer",
            "record",
            "mfa",
            "upstream",
            "telemetry",
            "webhook",
            "operator",
            "words",
        ],
    ),
];

/// Crates that only some modules may name.
const ONLY_IN: [(&str, &[&str]); 6] = [
    ("hyper_rustls", &["sockets"]),
    ("rustls_platform_verifier", &["tls"]),
    ("axum", &["status"]),
    ("metrics", &["telemetry"]),
    ("metrics_util", &["telemetry"]),
    ("metrics_exporter_prometheus", &["telemetry"]),
];

/// What the manifest of a crate may never name.
const NOT_IN: [(&str, &[&str]); 5] = [
    (".", &["sqlx", "fastrand", "reqwest"]),
    (
        "crates/core",
        &[
            "tokio",
            "sqlx",
            "reqwest",
            "axum",
            "fastrand",
            "tracing",
            "jobtrackd-",
        ],
    ),
    ("crates/clock", &["sqlx", "reqwest", "axum"]),
    ("crates/store", &["reqwest", "axum", "fastrand"]),
    ("crates/simulator", &["sqlx", "reqwest", "jobtrackd-store"]),
];

const UNFINISHED: [&str; 5] = ["TODO", "FIXME", "for now", "#[allow(", "#[ignore"];

/// Words that are not in docs/glossary.md and once stood for its words. Parts of identifiers count.
const BANNED_WORDS: [&str; 13] = [
    "bell",
    "desk",
    "ear",
    "ears",
    "lookout",
    "rubbish",
    "surroundings",
    "tale",
    "teller",
    "told",
    "untold",
    "vitals",
    "workshop",
];

/// Phrases that a reader of any country has to read twice.
const BANNED_PHRASES: [&str; 4] = ["another hand", "worth nothing", "is told of", "has no idea"];

struct Source {
    path: PathBuf,
    /// The top module it belongs to.
    module: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    collect(&root().join(folder), &mut found);
    assert!(!found.is_empty(), "no sources in {folder}");
    let top = root().join(folder);
    found
        .into_iter()
        .map(|path| {
            let inside = path.strip_prefix(&top).unwrap();
            let first = inside.iter().next().unwrap().to_str().unwrap();
            Source {
                module: first.trim_end_matches(".rs").to_owned(),
                text: fs::read_to_string(&path).unwrap(),
                path,
            }
        })
        .collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a text names behind `crate::`, braces included.
fn uses(text: &str) -> Vec<String> {
    let word = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    text.match_indices("crate::")
        .flat_map(|(at, found)| {
            let rest = &text[at + found.len()..];
            match rest.strip_prefix('{') {
                Some(list) => list
                    .split('}')
                    .next()
                    .unwrap()
                    .split(',')
                    .map(|item| word(item.trim()))
                    .collect(),
                None => vec![word(rest)],
            }
        })
        .collect()
}

fn names_crate(text: &str, name: &str) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| {
            line.match_indices(&format!("{name}::")).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
            })
        })
}

#[test]
fn modules_use_only_what_lies_below_them() {
    for source in sources("src") {
        let Some((_, allowed)) = MAY_USE.iter().find(|(module, _)| *module == source.module) else {
            let known = ["main", "lib", "app", "cli"].contains(&source.module.as_str());
            assert!(
                known,
                "{}: say in tidy.rs what this module may use",
                source.path.display()
            );
            let app_names_cli =
                source.module == "app" && uses(&source.text).contains(&"cli".to_owned());
            assert!(
                !app_names_cli,
                "{}: app lies below cli",
                source.path.display()
            );
            continue;
        };
        for used in uses(&source.text) {
            let fine = used == source.module || allowed.contains(&used.as_str());
            assert!(
                fine,
                "{}: {} may not use {used}",
                source.path.display(),
                source.module
            );
        }
    }
}

#[test]
fn crates_are_named_only_behind_their_wall() {
    for source in sources("src") {
        for (name, modules) in ONLY_IN {
            assert!(
                modules.contains(&source.module.as_str()) || !names_crate(&source.text, name),
                "{}: names {name}",
                source.path.display()
            );
        }
    }
}

#[test]
fn manifests_are_walls() {
    for (folder, refused) in NOT_IN {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let (_, ours) = manifest.split_once("\n[dependencies]\n").unwrap();
        let ours = ours.split("\n[").next().unwrap();
        for name in ours.lines().filter(|line| !line.is_empty()) {
            let fine = refused.iter().all(|refused| !name.starts_with(refused));
            assert!(fine, "{folder}: {name}");
        }
    }
}

#[test]
fn nothing_below_the_composition_root_sees_the_whole_settings() {
    for source in sources("src") {
        if ["app", "cli", "config", "main"].contains(&source.module.as_str()) {
            continue;
        }
        assert!(
            !source.text.contains("config::Settings"),
            "{}",
            source.path.display()
        );
    }
}

#[test]
fn the_simulator_shares_nothing_with_the_tracker_but_time() {
    for source in sources("crates/simulator/src") {
        for (at, _) in source.text.match_indices("jobtrackd_core::") {
            let rest = &source.text[at + "jobtrackd_core::".len()..];
            assert!(
                rest.starts_with("time::"),
                "{}: {}",
                source.path.display(),
                &rest[..rest.len().min(40)]
            );
        }
    }
}

fn lines_of_code(text: &str) -> usize {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

#[test]
fn files_have_one_job_and_nothing_is_left_unfinished() {
    for source in ["src", "crates", "tests", "benches"]
        .into_iter()
        .flat_map(sources)
    {
        let lines = lines_of_code(&source.text);
        assert!(
            lines <= MAX_LINES,
            "{}: {lines} lines",
            source.path.display()
        );
        if source.path.ends_with("tidy.rs") {
            continue;
        }
        for mark in UNFINISHED {
            assert!(
                !source.text.contains(mark),
                "{}: {mark}",
                source.path.display()
            );
        }
    }
}

/// The words of a text in lower case; `snake_case` and `CamelCase` are several.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut apart = String::with_capacity(text.len());
    let mut before = ' ';
    for c in text.chars() {
        if c.is_uppercase() && before.is_lowercase() {
            apart.push(' ');
        }
        apart.push(if c.is_alphabetic() { c } else { ' ' });
        before = c;
    }
    let words: Vec<String> = apart.split_whitespace().map(str::to_lowercase).collect();
    words.into_iter()
}

#[test]
fn code_and_documents_use_the_words_of_the_glossary() {
    let mut texts: Vec<(PathBuf, String)> = ["src", "crates", "tests", "benches"]
        .into_iter()
        .flat_map(sources)
        .filter(|source| !source.path.ends_with("tidy.rs"))
        .map(|source| (source.path, source.text))
        .collect();
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let pages = docs.chain(["README.md", "ARCHITECTURE.md"].map(|name| root().join(name)));
    for page in pages.filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        texts.push((page, text));
    }
    assert!(texts.len() > 300, "{}", texts.len());
    let mut found = Vec::new();
    for (path, text) in texts {
        let words = words(&text).filter(|word| BANNED_WORDS.contains(&word.as_str()));
        found.extend(words.map(|word| format!("{}: {word}", path.display())));
        let phrases = BANNED_PHRASES
            .into_iter()
            .filter(|phrase| text.contains(phrase));
        found.extend(phrases.map(|phrase| format!("{}: {phrase}", path.display())));
    }
    found.dedup();
    assert!(found.is_empty(), "{found:#?}");
}

/// They would not be compiled: `doctest = false`.
#[test]
fn comments_have_no_examples() {
    for source in ["src", "crates"].into_iter().flat_map(sources) {
        let mut lines = source.text.lines().map(str::trim_start);
        let has_one = lines.any(|line| line.starts_with("/// ```") || line.starts_with("//! ```"));
        assert!(!has_one, "{}", source.path.display());
    }
}

#[test]
fn tests_never_sleep_for_real() {
    for source in sources("tests") {
        let real = source.text.contains(concat!("thread::", "sleep"));
        let paused = !source.text.contains(concat!("tokio::time::", "sleep"))
            || source.text.contains("start_paused")
            || source.path.parent().unwrap().ends_with("support");
        assert!(!real && paused, "{}", source.path.display());
    }
}
