//! What programs and people do to the tables and to the daemon.

use crate::chance::Chance;
use crate::time::{MINUTE, MS, SECOND, Time};

use super::jobs::JobPlan;
use super::settings::{Settings, WebhookPlan};

/// Something that somebody does.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) at: Time,
    pub(crate) deed: Deed,
}

/// What is done. Jobs and webhooks are meant by their numbers.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Cancel(usize),
    PollNow(usize),
    /// Deletes the row, if that is permitted, and inserts it again.
    InsertAgain(usize),
    /// Gives up its events as soon as it has ended, then the same.
    Replace(usize),
    /// The same during the next poll of the job.
    ReplaceDuringPoll(usize),
    /// Inserts a row that is refused.
    BadRow(u64),
    Disable(usize),
    Enable(usize),
    ReplayJob(usize),
    ReplayWebhook(usize),
    /// Gives up all that waits for a webhook.
    GiveUp(usize),
    /// Ends the pauses that the API asked for.
    Resume,
    /// At once, or when the next request reaches the API.
    Reload(Box<Settings>, bool),
    /// Deletes what is old enough.
    Retention,
    /// Stops the daemon in order and starts it again.
    Restart,
}

/// The kind of deeds that delete and insert.
const INSERT_AGAIN: usize = 2;

pub(super) fn draw(
    chance: Chance,
    horizon: Time,
    jobs: &[JobPlan],
    webhooks: &[WebhookPlan],
    settings: &Settings,
) -> Vec<Action> {
    let mut draws = chance.of("people", 0).draws();
    let mut actions = Vec::new();
    // Which kinds of deeds there are at all.
    let kinds: Vec<bool> = (0..12).map(|_| draws.percent(35)).collect();
    for (kind, _) in kinds.iter().enumerate().filter(|(_, is_on)| **is_on) {
        let most = if kind == INSERT_AGAIN { 24 } else { 5 };
        for _ in 0..draws.scale(1, most) {
            let at = draws.between(SECOND, horizon);
            let (job, webhook) = (draws.index(jobs.len()), draws.index(webhooks.len()));
            let deed = match kind {
                0 => Deed::Cancel(job),
                1 => {
                    // Often twice in a row, within the time that it takes to notice it.
                    if draws.percent(60) {
                        let again = at + draws.scale(MS, 200 * MS);
                        actions.push(Action {
                            at: again,
                            deed: Deed::PollNow(job),
                        });
                    }
                    Deed::PollNow(job)
                }
                INSERT_AGAIN if draws.percent(35) => Deed::ReplaceDuringPoll(job),
                INSERT_AGAIN if draws.percent(55) => Deed::Replace(job),
                INSERT_AGAIN => Deed::InsertAgain(job),
                3 => Deed::BadRow(draws.between(0, 5)),
                4 => {
                    let until = at + draws.scale(SECOND, horizon / 4);
                    actions.push(Action {
                        at: until,
                        deed: Deed::Enable(webhook),
                    });
                    Deed::Disable(webhook)
                }
                5 => Deed::ReplayJob(job),
                6 => Deed::ReplayWebhook(webhook),
                7 => Deed::GiveUp(webhook),
                8 => Deed::Resume,
                9 => {
                    let other = other(&mut draws, settings, webhooks.len(), horizon);
                    Deed::Reload(Box::new(other), draws.percent(70))
                }
                10 => Deed::Retention,
                _ => Deed::Restart,
            };
            actions.push(Action { at, deed });
        }
    }
    // A webhook that was taken out of the configuration comes back.
    let has_reload = actions
        .iter()
        .any(|action| matches!(action.deed, Deed::Reload(..)));
    if has_reload {
        let deed = Deed::Reload(Box::new(settings.clone()), false);
        actions.push(Action { at: horizon, deed });
    }
    actions.sort_by_key(|action| action.at);
    actions
}

/// Other settings than these.
fn other(
    draws: &mut crate::chance::Draws,
    settings: &Settings,
    webhooks: usize,
    horizon: Time,
) -> Settings {
    let mut other = settings.clone();
    match draws.between(0, 4) {
        0 => other.max_in_flight = draws.pick(&[1, 2, 16]),
        1 => other.requests_per_second = draws.pick(&[0, 2, 50]),
        2 => other.unconfigured = vec![draws.index(webhooks)],
        3 => other.secret = 1,
        _ => {
            other.max_delay = (20 * SECOND).max(horizon / 30);
            other.error_max_delay = other.error_max_delay.max(other.max_delay).min(5 * MINUTE);
        }
    }
    other
}
