//! `upstream.dialect`, `upstream.job_path`, `upstream.progress` and `[upstream.json]`.

use std::sync::Arc;

use super::error::{did_you_mean, quoted};
use super::schema::Entry;
use super::section::Section;
use crate::core::dialect::{ALL, Dialect, DialectSettings, JsonSettings, Pointer, named};
use crate::core::text::nearest;
use crate::upstream::JobPath;

/// The dialect that is configured by `[upstream.json]`.
const JSON: &str = "json";

/// Most words in each of `success` and `failure`.
const MOST_WORDS: usize = 100;

/// Longest `job_path`, pointer and word, in bytes.
const LONGEST: usize = 1024;

/// The dialect, and where jobs are polled; `None` if either is wrong, which is reported.
pub(super) fn dialect(
    upstream: &Section<'_>,
    json: &Section<'_>,
) -> Option<(Arc<dyn Dialect>, JobPath)> {
    let name = upstream.text("dialect")?;
    let is_json = name == JSON;
    let settings = DialectSettings {
        progress: upstream.flag("progress"),
        json: if is_json {
            self::json(json)
        } else {
            JsonSettings::default()
        },
    };
    let Some(dialect) = named(name, &settings) else {
        let names = ALL.each_ref().map(|entry| entry.name);
        let remedy = did_you_mean(
            nearest(name, names),
            &format!("write one of {}", names.join(", ")),
        );
        upstream.refuse(
            "dialect",
            format!("{} is not a dialect", quoted(name)),
            remedy,
        );
        return None;
    };
    if !is_json && !json.entries.is_empty() {
        let warning = format!("[upstream.json]: not used, because dialect is {name}");
        upstream.problems.warn(warning);
    }
    let written = upstream.has("job_path").then(|| upstream.text("job_path"));
    let Some(path) = written.unwrap_or(dialect.job_path()) else {
        if !upstream.has("job_path") {
            let remedy = format!("for example {}", upstream.example("job_path"));
            upstream.refuse(
                "job_path",
                "the dialect json needs the path of its jobs",
                remedy,
            );
        }
        return None;
    };
    match JobPath::parse(path) {
        Ok(_) if path.len() > LONGEST => {
            upstream.refuse_value("job_path", format!("expected at most {LONGEST} bytes"));
            None
        }
        Ok(path) => Some((dialect, path)),
        Err(wrong) => {
            upstream.refuse_value("job_path", wrong.to_string());
            None
        }
    }
}

fn json(section: &Section<'_>) -> JsonSettings {
    let pointer = |key| {
        let text = section.has(key).then(|| section.text(key))??;
        let wrong = match text.parse::<Pointer>() {
            Ok(pointer) if text.len() <= LONGEST => return Some(pointer),
            Ok(_) => format!("expected at most {LONGEST} bytes"),
            Err(wrong) => wrong.to_string(),
        };
        section.refuse_value(key, wrong);
        None
    };
    let words = |key| {
        let words = section.has(key).then(|| section.words(key, MOST_WORDS));
        let words = words.unwrap_or_default();
        if words
            .iter()
            .any(|word| word.is_empty() || word.len() > LONGEST)
        {
            section.refuse_value(key, format!("expected words of 1 to {LONGEST} bytes"));
        }
        words
    };
    let settings = JsonSettings {
        status: pointer("status"),
        success: words("success"),
        failure: words("failure"),
        error_code: pointer("error_code"),
        error_title: pointer("error_title"),
        error_detail: pointer("error_detail"),
        progress: pointer("progress"),
        updated: pointer("updated"),
    };
    for key in ["status", "success"] {
        if !section.has(key) {
            let remedy = format!("for example {}", section.example(key));
            section.refuse(key, "the dialect json needs this key", remedy);
        }
    }
    let is_empty = |entry: &Entry| entry.value.as_array().is_some_and(Vec::is_empty);
    if section.entries.get("success").is_some_and(is_empty) {
        section.refuse_value("success", "without a word no job ends well");
    }
    if let Some(word) = settings
        .success
        .iter()
        .find(|word| settings.failure.contains(word))
    {
        let wrong = format!("{} is in upstream.json.success, too", quoted(word));
        section.refuse("failure", wrong, "write each word in one of both");
    }
    settings
}
