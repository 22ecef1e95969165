//! The errors of a failed step, in the API's words.

/// Code, title and detail.
pub(super) type StepError = [&'static str; 3];

pub(super) const QUEUED: StepError = [
    "temporary-unavailable-queued",
    "Institution temporary unavailable, retry pending",
    "3rd party service temporary unavailable. Job queued, retry in 2 hours.",
];
pub(super) const GAVE_UP: StepError = [
    "temporary-unavailable",
    "Institution temporary unavailable",
    "3rd party service temporary unavailable. Please try again later.",
];
pub(super) const TIMED_OUT: StepError = [
    "job-timed-out",
    "Job timed out",
    "The job did not finish in time.",
];

/// Errors of the first step of a connection or refresh.
#[rustfmt::skip]
pub(super) const LOGIN: &[StepError] = &[
    ["invalid-credentials", "Cannot login to target institution: invalid username or password.", "Cannot login to target institution: invalid username or password. Please check credentials and try again."],
    ["invalid-credentials", "Cannot login to target institution: this account is locked.", "Cannot login to target institution: this account is locked. Please contact institution directly."],
    ["invalid-credentials", "Cannot login to target institution: multi-factor authentication is not supported.", "Cannot login to target institution: multi-factor authentication is not supported. Please check if multi-factor authentication is enabled on login."],
    ["authorization-failed", "Authorization failed", "access_denied"],
    ["user-action-required", "User action required", "The user has to act at the institution first."],
    ["invalid-connection", "Invalid connection", "The connection is no longer valid."],
    ["institution-not-found", "Institution not found", "There is no such institution."],
    ["institution-not-available", "Institution not available", "The institution cannot be reached."],
    ["institution-disabled", "Institution disabled", "The institution is switched off."],
    ["institution-not-supported", "Institution not supported", "The institution is not supported."],
];

/// Errors of any step of a connection or refresh.
#[rustfmt::skip]
pub(super) const BANK: &[StepError] = &[
    ["account-not-accessible-requires-user-action", "User action required", "An action is required from end-user before account details can be returned."],
    ["service-unavailable", "Service unavailable", "Service is currently unavailable. Please try again later."],
    GAVE_UP,
    TIMED_OUT,
    ["system-unavailable", "System unavailable", "The institution's system is unavailable."],
    ["maintenance", "Maintenance", "The institution is being maintained."],
    ["maintenance-error", "Maintenance", "The connector is being maintained."],
    ["connector-error", "Connector error", "The connector to the institution failed."],
    ["unknown-error", "Unknown error", "Something unexpected happened."],
    ["success", "Success", "The list of codes has this one too."],
];

/// Errors of the first step of a statement job.
#[rustfmt::skip]
pub(super) const STATEMENT: &[StepError] = &[
    ["bank-statement-invalid", "Statement invalid", "The file is not a bank statement."],
    ["bank-statement-new-product", "Statement of a new product", "The product is not known yet."],
    ["bank-statement-parsing-error", "Statement not read", "The statement cannot be read."],
    ["bank-statement-not-supported", "Statement not supported.", "Statement is not currently supported for this institution - check statement uploaded against correct bank."],
    ["missing-required-field", "Field missing", "A required column is missing."],
    ["missing-required-field-value", "Value missing", "A required value is missing."],
    ["invalid-field-value", "Value invalid", "A value cannot be read."],
    ["invalid-csv-row", "Row invalid", "A row cannot be read."],
    ["row-count-exceeded", "Too many rows", "The file has too many rows."],
    ["account-data-differs", "Account differs", "The account's data differs between rows."],
    ["empty-file", "Empty file", "The file has no rows."],
    ["txn-after-last-updated-date", "Transaction too late", "A transaction is later than the last update."],
    ["invalid-request-content", "Content invalid", "The file's content is not what its type says."],
];

/// The error with this code, `CODE/1` the second of several with the same code; one with the simulator's own words when
/// the code is in no list.
pub(super) fn by_code(wanted: &str) -> [String; 3] {
    let (code, nth) = wanted
        .rsplit_once('/')
        .and_then(|(code, nth)| Some((code, nth.parse().ok()?)))
        .unwrap_or((wanted, 0));
    let known = [LOGIN, BANK, STATEMENT, &[QUEUED]].into_iter().flatten();
    let found = known.filter(|error| error[0] == code).nth(nth);
    let own = || {
        let detail = "The simulator was asked to fail with this code.";
        [
            code.to_owned(),
            format!("Failed: {code}"),
            detail.to_owned(),
        ]
    };
    found.map_or_else(own, |error| error.map(str::to_owned))
}
