//! The jobs of the demo: when each is inserted, what the simulated API does with it, how it should end, and the faults.

use std::time::Duration;

use super::documents;
use crate::core::job::FailureKind;
use crate::simulator::{Fault, FaultRule, NewJob, Reply, RetryAfter, Scenario};

/// The webhook that subscribes to all events.
pub const AUDIT: &str = "audit";

/// The webhook that subscribes to the default events.
pub const BILLING: &str = "billing";

/// When every token that was granted expires early.
pub(super) const TOKENS_EXPIRE: Duration = Duration::from_millis(9_000);

/// One job of the demo. Times are those at pace 1.
#[derive(Debug, Clone, Default)]
pub struct DemoJob {
    /// The id of the row, and of the simulator's job unless `url` names another.
    pub id: &'static str,
    /// What is shown with it, for people.
    pub about: &'static str,
    /// When its row is inserted.
    pub at: Duration,
    /// The simulator's job; `None` when it has none.
    pub remote: Option<NewJob>,
    /// How its user answers challenges.
    pub user: User,
    /// How the daemon itself should end it; `None`: as the simulator ends it.
    pub end: Option<FailureKind>,
    /// `jobs.url`.
    pub url: Option<&'static str>,
    /// `jobs.metadata`.
    pub metadata: Option<&'static str>,
    /// `jobs.webhook`.
    pub webhook: Option<&'static str>,
    /// `jobs.priority`.
    pub priority: i64,
    /// `jobs.deadline_at`, from the insertion on.
    pub deadline: Option<Duration>,
    /// How long after its insertion `cancel_requested` is set.
    pub cancel: Option<Duration>,
}

/// How a user answers challenges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum User {
    /// Does nothing.
    #[default]
    Silent,
    /// Answers every challenge rightly.
    Knows,
    /// Mistypes the first answer.
    Mistypes,
    /// Is always wrong.
    Guesses,
}

impl DemoJob {
    fn new(at_ms: u64, id: &'static str, about: &'static str, remote: Option<NewJob>) -> Self {
        Self {
            id,
            about,
            at: Duration::from_millis(at_ms),
            remote,
            ..Self::default()
        }
    }

    /// Its id in the simulator.
    #[must_use]
    pub fn remote_id(&self) -> &'static str {
        let url = self.url.and_then(|url| url.strip_prefix("/jobs/"));
        url.unwrap_or(self.id)
    }

    /// The simulator's job, `pace` times faster.
    pub(super) fn remote_job(&self, pace: f64) -> Option<NewJob> {
        let within = |ms| Duration::from_millis(ms).div_f64(pace).as_millis();
        let new = self.remote.clone()?.with_id(self.remote_id());
        Some(NewJob {
            within_ms: new.within_ms.and_then(|ms| within(ms).try_into().ok()),
            ..new
        })
    }
}

/// All jobs, in order of their insertion.
#[must_use]
pub fn jobs() -> Vec<DemoJob> {
    let mut all = by_the_daemon();
    all.extend(documented());
    all.extend(by_scenario());
    all.extend(with_users());
    all.sort_by_key(|job| job.at);
    all
}

/// Jobs that the daemon itself ends.
fn by_the_daemon() -> Vec<DemoJob> {
    use FailureKind::{Cancelled, Expired, NotFound, Rejected};
    let endless = || Some(NewJob::of(Scenario::NeverEnds).within_ms(4_000));
    vec![
        DemoJob {
            end: Some(Expired),
            deadline: Some(Duration::from_secs(11)),
            ..DemoJob::new(1_200, "expired", "past its deadline", endless())
        },
        DemoJob {
            end: Some(Cancelled),
            cancel: Some(Duration::from_secs(9)),
            ..DemoJob::new(2_600, "never-ends", "cancelled mid-way", endless())
        },
        DemoJob {
            end: Some(NotFound),
            ..DemoJob::new(3_000, "unknown", "not at the API", None)
        },
        DemoJob {
            end: Some(Rejected),
            url: Some("https://elsewhere.example/jobs/1"),
            ..DemoJob::new(3_600, "foreign-url", "at another origin", None)
        },
    ]
}

