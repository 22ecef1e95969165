//! The recorder, and the text for Prometheus.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;
use tokio::time::{MissedTickBehavior, interval};

use super::process::Process;
use super::{Kind, labels, names};
use crate::core::event::EventType;
use crate::core::retention::Stage;
use crate::core::time::UnixMillis;
use strum::IntoEnumIterator;

/// How often the values of histograms are put into their buckets; until then each of them takes some bytes.
const UPKEEP: Duration = Duration::from_secs(1);

/// A gauge that no scrape has set for this long is dropped: of a webhook that is no longer configured, or of a database that
/// cannot be read.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The recorder of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exporter {
    handle: PrometheusHandle,
    started_at: UnixMillis,
    sqlite: String,
}

/// The recorder cannot be installed.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded")]
pub struct InstallError(#[from] BuildError);

impl Exporter {
    /// Installs the recorder of this process, once. `sqlite` is the version of SQLite.
    ///
    /// # Errors
    /// When a recorder is already installed.
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
        super::of_polls::find();
        Ok(Self {
            handle,
            started_at,
            sqlite,
        })
    }

    /// Keeps the memory of the recorder bounded; runs until it is dropped.
    pub async fn keep_up(self) {
        let mut tick = interval(UPKEEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.handle.run_upkeep();
        }
    }

    /// All metrics, including those of the process, as Prometheus text.
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

/// A count or size as a Prometheus number, exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus has no other numbers"
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

/// Counters start at 0 and are not absent, so that Prometheus sees their first increment.
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
    zero(&names::POLLS, "outcome", &labels::POLLS);
    zero(&names::JOBS_FINISHED, "outcome", &labels::ENDS);
    zero(&names::TOKEN_REQUESTS, "outcome", &labels::TOKENS);
    zero(&names::STALLS, "part", &labels::PARTS);
    zero(&names::RELOADS, "outcome", &labels::RELOADS);
    let stages: Vec<&str> = Stage::iter().map(Stage::as_str).collect();
    zero(&names::PRUNED, "what", &stages);
    let types = EventType::iter()
        .filter(|kind| *kind != EventType::Test)
        .map(EventType::as_str)
        .collect::<Vec<_>>();
    zero(&names::EVENTS, "type", &types);
}
