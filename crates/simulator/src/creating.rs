//! The routes that create jobs: connections, refreshes, statements, reports and payments.

use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fastrand::Rng;
use serde_json::{Value, json};

use super::accounts::Owner;
use super::api_error::{ApiError, json_text};
use super::connections::{Connection, Key};
use super::control::{Control, State};
use super::format::{IdStyle, JobFormat, institution};
use super::jobs::{ANY_BANK, Job, NewJob, is_id};
use super::middleware::Call;
use super::operation::Ending;
use super::scenario::Scenario;
use jobtrackd_core::time::UnixMillis;

/// Most jobs that a refresh of all connections creates.
const MAX_REFRESHED: usize = 50;

pub(super) fn routes() -> Router<Control> {
    let (one, refreshed) = (
        "/users/{user}/connections/{connection}",
        "/users/{user}/connections/{connection}/refresh",
    );
    Router::new()
        .route("/users/{user}/connections", post(connect))
        .route("/users/{user}/connections/refresh", post(refresh_all))
        .route(one, get(connection).post(refresh))
        .route(refreshed, post(refresh))
        .route("/users/{user}/statements", post(statement))
        .route("/reports", post(report))
        .route("/payments/payrequests", post(payment))
        .route("/payments/payouts", post(payment))
}

/// The answers of calls that create jobs.
pub(super) fn stub(job: &Job, base: &str) -> Value {
    let link = job.format.link(base, &format!("/jobs/{}", job.id));
    let mut stub = json!({"type": "job", "id": job.id, "links": {"self": link}});
    if job.format == JobFormat::Report {
        stub["jobType"] = json!("report");
    }
    stub
}

