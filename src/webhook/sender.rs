//! One attempt: sign, POST, judge the status line.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, RequestBuilder, redirect, retry};
use tokio::time::{Instant, timeout};

use super::answer;
use super::guard::judge_host;
use super::outcome;
use super::resolver::GuardedResolver;
use super::settings::WebhookSettings;
use super::shown::Shown;
use super::trust::Trust;
use crate::clock::{Clock, Renewed};
use crate::core::answer::{Answer, Cut};
use crate::core::delivery::{AttemptErrorClass, AttemptResult, Directive, WebhookName};
use crate::core::redact::Redactor;
use crate::core::signature::signature_header;
use crate::core::time::UnixMillis;
use crate::core::trace::traceparent;
use crate::sockets::{Shortage, Sockets, shortage_behind};

/// Longest wait for a new connection: lookup, TCP and TLS together.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// How long the connections of one client are used: a busy one would never learn of another address of its host.
const LONGEST_LIFE: Duration = Duration::from_secs(5 * 60);

/// Longest life of an idle connection, below the 60 s after which common proxies close theirs.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

/// Most idle connections kept per origin. Webhooks at one origin share them.
const MAX_IDLE_PER_HOST: usize = 32;

/// How requests name their sender.
pub(super) const USER_AGENT: &str = concat!("jobtrackd/", env!("CARGO_PKG_VERSION"));

/// Sends events to webhooks: without redirects, proxies or cookies, over HTTP/1.1, and only to permitted addresses.
///
/// Made once and shared; a clone uses the same connections. It knows nothing of schedules: one call is one request.
#[derive(Debug, Clone)]
pub struct Sender {
    clock: Clock,
    clients: Arc<Clients>,
    sockets: Sockets,
}

#[derive(Debug)]
struct Clients {
    public_only: Renewed<Client>,
    with_private: Renewed<Client>,
    /// Of webhooks with TLS of their own.
    own: HashMap<WebhookName, Renewed<Client>>,
    /// What of each webhook must not be kept; made once and not at every attempt.
    redactors: HashMap<WebhookName, Arc<Redactor>>,
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// The event's id, sent as `webhook-id`; the same at every attempt.
    pub id: &'a str,
    /// The exact bytes of the event, signed and sent as they are.
    pub body: Bytes,
    /// 1, 2, 3 … per event and webhook, sent as `webhook-attempt`.
    pub attempt: u32,
    /// Whether an operator has asked for it again, which `webhook-replay: true` says.
    pub is_replay: bool,
}

/// One attempt, over and done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptReport {
    /// What it brought.
    pub result: AttemptResult,
    /// What the answer asks for besides.
    pub directive: Option<Directive>,
    /// The beginning of the answer's body.
    pub answer: Option<Answer>,
    /// When it began; its second is the `webhook-timestamp`.
    pub started_at: UnixMillis,
    /// How long it took, the answer's body included.
    pub duration: Duration,
}

/// What became of one request.
struct Exchanged {
    result: AttemptResult,
    directive: Option<Directive>,
    answer: Option<Answer>,
}

impl From<AttemptResult> for Exchanged {
    /// Without an answer.
    fn from(result: AttemptResult) -> Self {
        Self {
            result,
            directive: None,
            answer: None,
        }
    }
}

