//! The simulator, from outside: over HTTP and through its control handle.

use std::time::Duration;

use jobtrackd::clock::Clock;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::simulator::{Control, Simulator, SimulatorSettings, Step};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;

mod access;
mod azure;
mod conditional;
mod dialects;
mod faults;
mod google_lro;
mod http_status;
mod json_tasks;
mod openai_batch;
mod receiver;
mod scenarios;
mod scripts;

const START: UnixMillis = UnixMillis(1_795_359_845_000);

struct Stage {
    clock: Clock,
    client: reqwest::Client,
    simulator: Simulator,
    control: Control,
    token: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    retry_after: Option<String>,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn error(&self) -> (u16, String, String) {
        let body = self.json();
        assert_eq!(body["type"], "list");
        assert!(body["correlationId"].is_string());
        let error = &body["data"][0];
        assert_eq!(error["type"], "error");
        let word = |key: &str| error[key].as_str().expect("a text").to_owned();
        (self.status.as_u16(), word("code"), word("detail"))
    }
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy();
    client
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

impl Stage {
    async fn set(settings: SimulatorSettings) -> Self {
        let mut stage = Self::with_key("", settings).await;
        stage.token = stage.new_token("scope=SERVER_ACCESS").await;
        stage
    }

    /// One that speaks this dialect and takes any key.
    async fn speaking(dialect: &str) -> Self {
        let settings = SimulatorSettings {
            dialect: dialect.parse().expect("a dialect"),
            ..SimulatorSettings::default()
        };
        Self::with_key("any-key", settings).await
    }

    async fn with_key(key: &str, settings: SimulatorSettings) -> Self {
        let clock = Clock::driven(START);
        let simulator = Simulator::start(SimulatorSettings {
            clock: clock.clone(),
            ..settings
        })
        .await
        .expect("a free port");
        Self {
            clock,
            client: client(),
            control: simulator.control(),
            simulator,
            token: key.to_owned(),
        }
    }

    async fn plain() -> Self {
        Self::set(SimulatorSettings::default()).await
    }

    async fn new_token(&self, form: &str) -> String {
        let answer = self.ask_token("Basic a2V5", Some("3.0"), form).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["access_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    async fn ask_token(&self, key: &str, version: Option<&str>, form: &str) -> Answer {
        let mut request = self
            .client
            .post(format!("{}/token", self.control.base_url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form.to_owned());
        if !key.is_empty() {
            request = request.header("authorization", key);
        }
        if let Some(version) = version {
            request = request.header("basiq-version", version);
        }
        self.send(request).await.expect("an answer")
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
        self.clock.held(send(request)).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client
            .request(method, format!("{}{path}", self.control.base_url()))
            .bearer_auth(&self.token)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path))
            .await
            .expect("an answer")
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).body(body.to_string());
        self.send(request).await.expect("an answer")
    }

    async fn call(&self, method: Method, path: &str) -> Answer {
        self.send(self.request(method, path))
            .await
            .expect("an answer")
    }

    async fn job(&self, id: &str) -> Value {
        let answer = self.get(&format!("/jobs/{id}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }

    async fn later(&self, ms: u64) {
        tokio::time::advance(Duration::from_millis(ms)).await;
    }
}

async fn send(request: reqwest::RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let headers = response.headers().clone();
    let retry_after = headers.get("retry-after");
    Ok(Answer {
        status: response.status(),
        retry_after: retry_after.map(|value| value.to_str().expect("ascii").to_owned()),
        headers,
        text: response.text().await?,
    })
}

fn statuses(job: &Value) -> Vec<String> {
    let steps = job["steps"].as_array().expect("steps");
    let status = |step: &Value| step["status"].as_str().expect("a status").to_owned();
    steps.iter().map(status).collect()
}

fn one_step(status: &str) -> Vec<Step> {
    vec![Step::new("create-report", status)]
}
