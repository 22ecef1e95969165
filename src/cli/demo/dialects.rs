//! One job of each other API, with its own simulator and daemon; the events are the same for all.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::jobs::AUDIT;
use super::report::Check;
use super::sandbox::Sandbox;
use crate::app::{Daemon, Environment};
use crate::cli::screen::{Tone, View};
use crate::cli::{steps, text};
use crate::clock::Clock;
use crate::config::{self, Sources};
use crate::core::dialect::ALL;
use crate::core::job::{JobId, JobState};
use crate::simulator::{NewJob, Scenario, Simulator, SimulatorSettings};
use crate::store::{Jobs as _, Store};

/// How long a job runs.
const RUNS: Duration = Duration::from_secs(2);

/// The time between two checks whether a job has ended.
const TICK: Duration = Duration::from_millis(50);

/// The keys that describe the simulator's tasks.
const JSON: &str = "job_path = \"/tasks/{id}\"\n[upstream.json]\nstatus = \"/state\"\nsuccess = [\"DONE\"]\n\
                    failure = [\"FAILED\", \"CANCELLED\", \"EXPIRED\"]\n";

/// The result of following the job of one API.
pub(super) struct Followed {
    dialect: &'static str,
    /// The statuses of its only step, one after the other.
    statuses: Result<Vec<String>, anyhow::Error>,
}

/// Follows a job of every dialect but the first, each with its own daemon; each job is given up after `limit`.
pub(super) async fn follow_all(sandbox: &Sandbox, limit: Duration) -> Vec<Followed> {
    let others = ALL.iter().skip(1).map(|entry| entry.name);
    let followed = others.map(async |dialect| Followed {
        dialect,
        statuses: follow(dialect, sandbox, limit).await,
    });
    join_all(followed).await
}

async fn follow(dialect: &str, sandbox: &Sandbox, limit: Duration) -> anyhow::Result<Vec<String>> {
    let simulator = Simulator::start(SimulatorSettings {
        dialect: dialect.parse()?,
        ..SimulatorSettings::default()
    })
    .await
    .context("failed to start the simulated API")?;
    let id = JobId::parse(dialect)?;
    let within = RUNS.div_f64(sandbox.pace);
    let job = NewJob {
        scenario: Some(Scenario::Success),
        within_ms: Some(u64::try_from(within.as_millis())?),
        ..NewJob::default()
    };
    simulator.control().create(job.with_id(dialect))?;
    let text = configuration(dialect, &simulator, sandbox);
    let file = sandbox.write(&format!("{dialect}.toml"), &text)?;
    let settings = config::load(&Sources {
        file: Some(file),
        ..Sources::default()
    })?;
    let database = settings.database.path.clone();
    let daemon = Daemon::start(settings, Environment::default(), &CancellationToken::new()).await?;
    let statuses = ended(&id, &database, sandbox, limit).await;
    daemon.stop(&CancellationToken::new()).await?;
    simulator.shutdown().await;
    statuses
}

/// The daemon's configuration: the main one's webhook `audit`, and another `[upstream]`.
fn configuration(dialect: &str, simulator: &Simulator, sandbox: &Sandbox) -> String {
    let database = sandbox.folder.path().join(format!("{dialect}.db"));
    let database = serde_json::Value::from(format!("sqlite://{}", database.display()));
    let json = if dialect == "json" { JSON } else { "" };
    format!(
        "[database]\nurl = {database}\n[status]\nlisten = \"\"\n{}[polling]\ninitial_delay = \"100ms\"\n\
         [upstream]\nbase_url = \"{}\"\nauth = \"bearer\"\napi_key = \"any-key\"\ndialect = \"{dialect}\"\n{json}",
        sandbox.audit(),
        simulator.base_url()
    )
}

/// Enqueues the job, and waits until it has ended and its events are delivered.
async fn ended(
    id: &JobId,
    database: &Path,
    sandbox: &Sandbox,
    limit: Duration,
) -> anyhow::Result<Vec<String>> {
    let store = Store::open(database, Clock::system()).await?;
    let row = crate::store::NewJob {
        id: id.to_string(),
        ..Default::default()
    };
    store.enqueue(&row).await?;
    let began = Instant::now();
    let detail = loop {
        let detail = store.detail(id).await?.context("its row is gone")?;
        let inbox = sandbox.receiver.inbox();
        let taken = inbox.kinds(AUDIT, id.as_str());
        let is_over = detail.summary.row.state.is_final() && taken.len() >= detail.events.len();
        if is_over || began.elapsed() > limit {
            break detail;
        }
        sleep(TICK).await;
    };
    store.close().await;
    let state = detail.summary.row.state;
    let error = detail.summary.row.progress.last_error.unwrap_or_default();
    ensure!(state == JobState::Success, "is {state} {error}");
    let taken = sandbox.receiver.inbox().kinds(AUDIT, id.as_str());
    let sent: Vec<&str> = detail
        .events
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    ensure!(taken == sent, "the webhook took {taken:?}, not {sent:?}");
    Ok(detail.transitions.into_iter().map(|each| each.to).collect())
}

/// One line for each job.
pub(super) fn lines(followed: &[Followed], view: &View) -> String {
    let mut out = format!(
        "\n{}\n",
        view.paint(Tone::Strong, "Other APIs, each with a daemon of its own")
    );
    for Followed { dialect, statuses } in followed {
        let (tone, mark, what) = match statuses {
            Ok(statuses) => {
                let words: Vec<String> = statuses
                    .iter()
                    .map(|word| text::outside(word, 40))
                    .collect();
                (Tone::Good, "✓", words.join(" → "))
            }
            Err(error) => (Tone::Bad, "✗", format!("{error:#}")),
        };
        let what = format!(
            "{dialect:<14}{}: {what}",
            steps::title(crate::core::dialect::STEP)
        );
        out += &format!("  {}\n", view.marked(tone, mark, &what));
    }
    out
}

/// Whether each job was followed to its success.
pub(super) fn check(followed: &[Followed]) -> Check {
    let problems = followed.iter().filter_map(|each| {
        let error = each.statuses.as_ref().err()?;
        Some(format!("{}: {error:#}", each.dialect))
    });
    Check {
        promise: "a job of each other API came to its end the same way",
        problems: problems.collect(),
    }
}
