//! The settings of the daemon, and the webhooks.

use crate::chance::Chance;
use crate::time::{HOUR, MINUTE, SECOND, Time};

/// Every dialect.
pub(crate) const DIALECTS: [&str; 6] = [
    "basiq",
    "http-status",
    "azure",
    "google-lro",
    "openai-batch",
    "json",
];

/// What a reload may change, webhooks aside.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) initial_delay: Time,
    pub(crate) multiplier: f64,
    pub(crate) max_delay: Time,
    pub(crate) error_max_delay: Time,
    pub(crate) queued_delay: Time,
    pub(crate) not_found_grace: Time,
    pub(crate) deadline: Time,
    pub(crate) timeout: Time,
    pub(crate) max_retry_after: Time,
    pub(crate) max_in_flight: usize,
    /// 0: no limit.
    pub(crate) requests_per_second: u32,
    /// Whether tokens are granted by a token endpoint; else one token is good for ever.
    pub(crate) has_tokens: bool,
    /// Which secret it has; with another one nothing of the tokens nor of the answers to them is kept.
    pub(crate) secret: u32,
    /// Webhooks that are not configured, by their numbers.
    pub(crate) unconfigured: Vec<usize>,
    /// How long events, attempts and jobs are kept after the end.
    pub(crate) kept: Time,
}

/// A webhook of the configuration.
#[derive(Debug, Clone)]
pub(crate) struct WebhookPlan {
    pub(crate) name: String,
    /// The types it subscribes to.
    pub(crate) events: Vec<&'static str>,
    pub(crate) timeout: Time,
    pub(crate) max_in_flight: usize,
    pub(crate) retry: Vec<Time>,
    /// The number of the webhook that gets challenges in its place.
    pub(crate) fallback: Option<usize>,
}

pub(super) fn draw(chance: Chance, dialect: &str, horizon: Time) -> (Settings, Vec<WebhookPlan>) {
    let mut draws = chance.of("settings", 0).draws();
    let most = if horizon > HOUR { 2 } else { 4 };
    let count = draws.between(1, most) as usize;
    let webhooks: Vec<WebhookPlan> = (0..count)
        .map(|number| webhook(chance, horizon, number, count))
        .collect();
    let max_delay = (30 * SECOND).max(horizon / draws.between(20, 60));
    let settings = Settings {
        initial_delay: draws.pick(&[SECOND, SECOND, 2 * SECOND, 500 * 1000]),
        multiplier: draws.pick(&[1.5, 2.0, 3.0]),
        max_delay,
        error_max_delay: (5 * MINUTE).min(horizon / 4).max(max_delay / 2),
        queued_delay: (horizon / 8).clamp(MINUTE, 2 * HOUR).max(max_delay),
        not_found_grace: draws.pick(&[2 * MINUTE, 2 * MINUTE, horizon / 20 + MINUTE]),
        deadline: horizon * draws.between(60, 120) / 100,
        timeout: draws.pick(&[5 * SECOND, 15 * SECOND]),
        max_retry_after: draws.pick(&[MINUTE, 10 * MINUTE, HOUR]).min(horizon / 3),
        max_in_flight: draws.pick(&[1, 3, 8, 256]),
        requests_per_second: if draws.percent(30) {
            draws.pick(&[1, 3, 20, 500])
        } else {
            0
        },
        has_tokens: dialect == "basiq" || draws.percent(30),
        secret: 0,
        unconfigured: Vec::new(),
        kept: if draws.percent(20) {
            horizon / 3
        } else {
            30 * 24 * HOUR
        },
    };
    (settings, webhooks)
}

fn webhook(chance: Chance, horizon: Time, number: usize, count: usize) -> WebhookPlan {
    let mut draws = chance.of("webhook", number as u64).draws();
    let all = vec![
        "job.completed",
        "job.failed",
        "job.action_required",
        "job.delayed",
        "job.step_changed",
    ];
    let events = match draws.between(0, 6) {
        0 | 1 => all[..4].to_vec(),
        2 | 3 => all,
        // Jobs that end by our own decision have no event for it.
        4 => all[4..].to_vec(),
        _ => all[..2].to_vec(),
    };
    let retry = match draws.between(0, 2) {
        0 => vec![5 * SECOND, 30 * SECOND, 5 * MINUTE, 30 * MINUTE],
        1 => vec![SECOND, 2 * SECOND, 4 * SECOND, 8 * SECOND, 16 * SECOND],
        _ => vec![
            5 * SECOND,
            MINUTE,
            horizon / 10 + MINUTE,
            horizon / 5 + MINUTE,
        ],
    };
    let fallback = (count > 1 && draws.percent(30)).then(|| (number + 1) % count);
    WebhookPlan {
        name: ["billing", "audit", "mobile", "archive"][number].to_owned(),
        events,
        timeout: draws.pick(&[5 * SECOND, 15 * SECOND]),
        max_in_flight: draws.pick(&[1, 2, 8]),
        retry,
        fallback,
    }
}
