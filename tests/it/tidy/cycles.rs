//! No file uses another one that uses it, directly or by way of others: neither can be understood or moved alone.
//!
//! Paths in `use` and in code are followed to the file that holds their item, through what a parent re-exports. A parent
//! and the files below it are no cycle, as the parent declares them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Source, sources};

/// A module: `status::listener`, or empty for the root of a crate.
type Module = Vec<String>;

struct Tree {
    files: BTreeMap<Module, Source>,
    /// Of each module the names that it uses from below, which may be reached through it.
    names: BTreeMap<Module, BTreeMap<String, Module>>,
}

fn module_of(source: &Source, top: &Path) -> Module {
    let inside = source.path.strip_prefix(top).unwrap().with_extension("");
    let mut parts: Module = inside
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if ["mod", "lib", "main"].contains(&parts.last().unwrap().as_str()) {
        parts.pop();
    }
    parts
}

/// Code without comments and without the tests inside it.
fn code(text: &str) -> String {
    let product = text.split("#[cfg(test)]").next().unwrap();
    let lines = product.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The paths that begin at `text`, which may branch: `a::{b, c::d}` is two.
fn paths(text: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    branch(text.trim_start(), &[], &mut all);
    all
}

/// Reads one path and its branches; answers with what follows.
fn branch<'a>(mut text: &'a str, before: &[String], all: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = before.to_vec();
    loop {
        text = text.trim_start();
        if let Some(mut rest) = text.strip_prefix('{') {
            loop {
                rest = branch(rest, &path, all).trim_start();
                match rest.strip_prefix(',') {
                    Some(next) if !next.trim_start().starts_with('}') => rest = next,
                    Some(next) => return next.trim_start().strip_prefix('}').unwrap_or(next),
                    None => return rest.strip_prefix('}').unwrap_or(rest),
                }
            }
        }
        let end = text
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(text.len());
        path.push(text[..end].to_owned());
        text = &text[end..];
        match text.strip_prefix("::") {
            Some(rest) => text = rest,
            None => break,
        }
    }
    all.push(path);
    // `as other` names the same item.
    let skipped = text.trim_start().strip_prefix("as ");
    skipped.map_or(text, |alias| {
        alias.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_')
    })
}

impl Tree {
    fn of(folder: &str) -> Self {
        let top = super::root().join(folder);
        let all = sources(folder).into_iter();
        let files: BTreeMap<Module, Source> = all
            .filter(|source| !source.path.ends_with("main.rs"))
            .map(|source| (module_of(&source, &top), source))
            .collect();
        let mut tree = Self {
            files,
            names: BTreeMap::new(),
        };
        for (module, source) in &tree.files {
            let mut names = BTreeMap::new();
            let text = code(&source.text);
            for (at, _) in text.match_indices("use ") {
                for mut path in paths(&text[at + "use ".len()..]) {
                    if path[0] == "self" {
                        path.remove(0);
                    }
                    let name = path.last().cloned().unwrap_or_default();
                    let below = [module.as_slice(), &path].concat();
                    if tree
                        .files
                        .contains_key(&below[..=module.len().min(below.len() - 1)])
                    {
                        names.insert(name, below);
                    }
                }
            }
            tree.names.insert(module.clone(), names);
        }
        tree
    }

    /// The file that holds what a path names, as seen from the root.
    fn file_of(&self, path: &[String]) -> Module {
        let mut module: Module = Vec::new();
        for (at, part) in path.iter().enumerate() {
            let next = [module.as_slice(), std::slice::from_ref(part)].concat();
            if self.files.contains_key(&next) {
                module = next;
                continue;
            }
            let known = self.names.get(&module).and_then(|names| names.get(part));
            return match known {
                Some(target) if target[..] != path[..=at] => self.file_of(target),
                _ => module,
            };
        }
        module
    }

    /// The files that a file uses, but for those above and below it.
    fn used_by(&self, module: &Module) -> BTreeSet<Module> {
        let text = code(&self.files[module].text);
        let mut used = BTreeSet::new();
        for start in ["crate::", "super::"] {
            for (at, _) in text.match_indices(start) {
                let before = text[..at].chars().next_back();
                if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                    continue;
                }
                for path in paths(&text[at..]) {
                    let mut from: Module = match path[0].as_str() {
                        "crate" => Vec::new(),
                        _ => module[..module.len().saturating_sub(1)].to_vec(),
                    };
                    let mut rest = &path[1..];
                    while rest.first().is_some_and(|part| part == "super") {
                        from.pop();
                        rest = &rest[1..];
                    }
                    used.insert(self.file_of(&[from.as_slice(), rest].concat()));
                }
            }
        }
        used.retain(|other| !other.starts_with(module) && !module.starts_with(other));
        used
    }
}

/// Everything that a file reaches through what it uses.
fn reached<'a>(
    from: &Module,
    uses: &'a BTreeMap<Module, BTreeSet<Module>>,
) -> BTreeSet<&'a Module> {
    let mut found: BTreeSet<&Module> = BTreeSet::new();
    let mut left: Vec<&Module> = uses[from].iter().collect();
    while let Some(next) = left.pop() {
        if found.insert(next) {
            left.extend(&uses[next]);
        }
    }
    found
}

#[test]
fn no_file_uses_one_that_uses_it() {
    let mut cycles = BTreeSet::new();
    for folder in [
        "src",
        "crates/core/src",
        "crates/clock/src",
        "crates/store/src",
        "crates/simulator/src",
    ] {
        let tree = Tree::of(folder);
        let uses: BTreeMap<Module, BTreeSet<Module>> = tree
            .files
            .keys()
            .map(|module| (module.clone(), tree.used_by(module)))
            .collect();
        let edges: usize = uses.values().map(BTreeSet::len).sum();
        assert!(
            edges > 0 || tree.files.len() < 3,
            "{folder}: nothing uses anything"
        );
        let reached: BTreeMap<&Module, BTreeSet<&Module>> = uses
            .keys()
            .map(|module| (module, reached(module, &uses)))
            .collect();
        for (module, all) in &reached {
            let cycle: Vec<String> = all
                .iter()
                .filter(|other| reached[**other].contains(module))
                .map(|other| other.join("::"))
                .collect();
            if !cycle.is_empty() {
                cycles.insert(format!("{folder}: {}", cycle.join(", ")));
            }
        }
    }
    assert!(cycles.is_empty(), "{cycles:#?}");
}
