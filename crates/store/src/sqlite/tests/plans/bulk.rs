//! The statements for many rows that look for others.

use crate::sqlite::attempts::RECORD_OUTCOMES;
use crate::sqlite::commit::{
    RECORD_BEGUN, RECORD_DELIVERIES, RECORD_ENDED, RECORD_ONGOING, RECORD_SCHEDULES,
};
use crate::sqlite::lanes::{DEMOTE, PROMOTE};
use crate::sqlite::users::{FORGET_USERS, RECORD_USERS};

const JOB: &str = "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)";

/// Each statement with three rows, and what its plan must show.
pub(super) fn plans_of_bulk() -> Vec<(String, &'static str)> {
    vec![
        (RECORD_ONGOING.text(3), JOB),
        (RECORD_BEGUN.text(3), JOB),
        (RECORD_ENDED.text(3), JOB),
        (RECORD_SCHEDULES.text(3), JOB),
        (RECORD_DELIVERIES.text(3), "SEARCH w USING INDEX"),
        (
            RECORD_DELIVERIES.text(3),
            "deliveries_lanes (webhook=? AND job_id=?)",
        ),
        (
            RECORD_OUTCOMES.text(3),
            "SEARCH deliveries USING PRIMARY KEY (event_id=? AND webhook=?)",
        ),
        (
            PROMOTE.text(3),
            "deliveries_lanes (webhook=? AND job_id=? AND sequence=?)",
        ),
        (
            DEMOTE.text(3),
            "deliveries_lanes (webhook=? AND job_id=? AND sequence>?)",
        ),
        (
            FORGET_USERS.text(3),
            "SEARCH u USING COVERING INDEX job_users_by_job (created_at=? AND job_id=?)",
        ),
        (
            FORGET_USERS.text(3),
            "SEARCH job_users USING PRIMARY KEY (user=? AND created_at=? AND job_id=?)",
        ),
        (
            RECORD_USERS.text(3),
            "SEARCH j USING INDEX sqlite_autoindex_jobs_1 (id=?)",
        ),
    ]
}
