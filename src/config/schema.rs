//! Which keys there are. Everything that is not in these tables is an error.

use ::config::{Map, Value, ValueKind};

use super::error::{Problem, Problems, did_you_mean, nearest, shown};

/// Longest name of a webhook, in characters.
const NAME_CHARS: usize = 64;

/// The section that holds one section per webhook.
pub(super) const WEBHOOKS: &str = "webhooks";

/// How a value is written. The environment has only text, which is read by this.
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

type Keys = &'static [(&'static str, Kind)];

/// The sections with fixed names.
const SECTIONS: [(&str, Keys); 6] = [
    (
        "database",
        &[
            ("url", Kind::Text),
            ("allow_network_filesystem", Kind::Flag),
            ("create", Kind::Flag),
        ],
    ),
    (
        "upstream",
        &[
            ("base_url", Kind::Text),
            ("allow_http", Kind::Flag),
            ("auth", Kind::Text),
            ("api_key", Kind::Text),
            ("api_key_file", Kind::Text),
            ("api_version", Kind::Text),
            ("scope", Kind::Text),
            ("timeout", Kind::Text),
            ("max_retry_after", Kind::Text),
            ("max_in_flight", Kind::Whole),
            ("requests_per_second", Kind::Whole),
        ],
    ),
    (
        "polling",
        &[
            ("initial_delay", Kind::Text),
            ("multiplier", Kind::Number),
            ("max_delay", Kind::Text),
            ("jitter", Kind::Number),
            ("error_max_delay", Kind::Text),
            ("queued_delay", Kind::Text),
            ("not_found_grace", Kind::Text),
            ("deadline", Kind::Text),
        ],
    ),
    (
        "retention",
        &[
            ("jobs", Kind::Text),
            ("events", Kind::Text),
            ("attempts", Kind::Text),
        ],
    ),
    (
        "status",
        &[
            ("listen", Kind::Text),
            ("token", Kind::Text),
            ("token_file", Kind::Text),
            ("hosts", Kind::List),
        ],
    ),
    ("log", &[("level", Kind::Text), ("format", Kind::Text)]),
];

/// The keys of one `[webhooks.NAME]` section.
const WEBHOOK: Keys = &[
    ("url", Kind::Text),
    ("url_file", Kind::Text),
    ("allow_http", Kind::Flag),
    ("secret", Kind::Text),
    ("secret_file", Kind::Text),
    ("secret_files", Kind::List),
    ("events", Kind::List),
    ("timeout", Kind::Text),
    ("max_in_flight", Kind::Whole),
    ("retry", Kind::List),
    ("allow_private", Kind::Flag),
    ("headers", Kind::Table),
    ("headers_file", Kind::Text),
    ("ca_file", Kind::Text),
    ("client_cert_file", Kind::Text),
    ("fallback", Kind::Text),
];

/// How the key of a section is written, if there is such a key.
pub(super) fn kind(section: &str, key: &str) -> Option<Kind> {
    keys_of(section)?
        .iter()
        .find(|(name, _)| *name == key)
        .map(|(_, kind)| *kind)
}

/// The full name of the key that these words, with underscores between them, most likely mean.
pub(super) fn meant(words: &str) -> Option<String> {
    let words = words.to_lowercase().replace("__", "_");
    let of_section = SECTIONS.iter().find_map(|(section, keys)| {
        let key = words.strip_prefix(section)?.strip_prefix('_')?;
        let near = nearest(key, keys.iter().map(|(name, _)| *name))?;
        Some(format!("{section}.{near}"))
    });
    let of_webhook = || {
        let rest = words.strip_prefix("webhook")?;
        let rest = rest.strip_prefix('s').unwrap_or(rest).strip_prefix('_')?;
        // The longest: secret_file rather than a webhook secret_… with a key file.
        let (name, key) = WEBHOOK
            .iter()
            .filter_map(|(key, _)| Some((rest.strip_suffix(key)?.strip_suffix('_')?, *key)))
            .filter(|(name, _)| !name.is_empty())
            .max_by_key(|(_, key)| key.len())?;
        Some(format!("{WEBHOOKS}.{name}.{key}"))
    };
    of_section.or_else(of_webhook)
}

