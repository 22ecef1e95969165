//! Which keys there are: those of the built-in defaults and those without a default. Any other key is an error.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use toml::{Table, Value};

use super::error::{Origin, Problems, did_you_mean, quoted};
use crate::core::text::nearest;

/// The built-in defaults, in the language of the file.
const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Keys without a default, or with one that is not a good example.
const EXAMPLES: &str = r#"
[upstream]
api_key = "…"
job_path = "/jobs/{id}"
api_key_file = "/etc/jobtrackd/api_key"
requests_per_second = 20
token_url = "https://login.example.com/oauth2/token"
client_id = "jobtrackd"
client_secret = "…"
client_secret_file = "/etc/jobtrackd/client_secret"
[upstream.json]
status = "/status"
success = ["done"]
failure = ["failed", "cancelled"]
error_code = "/error/code"
error_title = "/error/message"
error_detail = "/error/detail"
progress = "/progress"
updated = "/updated_at"
[retention]
jobs = "90d", or "forever"
events = "30d", or "forever"
attempts = "14d", or "forever"
[status]
token = "…"
token_file = "/etc/jobtrackd/status_token"
hosts = ["jobs.internal"]
[status.tokens."*"]
token = "…"
token_file = "/etc/jobtrackd/alice.token"
[webhooks."*"]
url = "https://example.com/hooks/jobs"
url_file = "/etc/jobtrackd/webhook.url"
secret = "…"
secret_file = "/etc/jobtrackd/secret"
secret_files = ["/etc/jobtrackd/new", "/etc/jobtrackd/old"]
retry = ["5s", "5m", "2h"]
headers = { x-api-key = "…" }
headers_file = "/etc/jobtrackd/webhook.headers"
ca_file = "/etc/jobtrackd/webhook.pem"
client_cert_file = "/etc/jobtrackd/webhook.pem"
fallback = "another-webhook"
"#;

/// The section that holds one section per webhook.
pub(super) const WEBHOOKS: &str = "webhooks";

/// The section that holds one section per further token of the status server.
pub(super) const TOKENS: &str = "status.tokens";

/// The section of the defaults that stands for every one of them.
pub(super) const ANY_TOKEN: &str = "status.tokens.\"*\"";

/// The section of the defaults that stands for every webhook; no real one can have this name.
pub(super) const ANY_WEBHOOK: &str = "webhooks.\"*\"";

/// The sections with fixed names.
const SECTIONS: [&str; 7] = [
    "database",
    "upstream",
    "upstream.json",
    "polling",
    "retention",
    "status",
    "log",
];

/// Longest name of a webhook or a token, in characters.
const NAME_CHARS: usize = 64;

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys: Vec<Key> = Vec::new();
    let mut section = "";
    for line in DEFAULTS.lines().chain(EXAMPLES.lines()) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, example)) = line.split_once(" = ") {
            match keys.iter_mut().find(|key| key.is(section, name)) {
                Some(key) => key.example = example,
                None => keys.push(Key {
                    section,
                    name,
                    example,
                }),
            }
        }
    }
    keys
});

struct Key {
    section: &'static str,
    name: &'static str,
    /// A value of it, as the file has it.
    example: &'static str,
}

/// How a value is written. It decides how text from the environment is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Flag,
    Whole,
    Number,
    List,
    /// Names and texts; only a file can give them.
    Table,
}

/// A value, and where it comes from.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The values of one section.
pub(super) type Entries = BTreeMap<String, Entry>;

/// The sections of one source, or of all, by their full names such as `webhooks.billing`.
pub(super) type Sections = BTreeMap<String, Entries>;

impl Key {
    fn is(&self, section: &str, name: &str) -> bool {
        self.section == section && self.name == name
    }

    fn kind(&self) -> Kind {
        match self.example {
            "true" | "false" => Kind::Flag,
            text if text.starts_with('"') => Kind::Text,
            list if list.starts_with('[') => Kind::List,
            table if table.starts_with('{') => Kind::Table,
            number if number.contains('.') => Kind::Number,
            _ => Kind::Whole,
        }
    }
}

