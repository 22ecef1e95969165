//! The stories a job can tell, by name, and how often each is drawn.

use std::fmt;

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use super::dress::Dress;

macro_rules! scenarios {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A story by name. In JSON and in control requests the names are in kebab case, as [`Scenario::name`] gives them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Scenario {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Scenario {
            /// Every story.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in control requests.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

scenarios! {
    /// Three steps, one after the other, in 3 to 15 s.
    Success = "success",
    /// As `success`, twenty times slower: minutes.
    Slow = "slow",
    /// Done when first looked at.
    Instant = "instant",
    /// A step fails and the later ones stay pending. `step` and `code` choose which and why, else they are drawn.
    Failed = "failed",
    /// A text message's token; right answer `["1234"]`; wrong ones are asked again twice, then the step fails.
    MfaToken = "mfa-token",
    /// Two security questions; right answers `["Basiq","AU00002"]`.
    MfaQuestions = "mfa-questions",
    /// Approval in the bank's app; answered with `["confirmed"]`.
    MfaApproval = "mfa-approval",
    /// As `mfa-token`, but the first wrong answer fails the step, with a null result.
    MfaStrict = "mfa-strict",
    /// Nobody's answer comes in time, even the right one is late after 5 s: fails with `job-timed-out`.
    MfaExpired = "mfa-expired",
    /// Version 3, five steps: the challenge stays in the result after success.
    MfaKept = "mfa-kept",
    /// The challenge step turns out not to be needed: `skipped`.
    MfaSkipped = "mfa-skipped",
    /// As `mfa-skipped`, with the step's title misspelt as in the API's own documents.
    MfaMisspelt = "mfa-misspelt",
    /// Pending with `temporary-unavailable-queued` for two to six hours, then success.
    QueuedSuccess = "queued-success",
    /// Pending with `temporary-unavailable-queued` for two to six hours, then failed `temporary-unavailable`.
    QueuedFailed = "queued-failed",
    /// A statement's three steps.
    Statement = "statement",
    /// A statement that cannot be used; `code` chooses why.
    StatementFailed = "statement-failed",
    /// A report's one step.
    Report = "report",
    /// A report that fails: null result, null links.
    ReportFailed = "report-failed",
    /// A payment's three steps.
    Payment = "payment",
    /// A payment that fails at its second step.
    PaymentFailed = "payment-failed",
    /// The seed page's first example: stands still for 3 s where the page shows it, then succeeds.
    SeedExample = "seed-example",
    /// The seed page's example with a challenge; right answer `["1234"]`.
    SeedMfaExample = "seed-mfa-example",
    /// A status nobody has heard of for a while, then success.
    UnknownStatus = "unknown-status",
    /// A challenge step appears between two others when the job is already running; right answer `["1234"]`.
    StepAppears = "step-appears",
    /// The last step vanishes, and the job is done without it.
    StepVanishes = "step-vanishes",
    /// A step falls back from in-progress to pending, and succeeds at its second try.
    GoesBack = "goes-back",
    /// Stays in progress for ever.
    NeverEnds = "never-ends",
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Scenario {
    /// A refresh, or a connection at an institution without a rule of its own.
    pub(super) fn drawn(rng: &mut Rng) -> Self {
        match rng.u8(0..100) {
            0..68 => Self::Success,
            68..72 => Self::Instant,
            72..82 => Self::Failed,
            82..85 => Self::MfaToken,
            85 => Self::MfaQuestions,
            86 => Self::MfaApproval,
            87 => Self::MfaKept,
            88..91 => Self::MfaSkipped,
            91 => Self::MfaMisspelt,
            92..95 => Self::QueuedSuccess,
            95..97 => Self::QueuedFailed,
            _ => Self::Slow,
        }
    }

    pub(super) fn dress(self, rng: &mut Rng) -> Dress {
        match self {
            Self::SeedExample | Self::SeedMfaExample => Dress::Seed,
            Self::MfaKept => Dress::V3,
            Self::Statement | Self::StatementFailed if rng.u8(0..10) < 3 => Dress::BankStatement,
            Self::Statement | Self::StatementFailed => Dress::Statement,
            Self::Report | Self::ReportFailed => Dress::Report,
            Self::Payment | Self::PaymentFailed => Dress::Payment,
            _ => match rng.u8(0..10) {
                0..2 => Dress::Seed,
                2..5 => Dress::Live,
                _ => Dress::V3,
            },
        }
    }
}
