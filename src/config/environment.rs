//! The environment as a source: `JOBTRACKD__SECTION__KEY`, `JOBTRACKD__WEBHOOKS__NAME__KEY`,
//! `JOBTRACKD__STATUS__TOKENS__NAME__KEY`.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::error::{Origin, Problems, did_you_mean};
use super::schema::{self, ANY_TOKEN, ANY_WEBHOOK, Kind, Sections, TOKENS, WEBHOOKS};

/// Prefix of our variables.
const PREFIX: &str = "JOBTRACKD__";

/// Prefix of our variables when they are written wrong.
const MISSPELT: &str = "JOBTRACKD_";

const SEPARATOR: &str = "__";

/// Read by the runtime, which panics if it cannot use the value.
const THREADS: &str = "TOKIO_WORKER_THREADS";

/// Most threads; each takes memory.
const MOST_THREADS: usize = 1024;

/// Reads the environment. `webhooks` and `tokens` are the names in the file.
pub(super) fn read(
    environment: &BTreeMap<String, String>,
    webhooks: &[&str],
    tokens: &[&str],
    problems: &Problems,
) -> Sections {
    let mut sections = Sections::new();
    for (variable, text) in environment {
        let origin = Origin::Variable(variable.clone());
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            report_foreign(variable, text, &origin, problems);
            continue;
        };
        let parts: Vec<&str> = rest.split(SEPARATOR).collect();
        let named = |known: &[&str], name: &[&str]| {
            let name = matching(&name.join(SEPARATOR), known).map_err(|names| {
                let wrong = format!("it can mean any of {names}");
                problems.report(parts.join("."), &origin, wrong, "write the name exactly");
            });
            name.ok()
        };
        let (section, name, key) = match parts.as_slice() {
            [section, key] if !is_webhooks(section) => (section.to_lowercase(), None, *key),
            [section, below, key] if schema::is_section(&dotted(section, below)) => {
                (dotted(section, below), None, *key)
            }
            [section, name @ .., key] if is_webhooks(section) && !name.is_empty() => {
                let Some(name) = named(webhooks, name) else {
                    continue;
                };
                (WEBHOOKS.to_owned(), Some(name), *key)
            }
            [section, below, name @ .., key]
                if dotted(section, below) == TOKENS && !name.is_empty() =>
            {
                let Some(name) = named(tokens, name) else {
                    continue;
                };
                (TOKENS.to_owned(), Some(name), *key)
            }
            _ => {
                let near = schema::meant(rest).map(|key| variable_of(&key));
                let otherwise = "write JOBTRACKD__SECTION__KEY or JOBTRACKD__WEBHOOKS__NAME__KEY";
                let remedy = did_you_mean(near.as_deref(), otherwise);
                let wrong = "this variable names no key";
                problems.report(parts.join(".").to_lowercase(), &origin, wrong, remedy);
                continue;
            }
        };
        let (key, name) = (key.to_lowercase(), name.as_deref());
        let of_kind = match name {
            None => section.as_str(),
            Some(_) if section == TOKENS => ANY_TOKEN,
            Some(_) => ANY_WEBHOOK,
        };
        match typed(schema::kind(of_kind, &key), text) {
            Ok(value) => {
                let values = Table::from_iter([(key, value)]);
                schema::insert(&mut sections, &section, name, values, &origin, problems);
            }
            Err(wrong) => {
                let parts = [Some(section.as_str()), name, Some(&key)];
                let path: Vec<&str> = parts.into_iter().flatten().collect();
                let remedy = "lists are separated by commas: job.completed,job.failed";
                problems.report(path.join("."), &origin, wrong, remedy);
            }
        }
    }
    sections
}

/// Reports a number of threads that the runtime cannot use, and a variable that is ours except for its underscores.
/// Other variables with this prefix are ignored.
fn report_foreign(variable: &str, text: &str, origin: &Origin, problems: &Problems) {
    if let Some(key) = variable.strip_prefix(MISSPELT).and_then(schema::meant) {
        let remedy = did_you_mean(Some(&variable_of(&key)), "");
        let wrong = "two underscores separate the parts of a variable's name";
        problems.report(key, origin, wrong, remedy);
    }
    let fits = |number: usize| (1..=MOST_THREADS).contains(&number);
    if variable == THREADS && !text.parse().is_ok_and(fits) {
        let wrong = format!("expected a whole number of threads from 1 to {MOST_THREADS}");
        let remedy = "leave it out to have one for each processor";
        problems.report(THREADS, origin, wrong, remedy);
    }
}

fn dotted(section: &str, below: &str) -> String {
    format!("{section}.{below}").to_lowercase()
}

fn variable_of(key: &str) -> String {
    let key = key.replace('.', SEPARATOR).to_uppercase();
    format!("{PREFIX}{key}")
}

fn is_webhooks(part: &str) -> bool {
    part.eq_ignore_ascii_case(WEBHOOKS)
}

/// The webhook that a part of a variable's name means. Names of variables are upper case by custom and cannot have `.` and
/// `-`, so case is ignored and `_` can mean these too; a name written exactly takes precedence.
///
/// # Errors
/// The names it could mean, when there are several.
fn matching(part: &str, webhooks: &[&str]) -> Result<String, String> {
    if webhooks.contains(&part) {
        return Ok(part.to_owned());
    }
    let folded = |name: &str| name.to_lowercase().replace(['.', '-'], "_");
    let same = |name: &&&str| folded(name) == folded(part);
    let found: Vec<&str> = webhooks.iter().filter(same).copied().collect();
    match found.as_slice() {
        [] => Ok(part.to_lowercase()),
        [name] => Ok((*name).to_owned()),
        names => Err(names.join(", ")),
    }
}

/// Text as a value of its key's kind. Text that is none stays text, and is reported where the key is read.
fn typed(kind: Option<Kind>, text: &str) -> Result<Value, &'static str> {
    // Sources::from_process leaves this mark where bytes were not UTF-8.
    if text.contains(char::REPLACEMENT_CHARACTER) {
        return Err("the value is not UTF-8 text");
    }
    let word = text.trim();
    let read = match kind {
        Some(Kind::Flag) => word.to_lowercase().parse().ok().map(Value::Boolean),
        Some(Kind::Whole) => word.parse().ok().map(Value::Integer),
        Some(Kind::Number) => word.parse().ok().map(Value::Float),
        Some(Kind::List) if word.starts_with('[') => return Err("brackets are for the file"),
        Some(Kind::List) if word.is_empty() => Some(Value::Array(Vec::new())),
        Some(Kind::List) => {
            let entries = word.split(',').map(|entry| entry.trim().into());
            Some(Value::Array(entries.collect()))
        }
        Some(Kind::Table) => return Err("a table is for the file"),
        Some(Kind::Text) | None => None,
    };
    Ok(read.unwrap_or_else(|| text.into()))
}