/// The two examples of the API's documentation.
fn documented() -> [DemoJob; 2] {
    let job = |id, about, script| DemoJob {
        metadata: Some(r#"{"customer":"c_9"}"#),
        priority: 5,
        ..DemoJob::new(0, id, about, Some(NewJob::scripted(script)))
    };
    [
        DemoJob {
            user: User::Knows,
            ..job("61723", "seed page, MFA", documents::second())
        },
        DemoJob {
            url: Some("/jobs/61723-page"),
            ..job("61723-page", "seed page, first", documents::first())
        },
    ]
}

/// The simulator's scenarios, each with the milliseconds in which it ends.
fn by_scenario() -> impl Iterator<Item = DemoJob> {
    let scenarios = [
        (400, Scenario::Success, 6_000, "three steps"),
        (700, Scenario::Slow, 19_000, "takes its time"),
        (900, Scenario::Instant, 100, "done at first sight"),
        (1_800, Scenario::Failed, 6_000, "wrong password"),
        (4_200, Scenario::QueuedSuccess, 15_000, "queued, then done"),
        (4_800, Scenario::QueuedFailed, 13_000, "queued in vain"),
        (6_600, Scenario::MfaExpired, 9_000, "no answer comes"),
        (7_600, Scenario::MfaSkipped, 6_000, "no code needed"),
        (8_000, Scenario::MfaMisspelt, 6_000, "a title misspelt"),
        (8_600, Scenario::Statement, 6_000, "a statement"),
        (9_200, Scenario::StatementFailed, 5_000, "an unusable one"),
        (9_800, Scenario::Report, 4_000, "a report"),
        (
            10_400,
            Scenario::ReportFailed,
            4_000,
            "fails without a word",
        ),
        (11_000, Scenario::Payment, 5_000, "for billing alone"),
        (11_600, Scenario::PaymentFailed, 5_000, "a payment bounces"),
        (12_200, Scenario::UnknownStatus, 6_000, "an unknown word"),
        (13_400, Scenario::StepVanishes, 6_000, "a step goes missing"),
        (14_000, Scenario::GoesBack, 7_000, "a step falls back"),
    ];
    scenarios.into_iter().map(|(at, scenario, ms, about)| {
        let mut remote = NewJob::of(scenario).within_ms(ms);
        if scenario == Scenario::Failed {
            remote.step = Some("verify-credentials".to_owned());
            remote.code = Some("invalid-credentials".to_owned());
        }
        DemoJob {
            metadata: (scenario == Scenario::Success)
                .then_some(r#"{"customer":"c_12","plan":{"seats":3,"price":19.90}}"#),
            webhook: (scenario == Scenario::Payment).then_some(BILLING),
            ..DemoJob::new(at, scenario.name(), about, Some(remote))
        }
    })
}

/// Scenarios at the simulator's own speed, so that their challenges stay open for a minute.
fn with_users() -> impl Iterator<Item = DemoJob> {
    use User::{Guesses, Knows, Mistypes};
    let scenarios = [
        (1_500, Scenario::MfaToken, "mistyped once", Mistypes),
        (2_200, Scenario::MfaQuestions, "two questions", Knows),
        (5_400, Scenario::MfaApproval, "an app's approval", Knows),
        (6_000, Scenario::MfaStrict, "one wrong guess", Guesses),
        (7_200, Scenario::MfaKept, "five steps", Knows),
        (12_800, Scenario::StepAppears, "a step comes late", Knows),
    ];
    scenarios
        .into_iter()
        .map(|(at, scenario, about, user)| DemoJob {
            user,
            ..DemoJob::new(at, scenario.name(), about, Some(NewJob::of(scenario)))
        })
}

/// The faults of the API, each in the next poll or polls of a job; every job survives them.
pub(super) fn faults(pace: f64) -> Vec<FaultRule> {
    let status = |status, retry_after| Fault::Status {
        status,
        retry_after,
        body: None,
    };
    let once = |job: &str, fault| FaultRule::new(fault).on_job(job).times(1);
    let mut faults = vec![
        once("success", status(500, None)).times(2),
        once("61723-page", Fault::Html),
        once("slow", Fault::Truncated),
        once("statement", Fault::Reset { after_bytes: 20 }),
        once("report", Fault::Empty),
    ];
    // After a 429 all jobs wait for at least a second, whatever the pace.
    if pace <= 1.0 {
        let throttled = status(429, Some(RetryAfter::Seconds(1)));
        faults.push(once("mfa-questions", throttled));
    }
    faults
}

/// The faults of the webhooks.
pub(super) fn refusals(pace: f64) -> [Reply; 4] {
    let refusal = |hook: &str, job: &str, event: &str, times, status| Reply {
        hook: Some(hook.to_owned()),
        job: Some(job.to_owned()),
        event: Some(event.to_owned()),
        times: Some(times),
        status,
        ..Reply::default()
    };
    [
        refusal(AUDIT, "instant", "job.completed", 2, 500),
        refusal(AUDIT, "61723", "job.action_required", 1, 500),
        refusal(BILLING, "failed", "job.failed", 1, 502),
        Reply {
            header: Some(("retry-after", u8::from(pace <= 1.0).to_string())),
            ..refusal(BILLING, "report-failed", "job.failed", 1, 503)
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_scenario_of_the_simulator_is_played_and_ends_in_half_a_minute() {
        let played: HashSet<Scenario> = jobs()
            .iter()
            .filter_map(|job| job.remote.as_ref()?.scenario)
            .collect();
        for scenario in Scenario::ALL {
            // The documents themselves are played instead.
            let documents = [Scenario::SeedExample, Scenario::SeedMfaExample];
            assert!(
                played.contains(scenario) || documents.contains(scenario),
                "{scenario}"
            );
        }
        for job in jobs() {
            if let Some(ms) = job.remote.and_then(|remote| remote.within_ms) {
                assert!(job.at + Duration::from_millis(ms) < Duration::from_secs(25));
            }
        }
    }

    #[test]
    fn every_kind_of_failure_is_the_end_of_some_job() {
        use FailureKind::{Cancelled, Expired, NotFound, Rejected};
        let ends: Vec<FailureKind> = jobs().iter().filter_map(|job| job.end).collect();
        for kind in [NotFound, Rejected, Expired, Cancelled] {
            assert!(ends.contains(&kind), "{kind:?}");
        }
    }

    #[test]
    fn no_id_comes_twice() {
        let ids: HashSet<&str> = jobs().iter().map(|job| job.id).collect();
        assert_eq!(ids.len(), jobs().len());
    }
}