/// Whether there is a section with this fixed name.
pub(super) fn is_section(name: &str) -> bool {
    SECTIONS.contains(&name)
}

/// How a value of a key is written, if there is such a key.
pub(super) fn kind(section: &str, name: &str) -> Option<Kind> {
    find(section, name).map(Key::kind)
}

/// An example of a key's value.
pub(super) fn example(section: &str, name: &str) -> &'static str {
    find(section, name).map_or("…", |key| key.example)
}

/// The full name of the key that these words, with underscores between them, most likely mean.
pub(super) fn meant(words: &str) -> Option<String> {
    let words = words.to_lowercase().replace("__", "_");
    let of_section = SECTIONS.into_iter().find_map(|section| {
        let key = words.strip_prefix(section)?.strip_prefix('_')?;
        Some(format!("{section}.{}", nearest(key, names(section))?))
    });
    let of_webhook = || {
        let rest = words.strip_prefix("webhook")?;
        let rest = rest.strip_prefix('s').unwrap_or(rest).strip_prefix('_')?;
        // The longest: secret_file rather than a webhook secret_… with a key file.
        let (name, key) = names(ANY_WEBHOOK)
            .filter_map(|key| Some((rest.strip_suffix(key)?.strip_suffix('_')?, key)))
            .filter(|(name, _)| !name.is_empty())
            .max_by_key(|(_, key)| key.len())?;
        Some(format!("{WEBHOOKS}.{name}.{key}"))
    };
    of_section.or_else(of_webhook)
}

/// The built-in defaults; those of a webhook are the section [`ANY_WEBHOOK`].
pub(super) fn defaults(problems: &Problems) -> Sections {
    let origin = Origin::Default;
    match DEFAULTS.parse() {
        Ok(table) => sections(table, &origin, problems),
        Err(error) => {
            let error: toml::de::Error = error;
            problems.report("the built-in defaults", &origin, error.to_string(), "");
            Sections::new()
        }
    }
}

/// Reads a file. Unknown sections and keys are reported and left out.
pub(super) fn sections(file: Table, origin: &Origin, problems: &Problems) -> Sections {
    let mut sections = Sections::new();
    for (name, value) in file {
        match value {
            Value::Table(webhooks) if name == WEBHOOKS => {
                for (webhook, value) in webhooks {
                    match value {
                        Value::Table(values) => {
                            let webhook = Some(webhook.as_str());
                            insert(&mut sections, &name, webhook, values, origin, problems);
                        }
                        other => {
                            let path = format!("{WEBHOOKS}.{}", plain(&webhook));
                            no_section(problems, origin, &path, "[webhooks.NAME]", &other);
                        }
                    }
                }
            }
            Value::Table(values) => {
                insert(&mut sections, &name, None, values, origin, problems);
            }
            other if name == WEBHOOKS => {
                no_section(problems, origin, &name, "[webhooks.NAME]", &other);
            }
            other if SECTIONS.contains(&name.as_str()) => {
                no_section(problems, origin, &name, &format!("[{name}]"), &other);
            }
            _ => report_unknown_section("key", &name, origin, problems),
        }
    }
    sections
}

fn no_section(problems: &Problems, origin: &Origin, path: &str, heading: &str, value: &Value) {
    let wrong = format!("expected a section {heading}, not {}", described(value));
    let remedy = format!("write {heading} on a separate line and the keys below it");
    problems.report(path, origin, wrong, remedy);
}

