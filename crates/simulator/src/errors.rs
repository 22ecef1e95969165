//! The error texts a failed step can carry, as the API words them.

/// Which kind of job, and which of its steps, an error can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// The first step of a connection or refresh.
    Login,
    /// Any step of a connection or refresh.
    Bank,
    /// The first step of a statement job.
    Statement,
}

/// One error object.
#[derive(Debug, Clone, Copy)]
pub(super) struct ErrorText {
    pub(super) family: Family,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    pub(super) detail: &'static str,
}

const fn text(
    family: Family,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
) -> ErrorText {
    ErrorText {
        family,
        code,
        title,
        detail,
    }
}

pub(super) const PASSWORD: ErrorText = text(
    Family::Login,
    "invalid-credentials",
    "Cannot login to target institution: invalid username or password.",
    "Cannot login to target institution: invalid username or password. Please check credentials and try again.",
);
pub(super) const LOCKED: ErrorText = text(
    Family::Login,
    "invalid-credentials",
    "Cannot login to target institution: this account is locked.",
    "Cannot login to target institution: this account is locked. Please contact institution directly.",
);
pub(super) const USER_ACTION: ErrorText = text(
    Family::Bank,
    "account-not-accessible-requires-user-action",
    "User action required",
    "An action is required from end-user before account details can be returned.",
);
pub(super) const UNAVAILABLE: ErrorText = text(
    Family::Bank,
    "service-unavailable",
    "Service unavailable",
    "Service is currently unavailable. Please try again later.",
);
pub(super) const QUEUED: ErrorText = text(
    Family::Bank,
    "temporary-unavailable-queued",
    "Institution temporary unavailable, retry pending",
    "3rd party service temporary unavailable. Job queued, retry in 2 hours.",
);
pub(super) const GAVE_UP: ErrorText = text(
    Family::Bank,
    "temporary-unavailable",
    "Institution temporary unavailable",
    "3rd party service temporary unavailable. Please try again later.",
);
pub(super) const TIMED_OUT: ErrorText = text(
    Family::Bank,
    "job-timed-out",
    "Job timed out",
    "The job did not finish in time.",
);

/// Every error that a drawn job may fail with, and that a control request may name.
#[rustfmt::skip]
pub(super) const ALL: &[ErrorText] = &[
    PASSWORD,
    LOCKED,
    text(
        Family::Login,
        "invalid-credentials",
        "Cannot login to target institution: multi-factor authentication is not supported.",
        "Cannot login to target institution: multi-factor authentication is not supported. Please check if multi-factor authentication is enabled on login.",
    ),
    text(Family::Login, "authorization-failed", "Authorization failed", "access_denied"),
    text(Family::Login, "user-action-required", "User action required", "The user has to act at the institution first."),
    text(Family::Login, "invalid-connection", "Invalid connection", "The connection is no longer valid."),
    text(Family::Login, "institution-not-found", "Institution not found", "There is no such institution."),
    text(Family::Login, "institution-not-available", "Institution not available", "The institution cannot be reached."),
    text(Family::Login, "institution-disabled", "Institution disabled", "The institution is switched off."),
    text(Family::Login, "institution-not-supported", "Institution not supported", "The institution is not supported."),
    USER_ACTION,
    UNAVAILABLE,
    GAVE_UP,
    TIMED_OUT,
    text(Family::Bank, "system-unavailable", "System unavailable", "The institution's system is unavailable."),
    text(Family::Bank, "maintenance", "Maintenance", "The institution is being maintained."),
    text(Family::Bank, "maintenance-error", "Maintenance", "The connector is being maintained."),
    text(Family::Bank, "connector-error", "Connector error", "The connector to the institution failed."),
    text(Family::Bank, "unknown-error", "Unknown error", "Something unexpected happened."),
    text(Family::Bank, "success", "Success", "The list of codes has this one too."),
    text(Family::Statement, "bank-statement-invalid", "Statement invalid", "The file is no bank statement."),
    text(Family::Statement, "bank-statement-new-product", "Statement of a new product", "The product is not known yet."),
    text(Family::Statement, "bank-statement-parsing-error", "Statement not read", "The statement cannot be read."),
    text(
        Family::Statement,
        "bank-statement-not-supported",
        "Statement not supported.",
        "Statement is not currently supported for this institution - check statement uploaded against correct bank.",
    ),
    text(Family::Statement, "missing-required-field", "Field missing", "A required column is missing."),
    text(Family::Statement, "missing-required-field-value", "Value missing", "A required value is missing."),
    text(Family::Statement, "invalid-field-value", "Value invalid", "A value cannot be read."),
    text(Family::Statement, "invalid-csv-row", "Row invalid", "A row cannot be read."),
    text(Family::Statement, "row-count-exceeded", "Too many rows", "The file has too many rows."),
    text(Family::Statement, "account-data-differs", "Account differs", "The account's data differs between rows."),
    text(Family::Statement, "empty-file", "Empty file", "The file has no rows."),
    text(Family::Statement, "txn-after-last-updated-date", "Transaction too late", "A transaction is later than the last update."),
    text(Family::Statement, "invalid-request-content", "Content invalid", "The file's content is not what its type says."),
];

/// Code, title and detail of an error object.
pub(super) type Owned = (String, String, String);

/// The error with this code, `CODE/1` the second of several with the same code; one of the simulator's own wording when
/// the code is in no list.
pub(super) fn by_code(wanted: &str) -> Owned {
    let (code, nth) = wanted
        .rsplit_once('/')
        .and_then(|(code, nth)| Some((code, nth.parse().ok()?)))
        .unwrap_or((wanted, 0));
    let known = ALL.iter().chain([&QUEUED]);
    known
        .filter(|error| error.code == code)
        .nth(nth)
        .map_or_else(
            || {
                let detail = "The simulator was asked to fail with this code.";
                (
                    code.to_owned(),
                    format!("Failed: {code}"),
                    detail.to_owned(),
                )
            },
            |error| error.owned(),
        )
}

impl ErrorText {
    pub(super) fn owned(self) -> Owned {
        (self.code.into(), self.title.into(), self.detail.into())
    }
}
