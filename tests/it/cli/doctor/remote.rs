//! Over the network: the API, its clock, webhooks, and the daemon's own status server.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::{get, head};
use jobtrackd::clock::Clock;
use jobtrackd::simulator::{Simulator, SimulatorSettings};
use serde_json::json;
use tokio::net::{TcpListener, UnixListener};

use super::Patient;

pub(super) const KEY: &str = "dGhlLWtleQ==";

pub(super) async fn simulator() -> Simulator {
    let settings = SimulatorSettings {
        api_key: Some(KEY.to_owned()),
        ..SimulatorSettings::default()
    };
    Simulator::start(settings).await.unwrap()
}

async fn served(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// An address where nobody listens any more.
async fn closed() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// An API that knows no job, with a clock so many seconds away from ours.
async fn api_off_by(seconds: i64) -> String {
    let address = served(Router::new().fallback(async move || {
        let now = Clock::system().now().seconds() + seconds;
        let date = jiff::Timestamp::from_second(now).unwrap();
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        let error = json!({"type": "error", "code": "resource-not-found", "title": "Not found"});
        let body = axum::Json(json!({"type": "list", "data": [error]}));
        (StatusCode::NOT_FOUND, [("date", date)], body).into_response()
    }))
    .await;
    format!("http://{address}")
}

#[tokio::test]
async fn the_step_on_the_way_to_the_api_that_fails_is_named() {
    let mut patient = Patient::migrated();
    patient.set("UPSTREAM__BASE_URL", "https://jobs.invalid");
    patient
        .visited()
        .await
        .has(
            "upstream.name",
            "problem",
            "jobs.invalid is not found",
            "getent hosts jobs.invalid",
        )
        .ends(1);

    let nobody = closed().await;
    patient.set("UPSTREAM__BASE_URL", &format!("http://{nobody}"));
    patient.visited().await.has(
        "upstream.connection",
        "problem",
        "Connection refused",
        "curl -sv",
    );

    let plain = served(Router::new()).await;
    patient.set("UPSTREAM__BASE_URL", &format!("https://{plain}"));
    patient.visited().await.has(
        "upstream.tls",
        "problem",
        "no connection",
        "openssl s_client -connect 127.0.0.1:",
    );

    let broken = served(Router::new().fallback(async || StatusCode::BAD_GATEWAY)).await;
    patient.set("UPSTREAM__BASE_URL", &format!("http://{broken}"));
    patient.visited().await.has(
        "upstream.answer",
        "problem",
        "HTTP 502",
        "upstream.base_url",
    );

    let busy = served(Router::new().fallback(async || StatusCode::TOO_MANY_REQUESTS)).await;
    patient.set("UPSTREAM__BASE_URL", &format!("http://{busy}"));
    patient.visited().await.has(
        "upstream.throttled",
        "problem",
        "HTTP 429",
        "requests_per_second",
    );
}

#[tokio::test]
async fn a_key_that_the_api_refuses_is_a_problem_and_is_not_repeated() {
    let simulator = simulator().await;
    let mut patient = Patient::migrated();
    patient.set("UPSTREAM__AUTH", "basiq");
    patient.set("UPSTREAM__API_KEY", "d3Jvbmc=");
    patient.set("UPSTREAM__BASE_URL", simulator.base_url());
    let report = patient.visited().await;
    report
        .has(
            "upstream.credentials",
            "problem",
            "refuses our credentials",
            "systemctl restart",
        )
        .ends(1);
    assert!(!report.0.out.contains("d3Jvbmc="));
}

#[tokio::test]
async fn the_step_on_the_way_to_the_token_endpoint_that_fails_is_named() {
    let refusing = Router::new().fallback(async || {
        let error = json!({"error": "invalid_client", "error_description": "no canary-secret"});
        (StatusCode::UNAUTHORIZED, axum::Json(error))
    });
    let page = Router::new().fallback(async || "<html>");
    let (refusing, page, nobody) = (served(refusing).await, served(page).await, closed().await);
    let mut patient = Patient::migrated();
    patient.set("UPSTREAM__BASE_URL", &api_off_by(0).await);
    patient.set("UPSTREAM__AUTH", "oauth2");
    patient.set("UPSTREAM__CLIENT_ID", "id");
    patient.set("UPSTREAM__CLIENT_SECRET", "canary-secret");
    for (token_url, check, says, advises) in [
        (
            "https://login.invalid/token".to_owned(),
            "upstream.name",
            "login.invalid is not found",
            "getent hosts login.invalid".to_owned(),
        ),
        (
            format!("http://{nobody}/token?policy=x"),
            "upstream.connection",
            "Connection refused",
            format!("curl -sv -o /dev/null http://{nobody}/token"),
        ),
        (
            format!("https://{refusing}/token"),
            "upstream.tls",
            "no token for the upstream",
            format!("openssl s_client -connect {refusing}"),
        ),
        (
            format!("http://{refusing}/token"),
            "upstream.credentials",
            "HTTP 401, invalid_client (no ***)",
            "client secret of [upstream] is wrong".to_owned(),
        ),
        (
            format!("http://{page}/token?policy=x"),
            "upstream.answer",
            "is upstream.token_url right",
            format!("curl -sv http://{page}/token"),
        ),
    ] {
        patient.set("UPSTREAM__TOKEN_URL", &token_url);
        let report = patient.visited().await;
        report.has(check, "problem", says, &advises).ends(1);
        assert!(!report.0.out.contains("canary"), "{:?}", report.0);
    }
}

#[tokio::test]
async fn a_clock_that_differs_from_the_apis_is_said_before_receivers_refuse_signatures() {
    let mut patient = Patient::migrated();
    for (seconds, level, says) in [
        (0, "ok", "agree"),
        (-120, "warning", "ahead of the API's"),
        (3600, "problem", "behind the API's"),
    ] {
        patient.set("UPSTREAM__BASE_URL", &api_off_by(seconds).await);
        patient
            .visited()
            .await
            .has(
                "clock.upstream",
                level,
                says,
                if level == "ok" { "" } else { "set-ntp true" },
            )
            .has("upstream.answer", "ok", "HTTP 404, as expected", "");
    }
}

#[tokio::test]
async fn webhooks_that_cannot_be_reached_are_distinguished() {
    let open = served(Router::new().route("/hook", head(async || StatusCode::NO_CONTENT))).await;
    let nobody = closed().await;
    let mut patient = Patient::migrated();
    patient.set("UPSTREAM__BASE_URL", &api_off_by(0).await);
    patient.webhook("GOOD", &format!("http://{open}/hook"));
    patient.set("WEBHOOKS__GOOD__ALLOW_PRIVATE", "true");
    patient.webhook("DOWN", &format!("http://{nobody}/hook?token=canary"));
    patient.set("WEBHOOKS__DOWN__ALLOW_PRIVATE", "true");
    patient.webhook("INSIDE", &format!("http://localhost:{}/hook", open.port()));
    patient.webhook("LOST", "https://hooks.invalid/x");
    let report = patient.visited().await;
    report
        .has(
            "webhook.reach",
            "ok",
            "webhook good: can be reached (HEAD answered with 204)",
            "",
        )
        .has(
            "webhook.reach",
            "problem",
            "webhook down: connect",
            "curl -sv",
        )
        .has(
            "webhook.reach",
            "problem",
            "webhook inside: blocked",
            "allow_private = true in [webhooks.inside]",
        )
        .has(
            "webhook.reach",
            "problem",
            "webhook lost: dns",
            "getent hosts hooks.invalid",
        )
        .ends(1);
    assert!(!report.0.out.contains("canary"));
    let mut command = patient.command(&["check"]);
    let said = tokio::task::spawn_blocking(move || command.output().unwrap());
    let said = super::Said::from(said.await.unwrap());
    assert_eq!(said.err, "error: 3 checks failed\n", "{}", said.out);
}

#[tokio::test]
async fn check_shows_what_is_read_of_a_job_and_why_another_is_not() {
    let task = |body: serde_json::Value| get(async move || axum::Json(body));
    let api = served(
        Router::new()
            .route("/tasks/7", task(json!({"task": {"state": "BUSY"}})))
            .route("/elsewhere", task(json!({"task": {"state": "DONE"}})))
            .route("/tasks/9", task(json!({"state": "DONE"}))),
    )
    .await;
    let mut patient = Patient::migrated();
    for (key, value) in [
        ("UPSTREAM__BASE_URL", format!("http://{api}")),
        ("UPSTREAM__AUTH", "none".to_owned()),
        ("UPSTREAM__DIALECT", "json".to_owned()),
        ("UPSTREAM__JOB_PATH", "/tasks/{id}".to_owned()),
        ("UPSTREAM__JSON__STATUS", "/task/state".to_owned()),
        ("UPSTREAM__JSON__SUCCESS", "DONE".to_owned()),
    ] {
        patient.set(key, &value);
    }
    let enqueued = patient.run(&["enqueue", "8", "--url", "/elsewhere"]);
    assert_eq!(enqueued.code, 0, "{}", enqueued.err);
    for (id, code, shown) in [
        (
            "7",
            0,
            "7, read as json: it runs; operation = BUSY (running)",
        ),
        (
            "8",
            0,
            "8, read as json: it has ended well; operation = DONE (done)",
        ),
        (
            "9",
            1,
            "9 is not read as json: HTTP 200, but the answer has nothing at upstream.json.status (/task/state); correct",
        ),
        (
            "10",
            1,
            "10 is not read as json: HTTP 404, not in the API's own words",
        ),
    ] {
        let mut command = patient.command(&["check", "--job", id]);
        let said = tokio::task::spawn_blocking(move || command.output().unwrap());
        let said = super::Said::from(said.await.unwrap());
        assert_eq!(said.code, code, "{}", said.out);
        assert!(said.out.contains(shown), "{}", said.out);
    }
}

#[tokio::test]
async fn the_daemon_is_asked_how_it_is() {
    let body = json!({"status": "unready", "reasons": ["the disk is full", "a\u{1b}b"]});
    let unready = get(async move || (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)));
    let address = served(Router::new().route("/readyz", unready)).await;
    let mut patient = Patient::migrated();
    patient.set("STATUS__LISTEN", &address.to_string());
    patient.set("UPSTREAM__BASE_URL", &api_off_by(0).await);
    patient.visited().await.has(
        "daemon.ready",
        "problem",
        "though no daemon follows",
        "ss -ltnp",
    );

    let lock = patient.locked();
    patient
        .visited()
        .await
        .has(
            "daemon.ready",
            "problem",
            "unready: the disk is full; a\\u{1b}b",
            "journalctl",
        )
        .ends(1);

    let other = served(Router::new().fallback(async || "hello")).await;
    patient.set("STATUS__LISTEN", &other.to_string());
    patient.visited().await.has(
        "daemon.ready",
        "warning",
        "not jobtrackd's status server",
        "",
    );

    patient.set("STATUS__LISTEN", &closed().await.to_string());
    patient.visited().await.has(
        "daemon.ready",
        "warning",
        "gives no answer",
        "systemctl status",
    );
    drop(lock);
    patient
        .visited()
        .await
        .has("daemon.ready", "ok", "nobody listens", "");
}