/// Whether this may be the name of a webhook.
pub(super) fn is_webhook_name(name: &str) -> bool {
    (1..=NAME_CHARS).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// What one source says, without what is unknown or has no place: that is reported.
pub(super) fn known(source: Map<String, Value>, problems: &Problems) -> Map<String, Value> {
    let mut kept = Map::new();
    for (section, value) in sorted(source) {
        if section == WEBHOOKS {
            kept.extend(known_webhooks(value, problems).map(|value| (section, value)));
        } else if let Some(keys) = keys_of(&section) {
            let heading = format!("[{section}]");
            let value = known_section(&section, &heading, keys, value, problems);
            kept.extend(value.map(|value| (section, value)));
        } else {
            report_unknown_section(&section, &value, problems);
        }
    }
    kept
}

/// Reports a key that does not exist: `section` is the path of its section, `of` the section's kind.
pub(super) fn report_unknown_key(
    section: &str,
    of: &str,
    key: &str,
    origin: Option<&str>,
    problems: &Problems,
) {
    let keys = keys_of(of).unwrap_or_default();
    let near = nearest(key, keys.iter().map(|(name, _)| *name))
        .map(|name| format!("{section}.{name}"))
        .or_else(|| elsewhere(key));
    problems.add(Problem {
        key: format!("{section}.{}", plain(key)),
        origin: origin.map(str::to_owned),
        wrong: "there is no such key".to_owned(),
        remedy: did_you_mean(
            near.as_deref(),
            &format!("the keys here are {}", list(keys)),
        ),
    });
}

fn known_webhooks(value: Value, problems: &Problems) -> Option<Value> {
    let origin = value.origin().map(str::to_owned);
    let ValueKind::Table(webhooks) = value.kind else {
        report_no_section(WEBHOOKS, "[webhooks.NAME]", &value, problems);
        return None;
    };
    let mut kept = Map::new();
    for (name, value) in sorted(webhooks) {
        let path = format!("{WEBHOOKS}.{}", plain(&name));
        if !matches!(value.kind, ValueKind::Table(_)) {
            report_no_section(&path, "[webhooks.NAME]", &value, problems);
        } else if !is_webhook_name(&name) {
            problems.add(Problem {
                key: path,
                origin: from_environment(&value),
                wrong: "this cannot be the name of a webhook".to_owned(),
                remedy: format!("a name has 1 to {NAME_CHARS} characters of A-Z a-z 0-9 . _ -"),
            });
        } else {
            let heading = format!("[{path}]");
            let value = known_section(&path, &heading, WEBHOOK, value, problems);
            kept.extend(value.map(|value| (name, value)));
        }
    }
    Some(Value::new(origin.as_ref(), kept))
}

fn known_section(
    path: &str,
    heading: &str,
    keys: Keys,
    value: Value,
    problems: &Problems,
) -> Option<Value> {
    let origin = value.origin().map(str::to_owned);
    let ValueKind::Table(values) = value.kind else {
        report_no_section(path, heading, &value, problems);
        return None;
    };
    let of = path.split('.').next().unwrap_or(path);
    let mut kept = Map::new();
    for (key, value) in sorted(values) {
        if keys.iter().any(|(name, _)| *name == key) {
            kept.insert(key, value);
        } else {
            report_unknown_key(
                path,
                of,
                &key,
                from_environment(&value).as_deref(),
                problems,
            );
        }
    }
    Some(Value::new(origin.as_ref(), kept))
}

fn report_no_section(path: &str, heading: &str, value: &Value, problems: &Problems) {
    problems.add(Problem {
        key: path.to_owned(),
        origin: from_environment(value),
        wrong: format!(
            "expected a section {heading}, not {}",
            described(&value.kind)
        ),
        remedy: format!("write {heading} on a line of its own and the keys below it"),
    });
}

fn report_unknown_section(section: &str, value: &Value, problems: &Problems) {
    let is_table = matches!(value.kind, ValueKind::Table(_));
    let names = SECTIONS.map(|(name, _)| name);
    let near = nearest(section, names.into_iter().chain([WEBHOOKS])).map(str::to_owned);
    let near = near.or_else(|| elsewhere(section));
    problems.add(Problem {
        key: plain(section),
        origin: from_environment(value),
        wrong: if is_table {
            "there is no such section"
        } else {
            "there is no such key"
        }
        .to_owned(),
        remedy: did_you_mean(
            near.as_deref(),
            &format!("the sections are {}, {WEBHOOKS}.NAME", names.join(", ")),
        ),
    });
}

/// What a value is, without its content.
pub(super) fn described(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => {
            "a whole number"
        }
        ValueKind::Float(_) => "a number with a fraction",
        ValueKind::String(_) => "a text",
        ValueKind::Table(_) => "a section",
        ValueKind::Array(_) => "a list",
    }
}

/// The origin of a value when it is an environment variable; the file is named once, above all problems.
pub(super) fn from_environment(value: &Value) -> Option<String> {
    value
        .origin()
        .filter(|origin| origin.starts_with(super::environment::ORIGIN))
        .map(str::to_owned)
}

fn keys_of(section: &str) -> Option<Keys> {
    if section == WEBHOOKS {
        return Some(WEBHOOK);
    }
    SECTIONS
        .iter()
        .find(|(name, _)| *name == section)
        .map(|(_, keys)| *keys)
}

/// The full name of a key that exists with exactly this name in another section.
fn elsewhere(key: &str) -> Option<String> {
    SECTIONS
        .iter()
        .chain([&("webhooks.NAME", WEBHOOK)])
        .find(|(_, keys)| keys.iter().any(|(name, _)| *name == key))
        .map(|(section, _)| format!("{section}.{key}"))
}

fn list(keys: Keys) -> String {
    let names: Vec<&str> = keys.iter().map(|(name, _)| *name).collect();
    names.join(", ")
}

/// A key as it is, or quoted, escaped and cut when it is not of the plain kind.
fn plain(key: &str) -> String {
    if is_webhook_name(key) {
        key.to_owned()
    } else {
        shown(key)
    }
}

fn sorted(map: Map<String, Value>) -> Vec<(String, Value)> {
    let mut entries: Vec<_> = map.into_iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    entries
}
