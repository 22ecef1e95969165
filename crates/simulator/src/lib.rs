//! A remote job API, simulated: an HTTP server for development without credentials.
//!
//! It speaks one of several APIs, its [`Dialect`]: it serves the routes that the tracker polls, and those that create jobs,
//! with the API's own answers and refusals. The file of each dialect has its table of routes; this is `basiq`, the default:
//!
//! | request | answer |
//! |---|---|
//! | `POST /token` | a token, or the API's refusals |
//! | `POST /users/{u}/connections` | 202 and a job; `loginId` and `institution.id` have the same meaning as in the sandbox |
//! | `POST /users/{u}/connections/{c}`, `…/{c}/refresh` | 202 and a job, or 200 and the job that still runs |
//! | `POST /users/{u}/connections/refresh` | 202 and a list of jobs |
//! | `POST /users/{u}/statements`, `/reports`, `/payments/payrequests`, `/payments/payouts` | 202 and a job |
//! | `GET /jobs/{id}`, `GET /users/{u}/jobs` | a job; the newest 500 of a week |
//! | `POST /jobs/{id}/mfa` | 202, whether the answer was right or not: the job shows it |
//! | `GET /users/{u}/connections/{c}` | a connection, with its accounts once a job has fetched them |
//!
//! Any user exists; a connection that does not exist is created when it is refreshed.
//!
//! Everything random is drawn from the seed: the same seed and the same calls in the same order give the same jobs,
//! ids included. An answer to a poll has an `ETag`, and is 304 to a request whose `If-None-Match` has it. A job has no task; its body is computed from the clock at each request.
//!
//! # The other dialects
//!
//! Each shows any job as one operation: of the steps of a scenario those that are done are its progress, the one that
//! failed is its error. A create call makes a job of the scenario `success`, unless its header `x-simulate-scenario`
//! names another. A key is taken as `Bearer`, as `Basic` (`user:password`), or in `api-key`, `x-api-key`, `x-goog-api-key`
//! or `ocp-apim-subscription-key`; in its place a token of `POST /oauth2/token` (client credentials: the secret is the
//! key). `http-status` and `json` need none when the simulator has no key of its own.
//!
//! # Control
//!
//! [`Control`] and the routes under `/_control` do the same, the latter in JSON and without a token: do not listen on an
//! address that others can reach.
//!
//! | request | answer |
//! |---|---|
//! | `GET /_control` | base URL, dialect, seed, speed, totals |
//! | `GET /_control/scenarios` | the names of all scenarios |
//! | `POST /_control/jobs` | a [`NewJob`]: `{"id":"61723","scenario":"mfa-token","within_ms":20000}`, or with a [`Script`]: `{"id":"61723","script":{"phases":[{"at_ms":0,"body":{…}}]}}`, `{"script":{"phases":[{"operation":{"status":"running","progress":40}}]}}`. 201 and its [`Truth`] |
//! | `GET /_control/jobs/{id}` | its [`Truth`] |
//! | `POST /_control/faults` | a [`FaultRule`]: `{"job":"61723","times":2,"fault":{"status":{"status":503,"retry_after":{"seconds":5}}}}`, `{"path":"/jobs","probability":0.1,"fault":"html"}`. 201 and its number |
//! | `GET /_control/faults` | the faults that remain |
//! | `DELETE /_control/faults`, `/_control/faults/{id}` | 204 |
//! | `GET /_control/requests?after=N&limit=N` | [`LoggedRequest`]s, oldest first; 1000 by default |
//! | `POST /_control/tokens/expire` | every token granted so far is expired (403) |
//! | `DELETE /_control/tokens` | every token granted so far is unknown (401) |
//!
//! Refusals are `{"error":"…"}` with 400, 404 (no such job), 409 (the id is taken) or 429 (full).

mod accounts;
mod api_error;
mod calls;
mod conditional;
mod connections;
mod control;
mod control_routes;
mod creating;
mod dialects;
mod faults;
mod files;
mod format;
mod jobs;
mod log;
mod middleware;
mod multipart;
mod oauth;
mod operation;
pub mod quick;
mod receiver;
mod routes;
mod scenario;
mod scenario_script;
mod script;
mod server;
mod signature;
mod socket;
mod step_errors;
mod timeline;
mod tokens;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use jobtrackd_clock::Clock;

