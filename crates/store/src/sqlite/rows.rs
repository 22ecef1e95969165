//! Turns rows into the core's types. What no version of this program writes is an error that names the place.

use std::time::Duration;

use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::{
    AttemptView, DeliveryView, DueDelivery, EventView, JobRow, StepView, StoreError, TransitionView,
};
use jobtrackd_core::cadence::Progress;
use jobtrackd_core::delivery::{DeliveryState, Trigger};
use jobtrackd_core::job::{Failure, JobId, JobState};
use jobtrackd_core::time::UnixMillis;
use jobtrackd_core::transition::{KnownChallenge, KnownStep};

/// The columns of `jobs` that [`job`] reads.
macro_rules! job_columns {
    () => {
        "j.id, j.url, j.webhook, j.priority, j.deadline_at, j.not_before, j.cancel_requested, j.poll_requested, \
         j.state, j.polls, j.quiet_polls, j.consecutive_errors, j.last_error, j.last_polled_at, j.next_poll_at, \
         j.not_found_since, j.queued, j.limited, j.created_at"
    };
}
pub(super) use job_columns;

/// One row being read, with what to call it in an error.
pub(super) struct Reading<'a> {
    pub(super) row: &'a SqliteRow,
    pub(super) table: &'static str,
    pub(super) name: String,
}

impl<'a> Reading<'a> {
    pub(super) fn new(row: &'a SqliteRow, table: &'static str, key: &'static str) -> Self {
        let name = row
            .try_get(key)
            .unwrap_or_else(|_| "a row without a key".to_owned());
        Self { row, table, name }
    }

    pub(super) fn broken(&self, column: &'static str) -> StoreError {
        StoreError::Inconsistent {
            table: self.table,
            column,
            row: self.name.clone(),
        }
    }

    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.row.try_get(column).map_err(|_| self.broken(column))
    }

    pub(super) fn maybe_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.row.try_get(column).map_err(|_| self.broken(column))
    }

    /// A text that outsiders wrote. SQLite takes bytes that are no UTF-8; they are shown as U+FFFD, so that such a row is
    /// followed like any other.
    pub(super) fn foreign_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        let bytes: Option<&[u8]> = self.row.try_get(column).map_err(|_| self.broken(column))?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    /// The enqueuer's metadata. What is no JSON all the same cannot be handed on; the job is followed without it.
    pub(super) fn metadata(&self) -> Result<Option<String>, StoreError> {
        let text = self.foreign_text("metadata")?;
        let is_json = |text: &String| serde_json::from_str::<&RawValue>(text).is_ok();
        if text.as_ref().is_some_and(|text| !is_json(text)) {
            tracing::error!(
                job_id = self.name,
                "the job's metadata is no JSON; it is left out"
            );
        }
        Ok(text.filter(is_json))
    }

    pub(super) fn integer(&self, column: &'static str) -> Result<i64, StoreError> {
        self.row.try_get(column).map_err(|_| self.broken(column))
    }

    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.integer(column)? != 0)
    }

    pub(super) fn number<N: TryFrom<i64>>(&self, column: &'static str) -> Result<N, StoreError> {
        N::try_from(self.integer(column)?).map_err(|_| self.broken(column))
    }

    pub(super) fn time(&self, column: &'static str) -> Result<UnixMillis, StoreError> {
        Ok(UnixMillis(self.integer(column)?))
    }

    pub(super) fn maybe_time(
        &self,
        column: &'static str,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let value: Option<i64> = self.row.try_get(column).map_err(|_| self.broken(column))?;
        Ok(value.map(UnixMillis))
    }

    pub(super) fn maybe_number<N: TryFrom<i64>>(
        &self,
        column: &'static str,
    ) -> Result<Option<N>, StoreError> {
        let value: Option<i64> = self.row.try_get(column).map_err(|_| self.broken(column))?;
        value
            .map(|value| N::try_from(value).map_err(|_| self.broken(column)))
            .transpose()
    }

    pub(super) fn maybe_status(&self, column: &'static str) -> Result<Option<u16>, StoreError> {
        self.maybe_number(column)
    }

    pub(super) fn job_id(&self, column: &'static str) -> Result<JobId, StoreError> {
        JobId::parse(&self.text(column)?).map_err(|_| self.broken(column))
    }

    pub(super) fn job_state(&self) -> Result<JobState, StoreError> {
        JobState::from_word(&self.text("state")?).ok_or_else(|| self.broken("state"))
    }

    pub(super) fn failure(&self) -> Result<Option<Failure>, StoreError> {
        let text = self.maybe_text("failure")?;
        let parsed = text.map(|text| serde_json::from_str(&text)).transpose();
        parsed.map_err(|_| self.broken("failure"))
    }
}