/// Adds values to a section, or to the one of this name in it: of a webhook, of a token. Unknown keys are reported and left out.
pub(super) fn insert(
    sections: &mut Sections,
    section: &str,
    name: Option<&str>,
    values: Table,
    origin: &Origin,
    problems: &Problems,
) {
    let path = match name {
        Some(name) => format!("{section}.{}", plain(name)),
        None if SECTIONS.contains(&section) => section.to_owned(),
        None => return report_unknown_section("section", section, origin, problems),
    };
    if *origin != Origin::Default && !name.is_none_or(is_name) {
        let what = if section == WEBHOOKS {
            "webhook"
        } else {
            "token"
        };
        let wrong = format!("this cannot be the name of a {what}");
        let remedy = format!("a name has 1 to {NAME_CHARS} characters of A-Z a-z 0-9 . _ -");
        return problems.report(path, origin, wrong, remedy);
    }
    sections.entry(path.clone()).or_default();
    for (key, value) in values {
        if find(&path, &key).is_some() {
            let origin = origin.clone();
            let entries = sections.entry(path.clone()).or_default();
            entries.insert(key, Entry { value, origin });
            continue;
        }
        let below = format!("{path}.{key}");
        match value {
            Value::Table(values) if SECTIONS.contains(&below.as_str()) => {
                insert(sections, &below, None, values, origin, problems);
                continue;
            }
            Value::Table(values) if below == TOKENS => {
                for (name, value) in values {
                    match value {
                        Value::Table(values) => {
                            insert(sections, TOKENS, Some(&name), values, origin, problems);
                        }
                        other => {
                            let path = format!("{TOKENS}.{}", plain(&name));
                            no_section(problems, origin, &path, "[status.tokens.NAME]", &other);
                        }
                    }
                }
                continue;
            }
            _ => {}
        }
        let near = nearest(&key, names(&path))
            .map(|name| format!("{path}.{name}"))
            .or_else(|| elsewhere(&key));
        let names: Vec<_> = names(&path).collect();
        let otherwise = format!("the keys here are {}", names.join(", "));
        problems.report(
            format!("{path}.{}", plain(&key)),
            origin,
            "there is no such key",
            did_you_mean(near.as_deref(), &otherwise),
        );
    }
}

fn report_unknown_section(what: &str, section: &str, origin: &Origin, problems: &Problems) {
    let near = nearest(section, SECTIONS.into_iter().chain([WEBHOOKS])).map(str::to_owned);
    let near = near.or_else(|| elsewhere(section));
    let otherwise = format!("the sections are {}, {WEBHOOKS}.NAME", SECTIONS.join(", "));
    let remedy = did_you_mean(near.as_deref(), &otherwise);
    let wrong = format!("there is no such {what}");
    problems.report(plain(section), origin, wrong, remedy);
}

/// The type of a value, for people.
pub(super) fn described(value: &Value) -> &'static str {
    match value {
        Value::Boolean(_) => "true or false",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::String(_) => "a text",
        Value::Datetime(_) => "a date or time without quotes",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

/// The names of the keys of a section.
fn names(section: &str) -> impl Iterator<Item = &'static str> {
    let section = of_kind(section).to_owned();
    let keys = KEYS.iter().filter(move |key| key.section == section);
    keys.map(|key| key.name)
}

fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.is(of_kind(section), name))
}

/// All webhooks have the same keys, and so have all tokens.
fn of_kind(section: &str) -> &str {
    if section.starts_with(WEBHOOKS) {
        ANY_WEBHOOK
    } else if token_of(section).is_some() {
        ANY_TOKEN
    } else {
        section
    }
}

/// The full name of a key that exists with exactly this name in another section.
fn elsewhere(name: &str) -> Option<String> {
    let key = KEYS.iter().find(|key| key.name == name)?;
    Some(match key.section {
        ANY_WEBHOOK => format!("{WEBHOOKS}.NAME.{name}"),
        ANY_TOKEN => format!("{TOKENS}.NAME.{name}"),
        section => format!("{section}.{name}"),
    })
}

/// The name of the webhook whose section has this path.
pub(super) fn webhook_of(path: &str) -> Option<&str> {
    path.strip_prefix(WEBHOOKS)?.strip_prefix('.')
}

/// The name of the token whose section has this path.
pub(super) fn token_of(path: &str) -> Option<&str> {
    path.strip_prefix(TOKENS)?.strip_prefix('.')
}

fn is_name(name: &str) -> bool {
    (1..=NAME_CHARS).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A key unchanged, or quoted, escaped and cut when it has other characters than a bare key.
fn plain(key: &str) -> String {
    if is_name(key) {
        key.to_owned()
    } else {
        quoted(key)
    }
}
