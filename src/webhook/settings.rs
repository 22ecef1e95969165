//! What the sender needs to know of a webhook.

use std::fmt;
use std::time::Duration;

use url::Url;

use super::header::CustomHeader;
use super::redacted::{redacted_url, secrets_of};
use super::trust::Trust;
use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::core::machines::dispatcher;
use crate::core::redact::Redactor;
use crate::core::signature::SigningKey;

/// One `[webhooks.NAME]` section, validated (docs/configuration.md, "Keys").
#[derive(Clone)]
pub struct WebhookSettings {
    /// Its name.
    pub name: WebhookName,
    /// Where events are POSTed: https, or http on a loopback host or with `allow_http`; no userinfo, no fragment. `None`
    /// where it is in a file that was not read: nothing can be sent then.
    pub url: Option<Url>,
    /// Keys that sign, at least one; all of them sign every request.
    pub keys: Vec<SigningKey>,
    /// The types of events it gets.
    pub events: Vec<EventType>,
    /// Limit for one request, the answer's body included.
    pub timeout: Duration,
    /// How many requests may be in flight at once, at least 1.
    pub max_in_flight: usize,
    /// Delays before the second, third … attempt.
    pub retry: Vec<Duration>,
    /// Whether events may be sent to loopback and private addresses; never to link-local ones.
    pub allow_private: bool,
    /// Headers that every request to it carries.
    pub headers: Vec<CustomHeader>,
    /// Its TLS settings.
    pub trust: Trust,
    /// Another webhook, which gets a `job.action_required` that could not be delivered here in time.
    pub fallback: Option<WebhookName>,
}

impl fmt::Debug for WebhookSettings {
    /// The URL without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSettings")
            .field("name", &self.name)
            .field("url", &self.url.as_ref().map(redacted_url))
            .field("keys", &self.keys)
            .field("events", &self.events)
            .field("timeout", &self.timeout)
            .field("max_in_flight", &self.max_in_flight)
            .field("retry", &self.retry)
            .field("allow_private", &self.allow_private)
            .field("headers", &self.headers)
            .field("trust", &self.trust)
            .field("fallback", &self.fallback)
            .finish()
    }
}

impl WebhookSettings {
    /// What decides when something is sent to it.
    #[must_use]
    pub fn dispatching(&self) -> dispatcher::Settings {
        dispatcher::Settings {
            name: self.name.clone(),
            retry: self.retry.clone(),
            max_in_flight: self.max_in_flight,
            fallback: self.fallback.clone(),
        }
    }

    /// Hides secrets in what the receiver answers: the values of headers, the secrets of the URL, and the keys, which the
    /// receiver has too.
    pub(super) fn redactor(&self) -> Redactor {
        let headers = self.headers.iter().map(CustomHeader::value);
        let keys: Vec<_> = self.keys.iter().flat_map(SigningKey::secrets).collect();
        let url = self.url.iter().flat_map(secrets_of).map(str::as_bytes);
        Redactor::new(headers, url.chain(keys.iter().map(|key| key.as_slice())))
    }
}
