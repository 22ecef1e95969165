//! One attempt: sign, POST, evaluate the status line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Uri};
use http_body_util::Full;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};
use url::Url;

use super::answer;
use super::guard::judge_host;
use super::outcome;
use super::redacted::PrintedRequest;
use super::resolver::GuardedResolver;
use super::settings::WebhookSettings;
use super::trust::Trust;
use crate::clock::{Clock, Renewed};
use crate::core::answer::{Answer, Cut};
use crate::core::delivery::{
    AttemptErrorClass, AttemptReport, AttemptResult, Directive, WebhookName,
};
use crate::core::redact::Redactor;
use crate::core::signature::signature_header;
use crate::core::time::UnixMillis;
use crate::core::trace::traceparent;
use crate::sockets::connector::{Connector, Protocols};
use crate::sockets::{self, CONNECT_LIMIT, LONGEST_LIFE, Shortage, Sockets, shortage_of};

/// Longest life of an idle connection, below the 60 s after which common proxies close theirs.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

type Client = legacy::Client<Connector<GuardedResolver>, Full<Bytes>>;

type Request = http::Request<Full<Bytes>>;

/// Sends events to webhooks: without redirects, proxies or cookies, over HTTP/1.1, and only to permitted addresses.
///
/// A clone uses the same connections. It keeps no schedule: one call is one request.
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
    /// Of webhooks with TLS settings.
    own: BTreeMap<WebhookName, Renewed<Client>>,
    /// The secrets of each webhook, which must not be stored when a receiver repeats them.
    redactors: BTreeMap<WebhookName, Arc<Redactor>>,
}

/// A delivery to send.
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

/// The result of one request, what the answer asks for with `webhook-delivery`, and the beginning of its body.
type Exchanged = (AttemptResult, Option<Directive>, Option<Answer>);