pub(super) fn accepted(body: Value) -> Response {
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// The meaning of the sandbox's banks and logins; `None` when the seed decides.
fn sandbox(bank: Option<&str>, login: &str, rng: &mut Rng) -> Option<NewJob> {
    let failed = |step: &str, code: &str| NewJob {
        step: Some(step.to_owned()),
        code: Some(code.to_owned()),
        ..NewJob::of(Scenario::Failed)
    };
    Some(match login.to_ascii_lowercase().as_str() {
        "bighead" => failed("verify-credentials", "invalid-credentials/1"),
        "erlich" => failed(
            "retrieve-accounts",
            "account-not-accessible-requires-user-action",
        ),
        "jianyang" => failed("retrieve-transactions", "service-unavailable"),
        _ => NewJob::of(match bank? {
            "AU00002" if rng.bool() => Scenario::MfaQuestions,
            "AU00002" => Scenario::MfaToken,
            "AU00003" if rng.bool() => Scenario::MfaToken,
            "AU00003" => Scenario::MfaSkipped,
            _ => return None,
        }),
    })
}

async fn connect(call: Call, Path(user): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    call.access.allow(&user)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let login = body["loginId"].as_str().unwrap_or_default();
    let bank = body["institution"]["id"].as_str();
    let mut state = call.control.state();
    let rng = &mut state.jobs.rng;
    let id = IdStyle::Uuid.draw(rng);
    let by_bank = || match bank {
        Some(ANY_BANK) => NewJob::of(Scenario::Success),
        Some("AU00001") => NewJob::of(Scenario::Success).in_format(JobFormat::V3),
        _ => NewJob::default(),
    };
    let new = sandbox(bank, login, rng).unwrap_or_else(by_bank);
    let connection = Connection::new(bank.unwrap_or(ANY_BANK), login, call.now);
    let job = work_on(&mut state, (user, id), connection, new, call.now)?;
    let job = state.jobs.get(&job, call.now).ok_or(ApiError::NOT_FOUND)?;
    Ok(accepted(stub(job, &call.base)))
}

async fn refresh(call: Call, Path(key): Path<Key>) -> Result<Response, ApiError> {
    call.access.allow(&key.0)?;
    let mut state = call.control.state();
    let (id, is_new) = refresh_one(&mut state, key, call.now)?;
    let job = state.jobs.get(&id, call.now).ok_or(ApiError::NOT_FOUND)?;
    let stub = stub(job, &call.base);
    if is_new {
        return Ok(accepted(stub));
    }
    let shown = job.answer(call.now, &call.base, false).ok();
    let body = shown.and_then(|shown| shown.body);
    let body = body.unwrap_or_else(|| stub.to_string());
    Ok(json_text(StatusCode::OK, body))
}

async fn refresh_all(call: Call, Path(user): Path<String>) -> Result<Response, ApiError> {
    call.access.allow(&user)?;
    let mut state = call.control.state();
    let mut own = state.connections.oldest_of(&user, MAX_REFRESHED);
    if own.is_empty() {
        let rng = &mut state.jobs.rng;
        let count = rng.usize(2..=5);
        own = (0..count).map(|_| IdStyle::Uuid.draw(rng)).collect();
    }
    let mut data = Vec::new();
    for connection in own {
        let (job, _) = refresh_one(&mut state, (user.clone(), connection), call.now)?;
        let job = state.jobs.get(&job, call.now).ok_or(ApiError::NOT_FOUND)?;
        data.push(stub(job, &call.base));
    }
    Ok(accepted(json!({"type": "list", "data": data})))
}

/// The job that refreshes it, and whether it is a new one. Creates a connection that does not exist.
fn refresh_one(state: &mut State, key: Key, now: UnixMillis) -> Result<(String, bool), ApiError> {
    let found = state.connections.get(&key).cloned();
    if let Some(job) = found.as_ref().and_then(|found| found.job.clone())
        && state.jobs.is_running(&job, now)
    {
        return Ok((job, false));
    }
    let connection = found.unwrap_or_else(|| Connection::new(ANY_BANK, "", now));
    let (bank, login) = (&connection.institution, &connection.login);
    let new = sandbox(Some(bank), login, &mut state.jobs.rng).unwrap_or_default();
    Ok((work_on(state, key, connection, new, now)?, true))
}

/// Creates a job that works on a connection, and returns its id.
fn work_on(
    state: &mut State,
    key: Key,
    mut connection: Connection,
    new: NewJob,
    now: UnixMillis,
) -> Result<String, ApiError> {
    let new = NewJob {
        user: Some(key.0.clone()),
        connection: Some(key.1.clone()),
        institution: Some(connection.institution.clone()),
        ..new
    };
    let job = state.create(new, now)?.id.clone();
    connection.job = Some(job.clone());
    state.connections.insert(key, connection);
    Ok(job)
}

async fn connection(call: Call, Path(key): Path<Key>) -> Result<Response, ApiError> {
    let (user, id) = &key;
    call.access.allow(user)?;
    let (now, base) = (call.now, &call.base);
    let mut state = call.control.state();
    let found = state.connections.get(&key).cloned();
    let connection = found.ok_or(ApiError::NOT_FOUND)?;
    let job = connection.job.as_ref();
    let job = job.and_then(|job| state.jobs.get(job, now));
    let shown = job.and_then(|job| job.timeline.shown(now));
    let status = match shown.map(|moment| moment.ending) {
        Some(None) => "pending",
        Some(Some(Ending::Failed)) => "invalid",
        Some(Some(Ending::Success)) | None => "active",
    };
    let last_used = shown.map_or(connection.created, |moment| moment.at);
    let own_jobs = state
        .jobs
        .iter()
        .filter(|job| job.user == *user && job.connection.as_ref() == Some(id));
    let fetched = own_jobs
        .filter_map(|job| job.timeline.shown(now))
        .filter(|shown| shown.ending == Some(Ending::Success))
        .map(|shown| shown.at)
        .max();
    let own = format!("{base}/users/{user}");
    let owner = fetched.map(|fetched| Owner {
        connection: id,
        institution: &connection.institution,
        user: &own,
        fetched,
    });
    let accounts = owner.map(|owner| owner.accounts()).unwrap_or_default();
    let body = json!({
        "type": "connection", "id": id, "status": status,
        "createdDate": connection.created.rfc3339(),
        "lastUsed": last_used.rfc3339(),
        "institution": institution(&connection.institution),
        "accounts": {"type": "list", "data": accounts},
        "links": {
            "self": format!("{own}/connections/{id}"), "user": own,
            "accounts": format!("{own}/accounts?filter=connection.id.eq('{id}')"),
            "transactions": format!("{own}/transactions?filter=connection.id.eq('{id}')"),
        },
    });
    let body = body.to_string().replace("{base}", base);
    Ok(json_text(StatusCode::OK, body))
}

async fn statement(
    call: Call,
    Path(user): Path<String>,
    _file: Bytes,
) -> Result<Response, ApiError> {
    call.access.allow(&user)?;
    if !is_id(&user) {
        return Err(ApiError::invalid("userId", "User ID value is not valid"));
    }
    let scenarios = [Scenario::Statement, Scenario::StatementFailed];
    let mut state = call.control.state();
    let job = create_one_of(&mut state, Some(user), scenarios, 15, call.now)?;
    Ok(accepted(stub(job, &call.base)))
}

async fn report(call: Call, _request: Bytes) -> Result<Response, ApiError> {
    let scenarios = [Scenario::Report, Scenario::ReportFailed];
    let mut state = call.control.state();
    let job = create_one_of(&mut state, None, scenarios, 10, call.now)?;
    Ok(accepted(stub(job, &call.base)))
}

async fn payment(call: Call, _requests: Bytes) -> Result<Response, ApiError> {
    let scenarios = [Scenario::Payment, Scenario::PaymentFailed];
    let mut state = call.control.state();
    let job = create_one_of(&mut state, None, scenarios, 15, call.now)?;
    let mut stub = stub(job, &call.base);
    stub["requestId"] = IdStyle::Uuid.draw(&mut state.jobs.rng).into();
    Ok(accepted(stub))
}

/// Creates a job that succeeds or, this often in a hundred, fails.
fn create_one_of(
    state: &mut State,
    user: Option<String>,
    [well, badly]: [Scenario; 2],
    badly_percent: u8,
    now: UnixMillis,
) -> Result<&Job, ApiError> {
    let goes_badly = state.jobs.rng.u8(0..100) < badly_percent;
    let new = NewJob::of(if goes_badly { badly } else { well });
    Ok(state.create(NewJob { user, ..new }, now)?)
}
