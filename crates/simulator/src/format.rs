//! The parts of a job's body around its steps: the API's versions and kinds of job differ in ids, dates and links.

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, Value};

use super::operation::Ending;
use super::timeline::Moment;
use jobtrackd_core::time::UnixMillis;

/// The format of a job's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobFormat {
    /// The oldest pages: numeric ids, relative links, results as arrays of one, milliseconds in dates.
    Seed,
    /// What version 2.1 answers: uuids, absolute links, results as objects, whole seconds.
    Live,
    /// Version 3: as `live`, with `jobType`, and no `links.source` while the job runs.
    V3,
    /// Version 3's statement job: calls itself a connection, never has `links.source`.
    Statement,
    /// The bank-statement page's: short hex ids, `createdDate`, `updatedDate` and `sourceId`.
    BankStatement,
    /// A report: its own `status`, partner and application, relative links that are `null` once it failed.
    Report,
    /// A payment: `jobType` `payment`, no source.
    Payment,
}

/// The kinds of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdStyle {
    Numeric,
    Uuid,
    ShortHex,
}

/// A job's body without its steps.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) format: JobFormat,
    pub(super) id: &'a str,
    pub(super) base: &'a str,
    pub(super) source: &'a str,
    pub(super) created: UnixMillis,
    pub(super) updated: UnixMillis,
    pub(super) ending: Option<Ending>,
    pub(super) institution: Option<&'a str>,
    /// What the create call carried, where its dialect shows it.
    pub(super) request: &'a Value,
    /// What has been shown so far, this moment included.
    pub(super) history: &'a [Moment],
}

impl IdStyle {
    pub(super) fn draw(self, rng: &mut Rng) -> String {
        match self {
            Self::Numeric => rng.u32(10_000..1_000_000).to_string(),
            Self::ShortHex => format!("{:08x}", rng.u32(..)),
            Self::Uuid => {
                let bits = rng.u128(..);
                let variant = rng.choice(['8', '9', 'a', 'b']).unwrap_or('8');
                format!(
                    "{:08x}-{:04x}-4{:03x}-{variant}{:03x}-{:012x}",
                    bits >> 96,
                    (bits >> 80) & 0xffff,
                    (bits >> 64) & 0xfff,
                    (bits >> 48) & 0xfff,
                    bits & 0xffff_ffff_ffff
                )
            }
        }
    }
}

impl JobFormat {
    pub(super) fn id_style(self) -> IdStyle {
        match self {
            Self::Seed => IdStyle::Numeric,
            Self::BankStatement => IdStyle::ShortHex,
            _ => IdStyle::Uuid,
        }
    }

    fn job_type(self) -> Option<&'static str> {
        match self {
            Self::Seed | Self::Live => None,
            Self::V3 | Self::Statement => Some("connection"),
            Self::BankStatement | Self::Report => Some("report"),
            Self::Payment => Some("payment"),
        }
    }

    /// `/jobs/ID/mfa` as a link of this format.
    pub(super) fn link(self, base: &str, path: &str) -> String {
        if matches!(self, Self::Seed | Self::Report) {
            path.to_owned()
        } else {
            format!("{base}{path}")
        }
    }

    /// A result as this format wraps it.
    pub(super) fn wrap(self, result: Value) -> Value {
        if self == Self::Seed {
            Value::Array(vec![result])
        } else {
            result
        }
    }

    fn date(self, at: UnixMillis) -> String {
        let mut text = at.rfc3339();
        if !matches!(self, Self::Seed | Self::Report) {
            text.truncate("2026-11-22T15:04:05".len());
            text.push('Z');
        }
        text
    }

    fn links(self, head: &Head<'_>) -> Value {
        let has_source = match self {
            Self::Report if head.ending == Some(Ending::Failed) => return Value::Null,
            Self::Report | Self::V3 => head.ending.is_some(),
            Self::Seed | Self::Live => true,
            Self::Statement | Self::BankStatement | Self::Payment => false,
        };
        let mut links = json!({"self": self.link(head.base, &format!("/jobs/{}", head.id))});
        if has_source {
            links["source"] = self.link(head.base, head.source).into();
        }
        links
    }

    /// The whole job as JSON text. Its keys are in the API's order, its steps unchanged.
    pub(super) fn render(self, head: &Head<'_>, steps: &[Box<RawValue>]) -> String {
        let text = |value: &str| Value::from(value).to_string();
        let steps: Vec<&str> = steps.iter().map(|step| step.get()).collect();
        let is_dated = self == Self::BankStatement;
        let (created, updated) = if is_dated {
            ("createdDate", "updatedDate")
        } else {
            ("created", "updated")
        };
        let mut fields = vec![
            ("type", text("job")),
            ("id", text(head.id)),
            (created, text(&self.date(head.created))),
            (updated, text(&self.date(head.updated))),
        ];
        if let Some(kind) = self.job_type() {
            fields.push(("jobType", text(kind)));
        }
        if self == Self::Report {
            let status = head.ending.map_or("in-progress", Ending::status);
            fields.extend([
                ("status", text(status)),
                ("partnerId", text("0f63b29e-6f24-4d4c-b1e2-6d9ad2b2c001")),
                (
                    "applicationId",
                    text("0f63b29e-6f24-4d4c-b1e2-6d9ad2b2c002"),
                ),
            ]);
        }
        if is_dated {
            let id = head.source.rsplit('/').next().unwrap_or_default();
            fields.push(("sourceId", text(id)));
        }
        fields.push(("steps", format!("[{}]", steps.join(","))));
        if let Some(id) = head.institution {
            fields.push(("institution", institution(id).to_string()));
        }
        fields.push(("links", self.links(head).to_string()));
        let fields: Vec<String> = fields
            .iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        let text = format!("{{{}}}", fields.join(","));
        text.replace("{base}", head.base).replace("{id}", head.id)
    }
}

pub(super) fn institution(id: &str) -> Value {
    json!({"type": "institution", "id": id, "links": {"self": format!("{{base}}/institutions/{id}")}})
}
