//! A client of the status server that sees headers too, and requests that are under way while a test goes on.

use std::sync::Arc;

use jobtrackd::clock::Clock;
use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::support::world::World;

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The values of a field of all rows of a list.
    pub(super) fn column(&self, field: &str) -> Vec<String> {
        let json = self.json();
        assert_eq!(
            (self.status, &json["type"]),
            (200, &"list".into()),
            "{self:?}"
        );
        let rows = json["data"].as_array().unwrap();
        let text = |value: &Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        rows.iter().map(|row| text(&row[field])).collect()
    }

    /// Where the list goes on.
    pub(super) fn next(&self) -> Option<String> {
        self.json()["next"].as_str().map(str::to_owned)
    }

    /// That it is a refusal in the API's envelope, of this status and code.
    pub(super) fn refused(&self, status: u16, code: &str) {
        let error = &self.json()["data"][0];
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            (&error["type"], &error["code"]),
            (&"error".into(), &code.into())
        );
        assert!(error["title"].is_string() && error["detail"].is_string());
    }
}

/// A request to the daemon that runs now.
pub(super) fn request(world: &mut World, method: Method, path: &str) -> RequestBuilder {
    let address = world.daemon().status_address().unwrap();
    jobtrackd::tls::install_provider();
    let client = Client::builder().no_proxy().build().unwrap();
    let reads = method.is_safe();
    let request = client.request(method, format!("http://{address}{path}"));
    if reads {
        request
    } else {
        request.header("content-type", "application/json")
    }
}

async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        text: answer.text().await.unwrap(),
    }
}

/// Its answer, with time paused meanwhile.
pub(super) async fn answer(world: &World, request: RequestBuilder) -> Answer {
    world.clock.held(send(request)).await
}

pub(super) async fn get(world: &mut World, path: &str) -> Answer {
    let request = request(world, Method::GET, path);
    answer(world, request).await
}

pub(super) async fn post(world: &mut World, body: &str) -> Answer {
    let request = request(world, Method::POST, "/jobs").body(body.to_owned());
    answer(world, request).await
}

/// Looks, with time paused, until something is so.
pub(super) async fn until(clock: &Clock, what: &str, mut happened: impl FnMut() -> bool) {
    for _ in 0..200_000 {
        if happened() {
            return;
        }
        let breath = tokio::task::spawn_blocking(std::thread::yield_now);
        clock.held(breath).await.unwrap();
    }
    panic!("it did not happen: {what}");
}

/// A request that waits at the server.
pub(super) struct Waiter {
    task: JoinHandle<Answer>,
}

impl Waiter {
    /// Sends it, and returns once it waits.
    pub(super) async fn start(world: &mut World, path: &str, tag: Option<&str>) -> Self {
        let before = world.daemon().waiting().waits();
        let mut request = request(world, Method::GET, path);
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        let task = tokio::spawn(send(request));
        let clock = world.clock.clone();
        let waiting = world.daemon().waiting().clone();
        until(&clock, "it waits", || waiting.waits() > before).await;
        Self { task }
    }

    pub(super) fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Its answer, with time paused meanwhile.
    pub(super) async fn answer(self, world: &World) -> Answer {
        world.clock.held(self.task).await.unwrap()
    }
}

/// A stream of events that is read as it comes.
pub(super) struct Listener {
    text: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Opens it behind the event with this id, and returns once the server streams.
    pub(super) async fn start(world: &mut World, path: &str, last: Option<&str>) -> Self {
        let mut request = request(world, Method::GET, path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        Self::open(request, &world.clock).await
    }

    /// The same with a request that is ready.
    pub(super) async fn open(request: RequestBuilder, clock: &Clock) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let received = Arc::clone(&text);
        let task = tokio::spawn(async move {
            let mut answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["content-type"], "text/event-stream");
            while let Ok(Some(chunk)) = answer.chunk().await {
                let chunk = String::from_utf8(chunk.to_vec()).unwrap();
                received.lock().push_str(&chunk);
            }
        });
        let listener = Self { text, task };
        listener.hears(clock, "retry: ").await;
        listener
    }

    pub(super) fn text(&self) -> String {
        self.text.lock().clone()
    }

    /// Waits, with time paused, until it has received this.
    pub(super) async fn hears(&self, clock: &Clock, words: &str) {
        until(clock, words, || self.text().contains(words)).await;
    }

    /// The values of a field, in order.
    pub(super) fn field(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let start = format!("{name}: ");
        let values = text.lines().filter_map(|line| line.strip_prefix(&start));
        values.map(str::to_owned).collect()
    }

    /// Waits, with time paused, until the server has ended it.
    pub(super) async fn ended(&self, clock: &Clock) {
        until(clock, "the stream ends", || self.task.is_finished()).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}
