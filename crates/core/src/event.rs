//! Events: what is sent to webhooks.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use super::delivery::WebhookName;
use super::job::{Failure, JobId, JobState};
use super::planted::{self, Bug};
use super::snapshot::{ApiError, Challenge};
use super::text::push_hex;
use super::time::UnixMillis;
use super::transition::Transition;

/// The types of events (docs/events-and-receiving.md, "The events").
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
    Serialize,
    Deserialize,
)]
#[serde(try_from = "&str", into = "&'static str")]
pub enum EventType {
    /// The job's state became success.
    #[strum(serialize = "job.completed")]
    Completed,
    /// The job's state became failed.
    #[strum(serialize = "job.failed")]
    Failed,
    /// An MFA challenge waits for an answer; once per challenge.
    #[strum(serialize = "job.action_required")]
    ActionRequired,
    /// A step was queued by the API for a later retry; once per job and step.
    #[strum(serialize = "job.delayed")]
    Delayed,
    /// A step changed; every transition.
    #[strum(serialize = "job.step_changed")]
    StepChanged,
    /// Sent by an operator to test a webhook; has no job.
    #[strum(serialize = "webhook.test")]
    Test,
}

impl EventType {
    /// The types sent to a webhook without `events` (docs/configuration.md, "Keys").
    pub const DEFAULT: [Self; 4] = [
        Self::Completed,
        Self::Failed,
        Self::ActionRequired,
        Self::Delayed,
    ];

    /// The name sent as `type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// Which webhooks get which types of events.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions(Vec<(WebhookName, Vec<EventType>)>);

impl Subscriptions {
    /// From each webhook's name and types.
    #[must_use]
    pub fn new(webhooks: Vec<(WebhookName, Vec<EventType>)>) -> Self {
        Self(webhooks)
    }

    /// The webhooks that get an event of this type; with `only` (the job's `webhook` column) at most that one. If that one is
    /// not configured, the default types wait for it.
    #[must_use]
    pub fn webhooks(&self, kind: EventType, only: Option<&str>) -> Vec<WebhookName> {
        if let Some(absent) = only.filter(|only| !self.contains(only)) {
            let waits = EventType::DEFAULT.contains(&kind);
            return waits
                .then(|| WebhookName::new(absent))
                .into_iter()
                .collect();
        }
        let subscribed = self.0.iter().filter(|(name, kinds)| {
            only.is_none_or(|only| only == name.as_str()) && kinds.contains(&kind)
        });
        subscribed.map(|(name, _)| name.clone()).collect()
    }

    /// Whether there is a webhook of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(webhook, _)| webhook.as_str() == name)
    }
}

/// An event, ready to be recorded. Its body's bytes never change again. Serialized without the body, which may be large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// `evt_` and 32 lowercase hexadecimal digits; the same fact always has the same id. Sent as `webhook-id`.
    pub id: String,
    /// 1, 2, 3 … per job, over all types.
    pub sequence: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it happened.
    pub created_at: UnixMillis,
    /// The expiry of its challenge; it is not sent after that.
    pub expires_at: Option<UnixMillis>,
    /// The title of the step that it is about; `None` for the end of a job.
    pub step: Option<String>,
    /// The transition that it reports; `None` for other types.
    pub transition_seq: Option<u32>,
    /// The exact bytes that are sent.
    #[serde(skip)]
    pub body: String,
}

/// What is the same in all events of one observation.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    /// The job.
    pub job_id: &'a JobId,
    /// What its events' ids are made of.
    pub ids: EventIds,
    /// The job's state after the observation.
    pub state: JobState,
    /// The row's metadata, verbatim.
    pub metadata: Option<&'a RawValue>,
    /// The remote job, verbatim.
    pub job: Option<&'a RawValue>,
    /// When it was observed.
    pub at: UnixMillis,
}

/// What an event reports beyond its subject.
#[derive(Debug, Clone)]
pub enum EventContent<'a> {
    /// `job.completed`.
    Completed,
    /// `job.failed`.
    Failed(&'a Failure),
    /// `job.action_required`.
    ActionRequired {
        /// The step that waits.
        step: &'a str,
        /// Its challenge.
        challenge: &'a Challenge,
        /// Absolute expiry, if the API gave one.
        expires_at: Option<UnixMillis>,
        /// Absolute URL for the answers, if the API gave one.
        response_url: Option<String>,
    },
    /// `job.delayed`.
    Delayed {
        /// The step that is queued.
        step: &'a str,
        /// The API's error object.
        error: &'a ApiError,
    },
    /// `job.step_changed`.
    StepChanged(&'a Transition),
}

impl EventContent<'_> {
    fn kind(&self) -> EventType {
        match self {
            Self::Completed => EventType::Completed,
            Self::Failed(_) => EventType::Failed,
            Self::ActionRequired { .. } => EventType::ActionRequired,
            Self::Delayed { .. } => EventType::Delayed,
            Self::StepChanged(_) => EventType::StepChanged,
        }
    }

    fn expires_at(&self) -> Option<UnixMillis> {
        match self {
            Self::ActionRequired { expires_at, .. } => *expires_at,
            _ => None,
        }
    }

    fn step(&self) -> Option<&str> {
        match self {
            Self::Completed | Self::Failed(_) => None,
            Self::ActionRequired { step, .. } | Self::Delayed { step, .. } => Some(step),
            Self::StepChanged(transition) => Some(&transition.title),
        }
    }

    fn transition_seq(&self) -> Option<u32> {
        match self {
            Self::StepChanged(transition) => Some(transition.seq),
            _ => None,
        }
    }
}

