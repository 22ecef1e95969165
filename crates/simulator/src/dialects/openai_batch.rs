//! The batches of OpenAI, with their input, output and error files.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/files` (a form with `purpose` and `file`) | the file; `GET /v1/files`, `GET`, `DELETE /v1/files/{id}` as well |
//! | `POST /v1/batches` | the batch; it fails if its input file is not valid |
//! | `GET /v1/batches/{id}` | the batch |
//! | `GET /v1/batches?limit=&after=` | a list, newest first |
//! | `POST /v1/batches/{id}/cancel` | the batch, `cancelling`; 409 when it has ended |
//! | `GET /v1/files/{id}/content` | the lines of an input, output or error file |
//!
//! Statuses: `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`, `cancelling`, `cancelled`. The
//! `request` of a job made by a control route may have `input_file_id`, `endpoint`, `metadata`, and the number of
//! requests (`total`) and of those that fail (`failed`). A refusal is `{"error":{"message","type","param","code"}}`.

mod input;

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, header};
use axum::routing::{get, post};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::api_error::ApiError;
use crate::calls::names_scenario;
use crate::control::Control;
use crate::files::File;
use crate::format::{Head, IdStyle, JobFormat};
use crate::jobs::Job;
use crate::middleware::Call;
use crate::multipart::parts;
use crate::operation::{Operation, OperationStatus};
use crate::script::{Phase, Script};
use crate::wire::{Example, Shown, Wire};

use input::{Line, MAX_REQUESTS};

/// Batches in a list, if the client gives no `limit`.
const PAGE: usize = 20;

/// Most batches or files in a list.
const MAX_PAGE: usize = 100;

/// The number of requests of a batch whose `request` has no `total`.
const ANY_TOTAL: u64 = 10;

/// How long a batch may take.
const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the validation of a bad input file takes, in milliseconds at speed 1.
const VALIDATING_MS: u64 = 1500;

/// The statuses with a time in the batch, `{status}_at`: when each began.
const REACHED: [&str; 7] = [
    "in_progress",
    "finalizing",
    "completed",
    "failed",
    "expired",
    "cancelling",
    "cancelled",
];

const OUTPUT: &str = "file-output-";
const ERRORS: &str = "file-errors-";

#[derive(Debug)]
pub(super) struct OpenaiBatch;

pub(super) fn routes() -> Router<Control> {
    Router::new()
        .route("/v1/batches", get(list).post(create))
        .route("/v1/batches/{id}", get(batch))
        .route("/v1/batches/{id}/cancel", post(cancel))
        .route("/v1/files", get(files).post(upload))
        .route("/v1/files/{id}", get(file).delete(remove))
        .route("/v1/files/{id}/content", get(content))
}

impl Wire for OpenaiBatch {
    fn example(&self) -> Example {
        Example {
            create: r#"A batch, from a file with one request on each line:
  echo '{"custom_id":"1","method":"POST","url":"/v1/responses","body":{"model":"m"}}' > requests.jsonl
  FILE=$(curl -s {base}/v1/files -H "Authorization: Bearer {key}" -F purpose=batch -F file=@requests.jsonl \
    | sed 's/.*"id":"\([^"]*\)".*/\1/')
  curl -s {base}/v1/batches -H "Authorization: Bearer {key}" \
    -d '{"input_file_id":"'$FILE'","endpoint":"/v1/responses","completion_window":"24h"}'"#,
            poll: r#"curl -s {base}/v1/batches/61723 -H "Authorization: Bearer {key}""#,
        }
    }

    fn draw_id(&self, _format: JobFormat, rng: &mut Rng) -> String {
        format!("batch_{}", hex(rng))
    }

