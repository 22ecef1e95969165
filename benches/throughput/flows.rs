//! Jobs that go through three steps in their own time: the API's side, when each end was shown and delivered, and a bare loop that
//! follows them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jobtrackd::measuring::processor_time;
use jobtrackd::simulator::quick::More;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::bare::Work;
use super::percentile;

/// What the ids of such jobs begin with.
pub(crate) const PREFIX: &str = "flow-";

/// What the ids of those begin with that have ended by their first poll.
pub(crate) const OVER: &str = "over-";

/// The question for the figures.
pub(crate) const FIGURES: &str = "flows";

/// From a poll of a job to its next.
pub(crate) const PACE: Duration = Duration::from_secs(2);

const TITLES: [&str; 3] = [
    "verify-credentials",
    "retrieve-accounts",
    "retrieve-transactions",
];

/// The jobs, each from its first poll on.
#[derive(Default)]
pub(crate) struct Flows(Mutex<All>);

#[derive(Default)]
struct All {
    jobs: HashMap<String, Flow>,
    /// From each end to the answer that shows it, from there and from the end itself to its arrival at the webhook: in
    /// milliseconds.
    until_shown: Vec<f64>,
    from_shown: Vec<f64>,
    until_delivered: Vec<f64>,
}

struct Flow {
    begun: Instant,
    steps: [Duration; 3],
    shown: Option<Instant>,
}

impl Flow {
    /// Each step takes 2 to 6 s, or no time.
    fn begun(id: &str) -> Option<Self> {
        let steps = match id.strip_prefix(PREFIX) {
            Some(number) => {
                let number: u32 = number.parse().ok()?;
                [1, 2, 3].map(|step| {
                    let spread = number.wrapping_mul(7919).wrapping_add(step * 104_729) % 4000;
                    Duration::from_millis(u64::from(2000 + spread))
                })
            }
            None => id.strip_prefix(OVER).map(|_| [Duration::ZERO; 3])?,
        };
        Some(Self {
            begun: Instant::now(),
            steps,
            shown: None,
        })
    }

    fn ends(&self) -> Instant {
        self.begun + self.steps.iter().sum::<Duration>()
    }
}

impl More for Flows {
    /// The job as it stands now.
    fn job(&self, id: &str) -> Option<String> {
        let new = Flow::begun(id)?;
        let now = Instant::now();
        let mut all = self.0.lock();
        let flow = all.jobs.entry(id.to_owned()).or_insert(new);
        let mut begins = flow.begun;
        let steps = TITLES.iter().zip(flow.steps).map(|(title, takes)| {
            let status = match now {
                _ if now >= begins + takes => "success",
                _ if now >= begins => "in-progress",
                _ => "pending",
            };
            begins += takes;
            format!(r#"{{"title":"{title}","status":"{status}","result":null}}"#)
        });
        let steps = steps.collect::<Vec<_>>().join(",");
        let ends = flow.ends();
        if now >= ends && flow.shown.is_none() {
            flow.shown = Some(now);
            all.until_shown.push(millis(now - ends));
        }
        Some(format!(
            r#"{{"type":"job","id":"{id}","steps":[{steps}],"links":{{"self":"https://api.example/jobs/{id}"}}}}"#
        ))
    }

    /// A webhook got an event, or an answer, about the job in this body.
    fn event(&self, body: &[u8]) {
        let (body, now) = (String::from_utf8_lossy(body), Instant::now());
        let mut all = self.0.lock();
        let Some(flow) = id_in(&body).and_then(|id| all.jobs.get(id)) else {
            return;
        };
        let (ends, shown) = (flow.ends(), flow.shown.unwrap_or(now));
        all.until_delivered.push(millis(now - ends));
        all.from_shown.push(millis(now - shown));
    }

    /// How many ends were delivered; the mean time until they were shown; the 99th percentile of the time from the end, and from the
    /// answer that showed it, to the webhook; the median of the latter. Times in milliseconds.
    fn ask(&self, question: &str) -> Option<String> {
        if question != FIGURES {
            return None;
        }
        let mut all = self.0.lock();
        #[expect(clippy::cast_precision_loss, reason = "some ten thousand")]
        let mean = all.until_shown.iter().sum::<f64>() / all.until_shown.len().max(1) as f64;
        let count = all.until_delivered.len();
        let (until, from) = (
            percentile(&mut all.until_delivered, 99),
            percentile(&mut all.from_shown, 99),
        );
        let half = percentile(&mut all.from_shown, 50);
        Some(format!("{count} {mean} {until} {from} {half}"))
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The id of such a job in a text.
fn id_in(text: &str) -> Option<&str> {
    let mut begins = [PREFIX, OVER].into_iter();
    let (begin, prefix) = begins.find_map(|prefix| Some((text.find(prefix)?, prefix)))?;
    let text = &text[begin..];
    let digits = text[prefix.len()..].find(|c: char| !c.is_ascii_digit());
    Some(digits.map_or(text, |digits| &text[..prefix.len() + digits]))
}

/// `flows BASE IN_FLIGHT COUNT CONFIGURATION`: follows so many jobs, each by a task, to their ends and tells the webhook. Says
/// how many seconds it spent on the processor.
pub(crate) async fn follow(arguments: &[String]) -> anyhow::Result<()> {
    let [base, in_flight, count, configuration] = arguments else {
        anyhow::bail!("flows BASE IN_FLIGHT COUNT CONFIGURATION");
    };
    let (in_flight, count): (usize, u64) = (in_flight.parse()?, count.parse()?);
    let jobs = format!("{base}/jobs/{}", PREFIX.trim_end_matches('-'));
    let work = Arc::new(Work::new(jobs, in_flight, Some(configuration))?);
    let places = Arc::new(Semaphore::new(in_flight));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (work, places) = (Arc::clone(&work), Arc::clone(&places));
        tasks.spawn(async move {
            loop {
                let place = places.acquire().await?;
                if follow_once(&work, number).await? {
                    return Ok::<_, anyhow::Error>(());
                }
                drop(place);
                sleep(PACE).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the bare loop")??;
    }
    println!("{}", processor_time("self")?.as_secs_f64());
    Ok(())
}

async fn follow_once(work: &Work, number: u64) -> anyhow::Result<bool> {
    let body = work.get(number).await?;
    let shown: serde_json::Value = serde_json::from_slice(&body)?;
    let steps = shown["steps"].as_array().context("no steps")?;
    let is_over = steps.iter().all(|step| step["status"] == "success");
    if is_over {
        work.tell(body).await;
    }
    Ok(is_over)
}
