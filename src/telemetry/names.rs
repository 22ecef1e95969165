//! The list of all metrics: name, kind, labels, help, buckets. No other file writes the name of a metric.

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// The value at the time of a scrape.
    Gauge,
    /// Counts values up to each of these bounds, in the metric's unit.
    Histogram(&'static [f64]),
}

/// A metric. Its name and labels never change; a change makes a new metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name, with the unit at its end: seconds, bytes, or none.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The names of its labels. Their values are words of the program, or names of configured webhooks.
    pub labels: &'static [&'static str],
    /// Its meaning, in one line.
    pub help: &'static str,
}

impl Kind {
    /// The word of the exposition format.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// 5 ms to 15 s: one request with its answer.
const REQUEST: Kind = Kind::Histogram(&[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0,
]);

/// 1 ms to 1 h: how late polls begin.
const LAG: Kind = Kind::Histogram(&[
    0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
]);

/// 0.1 s to 1 h: from a change to its record.
const DETECTION: Kind = Kind::Histogram(&[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
]);

/// 10 ms to 1 day: from an event to its delivery.
const DELIVERY: Kind = Kind::Histogram(&[
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, 7200.0, 21_600.0, 86_400.0,
]);

/// 0.5 ms to 5 s: one transaction.
const COMMIT: Kind = Kind::Histogram(&[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
]);

const CHANGES: Kind =
    Kind::Histogram(&[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]);

const REQUESTS: Kind = Kind::Histogram(&[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 5000.0,
]);

macro_rules! metrics {
    ($($id:ident $name:literal $kind:expr, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $id: Metric = Metric {
            name: concat!("jobtrackd_", $name),
            kind: $kind,
            labels: &[$($label),*],
            help: $help,
        };)*

        /// All metrics, in the order in which docs/operating.md lists them.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    JOBS "jobs" Kind::Gauge, ["state"], "Jobs in the database by state, each counted up to 1,000,000";
    JOBS_FOLLOWED "jobs_followed" Kind::Gauge, [], "Jobs that are followed";
    JOBS_UNKNOWN_WEBHOOK "jobs_unknown_webhook" Kind::Gauge, [],
        "Followed jobs that name a webhook which is not configured";
    JOBS_FINISHED "jobs_finished_total" Kind::Counter, ["outcome"],
        "Jobs that ended: success, or the kind of the failure";
    JOB_REQUESTS "job_requests" REQUESTS, [], "Requests that a job took until it ended";
    ROWS_NOTICED "rows_noticed_total" Kind::Counter, [],
        "Rows that other programs inserted or changed, and those in the table at start";
    TRANSITIONS "transitions_total" Kind::Counter, [], "Changes of steps that were recorded";
    EVENTS "events_total" Kind::Counter, ["type"], "Events that were recorded, sent to a webhook or not";
    DETECTION_DELAY "detection_delay_seconds" DETECTION, [],
        "From the API's own time of a change, or the insertion of the row if that is later, to its record";
    POLLS "polls_total" Kind::Counter, ["outcome"], "Polls by outcome";
    POLL_DURATION "poll_duration_seconds" REQUEST, [],
        "How long polls took, with the token if one had to be requested";
    POLLS_IN_FLIGHT "polls_in_flight" Kind::Gauge, [], "Polls in flight";
    SCHEDULE_LAG "schedule_lag_seconds" LAG, [],
        "How late polls began: they wait for a free task, the budget, the end of a pause, or the database";
    TOKEN_REQUESTS "token_requests_total" Kind::Counter, ["outcome"], "Requests for a token by outcome";
    UPSTREAM_PAUSED "upstream_paused" Kind::Gauge, [], "1 while no poll is started because the API is paused";
    UPSTREAM_PAUSED_SECONDS "upstream_paused_seconds_total" Kind::Counter, [], "Time in which the API was paused";
    DELIVERY_ATTEMPTS "delivery_attempts_total" Kind::Counter, ["webhook", "outcome", "error"],
        "Attempts by what followed (delivered, retry, paused, exhausted, expired, aborted, disabled) and what was wrong (none)";
    DELIVERY_ATTEMPT_DURATION "delivery_attempt_duration_seconds" REQUEST, ["webhook"], "How long attempts took";
    DELIVERY_LAG "delivery_lag_seconds" DELIVERY, ["webhook"], "From an event to its delivery";
    DELIVERIES "deliveries" Kind::Gauge, ["webhook", "state"],
        "Deliveries that are pending (up to 1,000,000), and those given up or disabled of the latest 10,000 events";
    DELIVERIES_EXPIRED "deliveries_expired_total" Kind::Counter, ["webhook"],
        "Events that expired before the webhook accepted them";
    DELIVERIES_STRANDED "deliveries_stranded" Kind::Gauge, [],
        "Deliveries that are pending or disabled and whose webhook is not configured; up to 10,000 each of up to 100 webhooks";
    DELIVERIES_IN_FLIGHT "deliveries_in_flight" Kind::Gauge, ["webhook"], "Attempts in flight";
    OLDEST_PENDING "delivery_oldest_pending_seconds" Kind::Gauge, ["webhook"],
        "Age of the oldest pending event, 0 if there is none; of the 10,000 jobs that are due first";
    WEBHOOK_DISABLED "webhook_disabled" Kind::Gauge, ["webhook"], "1 if the webhook is disabled";
    WEBHOOK_HELD "webhook_held" Kind::Gauge, ["webhook"], "1 while the webhook is held after failures in a row";
    WEBHOOK_PAUSED "webhook_paused" Kind::Gauge, ["webhook"], "1 while the webhook is paused at its request";
    COMMIT_DURATION "commit_duration_seconds" COMMIT, [], "How long transactions took";
    COMMIT_CHANGES "commit_changes" CHANGES, [], "Changes of one transaction, bookkeeping included";
    PRUNED "pruned_total" Kind::Counter, ["what"], "Jobs of which this part was deleted at its age";
    PRUNE_DURATION "prune_duration_seconds" COMMIT, [], "How long deletions blocked other writers";
    DATABASE_BYTES "database_bytes" Kind::Gauge, [], "Size of the database";
    WAL_BYTES "wal_bytes" Kind::Gauge, [], "Size of the write-ahead log";
    READY "ready" Kind::Gauge, [], "1 unless /readyz answers 503";
    PROBLEM "problem" Kind::Gauge, ["problem"], "1 while /readyz shows it, except stranded events";
    STALLS "stalls_total" Kind::Counter, ["part"], "Times that a part of the daemon has stalled";
    RELOADS "reloads_total" Kind::Counter, ["outcome"], "Reloads that were accepted or refused";
    BUILD_INFO "build_info" Kind::Gauge, ["version", "commit", "sqlite"], "Always 1; the labels say what runs";
    START_TIME "start_time_seconds" Kind::Gauge, [], "When the daemon was started, in seconds since 1970";
    RESIDENT_MEMORY "resident_memory_bytes" Kind::Gauge, [], "Resident memory of the daemon";
    OPEN_FDS "open_fds" Kind::Gauge, [], "Files and connections that are open";
    MAX_FDS "max_fds" Kind::Gauge, [], "Most files and connections that may be open";
}
