//! The scenarios of jobs, by name, and how often each is drawn.

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use strum::VariantArray as _;

use super::format::JobFormat;

/// How a job proceeds, by name. In JSON and in control requests the names are in kebab case.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Scenario {
    /// Three steps, one after the other, in 3 to 15 s.
    Success,
    /// As `success`, twenty times slower: minutes.
    Slow,
    /// Done at the first poll.
    Instant,
    /// A step fails and the later ones stay pending. `step` and `code` choose which and why, else they are drawn.
    Failed,
    /// A text message's token; right answer `["1234"]`; wrong ones are asked again twice, then the step fails.
    MfaToken,
    /// Two security questions; right answers `["Basiq","AU00002"]`.
    MfaQuestions,
    /// Approval in the bank's app; answered with `["confirmed"]`.
    MfaApproval,
    /// As `mfa-token`, but the first wrong answer fails the step, with a null result.
    MfaStrict,
    /// No answer comes in time, even the right one is late after 5 s: fails with `job-timed-out`.
    MfaExpired,
    /// Version 3, five steps: the challenge stays in the result after success.
    MfaKept,
    /// The challenge step turns out not to be needed: `skipped`.
    MfaSkipped,
    /// As `mfa-skipped`, with the step's title misspelt as in the API's own documents.
    MfaMisspelt,
    /// Pending with `temporary-unavailable-queued` for two to six hours, then success.
    QueuedSuccess,
    /// Pending with `temporary-unavailable-queued` for two to six hours, then failed `temporary-unavailable`.
    QueuedFailed,
    /// A statement's three steps.
    Statement,
    /// A statement that cannot be used; `code` chooses why.
    StatementFailed,
    /// A report's one step.
    Report,
    /// A report that fails: null result, null links.
    ReportFailed,
    /// A payment's three steps.
    Payment,
    /// A payment that fails at its second step.
    PaymentFailed,
    /// The seed page's first example: stands still for 3 s where the page shows it, then succeeds.
    SeedExample,
    /// The seed page's example with a challenge; right answer `["1234"]`.
    SeedMfaExample,
    /// An unknown status for a while, then success.
    UnknownStatus,
    /// A challenge step appears between two others when the job is already running; right answer `["1234"]`.
    StepAppears,
    /// The last step vanishes, and the job is done without it.
    StepVanishes,
    /// A step falls back from in-progress to pending, and succeeds at its second try.
    GoesBack,
    /// Stays in progress for ever.
    NeverEnds,
}

impl Scenario {
    /// Every scenario.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// Its name in control requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// A refresh, or a connection at an institution without a special rule.
    pub(super) fn draw(rng: &mut Rng) -> Self {
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

    pub(super) fn draw_format(self, rng: &mut Rng) -> JobFormat {
        match self {
            Self::SeedExample | Self::SeedMfaExample => JobFormat::Seed,
            Self::MfaKept => JobFormat::V3,
            Self::Statement | Self::StatementFailed if rng.u8(0..10) < 3 => {
                JobFormat::BankStatement
            }
            Self::Statement | Self::StatementFailed => JobFormat::Statement,
            Self::Report | Self::ReportFailed => JobFormat::Report,
            Self::Payment | Self::PaymentFailed => JobFormat::Payment,
            _ => match rng.u8(0..10) {
                0..2 => JobFormat::Seed,
                2..5 => JobFormat::Live,
                _ => JobFormat::V3,
            },
        }
    }

    /// Whether it is an example of the seed page, which is shown unchanged.
    pub(super) fn is_seed_page(self) -> bool {
        matches!(self, Self::SeedExample | Self::SeedMfaExample)
    }

    pub(super) fn titles(self) -> &'static [&'static str] {
        const MYGOV: [&str; 5] = [
            "verify-credentials",
            "mfa-challenge",
            "retrieve-accounts",
            "retrieve-transactions",
            "retrieve-statements",
        ];
        match self {
            Self::MfaToken
            | Self::MfaQuestions
            | Self::MfaApproval
            | Self::MfaStrict
            | Self::MfaExpired
            | Self::MfaSkipped
            | Self::SeedMfaExample => MYGOV.get(..4).unwrap_or_default(),
            Self::MfaMisspelt => &[
                "verify-credentials",
                "mfa-challenege",
                "retrieve-accounts",
                "retrieve-transactions",
            ],
            Self::MfaKept => &MYGOV,
            Self::Report | Self::ReportFailed => &["create-report"],
            Self::Payment | Self::PaymentFailed => &[
                "validate-payment",
                "external-processing",
                "payment-completed",
            ],
            _ => &[
                "verify-credentials",
                "retrieve-accounts",
                "retrieve-transactions",
            ],
        }
    }
}
