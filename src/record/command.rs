//! What commands answer with `--json`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::core::job::JobId;

/// An id that was handed to `enqueue`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EnqueueRecord<'a> {
    pub(crate) id: &'a str,
    /// `enqueued`, `exists` or `refused`.
    #[schema(pattern = "^(enqueued|exists|refused)$")]
    pub(crate) outcome: &'static str,
    #[schema(required)]
    pub(crate) reason: Option<&'a str>,
}

/// A job that was to be cancelled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CancelRecord<'a> {
    #[schema(value_type = super::schema::JobId)]
    pub(crate) id: &'a JobId,
    /// `requested`, `ended` or `unknown`.
    #[schema(pattern = "^(requested|ended|unknown)$")]
    pub(crate) outcome: &'static str,
}

/// What the API answered to a user's answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MfaRecord<'a> {
    #[schema(value_type = super::schema::JobId)]
    pub(crate) id: &'a JobId,
    pub(crate) taken: bool,
    pub(crate) status: u16,
    /// The API's JSON, or its text where it is none.
    pub(crate) body: serde_json::Value,
}

/// The pauses that `resume` ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResumeRecord<'a> {
    pub(crate) pauses: Vec<PauseRecord<'a>>,
    pub(crate) jobs: u64,
}

/// A pause that an API asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PauseRecord<'a> {
    pub(crate) origin: &'a str,
    #[schema(format = DateTime)]
    pub(crate) paused_until: String,
}

/// Deliveries that were given up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GiveUpRecord<'a> {
    #[schema(required)]
    pub(crate) event_id: Option<&'a str>,
    #[schema(required)]
    pub(crate) webhook: Option<&'a str>,
    pub(crate) deliveries: u64,
}

/// What a replay sends, or would send.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayRecord<'a> {
    #[schema(required)]
    pub(crate) replay: Option<i64>,
    pub(crate) dry_run: bool,
    pub(crate) deliveries: u64,
    pub(crate) more: bool,
    #[schema(required, format = DateTime)]
    pub(crate) first: Option<String>,
    #[schema(required, format = DateTime)]
    pub(crate) last: Option<String>,
    pub(crate) by_type: Vec<ReplayedRecord<'a>>,
    /// Deliveries of disabled webhooks.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub(crate) left_alone: &'a BTreeMap<WebhookName, u64>,
}

/// What a replay sends of one type to one webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayedRecord<'a> {
    pub(crate) webhook: &'a str,
    #[schema(value_type = super::schema::EventTypes)]
    pub(crate) r#type: EventType,
    pub(crate) deliveries: u64,
}

/// A webhook that was enabled or disabled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SwitchRecord<'a> {
    pub(crate) name: &'a str,
    #[schema(pattern = "^(enabled|disabled)$")]
    pub(crate) state: &'static str,
    pub(crate) deliveries: u64,
}

/// What was moved from one webhook to another.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MoveRecord<'a> {
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) deliveries: u64,
    pub(crate) jobs: u64,
}

/// A sample that was sent to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestRecord<'a> {
    pub(crate) webhook: &'a str,
    pub(crate) event_id: &'a str,
    pub(crate) request: RequestRecord<'a>,
    #[schema(required)]
    pub(crate) status: Option<u16>,
    #[schema(required)]
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: u64,
    #[schema(required)]
    pub(crate) answer: Option<&'a str>,
    #[schema(required, pattern = "^(too_large|too_slow|broken)$")]
    pub(crate) answer_cut: Option<&'static str>,
    pub(crate) delivered: bool,
}

/// A request, byte for byte but for its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RequestRecord<'a> {
    pub(crate) line: &'a str,
    #[schema(value_type = Vec<Vec<String>>)]
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a str,
}

/// A finding of `check`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckRecord {
    pub(crate) what: String,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// A finding of `doctor`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FindingRecord<'a> {
    pub(crate) check: &'static str,
    #[schema(pattern = "^(ok|note|warning|problem)$")]
    pub(crate) level: &'static str,
    pub(crate) says: &'a str,
    #[schema(required)]
    pub(crate) advice: Option<&'a str>,
}

/// A database that was migrated.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MigrateRecord<'a> {
    pub(crate) path: &'a str,
    pub(crate) schema: i64,
    /// `created`, `updated` or `unchanged`.
    #[schema(pattern = "^(created|updated|unchanged)$")]
    pub(crate) outcome: &'static str,
}

/// A copy of a database that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupRecord<'a> {
    pub(crate) path: &'a str,
    pub(crate) bytes: u64,
    pub(crate) jobs: i64,
    pub(crate) schema: i64,
    pub(crate) took_ms: u64,
}

/// A database that was restored.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestoreRecord<'a> {
    #[serde(flatten)]
    pub(crate) copy: BackupRecord<'a>,
    pub(crate) from: &'a str,
    #[schema(required)]
    pub(crate) previous: Option<&'a str>,
}

/// What `bench` measured.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BenchRecord<'a> {
    /// The folder whose disk was measured.
    pub(crate) directory: &'a str,
    pub(crate) filesystem: &'a str,
    pub(crate) processors: u64,
    pub(crate) processor: &'a str,
    /// Threads that wanted a processor, on average over the last minute; null where it is not known.
    #[schema(required)]
    pub(crate) load_1m: Option<f64>,
    /// Polls that found nothing new.
    pub(crate) polls: BenchRateRecord,
    /// Jobs that had ended, from their row to the webhook.
    pub(crate) ends: BenchRateRecord,
    pub(crate) deliveries: BenchRateRecord,
    /// From the commit of a row to the request for its job.
    pub(crate) first_request: BenchTimesRecord,
    /// One durable commit.
    pub(crate) commit: BenchTimesRecord,
    pub(crate) took_ms: u64,
}

/// Things per second, and what one of them costs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BenchRateRecord {
    pub(crate) per_second: f64,
    /// Processor time of the daemon for one, in microseconds.
    pub(crate) daemon_us: f64,
    /// Processor time of the simulated API and the receiver for one, in microseconds.
    pub(crate) peers_us: f64,
}

/// How long something took, in milliseconds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BenchTimesRecord {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// How often it was measured.
    pub(crate) count: u64,
}
