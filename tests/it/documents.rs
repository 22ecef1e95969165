//! Documents name what exists: links, anchors, facts, modules and files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest README, in lines.
const MAX_README: usize = 200;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    assert!(pages.len() > 10, "{pages:?}");
    pages.extend(["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root().join(name)));
    pages
}

/// The text without fenced code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect()
}

fn headings(text: &str) -> Vec<String> {
    prose(text)
        .lines()
        .filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()))
        .map(|heading| heading.replace('`', ""))
        .collect()
}

/// The anchor that renderers of Markdown give a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The targets of the links in a text that lead to no other site.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split(')').next());
    targets
        .filter(|target| !target.starts_with("https://"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_link_and_anchor_of_the_documents_resolves() {
    let mut found = 0;
    for page in pages() {
        for link in links(&read(&page)) {
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.with_file_name("").join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            let is_there = fragment.is_empty()
                || headings(&read(&target))
                    .iter()
                    .any(|each| anchor(each) == fragment);
            assert!(is_there, "{}: {link}", page.display());
            found += 1;
        }
    }
    assert!(found > 80, "{found}");
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = read(&root().join("README.md"));
    let lines = readme.lines().count();
    assert!(lines <= MAX_README, "{lines} lines");
    let links = links(&readme);
    for page in pages() {
        let page = page.strip_prefix(root()).unwrap().to_str().unwrap();
        let is_linked = page == "README.md" || links.iter().any(|link| link == page);
        assert!(is_linked, "the README does not lead to {page}");
    }
}

/// Everything in the repository that may point into the documents, by lines.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = [
        "src",
        "crates",
        "tests",
        "benches",
        "migrations",
        "ops",
        "packaging",
        ".ci",
        "systemd",
        "config",
        "docs",
    ]
    .map(|folder| root().join(folder))
    .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("documents.rs") {
                found.push(path);
            }
        }
    }
    found.push(root().join("ARCHITECTURE.md"));
    found
}

/// The text in one line, without marks of comments.
fn joined(text: &str) -> String {
    let text = text.replace("\\\"", "\"");
    let words = text.split_whitespace();
    words
        .filter(|word| !["//", "///", "//!", "#", "--", "\\"].contains(word))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn references_into_the_documents_name_pages_headings_and_facts_that_exist() {
    let mut found = 0;
    for source in sources() {
        // A few files are not text.
        let Ok(text) = fs::read_to_string(&source) else {
            continue;
        };
        let text = joined(&text);
        for (at, _) in text.match_indices("docs/") {
            let rest = &text[at..];
            let Some(end) = rest.find(".md") else {
                continue;
            };
            let name = &rest[..end + 3];
            if !name[5..end]
                .chars()
                .all(|c| c.is_ascii_lowercase() || c == '-')
            {
                continue;
            }
            let page = read(&root().join(name));
            let rest = &rest[end + 3..];
            if let Some(rest) = rest.strip_prefix(", \"") {
                let heading = rest.split('"').next().unwrap().replace('`', "");
                let is_there = headings(&page).contains(&heading);
                assert!(is_there, "{}: {name} has no {heading:?}", source.display());
            }
            if let Some(rest) = rest.strip_prefix(", fact ") {
                let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
                let is_there = page.contains(&format!("\n{number}. **"));
                assert!(
                    is_there,
                    "{}: {name} has no fact {number}",
                    source.display()
                );
            }
            found += 1;
        }
    }
    assert!(found > 60, "{found}");
}

#[test]
fn nothing_refers_to_a_document_outside_the_repository() {
    for source in sources() {
        let Ok(text) = fs::read_to_string(&source) else {
            continue;
        };
        // Released migrations never change.
        if source.to_string_lossy().contains("/migrations/") {
            continue;
        }
        for outside in [
            "contract, section",
            "API-FACTS",
            "RELIABILITY",
            "WEBHOOK-RULES",
        ] {
            assert!(!text.contains(outside), "{}: {outside}", source.display());
        }
    }
}

/// Whether a path like `tracker::poller` or `core::poll::PollOutcome` leads to a module of ours.
fn is_module(path: &str) -> bool {
    let modules: Vec<_> = path
        .split("::")
        .take_while(|part| part.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect();
    let (first, rest) = modules.split_first().unwrap();
    let own = root().join("crates").join(first).join("src");
    let base = if own.exists() {
        own
    } else {
        root().join("src").join(first)
    };
    let file = base.join(rest.join("/"));
    file.exists() || file.with_extension("rs").exists()
}

#[test]
fn the_architecture_names_modules_and_files_that_exist() {
    let text = prose(&read(&root().join("ARCHITECTURE.md")));
    let quoted: BTreeSet<_> = text.split('`').skip(1).step_by(2).collect();
    let mut found = 0;
    for name in quoted {
        let is_path = |c: char| c.is_ascii_alphanumeric() || "_:/.".contains(c);
        if !name.chars().all(is_path) {
            continue;
        }
        if name.contains("::") && name.starts_with(|c: char| c.is_ascii_lowercase()) {
            assert!(is_module(name), "{name}");
            found += 1;
        } else if name.contains('/') {
            assert!(root().join(name).exists(), "{name}");
            found += 1;
        }
    }
    assert!(found > 30, "{found}");
}