#[tokio::test]
async fn the_daemon_is_asked_on_its_unix_socket_and_with_its_token() {
    let mut patient = Patient::migrated();
    let path = patient.shell.folder.path().join("status.sock");
    let ready = get(async |headers: HeaderMap| {
        let shown = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok());
        let reasons = match shown {
            Some("Bearer canary-7f3a-9c1e") => vec!["the token was shown"],
            _ => vec![],
        };
        axum::Json(json!({"status": "degraded", "reasons": reasons}))
    });
    let listener = UnixListener::bind(&path).unwrap();
    let router = Router::new().route("/readyz", ready);
    tokio::spawn(async move { axum::serve(listener, router).await });
    patient.set("STATUS__LISTEN", &format!("unix:{}", path.display()));
    patient.set("STATUS__TOKEN", "canary-7f3a-9c1e");
    patient.set("UPSTREAM__BASE_URL", &api_off_by(0).await);
    let ss = format!("ss -lxp src {}", path.display());
    let report = patient.visited().await;
    report.has("daemon.ready", "problem", "though no daemon follows", &ss);
    let _lock = patient.locked();
    let report = patient.visited().await;
    report.has(
        "daemon.ready",
        "warning",
        "degraded: the token was shown",
        "",
    );
    assert!(!format!("{:?}", report.0).contains("canary"));
}
