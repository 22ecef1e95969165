//! What commands answer with `--json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::core::job::JobId;

/// An id that was handed to `enqueue`.
#[derive(Debug, Serialize)]
pub(crate) struct EnqueueRecord<'a> {
    pub(crate) id: &'a str,
    /// `enqueued`, `exists` or `refused`.
    pub(crate) outcome: &'static str,
    pub(crate) reason: Option<&'a str>,
}

/// A job that was to be cancelled.
#[derive(Debug, Serialize)]
pub(crate) struct CancelRecord<'a> {
    pub(crate) id: &'a JobId,
    /// `requested`, `ended` or `unknown`.
    pub(crate) outcome: &'static str,
}

/// What the API answered to a user's answers.
#[derive(Debug, Serialize)]
pub(crate) struct MfaRecord<'a> {
    pub(crate) id: &'a JobId,
    pub(crate) taken: bool,
    pub(crate) status: u16,
    /// The API's JSON, or its text where it is none.
    pub(crate) body: serde_json::Value,
}

/// The pauses that `resume` ended.
#[derive(Debug, Serialize)]
pub(crate) struct ResumeRecord<'a> {
    pub(crate) pauses: Vec<PauseRecord<'a>>,
    pub(crate) jobs: u64,
}

/// A pause that an API asked for.
#[derive(Debug, Serialize)]
pub(crate) struct PauseRecord<'a> {
    pub(crate) origin: &'a str,
    pub(crate) paused_until: String,
}

/// Deliveries that were given up.
#[derive(Debug, Serialize)]
pub(crate) struct GiveUpRecord<'a> {
    pub(crate) event_id: Option<&'a str>,
    pub(crate) webhook: Option<&'a str>,
    pub(crate) deliveries: u64,
}

/// What a replay sends, or would send.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayRecord<'a> {
    pub(crate) replay: Option<i64>,
    pub(crate) dry_run: bool,
    pub(crate) deliveries: u64,
    pub(crate) more: bool,
    pub(crate) first: Option<String>,
    pub(crate) last: Option<String>,
    pub(crate) by_type: Vec<ReplayedRecord<'a>>,
    /// Deliveries of disabled webhooks.
    pub(crate) left_alone: &'a BTreeMap<WebhookName, u64>,
}

/// What a replay sends of one type to one webhook.
#[derive(Debug, Serialize)]
pub(crate) struct ReplayedRecord<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) r#type: EventType,
    pub(crate) deliveries: u64,
}

/// A webhook that was enabled or disabled.
#[derive(Debug, Serialize)]
pub(crate) struct SwitchRecord<'a> {
    pub(crate) name: &'a str,
    pub(crate) state: &'static str,
    pub(crate) deliveries: u64,
}

/// What was moved from one webhook to another.
#[derive(Debug, Serialize)]
pub(crate) struct MoveRecord<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) deliveries: u64,
    pub(crate) jobs: u64,
}

/// A sample that was sent to a webhook.
#[derive(Debug, Serialize)]
pub(crate) struct TestRecord<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) event_id: &'a str,
    pub(crate) request: RequestRecord<'a>,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: u64,
    pub(crate) answer: Option<&'a str>,
    pub(crate) answer_cut: Option<&'static str>,
    pub(crate) delivered: bool,
}

/// A request, byte for byte but for its secrets.
#[derive(Debug, Serialize)]
pub(crate) struct RequestRecord<'a> {
    pub(crate) line: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a str,
}

/// A finding of `check`.
#[derive(Debug, Serialize)]
pub(crate) struct CheckRecord {
    pub(crate) what: String,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// A finding of `doctor`.
#[derive(Debug, Serialize)]
pub(crate) struct FindingRecord<'a> {
    pub(crate) check: &'static str,
    pub(crate) level: &'static str,
    pub(crate) says: &'a str,
    pub(crate) advice: Option<&'a str>,
}

/// A database that was migrated.
#[derive(Debug, Serialize)]
pub(crate) struct MigrateRecord<'a> {
    pub(crate) path: &'a str,
    pub(crate) schema: i64,
    /// `created`, `updated` or `unchanged`.
    pub(crate) outcome: &'static str,
}

/// A copy of a database that was made.
#[derive(Debug, Serialize)]
pub(crate) struct BackupRecord<'a> {
    pub(crate) path: &'a str,
    pub(crate) bytes: u64,
    pub(crate) jobs: i64,
    pub(crate) schema: i64,
    pub(crate) took_ms: u64,
}

/// A database that was restored.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreRecord<'a> {
    #[serde(flatten)]
    pub(crate) copy: BackupRecord<'a>,
    pub(crate) from: &'a str,
    pub(crate) previous: Option<&'a str>,
}
