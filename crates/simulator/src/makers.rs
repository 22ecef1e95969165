//! The routes that make jobs: connections, refreshes, statements, reports and payments.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use fastrand::Rng;
use serde_json::{Value, json};

use super::accounts::{self, Owner};
use super::auth::Access;
use super::dress::{Dress, IdStyle, institution};
use super::envelope::{ApiError, json_text};
use super::jobs::{CreateError, Job, NewJob, invent_id, is_id};
use super::scenario::Scenario;
use super::shared::{Connection, Shared, World};
use super::timeline::Ending;
use jobtrackd_core::time::UnixMillis;

/// A refresh of all connections makes at most so many jobs.
const MAX_REFRESHED: usize = 50;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/users/{user}/connections", post(connect))
        .route("/users/{user}/connections/refresh", post(refresh_all))
        .route(
            "/users/{user}/connections/{connection}",
            get(connection).post(refresh),
        )
        .route(
            "/users/{user}/connections/{connection}/refresh",
            post(refresh),
        )
        .route("/users/{user}/statements", post(statement))
        .route("/reports", post(report))
        .route("/payments/payrequests", post(payment))
        .route("/payments/payouts", post(payment))
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Full => Self::FULL,
            _ => Self::invalid("id", "An id in the request is not valid."),
        }
    }
}

/// What the creating calls answer.
pub(super) fn stub(job: &Job, base: &str) -> Value {
    let link = job.dress.link(&format!("/jobs/{}", job.id));
    let link = link.replace("{base}", base);
    let mut stub = json!({"type": "job", "id": job.id, "links": {"self": link}});
    if job.dress == Dress::Report {
        stub["jobType"] = json!("report");
    }
    stub
}

/// What the sandbox's banks and logins mean; `None` when the seed decides.
fn sandbox(bank: Option<&str>, login: &str, rng: &mut Rng) -> Option<NewJob> {
    let failed = |step: &str, code: &str| NewJob {
        step: Some(step.to_owned()),
        code: Some(code.to_owned()),
        ..NewJob::of(Scenario::Failed)
    };
    let plain = match login.to_ascii_lowercase().as_str() {
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
    };
    Some(plain)
}

async fn connect(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path(user): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    access.allow(&user)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let login = body["loginId"].as_str().unwrap_or_default().to_owned();
    let bank = body["institution"]["id"].as_str().map(str::to_owned);
    let now = shared.now();
    let mut world = shared.world();
    let rng = world.jobs.rng();
    let id = invent_id(rng, IdStyle::Uuid);
    let new = match (sandbox(bank.as_deref(), &login, rng), bank.as_deref()) {
        (Some(new), _) => new,
        (None, Some("AU00000")) => NewJob::of(Scenario::Success),
        (None, Some("AU00001")) => NewJob::of(Scenario::Success).dressed(Dress::V3),
        _ => NewJob::default(),
    };
    let connection = Connection {
        institution: bank.unwrap_or_else(|| "AU00000".to_owned()),
        login,
        created: now,
        job: None,
    };
    let job = work_on(&shared, &mut world, (&user, &id), connection, new, now)?;
    accepted(&shared, &mut world, &job, &headers)
}

