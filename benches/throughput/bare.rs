//! What the daemon is compared with: loops of HTTP clients that store nothing and decide nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use bytes::Bytes;
use http::header::{ACCEPT, HeaderValue};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jobtrackd::clock::Clock;
use jobtrackd::config::{Sources, load};
use jobtrackd::measuring::processor_time;
use jobtrackd::sockets::Sockets;
use jobtrackd::webhook::{Message, Sender, WebhookSettings};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::delivering::BODY;

/// `polls BASE IN_FLIGHT COUNT`: GETs of jobs, read to their end, with the client of the daemon's polls; `reqwest-polls` with the
/// one that most services use. `ends BASE IN_FLIGHT COUNT CONFIGURATION`: each followed by a signed POST with what came. `posts
/// BASE IN_FLIGHT COUNT CONFIGURATION`: signed POSTs alone. Says how many seconds it took and how many of them on the processor.
pub(crate) async fn run(what: &str, arguments: &[String]) -> anyhow::Result<()> {
    let [base, in_flight, count, rest @ ..] = arguments else {
        anyhow::bail!("bare {what} BASE IN_FLIGHT COUNT [CONFIGURATION]");
    };
    let (in_flight, count): (usize, u64) = (in_flight.parse()?, count.parse()?);
    let prefix = if what == "ends" { "end" } else { "job" };
    let mut work = Work::new(format!("{base}/jobs/{prefix}"), in_flight, rest.first())?;
    if what == "reqwest-polls" {
        work.client = Client::Reqwest(reqwest_client(in_flight)?);
    }
    if what == "posts" {
        work.body = Some(Bytes::from(vec![b'x'; BODY]));
    }
    let work = Arc::new(work);
    // So that every connection is there.
    round(&work, in_flight, count / 5).await?;
    let (begun, spent) = (Instant::now(), processor_time("self")?);
    round(&work, in_flight, count).await?;
    let cpu = processor_time("self")?.saturating_sub(spent).as_secs_f64();
    println!("{} {cpu}", begun.elapsed().as_secs_f64());
    Ok(())
}

/// What polls are sent with.
enum Client {
    Hyper(Box<legacy::Client<HttpConnector, Empty<Bytes>>>),
    Reqwest(reqwest::Client),
}

/// The clients of a loop.
pub(crate) struct Work {
    client: Client,
    /// What the URLs of its jobs begin with.
    jobs: String,
    /// What is sent, if nothing is asked before.
    body: Option<Bytes>,
    sender: Option<(Sender, WebhookSettings)>,
}

async fn round(work: &Arc<Work>, in_flight: usize, count: u64) -> anyhow::Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (work, next) = (Arc::clone(work), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, anyhow::Error>(());
                }
                work.one(number).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.context("a task of the bare loop")??;
    }
    Ok(())
}

impl Work {
    /// With the webhook of this configuration, if there is one.
    pub(crate) fn new(
        jobs: String,
        in_flight: usize,
        configuration: Option<&String>,
    ) -> anyhow::Result<Self> {
        let sender = configuration.map(|file| sender(file)).transpose()?;
        Ok(Self {
            client: Client::Hyper(Box::new(hyper_client(in_flight))),
            jobs,
            body: None,
            sender,
        })
    }

    async fn one(&self, number: u64) -> anyhow::Result<()> {
        let body = match &self.body {
            Some(body) => body.clone(),
            None => self.get(number).await?,
        };
        self.tell(body).await;
        Ok(())
    }

    /// What the API says of a job.
    pub(crate) async fn get(&self, number: u64) -> anyhow::Result<Bytes> {
        let url = format!("{}-{number}", self.jobs);
        let json = HeaderValue::from_static("application/json");
        let (status, body) = match &self.client {
            Client::Hyper(client) => {
                let mut request = Request::new(Empty::new());
                *request.uri_mut() = Uri::try_from(url)?;
                request.headers_mut().insert(ACCEPT, json);
                let answer = client.request(request).await?;
                let status = answer.status();
                (status, answer.into_body().collect().await?.to_bytes())
            }
            Client::Reqwest(client) => {
                let answer = client.get(url).header(ACCEPT, json).send().await?;
                (answer.status(), answer.bytes().await?)
            }
        };
        anyhow::ensure!(status.is_success(), "the upstream refuses");
        Ok(body)
    }

    /// Tells the webhook, if there is one.
    pub(crate) async fn tell(&self, body: Bytes) {
        if let Some((sender, webhook)) = &self.sender {
            let message = Message {
                id: "evt_0123456789abcdef0123456789abcdef",
                body,
                attempt: 1,
                is_replay: false,
            };
            // One that was not sent is missed by the receiver, who is asked.
            let _ = sender.send(webhook, &message).await;
        }
    }
}

fn hyper_client(in_flight: usize) -> legacy::Client<HttpConnector, Empty<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_max_idle_per_host(in_flight)
        .build(connector)
}

fn reqwest_client(in_flight: usize) -> anyhow::Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .pool_max_idle_per_host(in_flight)
        .build()?)
}

/// The daemon's own sender, with the webhook of this configuration.
fn sender(configuration: &str) -> anyhow::Result<(Sender, WebhookSettings)> {
    let sources = Sources {
        file: Some(configuration.into()),
        ..Sources::default()
    };
    let webhooks = load(&sources)?.webhooks;
    let webhook = webhooks.first().context("not a webhook")?.clone();
    let sender = Sender::new(Clock::system(), &webhooks, Sockets::default())?;
    Ok((sender, webhook))
}
