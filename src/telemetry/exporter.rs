//! The recorder, and the text it gives Prometheus.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::time::{MissedTickBehavior, interval};

use super::process::Process;
use super::{Kind, names, words};
use crate::core::event::EventType;
use crate::core::retention::Stage;
use crate::core::time::UnixMillis;
use strum::IntoEnumIterator;

/// How often observations are put into their buckets; until then each of them takes some bytes.
const UPKEEP: Duration = Duration::from_secs(1);

/// A gauge that no scrape has set for so long is gone: that of a webhook that is configured no more, or of a database
/// that cannot be read.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The recorder of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    started_at: UnixMillis,
    sqlite: String,
}

/// Why there are no metrics.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded")]
pub struct InstallError(#[from] BuildError);

impl Exporter {
    /// Makes this process record what it is told from now on; once per process. `sqlite` is the version of SQLite.
    ///
    /// # Errors
    /// When there is a recorder already.
    pub fn install(started_at: UnixMillis, sqlite: String) -> Result<Self, InstallError> {
        let mut builder =
            PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(FORGOTTEN_AFTER));
        for metric in names::ALL {
            if let Kind::Histogram(buckets) = metric.kind {
                let name = Matcher::Full(metric.name.to_owned());
                builder = builder.set_buckets_for_metric(name, buckets)?;
            }
        }
        let handle = builder.install_recorder()?;
        describe();
        start_at_zero();
        Ok(Self {
            handle,
            started_at,
            sqlite,
        })
    }

    /// Keeps the memory of the recorder bounded, until it is dropped.
    pub async fn keep_up(self) {
        let mut tick = interval(UPKEEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }

    /// Everything that was told so far, and what is known of the process, as Prometheus text.
    #[must_use]
    pub fn render(&self) -> String {
        let process = Process::read();
        for (metric, value) in [
            (&names::RESIDENT_MEMORY, process.resident_bytes),
            (&names::OPEN_FDS, process.open_fds),
            (&names::MAX_FDS, process.max_fds),
        ] {
            if let Some(value) = value {
                super::set(metric, value);
            }
        }
        let started = Duration::from_millis(u64::try_from(self.started_at.0).unwrap_or(0));
        gauge!(names::START_TIME.name).set(started);
        let commit = env!("JOBTRACKD_COMMIT");
        gauge!(
            names::BUILD_INFO.name,
            "version" => env!("CARGO_PKG_VERSION"),
            "commit" => commit.split(',').next().unwrap_or(commit),
            "sqlite" => self.sqlite.clone(),
        )
        .set(1.0);
        self.handle.render()
    }
}

/// Counts and sizes as Prometheus has them: exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

fn describe() {
    for metric in names::ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => describe_histogram!(metric.name, metric.help),
        }
    }
}

/// What has not happened yet is 0 and not absent, so that its first time is seen as a change.
fn start_at_zero() {
    for metric in names::ALL.iter().filter(|metric| metric.labels.is_empty()) {
        match metric.kind {
            Kind::Counter => counter!(metric.name).increment(0),
            Kind::Histogram(_) => drop(histogram!(metric.name)),
            Kind::Gauge => {}
        }
    }
    let zero = |metric: &names::Metric, label: &'static str, words: &[&'static str]| {
        for word in words {
            counter!(metric.name, label => *word).increment(0);
        }
    };
    zero(&names::POLLS, "outcome", &words::POLLS);
    zero(&names::JOBS_FINISHED, "outcome", &words::ENDS);
    zero(&names::TOKEN_REQUESTS, "outcome", &words::TOKENS);
    zero(&names::STALLS, "part", &words::PARTS);
    zero(&names::RELOADS, "outcome", &words::RELOADS);
    zero(
        &names::PRUNED,
        "what",
        &Stage::iter().map(Stage::as_str).collect::<Vec<_>>(),
    );
    let told = EventType::iter()
        .filter(|kind| *kind != EventType::Test)
        .map(EventType::as_str)
        .collect::<Vec<_>>();
    zero(&names::EVENTS, "type", &told);
}
