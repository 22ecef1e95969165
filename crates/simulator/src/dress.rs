//! How a job looks around its steps: the API's versions and kinds of job differ in ids, dates and links.

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::{RawValue, Value};

use super::timeline::Ending;
use jobtrackd_core::time::UnixMillis;

/// The outer shape of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dress {
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
    /// A report: a `status` of its own, partner and application, relative links that are `null` once it failed.
    Report,
    /// A payment: `jobType` `payment`, no source.
    Payment,
}

/// How ids of a dress are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdStyle {
    Numeric,
    Uuid,
    ShortHex,
}

/// What a job's body says besides its steps.
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) id: &'a str,
    pub(super) base: &'a str,
    pub(super) source: &'a str,
    pub(super) created: UnixMillis,
    pub(super) updated: UnixMillis,
    pub(super) ending: Option<Ending>,
    pub(super) institution: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_date: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partner_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_id: Option<&'a str>,
    steps: Vec<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    institution: Option<Value>,
    links: Option<Links>,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    this: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl Dress {
    pub(super) fn id_style(self) -> IdStyle {
        match self {
            Self::Seed => IdStyle::Numeric,
            Self::BankStatement => IdStyle::ShortHex,
            _ => IdStyle::Uuid,
        }
    }

    pub(super) fn job_type(self) -> Option<&'static str> {
        match self {
            Self::Seed | Self::Live => None,
            Self::V3 | Self::Statement => Some("connection"),
            Self::BankStatement | Self::Report => Some("report"),
            Self::Payment => Some("payment"),
        }
    }

    fn relative(self) -> bool {
        matches!(self, Self::Seed | Self::Report)
    }

    /// `/jobs/ID/mfa` the way this dress writes links.
    pub(super) fn link(self, path: &str) -> String {
        if self.relative() {
            path.to_owned()
        } else {
            format!("{{base}}{path}")
        }
    }

    /// A result the way this dress wraps it.
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

    fn links(self, head: &Head<'_>) -> Option<Links> {
        if self == Self::Report && head.ending == Some(Ending::Failed) {
            return None;
        }
        let place = |path: &str| {
            if self.relative() {
                path.to_owned()
            } else {
                format!("{}{path}", head.base)
            }
        };
        let shown = match self {
            Self::Seed | Self::Live => true,
            Self::V3 => head.ending.is_some(),
            Self::Report => head.ending == Some(Ending::Success),
            Self::Statement | Self::BankStatement | Self::Payment => false,
        };
        Some(Links {
            this: place(&format!("/jobs/{}", head.id)),
            source: shown.then(|| place(head.source)),
        })
    }

    /// The whole job as JSON text.
    pub(super) fn render(self, head: &Head<'_>, steps: &[Box<RawValue>]) -> String {
        let (created, updated) = (self.date(head.created), self.date(head.updated));
        let renamed = self == Self::BankStatement;
        let report = self == Self::Report;
        let body = Body {
            r#type: "job",
            id: head.id,
            created: (!renamed).then_some(created.as_str()),
            updated: (!renamed).then_some(updated.as_str()),
            created_date: renamed.then_some(created.as_str()),
            updated_date: renamed.then_some(updated.as_str()),
            job_type: self.job_type(),
            status: report.then_some(match head.ending {
                None => "in-progress",
                Some(Ending::Success) => "success",
                Some(Ending::Failed) => "failed",
            }),
            partner_id: report.then_some("0f63b29e-6f24-4d4c-b1e2-6d9ad2b2c001"),
            application_id: report.then_some("0f63b29e-6f24-4d4c-b1e2-6d9ad2b2c002"),
            source_id: renamed.then(|| head.source.rsplit('/').next().unwrap_or_default()),
            steps: steps.iter().map(AsRef::as_ref).collect(),
            institution: head.institution.map(institution),
            links: self.links(head),
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        text.replace("{base}", head.base).replace("{id}", head.id)
    }
}

pub(super) fn institution(id: &str) -> Value {
    json!({"type": "institution", "id": id, "links": {"self": format!("{{base}}/institutions/{id}")}})
}
