//! `[webhooks.NAME]`: one receiver of events.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use url::Url;
use zeroize::Zeroizing;

use strum::IntoEnumIterator as _;

use super::error::{did_you_mean, quoted};
use super::secret::{Found, Secrets, credentials};
use super::url::{TIMEOUT, Written, reaches, url};
use crate::core::delivery::WebhookName;
use crate::core::event::EventType;
use crate::core::text::nearest;
use crate::webhook::{CustomHeader, Trust, Verdict, WebhookSettings, holds_secrets, judge_host};

/// Most requests in flight to one webhook.
const IN_FLIGHT: u32 = 256;

/// Most entries of `retry`.
const RETRIES: usize = 50;

/// Longest entry of `retry`.
const RETRY_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Most entries of `events`.
const EVENTS: usize = 32;

/// Most headers one webhook can have.
const HEADERS: usize = 20;

/// Largest file of certificates, in bytes.
const PEM_BYTES: u64 = 1 << 20;

/// Reads the section of one webhook.
pub(super) struct Webhook<'a> {
    pub(super) name: &'a str,
    /// The names of all webhooks.
    pub(super) names: &'a [&'a str],
    /// The address of our own status server.
    pub(super) listen: Option<SocketAddr>,
    pub(super) secrets: Secrets<'a>,
}

