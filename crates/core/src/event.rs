//! Events: what webhooks are told.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest, Sha256};
use strum::{Display, EnumIter, EnumString, IntoStaticStr};

use super::delivery::WebhookName;
use super::job::{Failure, JobId, JobState};
use super::resource::{ApiError, Challenge};
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
    /// Sent by hand to try a webhook; belongs to no job.
    #[strum(serialize = "webhook.test")]
    Test,
}

impl EventType {
    /// What a webhook is told when its `events` says nothing (docs/configuration.md, "Keys").
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

/// Which webhooks are told what.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions(Vec<(WebhookName, Vec<EventType>)>);

impl Subscriptions {
    /// From each webhook's name and types.
    #[must_use]
    pub fn new(webhooks: Vec<(WebhookName, Vec<EventType>)>) -> Self {
        Self(webhooks)
    }

    /// The webhooks told of an event of this type; with `only` (the job's `webhook` column) at most that one. If it is not
    /// there, what a webhook is told by default waits for it.
    #[must_use]
    pub fn webhooks(&self, kind: EventType, only: Option<&str>) -> Vec<WebhookName> {
        if let Some(absent) = only.filter(|only| !self.contains(only)) {
            let waits = EventType::DEFAULT.contains(&kind);
            return waits
                .then(|| WebhookName::new(absent))
                .into_iter()
                .collect();
        }
        let told = self.0.iter().filter(|(name, kinds)| {
            only.is_none_or(|only| only == name.as_str()) && kinds.contains(&kind)
        });
        told.map(|(name, _)| name.clone()).collect()
    }

    /// Whether there is a webhook of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known.as_str() == name)
    }
}

/// An event, ready to be recorded. Its body's bytes never change again. Serialized without the body, which may be large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// `evt_` and 32 hexadecimal digits; the same fact always has the same id. Sent as `webhook-id`.
    pub id: String,
    /// 1, 2, 3 … per job, over all types.
    pub sequence: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When it happened.
    pub created_at: UnixMillis,
    /// When it expires: the expiry of the challenge it tells of.
    pub expires_at: Option<UnixMillis>,
    /// The exact bytes that are sent.
    #[serde(skip)]
    pub body: String,
}

/// What is the same in all events of one observation.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The job.
    pub job_id: &'a JobId,
    /// When the job's row was inserted. Part of the ids, so that an id that is enqueued again after its rows were
    /// pruned tells new events, which receivers do not take for old ones.
    pub inserted_at: UnixMillis,
    /// The job's state after the observation.
    pub state: JobState,
    /// The row's metadata, verbatim.
    pub metadata: Option<&'a RawValue>,
    /// The remote job, verbatim.
    pub job: Option<&'a RawValue>,
    /// When it was observed.
    pub at: UnixMillis,
}

/// What an event has to tell beyond its subject.
#[derive(Debug, Clone)]
pub enum Tale<'a> {
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
        /// Absolute expiry, where the API gave one.
        expires_at: Option<UnixMillis>,
        /// Absolute URL for the answers, where the API gave one.
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

impl Tale<'_> {
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
}

/// Makes an event.
///
/// # Errors
/// When the parts cannot be written as JSON, which only a damaged database can cause.
pub fn event(
    subject: &Subject<'_>,
    sequence: u32,
    tale: &Tale<'_>,
) -> Result<Event, serde_json::Error> {
    let kind = tale.kind();
    let body = Body {
        kind: kind.as_str(),
        timestamp: subject.at.rfc3339(),
        data: Data {
            job_id: subject.job_id.as_str(),
            sequence,
            state: subject.state,
            metadata: subject.metadata,
            more: More::of(tale)?,
            job: subject.job.filter(|_| kind != EventType::StepChanged),
        },
    };
    Ok(Event {
        id: event_id(subject.job_id, subject.inserted_at, sequence, kind),
        sequence,
        kind,
        created_at: subject.at,
        expires_at: tale.expires_at(),
        body: serde_json::to_string(&body)?,
    })
}

fn event_id(job_id: &JobId, inserted_at: UnixMillis, sequence: u32, kind: EventType) -> String {
    let fact = format!("{job_id}/{}/{sequence}/{kind}", inserted_at.0);
    let digest = Sha256::digest(fact.as_bytes());
    let mut id = String::from("evt_");
    for byte in digest.iter().take(16) {
        id.push_str(&format!("{byte:02x}"));
    }
    id
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
    more: More,
    job: Option<&'a RawValue>,
}

/// The keys that only some types have, as raw JSON under their names.
#[derive(Default, Serialize)]
struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transition: Option<Box<RawValue>>,
}

impl More {
    fn of(tale: &Tale<'_>) -> Result<Self, serde_json::Error> {
        let mut more = Self::default();
        match tale {
            Tale::Completed => {}
            Tale::Failed(failure) => more.failure = Some(to_raw_value(failure)?),
            Tale::ActionRequired {
                step,
                challenge,
                expires_at,
                response_url,
            } => {
                more.challenge = Some(to_raw_value(&ChallengeBody {
                    step,
                    method: &challenge.method,
                    description: &challenge.description,
                    input: &challenge.input,
                    expires_at: expires_at.map(UnixMillis::rfc3339),
                    response_url: response_url.as_deref(),
                })?);
            }
            Tale::Delayed { step, error } => {
                more.step = Some((*step).to_owned());
                more.reason = Some(to_raw_value(error)?);
            }
            Tale::StepChanged(transition) => {
                let result = transition
                    .result
                    .as_deref()
                    .map(serde_json::from_str::<&RawValue>)
                    .transpose()?;
                more.transition = Some(to_raw_value(&TransitionBody {
                    seq: transition.seq,
                    position: transition.position,
                    title: &transition.title,
                    from: transition.from.as_deref(),
                    to: &transition.to,
                    result,
                })?);
            }
        }
        Ok(more)
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