    fn job_in<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix("/v1/batches/")?.split('/').next()
    }

    fn show(&self, head: &Head<'_>, operation: &Operation) -> Shown {
        let request = head.request;
        let or = |key: &str, own: &str| match request[key].as_str() {
            Some(text) => text.to_owned(),
            None => own.to_owned(),
        };
        let counts = Counts::of(request, operation);
        let file = |prefix: &str, count| (count > 0).then(|| format!("{prefix}{}", head.id));
        let is_over = operation.status.ending().is_some();
        let mut batch = json!({
            "id": head.id, "object": "batch", "endpoint": or("endpoint", "/v1/chat/completions"),
            "errors": errors(request, operation), "input_file_id": or("input_file_id", "file-input"),
            "completion_window": or("completion_window", "24h"), "status": word(operation),
            "output_file_id": file(OUTPUT, if is_over { counts.completed } else { 0 }),
            "error_file_id": file(ERRORS, if is_over { counts.failed } else { 0 }),
            "created_at": head.created.seconds(), "expires_at": head.created.plus(WINDOW).seconds(),
            "request_counts": {
                "total": counts.total, "completed": counts.completed, "failed": counts.failed,
            },
            "metadata": request["metadata"],
        });
        let history = head.history.iter();
        let history: Vec<_> = history
            .map(|moment| (word(&moment.content.operation()), moment.at))
            .collect();
        for reached in REACHED {
            let first = history.iter().find(|(word, _)| word == reached);
            batch[format!("{reached}_at")] = first.map(|(_, at)| at.seconds()).into();
        }
        Shown::json(200, &batch)
    }

    fn refuse(&self, error: &ApiError, job: Option<&str>, _correlation: &str) -> Shown {
        let status = error.status.as_u16();
        let (kind, code) = match status {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            429 => ("requests", Some("rate_limit_exceeded")),
            400..500 => ("invalid_request_error", None),
            _ => ("server_error", None),
        };
        let message = match (status, job) {
            (401, _) => "The API key is not valid.".to_owned(),
            (404, Some(id)) => format!("No batch found with id '{id}'."),
            _ => error.detail.to_owned(),
        };
        let body =
            json!({"message": message, "type": kind, "param": error.parameter, "code": code});
        Shown::json(status, &json!({"error": body}))
    }
}

struct Counts {
    total: u64,
    completed: u64,
    failed: u64,
}

impl Counts {
    fn of(request: &Value, operation: &Operation) -> Self {
        let total = match operation.status {
            OperationStatus::Queued | OperationStatus::Failed => 0,
            _ => total(request),
        };
        let failed = failed(request, total);
        let percent = u64::from(operation.percent());
        Self {
            total,
            completed: (total - failed) * percent / 100,
            failed: failed * percent / 100,
        }
    }
}

fn total(request: &Value) -> u64 {
    let total = request["total"].as_u64().unwrap_or(ANY_TOTAL);
    total.min(MAX_REQUESTS)
}

fn failed(request: &Value, total: u64) -> u64 {
    request["failed"].as_u64().unwrap_or(0).min(total)
}

fn word(operation: &Operation) -> String {
    let word = match operation.status {
        OperationStatus::Queued => "validating",
        OperationStatus::Running => "in_progress",
        OperationStatus::Finishing => "finalizing",
        OperationStatus::Cancelling => "cancelling",
        OperationStatus::Succeeded => "completed",
        OperationStatus::Failed => "failed",
        OperationStatus::Cancelled => "cancelled",
        OperationStatus::Expired => "expired",
    };
    operation.word.clone().unwrap_or_else(|| word.to_owned())
}

/// What is wrong with the input file, or the error of the script.
fn errors(request: &Value, operation: &Operation) -> Value {
    if operation.status != OperationStatus::Failed {
        return Value::Null;
    }
    let own = || {
        let error = operation.failure();
        json!([{"code": error.code, "message": error.message(), "param": null, "line": null}])
    };
    let found = Some(&request["errors"]).filter(|errors| errors.is_array());
    json!({"object": "list", "data": found.cloned().unwrap_or_else(own)})
}

fn hex(rng: &mut Rng) -> String {
    IdStyle::Uuid.draw(rng).replace('-', "")
}

async fn create(call: Call, headers: HeaderMap, body: Bytes) -> Result<Shown, ApiError> {
    let body: Value = serde_json::from_slice(&body)
        .map_err(|_| ApiError::invalid("body", "The body of the request is not JSON."))?;
    let text = |key: &'static str| {
        let missing = ApiError::missing(key, "This parameter is required.");
        body[key].as_str().ok_or(missing)
    };
    let (file, endpoint) = (text("input_file_id")?, text("endpoint")?);
    if text("completion_window")? != "24h" {
        let detail = "The completion window of a batch is 24h.";
        return Err(ApiError::invalid("completion_window", detail));
    }
    let unknown = ApiError::invalid("input_file_id", "There is no such file.");
    let found = call.control.state().files.get(file).cloned();
    let read = input::read(&found.ok_or(unknown)?.bytes, endpoint);
    let mut request = json!({
        "input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
        "metadata": body["metadata"],
    });
    let mut script = None;
    match read {
        Ok(lines) => {
            request["total"] = lines.len().into();
            request["failed"] = lines.iter().filter(|line| !line.is_good()).count().into();
        }
        Err(errors) => {
            request["errors"] = errors.into();
            script = (!names_scenario(&headers)).then(|| {
                let failed = Operation::new(OperationStatus::Failed);
                Script::new(vec![
                    Phase::operation(0, Operation::new(OperationStatus::Queued)),
                    Phase::operation(VALIDATING_MS, failed),
                ])
            });
        }
    }
    let id = call.create(&headers, request, script)?;
    call.show(&id)
}

