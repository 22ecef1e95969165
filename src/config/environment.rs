//! The environment as a source: `JOBTRACKD__SECTION__KEY`, `JOBTRACKD__WEBHOOKS__NAME__KEY`.

use std::collections::{BTreeMap, BTreeSet};

use ::config::{Map, Value, ValueKind};

use super::error::{Problem, Problems, did_you_mean};
use super::schema::{self, Kind, WEBHOOKS};

/// What the origin of a value from the environment starts with.
pub(super) const ORIGIN: &str = "environment variable ";

/// What the names of our variables start with.
const PREFIX: &str = "JOBTRACKD__";

/// What they start with when they are written wrong.
const MISSPELT: &str = "JOBTRACKD_";

const SEPARATOR: &str = "__";

/// Read by the runtime, which panics at what it cannot use.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// Most threads; each takes memory.
const MOST_THREADS: usize = 1024;

/// What the environment says, shaped like the file. `webhooks` are the names the file has.
pub(super) fn read(
    environment: &BTreeMap<String, String>,
    webhooks: &BTreeSet<String>,
    problems: &Problems,
) -> Map<String, Value> {
    let mut sections: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    let mut hooks: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    check_threads(environment, problems);
    for (variable, text) in environment {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            report_misspelt(variable, problems);
            continue;
        };
        let origin = format!("{ORIGIN}{variable}");
        let refuse = |key: &str, wrong: &str, remedy: &str| {
            problems.add(Problem {
                key: key.to_owned(),
                origin: Some(origin.clone()),
                wrong: wrong.to_owned(),
                remedy: remedy.to_owned(),
            });
        };
        let parts: Vec<&str> = rest.split(SEPARATOR).collect();
        let (section, key, name) = match parts.as_slice() {
            [section, key] if !is(section, WEBHOOKS) => (section.to_lowercase(), *key, None),
            [section, name @ .., key] if is(section, WEBHOOKS) && !name.is_empty() => {
                match matching(&name.join(SEPARATOR), webhooks) {
                    Ok(name) => (WEBHOOKS.to_owned(), *key, Some(name)),
                    Err(names) => {
                        let wrong = format!("it may mean any of {}", names.join(", "));
                        refuse(&parts.join("."), &wrong, "write the name exactly");
                        continue;
                    }
                }
            }
            _ => {
                let meant = schema::meant(rest).map(|key| variable_of(&key));
                let otherwise = "write JOBTRACKD__SECTION__KEY or JOBTRACKD__WEBHOOKS__NAME__KEY";
                refuse(
                    &parts.join(".").to_lowercase(),
                    "this variable names no key",
                    &did_you_mean(meant.as_deref(), otherwise),
                );
                continue;
            }
        };
        let key = key.to_lowercase();
        match typed(schema::kind(&section, &key), text) {
            Ok(kind) => {
                let table = match name {
                    Some(name) => hooks.entry(name).or_default(),
                    None => sections.entry(section).or_default(),
                };
                table.insert(key, Value::new(Some(&origin), kind));
            }
            Err(wrong) => refuse(
                &path(&section, name.as_deref(), &key),
                wrong,
                "lists are separated by commas: job.completed,job.failed",
            ),
        }
    }
    if !hooks.is_empty() {
        sections.insert(WEBHOOKS.to_owned(), tables(hooks));
    }
    tables(sections)
}

/// Reports a variable that is one of ours but for its underscores. What else begins like that is somebody else's.
fn report_misspelt(variable: &str, problems: &Problems) {
    let key = variable.strip_prefix(MISSPELT).and_then(schema::meant);
    if let Some(key) = key {
        let right = variable_of(&key);
        problems.add(Problem {
            key,
            origin: Some(format!("{ORIGIN}{variable}")),
            wrong: "two underscores stand between the parts of a variable's name".to_owned(),
            remedy: did_you_mean(Some(&right), ""),
        });
    }
}

fn variable_of(key: &str) -> String {
    let key = key.replace('.', SEPARATOR).to_uppercase();
    format!("{PREFIX}{key}")
}

fn check_threads(environment: &BTreeMap<String, String>, problems: &Problems) {
    let fits = |text: &String| {
        let number = text.parse::<usize>();
        number.is_ok_and(|number| (1..=MOST_THREADS).contains(&number))
    };
    if environment.get(THREADS).is_some_and(|text| !fits(text)) {
        problems.add(Problem {
            key: THREADS.to_owned(),
            origin: Some(format!("{ORIGIN}{THREADS}")),
            wrong: format!("expected a whole number of threads from 1 to {MOST_THREADS}"),
            remedy: "leave it out to have one for each processor".to_owned(),
        });
    }
}

fn is(part: &str, section: &str) -> bool {
    part.eq_ignore_ascii_case(section)
}

fn path(section: &str, name: Option<&str>, key: &str) -> String {
    match name {
        Some(name) => format!("{section}.{name}.{key}"),
        None => format!("{section}.{key}"),
    }
}

/// Sections as values. They get the origin of one of their keys, for the case that the section itself is wrong.
fn tables(sections: BTreeMap<String, Map<String, Value>>) -> Map<String, Value> {
    sections
        .into_iter()
        .map(|(name, values)| {
            let origin = values.values().filter_map(Value::origin).min();
            let origin = origin.map(str::to_owned);
            (name, Value::new(origin.as_ref(), values))
        })
        .collect()
}

/// The webhook a part of a variable's name means. Names of variables are upper case by custom and have no room for
/// `.` and `-`, so case is ignored and `_` stands for these too; a name written exactly wins.
///
/// # Errors
/// The names it could mean, when there are several.
fn matching(part: &str, webhooks: &BTreeSet<String>) -> Result<String, Vec<String>> {
    if webhooks.contains(part) {
        return Ok(part.to_owned());
    }
    let folded = |name: &str| name.to_lowercase().replace(['.', '-'], "_");
    let wanted = folded(part);
    let mut found: Vec<String> = webhooks
        .iter()
        .filter(|name| folded(name) == wanted)
        .cloned()
        .collect();
    match found.len() {
        0 => Ok(part.to_lowercase()),
        1 => Ok(found.remove(0)),
        _ => Err(found),
    }
}

/// Text as the value its key wants. What does not fit stays text, and is reported where the key is read.
fn typed(kind: Option<Kind>, text: &str) -> Result<ValueKind, &'static str> {
    // Sources::from_process leaves this mark where bytes were no UTF-8.
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err("the value is not UTF-8 text");
    }
    let word = text.trim();
    let read = match kind {
        Some(Kind::Flag) => word.to_lowercase().parse().ok().map(ValueKind::Boolean),
        Some(Kind::Whole) => word.parse().ok().map(ValueKind::I64),
        Some(Kind::Number) => word.parse().ok().map(ValueKind::Float),
        Some(Kind::List) if word.starts_with('[') => return Err("brackets are for the file"),
        Some(Kind::List) if word.is_empty() => Some(ValueKind::Array(Vec::new())),
        Some(Kind::List) => Some(word.split(',').map(str::trim).collect::<Vec<_>>().into()),
        Some(Kind::Table) => return Err("a table is for the file"),
        Some(Kind::Text) | None => None,
    };
    Ok(read.unwrap_or_else(|| ValueKind::String(text.to_owned())))
}