/// The sender could not be made.
#[derive(Debug, thiserror::Error)]
#[error("failed to prepare the client for webhooks")]
pub struct SenderError(#[from] reqwest::Error);

impl Sender {
    /// Prepares the clients: one for webhooks that may be at private addresses and one for the others, as reqwest's
    /// resolver is told a name only, so that the permission cannot be chosen by request; and one for each of `webhooks`
    /// that has TLS of its own.
    ///
    /// Without any CA certificates on the system every https webhook fails with [`AttemptErrorClass::Tls`], and a warning
    /// says so now.
    ///
    /// # Errors
    /// [`SenderError`] when the HTTP library refuses.
    pub fn new(clock: Clock, webhooks: &[WebhookSettings]) -> Result<Self, SenderError> {
        crate::tls::install_provider();
        let plain = Trust::default();
        let (public_only, trusting) = renewed(false, &plain)?;
        let (with_private, _) = renewed(true, &plain)?;
        let mut own = HashMap::new();
        for webhook in webhooks.iter().filter(|webhook| !webhook.trust.is_plain()) {
            let (client, _) = renewed(webhook.allow_private, &webhook.trust)?;
            own.insert(webhook.name.clone(), client);
        }
        let redactors = webhooks
            .iter()
            .map(|webhook| (webhook.name.clone(), Arc::new(webhook.redactor())));
        if !trusting {
            tracing::warn!(
                "no CA certificates were found (package ca-certificates); https webhooks cannot be told"
            );
        }
        Ok(Self {
            clock,
            clients: Arc::new(Clients {
                public_only,
                with_private,
                own,
                redactors: redactors.collect(),
            }),
            sockets: Sockets::default(),
        })
    }

    /// The same sender, which notes with others what connections are short of.
    #[must_use]
    pub fn sharing(self, sockets: Sockets) -> Self {
        Self { sockets, ..self }
    }

    /// Makes one attempt. It ends within `webhook.timeout`, and dropping the future cancels it.
    ///
    /// # Errors
    /// [`Shortage`], after a pause, when no connection could be opened for want of something of our own: nothing was sent,
    /// and it says nothing of the receiver.
    pub async fn send(
        &self,
        webhook: &WebhookSettings,
        message: &Message<'_>,
    ) -> Result<AttemptReport, Shortage> {
        let started_at = self.clock.now();
        let request = self.request(webhook, message, started_at);
        let attempt = self.attempt(webhook, request, started_at).await;
        if let Err(shortage) = attempt {
            self.sockets.wait(shortage).await;
        }
        attempt
    }

    /// The same, and the request as it was sent, for people.
    ///
    /// # Errors
    /// As those of [`Sender::send`], without the pause.
    pub async fn send_and_show(
        &self,
        webhook: &WebhookSettings,
        message: &Message<'_>,
    ) -> Result<(AttemptReport, Shown), Shortage> {
        let started_at = self.clock.now();
        let request = self.request(webhook, message, started_at);
        let shown = Shown::of(request.as_ref(), message.body.len());
        let report = self.attempt(webhook, request, started_at).await?;
        Ok((report, shown))
    }

    async fn attempt(
        &self,
        webhook: &WebhookSettings,
        request: Option<RequestBuilder>,
        started_at: UnixMillis,
    ) -> Result<AttemptReport, Shortage> {
        let started = Instant::now();
        let attempt = self.exchange(webhook, request, started);
        let Exchanged {
            result,
            directive,
            answer,
        } = self.clock.held(attempt).await?;
        Ok(AttemptReport {
            result,
            directive,
            answer,
            started_at,
            duration: started.elapsed(),
        })
    }

    /// Asks the webhook for its head (HEAD, which changes nothing) and answers with the status, whatever it is.
    ///
    /// # Errors
    /// Why no status came: a class and one line for people.
    pub async fn reach(
        &self,
        webhook: &WebhookSettings,
    ) -> Result<u16, (AttemptErrorClass, String)> {
        let client = self.client_for(webhook);
        let request = webhook.url.clone().map(|url| client.head(url));
        let started = Instant::now();
        let asking = self.exchange(webhook, request, started);
        let asked = self.clock.held(asking).await;
        let asked = asked.map_err(|short| (AttemptErrorClass::Connect, short.to_string()))?;
        match asked.result {
            AttemptResult::Unreachable { class, detail } => Err((class, detail)),
            answered => Ok(answered.status().unwrap_or_default()),
        }
    }

    async fn exchange(
        &self,
        webhook: &WebhookSettings,
        request: Option<RequestBuilder>,
        started: Instant,
    ) -> Result<Exchanged, Shortage> {
        let secrets = self.redactor_for(webhook);
        let mut exchanged = self.exchanged(webhook, request, started, &secrets).await?;
        if let AttemptResult::Refused { detail, .. } | AttemptResult::Unreachable { detail, .. } =
            &mut exchanged.result
        {
            *detail = secrets.hide_text(detail);
        }
        Ok(exchanged)
    }

    async fn exchanged(
        &self,
        webhook: &WebhookSettings,
        request: Option<RequestBuilder>,
        started: Instant,
        secrets: &Redactor,
    ) -> Result<Exchanged, Shortage> {
        let (Some(url), Some(mut request)) = (&webhook.url, request) else {
            return Ok(outcome::of_no_url().into());
        };
        // An address in the URL never reaches the resolver.
        let verdict = url.host().as_ref().and_then(judge_host);
        if let Some(verdict) = verdict
            && !verdict.permits(webhook.allow_private)
        {
            return Ok(outcome::of_forbidden_address(verdict).into());
        }
        if self.sockets.shortage().is_some() {
            request = request.header(CONNECTION, "close");
        }
        let response = match timeout(webhook.timeout, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let shortage = Some(&error).filter(|error| error.is_connect());
                return match shortage.and_then(|error| shortage_behind(error)) {
                    Some(shortage) => Err(shortage),
                    None => Ok(outcome::of_error(error, url).into()),
                };
            }
            Err(_) => return Ok(outcome::of_silence(webhook.timeout).into()),
        };
        let mut result = outcome::of_answer(&response, self.clock.now());
        let directive = outcome::directive(response.headers());
        let left = webhook.timeout.saturating_sub(started.elapsed());
        // Whatever becomes of the body, the status line has decided; a body that drips is only told of.
        let answer = answer::read(response, secrets, left).await;
        if let AttemptResult::Refused { too_slow, .. } = &mut result {
            *too_slow = answer
                .as_ref()
                .is_some_and(|answer| answer.cut == Some(Cut::TooSlow));
        }
        Ok(Exchanged {
            result,
            directive,
            answer,
        })
    }

    fn request(
        &self,
        webhook: &WebhookSettings,
        message: &Message<'_>,
        started_at: UnixMillis,
    ) -> Option<RequestBuilder> {
        let url = webhook.url.clone()?;
        let timestamp = started_at.seconds();
        let signature = signature_header(&webhook.keys, message.id, timestamp, &message.body);
        let mut headers = HeaderMap::new();
        for header in &webhook.headers {
            header.add_to(&mut headers);
        }
        if message.is_replay {
            headers.insert("webhook-replay", HeaderValue::from_static("true"));
        }
        let trace = traceparent(message.id, webhook.name.as_str(), message.attempt);
        if let Some(trace) = trace.and_then(|trace| HeaderValue::from_str(&trace).ok()) {
            headers.insert("traceparent", trace);
        }
        let request = self.client_for(webhook).post(url);
        let request = request
            .headers(headers)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header("webhook-id", message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .header("webhook-attempt", message.attempt)
            .body(message.body.clone());
        Some(request)
    }

    fn redactor_for(&self, webhook: &WebhookSettings) -> Arc<Redactor> {
        let made = self.clients.redactors.get(&webhook.name);
        made.map_or_else(|| Arc::new(webhook.redactor()), Arc::clone)
    }

    fn client_for(&self, webhook: &WebhookSettings) -> Client {
        let clients = &self.clients;
        let client = if let Some(own) = clients.own.get(&webhook.name) {
            own
        } else if webhook.allow_private {
            &clients.with_private
        } else {
            &clients.public_only
        };
        client.get()
    }
}

/// A client that is made anew now and then, and whether it trusts any CA.
fn renewed(allow_private: bool, trust: &Trust) -> Result<(Renewed<Client>, bool), reqwest::Error> {
    let (first, trusting) = client(allow_private, trust)?;
    let trust = trust.clone();
    // Certificates that cannot be read just now are no reason to trust none.
    let again = move || match client(allow_private, &trust) {
        Ok((client, trusts)) if trusts || !trusting => Some(client),
        _ => None,
    };
    Ok((Renewed::new(LONGEST_LIFE, first, again), trusting))
}

/// A client, and whether it trusts any CA.
fn client(allow_private: bool, trust: &Trust) -> Result<(Client, bool), reqwest::Error> {
    let builder = || trust.apply(builder(allow_private));
    match builder().build() {
        Ok(client) => Ok((client, true)),
        Err(_) => {
            let client = builder().tls_certs_only([]).build()?;
            Ok((client, false))
        }
    }
}

fn builder(allow_private: bool) -> ClientBuilder {
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .no_proxy()
        .http1_only()
        .dns_resolver(Arc::new(GuardedResolver { allow_private }))
        .connect_timeout(CONNECT_LIMIT)
        .pool_idle_timeout(IDLE_LIMIT)
        .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
}