pub(super) fn job(row: &SqliteRow) -> Result<JobRow, StoreError> {
    let r = Reading::new(row, "jobs", "id");
    Ok(JobRow {
        id: r.job_id("id")?,
        url: r.foreign_text("url")?,
        webhook: r.foreign_text("webhook")?,
        priority: r.integer("priority")?,
        deadline_at: r.maybe_time("deadline_at")?,
        not_before: r.maybe_time("not_before")?,
        cancel_requested: r.flag("cancel_requested")?,
        poll_requested: r.flag("poll_requested")?,
        state: r.job_state()?,
        progress: Progress {
            polls: r.number("polls")?,
            quiet_polls: r.number("quiet_polls")?,
            consecutive_errors: r.number("consecutive_errors")?,
            last_error: r.maybe_text("last_error")?,
            last_polled_at: r.maybe_time("last_polled_at")?,
            not_found_since: r.maybe_time("not_found_since")?,
            queued: r.flag("queued")?,
            limited: r.flag("limited")?,
            ..Progress::default()
        },
        next_poll_at: r.maybe_time("next_poll_at")?,
        created_at: r.time("created_at")?,
    })
}

pub(super) fn known_step(row: &SqliteRow) -> Result<KnownStep, StoreError> {
    let r = Reading::new(row, "steps", "title");
    Ok(KnownStep {
        title: r.text("title")?,
        occurrence: r.number("occurrence")?,
        position: r.number("position")?,
        status: r.text("status")?,
        result: r.maybe_text("result")?,
        delayed: r.flag("delayed")?,
        challenge: match r.maybe_text("challenge")? {
            Some(identity) => Some(KnownChallenge {
                identity,
                expires_at: r.maybe_time("challenge_expires_at")?,
                response_url: r.maybe_text("challenge_response_url")?,
            }),
            None => None,
        },
    })
}

pub(super) fn step(row: &SqliteRow) -> Result<StepView, StoreError> {
    let r = Reading::new(row, "steps", "title");
    Ok(StepView {
        position: r.number("position")?,
        title: r.text("title")?,
        status: r.text("status")?,
        result: r.maybe_text("result")?,
        first_seen_at: r.time("first_seen_at")?,
        updated_at: r.time("updated_at")?,
        expires_at: r.maybe_time("challenge_expires_at")?,
        response_url: r.maybe_text("challenge_response_url")?,
    })
}

pub(super) fn transition(row: &SqliteRow) -> Result<TransitionView, StoreError> {
    let r = Reading::new(row, "transitions", "job_id");
    Ok(TransitionView {
        seq: r.number("seq")?,
        position: r.number("position")?,
        title: r.text("title")?,
        from: r.maybe_text("from_status")?,
        to: r.text("to_status")?,
        result: r.maybe_text("result")?,
        observed_at: r.time("observed_at")?,
        remote_updated: r.maybe_text("remote_updated")?,
    })
}

pub(super) fn event(row: &SqliteRow) -> Result<EventView, StoreError> {
    let r = Reading::new(row, "events", "id");
    Ok(EventView {
        id: r.text("id")?,
        sequence: r.number("sequence")?,
        kind: r.text("type")?,
        created_at: r.time("created_at")?,
    })
}

pub(super) fn delivery(row: &SqliteRow) -> Result<DeliveryView, StoreError> {
    let r = Reading::new(row, "deliveries", "event_id");
    Ok(DeliveryView {
        event_id: r.text("event_id")?,
        sequence: r.number("sequence")?,
        webhook: r.text("webhook")?,
        state: DeliveryState::from_word(&r.text("state")?).ok_or_else(|| r.broken("state"))?,
        attempts: r.number("attempts")?,
        next_attempt_at: r.maybe_time("next_attempt_at")?,
        delivered_at: r.maybe_time("delivered_at")?,
        last_status: r.maybe_status("last_status")?,
        last_error: r.maybe_text("last_error")?,
        expired_at: r.maybe_time("expired_at")?,
        fallback_for: r.maybe_text("fallback_for")?,
    })
}

pub(super) fn due_delivery(row: &SqliteRow) -> Result<DueDelivery, StoreError> {
    let r = Reading::new(row, "deliveries", "event_id");
    Ok(DueDelivery {
        event_id: r.text("event_id")?,
        job_id: r.job_id("job_id")?,
        attempts: r.number("attempts")?,
        retries_used: r.number("retries_used")?,
        kind: r.text("type")?,
        body: row.try_get_unchecked("body")?,
        created_at: r.time("created_at")?,
        expires_at: r.maybe_time("expires_at")?,
        due: r.time("next_attempt_at")?,
        rested: Duration::from_millis(r.number("rested_ms")?),
        failed_before: r.flag("failed_before")?,
        is_replay: r.text("trigger")? == Trigger::Manual.as_str(),
    })
}

pub(super) fn attempt(row: &SqliteRow) -> Result<AttemptView, StoreError> {
    let r = Reading::new(row, "attempts", "event_id");
    Ok(AttemptView {
        event_id: r.text("event_id")?,
        webhook: r.text("webhook")?,
        number: r.number("number")?,
        started_at: r.time("started_at")?,
        duration_ms: r.integer("duration_ms")?,
        status: r.maybe_status("status")?,
        error: r.maybe_text("error")?,
        trigger: r.text("trigger")?,
        answer: r.maybe_text("answer")?,
        answer_cut: r.maybe_text("answer_cut")?,
    })
}

/// A duration as whole milliseconds, as columns hold it.
pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
