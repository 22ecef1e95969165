//! Checks of a job before its insertion that the table cannot make: they need the configuration or the time of day.

use std::time::Duration;

use super::delivery::WebhookName;
use super::text::{nearest, printable};
use super::time::UnixMillis;

/// Most characters of a name that an error repeats.
const SHOWN: usize = 64;

/// Most configured names that an error lists.
const LISTED: usize = 10;

/// The earliest time a row may have, in 2001: the table refuses earlier ones, which are probably seconds.
pub const EARLIEST: UnixMillis = UnixMillis(1_000_000_000_000);

/// What a job is checked against before it is inserted.
#[derive(Debug, Clone)]
pub struct EnqueueRules {
    /// The webhooks of the configuration, sorted.
    pub webhooks: Vec<WebhookName>,
    /// `polling.deadline`.
    pub deadline: Duration,
}

/// Why a job is not inserted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEnqueued {
    /// An empty text as the webhook's name.
    #[error(
        "the webhook's name is empty; leave it out to send to every webhook that subscribes, or name one"
    )]
    EmptyWebhook,
    /// No webhook of the configuration has this name.
    #[error("no webhook {name} is configured; {remedy}")]
    UnknownWebhook {
        /// The name, escaped and cut.
        name: String,
        /// The most similar name, or all names.
        remedy: String,
    },
    /// The job would expire at once.
    #[error("the deadline {0} has passed; give a later one")]
    DeadlinePassed(UnixMillis),
    /// The job would expire before its first poll.
    #[error(
        "no poll is made before not_before, {not_before}, and the deadline {deadline}{default} is not later; give a later \
         deadline"
    )]
    NoTimeForPolls {
        /// The earliest time of a poll.
        not_before: UnixMillis,
        /// The deadline.
        deadline: UnixMillis,
        /// The source of the deadline, in brackets, if that is the configuration.
        default: &'static str,
    },
}

impl EnqueueRules {
    /// Checks the columns that need the configuration or the time.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(
        &self,
        webhook: Option<&str>,
        deadline: Option<UnixMillis>,
        not_before: Option<UnixMillis>,
        now: UnixMillis,
    ) -> Result<(), NotEnqueued> {
        if let Some(name) = webhook {
            self.check_webhook(name)?;
        }
        check_times(deadline, not_before, now)?;
        let default = now.plus(self.deadline);
        match not_before {
            Some(not_before) if deadline.is_none() && not_before >= default => {
                Err(NotEnqueued::NoTimeForPolls {
                    not_before,
                    deadline: default,
                    default: " (polling.deadline)",
                })
            }
            _ => Ok(()),
        }
    }

    fn check_webhook(&self, name: &str) -> Result<(), NotEnqueued> {
        if name.is_empty() {
            return Err(NotEnqueued::EmptyWebhook);
        }
        let names = || self.webhooks.iter().map(WebhookName::as_str);
        if names().any(|configured| configured == name) {
            return Ok(());
        }
        let remedy = match (nearest(name, names()), self.webhooks.len()) {
            (Some(near), _) => format!("did you mean {near}?"),
            (None, 0) => "there is none: write a [webhooks.NAME] section first".to_owned(),
            (None, count) => {
                let listed: Vec<&str> = names().take(LISTED).collect();
                let more = if count > LISTED { ", …" } else { "" };
                format!("the names are {}{more}", listed.join(", "))
            }
        };
        Err(NotEnqueued::UnknownWebhook {
            name: printable(name, SHOWN),
            remedy,
        })
    }
}

/// Checks the row's own times, except those before [`EARLIEST`], which the table refuses.
///
/// # Errors
/// The first rule that is broken.
pub fn check_times(
    deadline: Option<UnixMillis>,
    not_before: Option<UnixMillis>,
    now: UnixMillis,
) -> Result<(), NotEnqueued> {
    match (deadline, not_before) {
        (Some(deadline), _) if deadline < EARLIEST => Ok(()),
        (Some(deadline), _) if deadline <= now => Err(NotEnqueued::DeadlinePassed(deadline)),
        (Some(deadline), Some(not_before)) if not_before >= deadline => {
            Err(NotEnqueued::NoTimeForPolls {
                not_before,
                deadline,
                default: "",
            })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_795_359_845_000);

    fn rules(webhooks: &[&str]) -> EnqueueRules {
        EnqueueRules {
            webhooks: webhooks.iter().copied().map(WebhookName::new).collect(),
            deadline: Duration::from_secs(3600),
        }
    }

    fn message(webhook: Option<&str>, webhooks: &[&str]) -> String {
        let checked = rules(webhooks).check(webhook, None, None, NOW);
        checked.map_or_else(|wrong| wrong.to_string(), |()| "accepted".to_owned())
    }

    #[test]
    fn only_configured_webhooks_are_accepted_and_the_most_similar_is_named() {
        let configured = ["audit", "billing"];
        assert_eq!(message(None, &configured), "accepted");
        assert_eq!(message(Some("billing"), &configured), "accepted");
        for (name, expected) in [
            (
                "bilings",
                "no webhook bilings is configured; did you mean billing?",
            ),
            (
                "Billing",
                "no webhook Billing is configured; did you mean billing?",
            ),
            (
                "crm\u{1b}",
                "no webhook crm\\u{1b} is configured; the names are audit, billing",
            ),
        ] {
            assert_eq!(message(Some(name), &configured), expected);
        }
        assert!(message(Some(""), &configured).contains("name is empty"));
        assert!(message(Some("x"), &[]).ends_with("write a [webhooks.NAME] section first"));
        assert!(message(Some(&"x".repeat(100_000)), &configured).len() < 200);
    }

    #[test]
    fn a_job_has_time_between_its_first_poll_and_its_deadline() {
        let at = |seconds: i64| Some(UnixMillis(NOW.0 + seconds * 1000));
        let refused = |deadline, not_before| {
            let checked = rules(&[]).check(None, deadline, not_before, NOW);
            checked.err().map(|wrong| wrong.to_string())
        };
        for (deadline, not_before) in [
            (None, None),
            (at(1), None),
            (None, at(-9)),
            (None, at(3599)),
            (at(7300), at(7200)),
        ] {
            assert_eq!(refused(deadline, not_before), None);
        }
        for (deadline, not_before, expected) in [
            (
                at(0),
                None,
                "the deadline 2026-11-22T15:04:05.000Z has passed",
            ),
            (
                at(-5),
                at(-9),
                "the deadline 2026-11-22T15:04:00.000Z has passed",
            ),
            (
                at(60),
                at(60),
                "not_before, 2026-11-22T15:05:05.000Z, and the deadline 2026-11-22T15:05:05.000Z is not later",
            ),
            (
                None,
                at(3600),
                "2026-11-22T16:04:05.000Z (polling.deadline) is not later",
            ),
        ] {
            let wrong = refused(deadline, not_before).unwrap();
            assert!(wrong.contains(expected), "{wrong}");
        }
    }
}
