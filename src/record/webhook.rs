//! Webhooks: their health, what waits for them, their settings.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::{StartedRecord, time};
use crate::core::health::Health;
use crate::core::time::UnixMillis;
use crate::store::{WebhookCounts, WebhookHealth};

/// The health of a webhook in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HealthWord {
    Ready,
    Held,
    Ramping,
    /// Published as `resting`, which programs know.
    #[serde(rename = "resting")]
    Paused,
    Disabled,
}

impl HealthWord {
    /// The word at `now`: a pause that is over is none.
    pub(crate) fn of(health: &WebhookHealth, now: UnixMillis) -> Self {
        let is_paused = health.paused_until.is_some_and(|until| until > now);
        match &health.health {
            _ if health.disabled.is_some() => Self::Disabled,
            _ if is_paused => Self::Paused,
            Health::Held(_) => Self::Held,
            Health::Ramping { .. } => Self::Ramping,
            Health::Ready(_) => Self::Ready,
        }
    }
}

impl fmt::Display for HealthWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Held => "held",
            Self::Ramping => "ramping",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        })
    }
}

/// What decides whether events are sent to a webhook.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthUpdate<'a> {
    #[schema(required, format = DateTime)]
    disabled_at: Option<String>,
    #[schema(required)]
    disabled_reason: Option<&'a str>,
    #[schema(required, format = DateTime)]
    paused_until: Option<String>,
    #[schema(required, format = DateTime)]
    held_since: Option<String>,
    failures: u32,
}

/// A webhook of a job.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobWebhookRecord<'a> {
    name: &'a str,
    #[serde(flatten)]
    health: HealthUpdate<'a>,
}

/// The health of a webhook, and what waits for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConditionRecord<'a> {
    state: HealthWord,
    #[serde(flatten)]
    health: HealthUpdate<'a>,
    #[schema(required, format = DateTime)]
    probe_at: Option<String>,
    #[schema(required)]
    allowed: Option<u32>,
    #[schema(required)]
    pending: Option<u64>,
    #[schema(required, format = DateTime)]
    oldest_pending: Option<String>,
    #[schema(required)]
    exhausted: Option<u64>,
    #[schema(required)]
    disabled: Option<u64>,
}

/// A webhook in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListedWebhookRecord<'a> {
    pub(crate) name: &'a str,
    pub(crate) configured: bool,
    #[schema(required)]
    pub(crate) url: Option<String>,
    #[schema(required)]
    pub(crate) events: Option<Vec<&'static str>>,
    #[serde(flatten)]
    pub(crate) condition: ConditionRecord<'a>,
}

/// A webhook with its settings and its latest attempts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WebhookRecord<'a> {
    pub(crate) name: &'a str,
    #[schema(required)]
    pub(crate) settings: Option<SettingsRecord<'a>>,
    #[serde(flatten)]
    pub(crate) condition: ConditionRecord<'a>,
    pub(crate) attempts: Vec<StartedRecord<'a>>,
}

/// The settings of a webhook, without what is secret in them.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SettingsRecord<'a> {
    #[schema(required)]
    pub(crate) url: Option<String>,
    pub(crate) events: Vec<&'static str>,
    pub(crate) timeout_ms: u64,
    pub(crate) max_in_flight: usize,
    pub(crate) retry_ms: Vec<u64>,
    pub(crate) allow_private: bool,
    pub(crate) headers: Vec<&'a str>,
    #[schema(required)]
    pub(crate) fallback: Option<&'a str>,
}

impl<'a> From<&'a WebhookHealth> for HealthUpdate<'a> {
    fn from(health: &'a WebhookHealth) -> Self {
        let disabled = health.disabled.as_ref();
        Self {
            disabled_at: time(disabled.map(|(at, _)| *at)),
            disabled_reason: disabled.map(|(_, reason)| reason.as_str()),
            paused_until: time(health.paused_until),
            held_since: time(health.health.hold().map(|hold| hold.since)),
            failures: health.health.failures(),
        }
    }
}

impl<'a> JobWebhookRecord<'a> {
    pub(crate) fn new(name: &'a str, health: &'a WebhookHealth) -> Self {
        let health = health.into();
        Self { name, health }
    }
}

impl<'a> ConditionRecord<'a> {
    pub(crate) fn new(
        health: &'a WebhookHealth,
        figures: Option<&WebhookCounts>,
        now: UnixMillis,
    ) -> Self {
        Self {
            state: HealthWord::of(health, now),
            health: health.into(),
            probe_at: time(health.health.hold().and_then(|hold| hold.probe_at)),
            allowed: match &health.health {
                Health::Ready(_) => None,
                Health::Held(_) => Some(1),
                Health::Ramping { allowed, .. } => Some(*allowed),
            },
            pending: figures.map(|figures| figures.pending),
            oldest_pending: time(figures.and_then(|figures| figures.oldest_pending)),
            exhausted: figures.map(|figures| figures.exhausted),
            disabled: figures.map(|figures| figures.disabled),
        }
    }
}
