//! Events: what webhooks are told.

use std::fmt;

/// The types of events (contract, section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventType {
    /// The job's state became success.
    Completed,
    /// The job's state became failed.
    Failed,
    /// An MFA challenge waits for an answer; once per challenge.
    ActionRequired,
    /// A step was queued by the API for a later retry; once per job and step.
    Delayed,
    /// A step changed; every transition.
    StepChanged,
    /// Sent by hand to try a webhook; belongs to no job.
    Test,
}

impl EventType {
    /// All types.
    pub const ALL: [Self; 6] = [
        Self::Completed,
        Self::Failed,
        Self::ActionRequired,
        Self::Delayed,
        Self::StepChanged,
        Self::Test,
    ];

    /// What a webhook is told when its `events` says nothing (contract, section 6).
    pub const DEFAULT: [Self; 4] = [
        Self::Completed,
        Self::Failed,
        Self::ActionRequired,
        Self::Delayed,
    ];

    /// The name sent as `type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "job.completed",
            Self::Failed => "job.failed",
            Self::ActionRequired => "job.action_required",
            Self::Delayed => "job.delayed",
            Self::StepChanged => "job.step_changed",
            Self::Test => "webhook.test",
        }
    }

    /// The type with this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