async fn batch(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    call.poll(&id)
}

async fn cancel(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    if call.cancel(&id)? {
        call.show(&id)
    } else {
        Err(ApiError::ENDED)
    }
}

async fn list(call: Call, Query(query): Query<HashMap<String, String>>) -> Shown {
    let limit = query.get("limit").and_then(|limit| limit.parse().ok());
    let most = limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let (data, next) = call.list(query.get("after"), most, |_| true);
    page(&data, next.is_some())
}

fn page(data: &[Value], has_more: bool) -> Shown {
    let id_of = |item: Option<&Value>| item.map_or(Value::Null, |item| item["id"].clone());
    let (first, last) = (id_of(data.first()), id_of(data.last()));
    let body = json!({
        "object": "list", "data": data, "first_id": first, "last_id": last, "has_more": has_more,
    });
    Shown::json(200, &body)
}

async fn upload(call: Call, headers: HeaderMap, body: Bytes) -> Result<Shown, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let no_form = ApiError::invalid("content-type", "A file is uploaded as multipart/form-data.");
    let parts = parts(kind, &body).ok_or(no_form)?;
    let part = |name: &'static str| {
        let missing = ApiError::missing(name, "This parameter is required.");
        parts.iter().find(|part| part.name == name).ok_or(missing)
    };
    let (purpose, upload) = (part("purpose")?, part("file")?);
    let mut state = call.control.state();
    let file = File {
        id: format!("file-{}", hex(&mut state.rng)),
        name: upload
            .file_name
            .clone()
            .unwrap_or_else(|| "upload".to_owned()),
        purpose: String::from_utf8_lossy(purpose.body).into_owned(),
        created: call.now,
        bytes: upload.body.to_vec(),
    };
    let record = file.record();
    state.files.insert(file);
    Ok(Shown::json(200, &record))
}

async fn files(call: Call) -> Shown {
    let state = call.control.state();
    let data = state.files.iter().take(MAX_PAGE).map(File::record);
    page(&data.collect::<Vec<_>>(), false)
}

async fn file(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    Ok(Shown::json(200, &find(&call, id)?.record()))
}

async fn content(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    let file = find(&call, id)?;
    let text = String::from_utf8_lossy(&file.bytes).into_owned();
    Ok(Shown::text(200, text).of_kind("application/octet-stream"))
}

async fn remove(call: Call, Path(id): Path<String>) -> Result<Shown, ApiError> {
    if call.control.state().files.remove(&id) {
        let body = json!({"id": id, "object": "file", "deleted": true});
        Ok(Shown::json(200, &body))
    } else {
        Err(ApiError::NOT_FOUND)
    }
}

/// An uploaded file, or an output or error file of a batch.
fn find(call: &Call, id: String) -> Result<File, ApiError> {
    if let Some(file) = call.control.state().files.get(&id) {
        return Ok(file.clone());
    }
    let (batch, is_output) = match (id.strip_prefix(OUTPUT), id.strip_prefix(ERRORS)) {
        (Some(batch), _) => (batch, true),
        (None, Some(batch)) => (batch, false),
        (None, None) => return Err(ApiError::NOT_FOUND),
    };
    let (request, operation) = call.on(batch, |job: &mut Job| {
        (job.request.clone(), job.operation(call.now))
    })?;
    let counts = Counts::of(&request, &operation);
    let count = if is_output {
        counts.completed
    } else {
        counts.failed
    };
    if operation.status.ending().is_none() || count == 0 {
        return Err(ApiError::NOT_FOUND);
    }
    let lines = lines_of(call, &request)?;
    let own = lines.iter().filter(|line| line.is_good() == is_output);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let text: String = own.take(count).map(Line::answer).collect();
    Ok(File {
        name: format!(
            "{batch}_{}.jsonl",
            if is_output { "output" } else { "error" }
        ),
        id,
        purpose: "batch_output".to_owned(),
        created: call.now,
        bytes: text.into_bytes(),
    })
}

fn lines_of(call: &Call, request: &Value) -> Result<Vec<Line>, ApiError> {
    let Some(input) = request["input_file_id"].as_str() else {
        let total = total(request);
        let good = total - failed(request, total);
        return Ok((1..=total)
            .map(|number| Line::numbered(number, number <= good))
            .collect());
    };
    let endpoint = request["endpoint"].as_str().unwrap_or_default();
    let state = call.control.state();
    let file = state.files.get(input).ok_or(ApiError::NOT_FOUND)?;
    input::read(&file.bytes, endpoint).map_err(|_| ApiError::NOT_FOUND)
}