async fn refresh(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path((user, connection)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    access.allow(&user)?;
    let now = shared.now();
    let mut world = shared.world();
    let (job, fresh) = refresh_one(&shared, &mut world, &user, &connection, now)?;
    if fresh {
        return accepted(&shared, &mut world, &job, &headers);
    }
    let base = shared.base_for(&headers);
    let job = world.jobs.get(&job, now).ok_or(ApiError::NOT_FOUND)?;
    let (_, body) = job.answer(now, &base, false);
    let body = body.unwrap_or_else(|| stub(job, &base).to_string());
    Ok(json_text(StatusCode::OK, body))
}

async fn refresh_all(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path(user): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    access.allow(&user)?;
    let now = shared.now();
    let base = shared.base_for(&headers);
    let mut world = shared.world();
    let mut own: Vec<(UnixMillis, String)> = world
        .connections
        .iter()
        .filter(|((owner, _), _)| *owner == user)
        .map(|((_, id), connection)| (connection.created, id.clone()))
        .collect();
    own.sort();
    own.truncate(MAX_REFRESHED);
    if own.is_empty() {
        let rng = world.jobs.rng();
        let count = rng.usize(2..=5);
        own = (0..count)
            .map(|_| (now, invent_id(rng, IdStyle::Uuid)))
            .collect();
    }
    let mut data = Vec::new();
    for (_, connection) in own {
        let (job, _) = refresh_one(&shared, &mut world, &user, &connection, now)?;
        let job = world.jobs.get(&job, now).ok_or(ApiError::NOT_FOUND)?;
        data.push(stub(job, &base));
    }
    let body = json!({"type": "list", "data": data});
    Ok(json_text(StatusCode::ACCEPTED, body.to_string()))
}

/// The job that refreshes it, and whether it is a new one. A connection nobody made comes to be here.
fn refresh_one(
    shared: &Shared,
    world: &mut World,
    user: &str,
    id: &str,
    now: UnixMillis,
) -> Result<(String, bool), ApiError> {
    let key = (user.to_owned(), id.to_owned());
    let known = world.connections.get(&key).cloned();
    if let Some(job) = known.as_ref().and_then(|known| known.job.clone())
        && world.is_running(&job, now)
    {
        return Ok((job, false));
    }
    let connection = known.unwrap_or_else(|| Connection {
        institution: "AU00000".to_owned(),
        login: String::new(),
        created: now,
        job: None,
    });
    let rng = world.jobs.rng();
    let new = sandbox(Some(&connection.institution), &connection.login, rng);
    let new = new.unwrap_or_default();
    let job = work_on(shared, world, (user, id), connection, new, now)?;
    Ok((job, true))
}

fn work_on(
    shared: &Shared,
    world: &mut World,
    (user, id): (&str, &str),
    mut connection: Connection,
    new: NewJob,
    now: UnixMillis,
) -> Result<String, ApiError> {
    let bank = &connection.institution;
    let new = NewJob {
        user: Some(user.to_owned()),
        connection: Some(id.to_owned()),
        institution: Some(bank.clone()),
        ..new
    };
    let job = world.create(new, now)?;
    if world.connections.len() >= shared.settings().max_jobs {
        let oldest = world
            .connections
            .iter()
            .min_by_key(|(key, connection)| (connection.created, (*key).clone()))
            .map(|(key, _)| key.clone());
        oldest.map(|key| world.connections.remove(&key));
    }
    connection.job = Some(job.clone());
    let key = (user.to_owned(), id.to_owned());
    world.connections.insert(key, connection);
    Ok(job)
}

fn accepted(
    shared: &Shared,
    world: &mut World,
    id: &str,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let base = shared.base_for(headers);
    let job = world.jobs.get(id, shared.now());
    let stub = stub(job.ok_or(ApiError::NOT_FOUND)?, &base);
    Ok(json_text(StatusCode::ACCEPTED, stub.to_string()))
}

async fn connection(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path((user, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    access.allow(&user)?;
    let base = shared.base_for(&headers);
    let now = shared.now();
    let mut world = shared.world();
    let key = (user.clone(), id.clone());
    let connection = world.connections.get(&key).cloned();
    let connection = connection.ok_or(ApiError::NOT_FOUND)?;
    let job = connection
        .job
        .as_ref()
        .and_then(|job| world.jobs.get(job, now));
    let shown = job.and_then(|job| {
        job.timeline
            .shown(now)
            .map(|moment| (moment.at, moment.ending))
    });
    let status = match shown.map(|(_, ending)| ending) {
        Some(None) => "pending",
        Some(Some(Ending::Failed)) => "invalid",
        Some(Some(Ending::Success)) | None => "active",
    };
    let fetched = world
        .jobs
        .iter()
        .filter(|job| job.user == user && job.connection.as_deref() == Some(&id))
        .filter_map(|job| job.timeline.shown(now))
        .filter(|shown| shown.ending == Some(Ending::Success))
        .map(|shown| shown.at)
        .max();
    let own = format!("{base}/users/{user}");
    let owner = fetched.map(|fetched| Owner {
        connection: &id,
        institution: &connection.institution,
        user: &own,
        fetched,
    });
    let body = json!({
        "type": "connection", "id": id, "status": status,
        "createdDate": connection.created.rfc3339(),
        "lastUsed": shown.map_or(connection.created, |(at, _)| at).rfc3339(),
        "institution": institution(&connection.institution),
        "accounts": accounts::list(owner.as_ref()),
        "links": {
            "self": format!("{own}/connections/{id}"), "user": own,
            "accounts": format!("{own}/accounts?filter=connection.id.eq('{id}')"),
            "transactions": format!("{own}/transactions?filter=connection.id.eq('{id}')"),
        },
    });
    let body = body.to_string().replace("{base}", &base);
    Ok(json_text(StatusCode::OK, body))
}

async fn statement(
    State(shared): State<Shared>,
    Extension(access): Extension<Access>,
    Path(user): Path<String>,
    headers: HeaderMap,
    _file: Bytes,
) -> Result<Response, ApiError> {
    access.allow(&user)?;
    if !is_id(&user) {
        return Err(ApiError::invalid("userId", "User ID value is not valid"));
    }
    let mut world = shared.world();
    let (well, badly) = (Scenario::Statement, Scenario::StatementFailed);
    let new = NewJob {
        user: Some(user),
        ..NewJob::of(mostly(world.jobs.rng(), well, badly, 15))
    };
    let id = world.create(new, shared.now())?;
    accepted(&shared, &mut world, &id, &headers)
}

async fn report(
    State(shared): State<Shared>,
    headers: HeaderMap,
    _request: Bytes,
) -> Result<Response, ApiError> {
    let mut world = shared.world();
    let (well, badly) = (Scenario::Report, Scenario::ReportFailed);
    let new = NewJob::of(mostly(world.jobs.rng(), well, badly, 10));
    let id = world.create(new, shared.now())?;
    accepted(&shared, &mut world, &id, &headers)
}

async fn payment(
    State(shared): State<Shared>,
    headers: HeaderMap,
    _requests: Bytes,
) -> Result<Response, ApiError> {
    let base = shared.base_for(&headers);
    let now = shared.now();
    let mut world = shared.world();
    let (well, badly) = (Scenario::Payment, Scenario::PaymentFailed);
    let new = NewJob::of(mostly(world.jobs.rng(), well, badly, 15));
    let id = world.create(new, now)?;
    let request = invent_id(world.jobs.rng(), IdStyle::Uuid);
    let job = world.jobs.get(&id, now).ok_or(ApiError::NOT_FOUND)?;
    let mut stub = stub(job, &base);
    stub["requestId"] = json!(request);
    Ok(json_text(StatusCode::ACCEPTED, stub.to_string()))
}

fn mostly(rng: &mut Rng, well: Scenario, badly: Scenario, badly_percent: u8) -> Scenario {
    if rng.u8(0..100) < badly_percent {
        badly
    } else {
        well
    }
}
