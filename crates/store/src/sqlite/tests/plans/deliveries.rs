//! The statements of deliveries and of those who steer them.

use crate::sqlite::attempts::LATEST_ATTEMPTS;
use crate::sqlite::deliveries::{
    BODY, DELIVERIES_OF_JOB, DUE, DUE_AND_EXPIRING, HEADS, LIST_DELIVERIES, NEXT, PENDING, TO_PROBE,
};
use crate::sqlite::expiry::{EXPIRED, GIVE_TO_FALLBACKS, NEXT_EXPIRY, RECORD_EXPIRIES};
use crate::sqlite::replay::{
    FIRST_SINCE, MAKE_PENDING, REPLAYABLE, REPLAYABLE_OF_EVENT, REPLAYABLE_OF_JOB, SCHEDULE_LANES,
};
use crate::sqlite::undelivered::{
    DUE_SINCE, GIVE_UP_DISABLED, GIVE_UP_EVENT, GIVE_UP_EVENT_OF, GIVE_UP_PENDING, HAND_OVER,
    HANDED_OVER, RENAME_OTHERS, RENAME_THESE, UNCONFIGURED, UNDELIVERED,
};
use crate::sqlite::webhooks::{DISABLE_PAGE, ENABLE_DELIVERIES, NAMES};

use super::*;

/// Each statement, and what its plan must show.
pub(super) const PLANS_OF_DELIVERIES: &[(&str, &str)] = &[
    (
        DUE,
        "SEARCH d USING INDEX deliveries_due (webhook=? AND next_attempt_at<?)",
    ),
    (
        DUE_AND_EXPIRING,
        "SEARCH d USING INDEX deliveries_expiring (webhook=? AND expires_at>?)",
    ),
    (
        TO_PROBE,
        "SEARCH d USING INDEX deliveries_probes (webhook=?)",
    ),
    (EXPIRED, "deliveries_expiring (webhook=? AND expires_at<?)"),
    (
        NEXT_EXPIRY,
        "deliveries_expiring (webhook=? AND expires_at>?)",
    ),
    (
        RECORD_EXPIRIES,
        "SEARCH deliveries USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        GIVE_TO_FALLBACKS,
        "SEARCH d USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (UNCONFIGURED, "deliveries_lanes (webhook>?)"),
    (UNCONFIGURED, "deliveries_disabled (webhook>?)"),
    (UNCONFIGURED, "deliveries_lanes (webhook=?)"),
    (UNCONFIGURED, "deliveries_disabled (webhook=?)"),
    (HEADS, "deliveries_due (webhook=? AND next_attempt_at>?)"),
    (
        BODY,
        "SEARCH d USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        GIVE_UP_EVENT,
        "SEARCH deliveries USING PRIMARY KEY (event_id=?)",
    ),
    (
        GIVE_UP_EVENT_OF,
        "SEARCH deliveries USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        GIVE_UP_PENDING,
        "SEARCH deliveries USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (GIVE_UP_PENDING, "deliveries_lanes (webhook=?)"),
    (
        GIVE_UP_DISABLED,
        "SEARCH deliveries USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (GIVE_UP_DISABLED, "deliveries_disabled (webhook=?)"),
    (UNDELIVERED, "deliveries_lanes (webhook=?)"),
    (UNDELIVERED, "deliveries_disabled (webhook=?)"),
    (
        HAND_OVER,
        "SEARCH d USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        HANDED_OVER,
        "SEARCH deliveries USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        DUE_SINCE,
        "SEARCH deliveries USING INDEX deliveries_lanes (webhook=? AND job_id=?)",
    ),
    (
        RENAME_THESE,
        "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (
        RENAME_OTHERS,
        "SEARCH jobs USING INDEX sqlite_autoindex_jobs_1 (id=?)",
    ),
    (RENAME_OTHERS, "SEARCH jobs USING INDEX jobs_active"),
    (NAMES, "deliveries_lanes (webhook>?)"),
    (NAMES, "deliveries_disabled (webhook>?)"),
    (
        LATEST_ATTEMPTS,
        "SEARCH e USING INTEGER PRIMARY KEY (rowid>?)",
    ),
    (
        LATEST_ATTEMPTS,
        "SEARCH a USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        LATEST_ATTEMPTS,
        "SEARCH attempts USING PRIMARY KEY (event_id>? AND event_id<?)",
    ),
    (
        ENABLE_DELIVERIES,
        "COVERING INDEX deliveries_disabled (webhook=?)",
    ),
    (DISABLE_PAGE, "COVERING INDEX deliveries_lanes (webhook=?)"),
    (
        LIST_DELIVERIES,
        "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    ),
    (LIST_DELIVERIES, "SEARCH d USING PRIMARY KEY (event_id=?)"),
    (DELIVERIES_OF_JOB, BY_JOB),
    (
        REPLAYABLE,
        "SEARCH e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
    ),
    (REPLAYABLE, "SEARCH d USING PRIMARY KEY (event_id=?)"),
    (REPLAYABLE_OF_JOB, BY_JOB),
    (
        REPLAYABLE_OF_EVENT,
        "SEARCH e USING INDEX sqlite_autoindex_events_1 (id=?)",
    ),
    (
        FIRST_SINCE,
        "SEARCH events USING COVERING INDEX events_created (created_at>?)",
    ),
    (
        MAKE_PENDING,
        "SEARCH deliveries USING PRIMARY KEY (event_id=? AND webhook=?)",
    ),
    (
        SCHEDULE_LANES,
        "SEARCH deliveries USING INDEX deliveries_lanes (webhook=? AND job_id=?)",
    ),
    (PENDING, COUNTED),
    (NEXT, "deliveries_due (webhook=? AND next_attempt_at>?)"),
];