/// The sender could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("failed to prepare the client for webhooks")]
pub struct SenderError(#[from] rustls::Error);

impl Sender {
    /// Sets up the clients: one for webhooks that may be at private addresses and one for the others, because a
    /// resolver gets a name only, so that the permission cannot be chosen by request; and one for each of `webhooks`
    /// that has TLS settings. `sockets` is shared with all clients: what connections are short of.
    ///
    /// Without any CA certificates on the system every https webhook fails with [`AttemptErrorClass::Tls`]; a warning is
    /// logged.
    ///
    /// # Errors
    /// [`SenderError`] when a client certificate cannot be used.
    pub fn new(
        clock: Clock,
        webhooks: &[WebhookSettings],
        sockets: Sockets,
    ) -> Result<Self, SenderError> {
        let plain = Trust::default();
        // For both: to read the system's certificates is a tenth of what a start takes.
        let tls = plain.client_config()?;
        let (_, trusting) = tls;
        let public_only = renewed(false, &plain, tls.clone());
        let with_private = renewed(true, &plain, tls);
        let mut own = BTreeMap::new();
        for webhook in webhooks.iter().filter(|webhook| !webhook.trust.is_plain()) {
            let tls = webhook.trust.client_config()?;
            let client = renewed(webhook.allow_private, &webhook.trust, tls);
            own.insert(webhook.name.clone(), client);
        }
        let redactors = webhooks
            .iter()
            .map(|webhook| (webhook.name.clone(), Arc::new(webhook.redactor())));
        if !trusting {
            tracing::warn!(
                "no CA certificates were found (package ca-certificates); https webhooks cannot be reached"
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
            sockets,
        })
    }

    /// Makes one attempt. It ends within `webhook.timeout`, and dropping the future cancels it.
    ///
    /// # Errors
    /// [`Shortage`], after a pause, when we lack what a connection needs: nothing was sent, and it says nothing about the
    /// receiver.
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
    /// Those of [`Sender::send`], without the pause.
    pub async fn send_and_print(
        &self,
        webhook: &WebhookSettings,
        message: &Message<'_>,
    ) -> Result<(AttemptReport, PrintedRequest), Shortage> {
        let started_at = self.clock.now();
        let request = self.request(webhook, message, started_at);
        let sent = request.as_ref().zip(webhook.url.as_ref());
        let printed =
            sent.map(|(request, url)| PrintedRequest::of(request, url, message.body.len()));
        let printed = printed.unwrap_or_default();
        let report = self.attempt(webhook, request, started_at).await?;
        Ok((report, printed))
    }

    /// Sends HEAD, which changes nothing, and returns the status, whatever it is.
    ///
    /// # Errors
    /// Why there is no status: a class and one line for people.
    pub async fn reach(
        &self,
        webhook: &WebhookSettings,
    ) -> Result<u16, (AttemptErrorClass, String)> {
        let request = webhook.url.as_ref();
        let request = request.and_then(|url| request_to(url, Method::HEAD, Bytes::new()));
        match self.attempt(webhook, request, self.clock.now()).await {
            Ok(AttemptReport {
                result: AttemptResult::Unreachable { class, detail },
                ..
            }) => Err((class, detail)),
            Ok(report) => Ok(report.result.status().unwrap_or_default()),
            Err(shortage) => Err((AttemptErrorClass::Connect, shortage.to_string())),
        }
    }

    async fn attempt(
        &self,
        webhook: &WebhookSettings,
        request: Option<Request>,
        started_at: UnixMillis,
    ) -> Result<AttemptReport, Shortage> {
        let secrets = self.redactor_for(webhook);
        let started = Instant::now();
        let exchange = self.exchange(webhook, request, started, &secrets);
        let (mut result, directive, answer) = self.clock.held(exchange).await?;
        if let AttemptResult::Refused { detail, .. } | AttemptResult::Unreachable { detail, .. } =
            &mut result
        {
            *detail = secrets.hide_text(detail);
        }
        Ok(AttemptReport {
            result,
            directive,
            answer,
            started_at,
            duration: started.elapsed(),
        })
    }

    async fn exchange(
        &self,
        webhook: &WebhookSettings,
        request: Option<Request>,
        started: Instant,
        secrets: &Redactor,
    ) -> Result<Exchanged, Shortage> {
        let without_answer = |result| Ok((result, None, None));
        let Some(url) = &webhook.url else {
            return without_answer(outcome::of_no_url());
        };
        let Some(mut request) = request else {
            return without_answer(outcome::of_unfit_request());
        };
        // An address in the URL never reaches the resolver.
        let verdict = url.host().as_ref().and_then(judge_host);
        if let Some(verdict) = verdict.filter(|verdict| !verdict.permits(webhook.allow_private)) {
            return without_answer(outcome::of_forbidden_address(verdict));
        }
        if self.sockets.shortage().is_some() {
            let close = HeaderValue::from_static("close");
            request.headers_mut().insert(CONNECTION, close);
        }
        let sent = self.client_for(webhook).request(request);
        let response = match timeout(webhook.timeout, sent).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => match shortage_of(&error) {
                Some(shortage) => return Err(shortage),
                None => return without_answer(outcome::of_error(&error, url)),
            },
            Err(_) => return without_answer(outcome::of_silence(webhook.timeout)),
        };
        let mut result = outcome::of_answer(&response, url, self.clock.now());
        let directive = outcome::directive(response.headers());
        let left = webhook.timeout.saturating_sub(started.elapsed());
        // The status line has decided; a body that breaks or is slow is only mentioned.
        let answer = answer::read(response, secrets, left).await;
        if let AttemptResult::Refused { too_slow, .. } = &mut result {
            let cut = answer.as_ref().and_then(|answer| answer.cut);
            *too_slow = cut == Some(Cut::TooSlow);
        }
        Ok((result, directive, answer))
    }

    fn request(
        &self,
        webhook: &WebhookSettings,
        message: &Message<'_>,
        started_at: UnixMillis,
    ) -> Option<Request> {
        let mut request = request_to(webhook.url.as_ref()?, Method::POST, message.body.clone())?;
        let timestamp = started_at.seconds();
        let signature = signature_header(&webhook.keys, message.id, timestamp, &message.body);
        let trace = traceparent(message.id, webhook.name.as_str(), message.attempt);
        let headers = request.headers_mut();
        for header in &webhook.headers {
            header.add_to(headers);
        }
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        if message.is_replay {
            headers.insert("webhook-replay", HeaderValue::from_static("true"));
        }
        if let Some(trace) = trace.and_then(|trace| HeaderValue::try_from(trace).ok()) {
            headers.insert("traceparent", trace);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert("webhook-id", HeaderValue::from_str(message.id).ok()?);
        headers.insert("webhook-timestamp", timestamp.into());
        headers.insert("webhook-signature", HeaderValue::try_from(signature).ok()?);
        headers.insert("webhook-attempt", message.attempt.into());
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

/// `None` if HTTP cannot have such a URL.
fn request_to(url: &Url, method: Method, body: Bytes) -> Option<Request> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = Uri::try_from(url.as_str()).ok()?;
    let user_agent = HeaderValue::from_static(sockets::USER_AGENT);
    request.headers_mut().insert(USER_AGENT, user_agent);
    Some(request)
}

/// A client that is replaced from time to time. `first` is what `trust` gives now: the TLS of the first one, and whether it
/// trusts any CA.
fn renewed(
    allow_private: bool,
    trust: &Trust,
    (first, trusting): (ClientConfig, bool),
) -> Renewed<Client> {
    let trust = trust.clone();
    // A client that trusts CAs is not replaced by one that trusts none: the certificates may be unreadable for a moment.
    let again = move || match trust.client_config() {
        Ok((tls, trusts)) if trusts || !trusting => Some(client(allow_private, tls)),
        _ => None,
    };
    Renewed::new(LONGEST_LIFE, client(allow_private, first), again)
}

/// It follows no redirect, knows no proxy, and sends a request twice only if a connection was closed before it took the first.
fn client(allow_private: bool, tls: ClientConfig) -> Client {
    let protocols = Protocols {
        plain: true,
        http2: false,
    };
    let resolver = GuardedResolver { allow_private };
    legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_LIMIT)
        .build(Connector::new(resolver, tls, protocols, CONNECT_LIMIT))
}