use server::Server;

pub use control::Control;
pub use dialects::{Dialect, UnknownDialect};
pub use faults::{ActiveFault, Fault, FaultError, FaultRule, MAX_BODY, MAX_RULES, RetryAfter};
pub use format::JobFormat;
pub use jobs::{CreateError, JobCounts, MAX_ID, NewJob, TrueMoment, Truth};
pub use log::{LoggedRequest, Totals};
pub use operation::{Ending, Operation, OperationError, OperationStatus};
pub use receiver::{HANG, Hook, Inbox, Received, Receiver, ReceiverSettings, Reply};
pub use scenario::Scenario;
pub use script::{Challenge, Content, MAX_PHASES, Phase, Script, ScriptError, Step};
pub use signature::SignatureError;
pub use timeline::AnswerError;
pub use wire::Example;

/// How a simulator behaves. `SimulatorSettings::default()` listens on a free port of the loopback interface.
#[derive(Debug, Clone)]
pub struct SimulatorSettings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The API that it speaks.
    pub dialect: Dialect,
    /// The seed of everything random.
    pub seed: u64,
    /// How many times faster than in reality jobs run, above 0 and finite; faults and token lives keep real time.
    pub speed: f64,
    /// The only key that is accepted; `None`: any.
    pub api_key: Option<String>,
    /// How long a token lives.
    pub token_life: Duration,
    /// Calls of `POST /token` in five minutes before it answers 403; the API's own limit is 1500.
    pub token_calls_per_5_minutes: usize,
    /// Whether `POST /jobs/{id}/mfa` needs a `CLIENT_ACCESS` token, as the API's documents say; in practice either does.
    pub client_token_for_mfa: bool,
    /// Jobs kept, at least 1. When full, the oldest finished one is dropped for a new one; with none finished, the new one is
    /// refused with 429. Connections have the same limit; their oldest is dropped.
    pub max_jobs: usize,
    /// Requests remembered in the log; the oldest is forgotten first.
    pub max_log: usize,
    /// The clock.
    pub clock: Clock,
}

impl Default for SimulatorSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            dialect: Dialect::default(),
            seed: 1,
            speed: 1.0,
            api_key: None,
            token_life: Duration::from_secs(3600),
            token_calls_per_5_minutes: 1500,
            client_token_for_mfa: false,
            max_jobs: 100_000,
            max_log: 100_000,
            clock: Clock::system(),
        }
    }
}

/// A running simulator. It stops when dropped; [`Simulator::shutdown`] also waits until it has.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    control: Control,
    server: Server,
}

impl Simulator {
    /// Binds the address and serves in background tasks.
    ///
    /// # Errors
    /// When the address cannot be bound, or when `speed` is not above 0 and finite or `max_jobs` is 0
    /// ([`io::ErrorKind::InvalidInput`]).
    pub async fn start(settings: SimulatorSettings) -> io::Result<Self> {
        let invalid = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if !(settings.speed.is_finite() && settings.speed > 0.0) {
            return invalid("the simulator's speed must be finite and above 0");
        }
        if settings.max_jobs == 0 {
            return invalid("the simulator needs room for a job");
        }
        let inner = TcpListener::bind(settings.listen).await?;
        let address = inner.local_addr()?;
        let stop = CancellationToken::new();
        let control = Control::new(settings, format!("http://{address}"), stop.clone());
        let router = dialects::api(&control)
            .merge(control_routes::routes())
            .with_state(control.clone())
            .into_make_service_with_connect_info::<socket::PaceHandle>();
        let listener = socket::Acceptor {
            inner,
            stop: stop.clone(),
        };
        let stopped = stop.clone().cancelled_owned();
        let serve = axum::serve(listener, router).with_graceful_shutdown(stopped);
        Ok(Self {
            address,
            control,
            server: Server::spawn(stop, serve.into_future()),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://ADDRESS:PORT`, without a slash at its end.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.control.base_url()
    }

    /// A handle that controls it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Closes every connection, also those on which a fault hangs, and waits until they are closed.
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}
