//! The jobs: their rows, and what happens to them at the API, as a list of what it shows from when on.

use crate::chance::{Chance, Draws};
use crate::fakes::truth::Story;
use crate::time::{HOUR, MINUTE, MS, SECOND, Time, shown};

use super::settings::{Settings, WebhookPlan};

/// A row that somebody inserts, and the remote job.
#[derive(Debug, Clone)]
pub(crate) struct JobPlan {
    pub(crate) id: String,
    /// When the row is inserted.
    pub(crate) at: Time,
    pub(crate) row: Row,
    pub(crate) story: Story,
    /// Whether the API answers with the id in another case; it is a UUID then.
    pub(crate) other_case: bool,
    pub(crate) is_left_out: bool,
}

/// The columns that the enqueuer sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) url: Option<String>,
    pub(crate) metadata: Option<String>,
    pub(crate) webhook: Option<String>,
    pub(crate) priority: i64,
    /// In true time.
    pub(crate) deadline: Option<Time>,
    pub(crate) not_before: Option<Time>,
}

impl JobPlan {
    pub(crate) fn line(&self) -> String {
        let Row {
            url,
            webhook,
            priority,
            deadline,
            not_before,
            ..
        } = &self.row;
        let mut line = format!(
            "{} inserted at {}, priority {priority}",
            self.id,
            shown(self.at)
        );
        for (name, value) in [("url", url), ("webhook", webhook)] {
            if let Some(value) = value {
                line.push_str(&format!(", {name} {value}"));
            }
        }
        for (name, value) in [("deadline", deadline), ("not before", not_before)] {
            if let Some(value) = value {
                line.push_str(&format!(", {name} {}", shown(*value)));
            }
        }
        line.push_str(&format!("; {}", self.story.line()));
        line
    }
}

pub(super) fn draw(
    chance: Chance,
    dialect: &'static str,
    horizon: Time,
    settings: &Settings,
    webhooks: &[WebhookPlan],
) -> Vec<JobPlan> {
    let mut draws = chance.of("jobs", 0).draws();
    let count = draws.scale(6, 40);
    // Many jobs may come at once, and many may have one deadline.
    let burst = draws.percent(30).then(|| draws.between(0, horizon / 4));
    let storm = draws
        .percent(25)
        .then(|| draws.between(horizon / 3, horizon * 3 / 4));
    let bullies = bullies(chance, horizon);
    (0..count)
        .map(|number| {
            let mut draws = chance.of("job", number).draws();
            if number < bullies {
                return bully(number, dialect, horizon);
            }
            let at = match burst {
                Some(at) if draws.percent(60) => at + draws.between(0, 50 * MS),
                _ => draws.between(0, horizon / 2),
            };
            let storm = storm.filter(|_| draws.percent(60));
            job(
                &mut draws, number, at, storm, dialect, horizon, settings, webhooks,
            )
        })
        .collect()
}

/// How many jobs of the highest priority are throttled all the time.
pub(super) fn bullies(chance: Chance, horizon: Time) -> u64 {
    let mut draws = chance.of("bullies", 0).draws();
    match horizon == HOUR && draws.percent(25) {
        true => draws.between(6, 8),
        false => 0,
    }
}

/// A job that goes first wherever it is permitted to.
fn bully(number: u64, dialect: &'static str, horizon: Time) -> JobPlan {
    let mut draws = Chance::new(number).draws();
    let at = number * SECOND;
    JobPlan {
        id: format!("bully-{number}"),
        at,
        row: Row {
            priority: 100,
            deadline: Some(horizon * 2),
            ..Row::default()
        },
        story: Story::draw(&mut draws, dialect, at, horizon, horizon),
        other_case: false,
        is_left_out: false,
    }
}

#[expect(clippy::too_many_arguments, reason = "what a job is drawn from")]
fn job(
    draws: &mut Draws,
    number: u64,
    at: Time,
    storm: Option<Time>,
    dialect: &'static str,
    horizon: Time,
    settings: &Settings,
    webhooks: &[WebhookPlan],
) -> JobPlan {
    let other_case = draws.percent(5);
    let id = match other_case || draws.percent(20) {
        true => draws.uuid(),
        false => format!("job-{number}"),
    };
    let mut row = Row {
        priority: if draws.percent(25) {
            draws.pick(&[-5, 1, 10])
        } else {
            0
        },
        ..Row::default()
    };
    if draws.percent(30) {
        row.metadata = Some(format!(r#"{{"customer":"c_{number}","n":1.50}}"#));
    }
    if draws.percent(25) {
        row.webhook = Some(webhooks[draws.index(webhooks.len())].name.clone());
    } else if draws.percent(2) {
        row.webhook = Some("nobody".to_owned());
    }
    match draws.between(0, 99) {
        0..5 => row.url = Some(format!("/elsewhere/{id}?v=1")),
        5..7 => row.url = Some("https://other.example/jobs/1".to_owned()),
        _ => {}
    }
    row.deadline = storm.or_else(|| {
        draws
            .percent(15)
            .then(|| at + draws.between(MINUTE, horizon / 2))
    });
    if draws.percent(8) {
        row.not_before = Some(at + draws.scale(SECOND, horizon / 4));
    }
    JobPlan {
        story: Story::draw(draws, dialect, at, horizon, settings.max_delay),
        id,
        at,
        row,
        other_case,
        is_left_out: false,
    }
}