impl Webhook<'_> {
    pub(super) fn settings(&self) -> WebhookSettings {
        let section = &self.secrets.section;
        WebhookSettings {
            name: WebhookName::new(self.name),
            url: self.url(),
            keys: self.secrets.signing_keys(self.name),
            events: self.events(),
            timeout: section.duration("timeout", TIMEOUT),
            max_in_flight: section.whole("max_in_flight", 1..=IN_FLIGHT) as usize,
            retry: section.durations("retry", RETRIES, &(Duration::ZERO..=RETRY_DELAY)),
            allow_private: section.flag("allow_private"),
            headers: self.headers(),
            trust: self.trust(),
            fallback: self.fallback(),
        }
    }

    /// Its URL. `None` also where that is in a file, and secrets are not wanted.
    fn url(&self) -> Option<Url> {
        let section = &self.secrets.section;
        let found = self
            .secrets
            .find(&["url", "url_file"], &self.credentials(".url"))?;
        let Some(found) = found.first() else {
            let remedy = format!(
                "write {}, or url_file = \"FILE\"; or, under systemd, write it into /etc/jobtrackd/webhooks/{}.url, \
                 which the unit hands over as a credential",
                section.example("url"),
                self.name
            );
            section.refuse("url", "this key is missing", remedy);
            return None;
        };
        let written = Written {
            key: found.key,
            file: &found.file,
            text: found.text.trim(),
            allow_http: section.flag("allow_http"),
        };
        let url = url(section, &written)?;
        if found.is_in_place() && holds_secrets(&url) {
            self.secrets.warn_in_place(found.key);
        }
        self.check_address(found.key, &url);
        Some(url)
    }

    /// Checks whether events may be sent to the address in a URL; names are checked when they are resolved.
    fn check_address(&self, key: &str, url: &Url) {
        let section = &self.secrets.section;
        let verdict = url.host().as_ref().and_then(judge_host);
        if self.listen.is_some_and(|listen| reaches(url, listen)) {
            let remedy = "name the receiver's own address, or change status.listen";
            section.refuse(key, "this is the daemon's own status address", remedy);
        } else if verdict == Some(Verdict::Never) {
            let remedy = "these serve machines' credentials, so events are never sent to them";
            section.refuse(key, "this is a link-local or metadata address", remedy);
        } else if verdict.is_some_and(|verdict| !verdict.permits(section.flag("allow_private"))) {
            let path = section.path;
            let remedy = format!("set allow_private = true in [{path}] if that is meant");
            section.refuse(key, "this is a loopback or private address", remedy);
        }
    }

    fn events(&self) -> Vec<EventType> {
        let section = &self.secrets.section;
        let names = section.texts("events", EVENTS);
        if names == ["*"] {
            return EventType::iter().collect();
        }
        if names.is_empty() && !section.problems.any_of(&format!("{}.events", section.path)) {
            let remedy = "leave the key out for the default, or write [\"*\"] for all";
            section.refuse("events", "the list is empty", remedy);
        }
        if names.contains(&"*") {
            section.refuse(
                "events",
                "\"*\" must be the only entry",
                "write events = [\"*\"]",
            );
            return Vec::new();
        }
        let read = names.iter().filter_map(|name| {
            let event = name.parse::<EventType>().ok();
            if event.is_none() {
                let all: Vec<&str> = EventType::iter().map(EventType::as_str).collect();
                let otherwise = format!("the events are {}", all.join(", "));
                let remedy = did_you_mean(nearest(name, all), &otherwise);
                let wrong = format!("there is no event {}", quoted(name));
                section.refuse("events", wrong, remedy);
            }
            event
        });
        let mut events: Vec<EventType> = read.collect();
        events.sort_unstable();
        events.dedup();
        events
    }

    /// Those of `headers`, and those of `headers_file` or a credential.
    fn headers(&self) -> Vec<CustomHeader> {
        let (section, key) = (&self.secrets.section, "headers_file");
        let mut headers = Vec::new();
        if section.has("headers") {
            self.secrets.warn_in_place("headers");
            for (name, value) in section.table("headers", HEADERS) {
                let key = format!("headers.{}", quoted(name));
                headers.extend(self.header(&key, "", name, value));
            }
        }
        let found = self.secrets.find(&[key], &self.credentials(".headers"));
        for found in found.iter().flatten() {
            let of_file = self.headers_of(found);
            let twice =
                |header: &&CustomHeader| headers.iter().any(|each| each.name() == header.name());
            if let Some(header) = of_file.iter().find(twice) {
                let wrong = format!("{} is in headers, too", header.name());
                section.refuse(key, wrong, "keep one of them");
            }
            headers.extend(of_file);
        }
        if headers.len() > HEADERS {
            let wrong = format!("{} headers are too many", headers.len());
            section.refuse(key, wrong, format!("write at most {HEADERS}"));
        }
        headers
    }

    /// Lines `Name: value`; blank ones and those that begin with # are skipped.
    fn headers_of(&self, found: &Found) -> Vec<CustomHeader> {
        let lines = found.text.lines().map(str::trim).zip(1..);
        let lines = lines.filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let read = lines.filter_map(|(line, number)| {
            let position = format!("{}line {number}: ", found.file);
            let Some((name, value)) = line.split_once(':') else {
                let wrong = format!("{position}there is no colon");
                let remedy = "write each header as Name: value";
                self.secrets.section.refuse(found.key, wrong, remedy);
                return None;
            };
            self.header(found.key, &position, name, value)
        });
        read.collect()
    }

    fn header(&self, key: &str, position: &str, name: &str, value: &str) -> Option<CustomHeader> {
        let remedy = "each header has another name, and a value of printable ASCII on one line";
        let read = CustomHeader::parse(name, value).map_err(|wrong| {
            let section = &self.secrets.section;
            section.refuse(key, format!("{position}{wrong}"), remedy);
        });
        read.ok()
    }

    /// `ca_file` and `client_cert_file`.
    fn trust(&self) -> Trust {
        let mut trust = Trust::default();
        if let Some((path, pem)) = self.pem("ca_file") {
            self.add_pem("ca_file", path, trust.add_authorities(pem.as_bytes()));
        }
        if let Some((path, pem)) = self.pem("client_cert_file") {
            self.secrets
                .warn_if_readable_by_all("client_cert_file", path.as_ref());
            self.add_pem("client_cert_file", path, trust.set_identity(&pem));
        }
        trust
    }

    fn add_pem(&self, key: &str, path: &str, added: Result<(), crate::webhook::InvalidPem>) {
        if let Err(wrong) = added {
            let remedy = "a PEM file has blocks that begin with -----BEGIN";
            self.secrets
                .section
                .refuse(key, format!("{path}: {wrong}"), remedy);
        }
    }

    /// The file that a key names, if secrets are wanted.
    fn pem(&self, key: &str) -> Option<(&str, Zeroizing<String>)> {
        if !self.secrets.section.has(key) {
            return None;
        }
        let path = self.secrets.section.text(key)?;
        if !self.secrets.wanted {
            return None;
        }
        let pem = self.secrets.read_file(key, Path::new(path), PEM_BYTES)?;
        Some((path, pem))
    }

    /// The webhook that gets a challenge which could not be delivered here in time.
    fn fallback(&self) -> Option<WebhookName> {
        let section = &self.secrets.section;
        if !section.has("fallback") {
            return None;
        }
        let fallback = section.text("fallback")?;
        let others = self.names.iter().copied().filter(|name| *name != self.name);
        let others: Vec<&str> = others.collect();
        if !others.contains(&fallback) {
            let wrong = if fallback == self.name {
                "a webhook cannot be its own fallback".to_owned()
            } else {
                format!("there is no webhook {}", quoted(fallback))
            };
            let otherwise = "name the section of another webhook, without webhooks. in front";
            let remedy = did_you_mean(nearest(fallback, others), otherwise);
            section.refuse("fallback", wrong, remedy);
        }
        Some(WebhookName::new(fallback))
    }

    /// The credentials of this webhook with a suffix. Where another webhook has that name, the file is its secret.
    fn credentials(&self, ending: &str) -> Vec<String> {
        let name = format!("{}{ending}", self.name);
        if self.names.contains(&name.as_str()) {
            return Vec::new();
        }
        credentials(&name).to_vec()
    }
}