/// Makes an event.
///
/// # Errors
/// When the parts cannot be written as JSON, which only a damaged database can cause.
pub fn event(
    subject: &Subject<'_>,
    sequence: u32,
    content: &EventContent<'_>,
) -> Result<Event, serde_json::Error> {
    let kind = content.kind();
    let body = Body {
        kind: kind.as_str(),
        timestamp: subject.at.rfc3339(),
        data: Data {
            job_id: subject.job_id.as_str(),
            sequence,
            state: subject.state,
            metadata: subject.metadata,
            extra: Extra::of(content)?,
            job: subject.job.filter(|_| kind != EventType::StepChanged),
        },
    };
    Ok(Event {
        id: subject.ids.of(sequence, kind),
        sequence,
        kind,
        created_at: subject.at,
        expires_at: content.expires_at(),
        step: content.step().map(str::to_owned),
        transition_seq: content.transition_seq(),
        body: serde_json::to_string(&body)?,
    })
}

/// The ids of a job's events. They have one beginning, and those of jobs inserted one after the other follow each other, so that
/// a transaction changes few pages of the indexes. 48 bits of them are the time of the INSERT in milliseconds, 80 bits hashes.
#[derive(Debug, Clone)]
pub struct EventIds {
    /// What identifies the job.
    job: String,
    /// `evt_`, the time, and the hash of the job.
    beginning: String,
}

impl EventIds {
    /// Those of a job that was inserted then: one that is enqueued again after its rows were pruned has new event ids, so
    /// receivers do not discard its events as duplicates.
    #[must_use]
    pub fn new(job_id: &JobId, inserted_at: UnixMillis) -> Self {
        let inserted_at = match planted::is(Bug::IdNotDerived) {
            true => 0,
            false => inserted_at.0,
        };
        let job = format!("{job_id}/{inserted_at}");
        let mut beginning = String::with_capacity(26);
        beginning.push_str("evt_");
        let time = inserted_at.to_be_bytes();
        push_hex(&mut beginning, time.get(2..).unwrap_or_default());
        push_hash(&mut beginning, &job);
        Self { job, beginning }
    }

    fn of(&self, sequence: u32, kind: EventType) -> String {
        let mut id = String::with_capacity(36);
        id.push_str(&self.beginning);
        push_hash(&mut id, &format!("{}/{sequence}/{kind}", self.job));
        id
    }
}

/// Appends 40 bits of the text's hash.
fn push_hash(id: &mut String, text: &str) {
    let hash = Sha256::digest(text.as_bytes());
    push_hex(id, hash.get(..5).unwrap_or_default());
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    job_id: &'a str,
    sequence: u32,
    state: JobState,
    metadata: Option<&'a RawValue>,
    #[serde(flatten)]
    extra: Extra<'a>,
    job: Option<&'a RawValue>,
}

/// The keys that only some types have.
#[derive(Default, Serialize)]
struct Extra<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a Failure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<ChallengeBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a ApiError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<TransitionBody<'a>>,
}

impl<'a> Extra<'a> {
    fn of(content: &'a EventContent<'_>) -> Result<Self, serde_json::Error> {
        let mut extra = Self::default();
        match content {
            EventContent::Completed => {}
            EventContent::Failed(failure) => extra.failure = Some(failure),
            EventContent::ActionRequired {
                step,
                challenge,
                expires_at,
                response_url,
            } => {
                extra.challenge = Some(ChallengeBody {
                    step,
                    method: &challenge.method,
                    description: &challenge.description,
                    input: &challenge.input,
                    expires_at: expires_at.map(UnixMillis::rfc3339),
                    response_url: response_url.as_deref(),
                });
            }
            EventContent::Delayed { step, error } => {
                (extra.step, extra.reason) = (Some(*step), Some(*error));
            }
            EventContent::StepChanged(transition) => {
                let result = transition.result.as_deref();
                extra.transition = Some(TransitionBody {
                    seq: transition.seq,
                    position: transition.position,
                    title: &transition.title,
                    from: transition.from.as_deref(),
                    to: &transition.to,
                    result: result.map(serde_json::from_str).transpose()?,
                });
            }
        }
        Ok(extra)
    }
}

#[derive(Serialize)]
struct ChallengeBody<'a> {
    step: &'a str,
    method: &'a RawValue,
    description: &'a RawValue,
    input: &'a RawValue,
    expires_at: Option<String>,
    response_url: Option<&'a str>,
}

#[derive(Serialize)]
struct TransitionBody<'a> {
    seq: u32,
    position: u32,
    title: &'a str,
    from: Option<&'a str>,
    to: &'a str,
    result: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests;
