//! The webhooks: whether they can be reached, and what was not delivered to them.

use std::time::Duration;

use url::Url;

use super::{Finding, ok, problem, warning};
use crate::cli::text::{ago, count, outside};
use crate::clock::Clock;
use crate::core::delivery::{AttemptErrorClass, WebhookName};
use crate::sockets::Sockets;
use crate::store::{
    Backlogs as _, Counting as _, Deliveries as _, Store, StoreError, Webhooks as _,
};
use crate::webhook::{Sender, WebhookSettings};

/// An event that waits longer than this is late.
const LATE: Duration = Duration::from_secs(10 * 60);

/// Sends a HEAD request, which changes nothing, to each.
pub(in crate::cli) async fn reach(webhooks: &[WebhookSettings], clock: &Clock) -> Vec<Finding> {
    if webhooks.is_empty() {
        return vec![ok("webhooks.none", "none configured; no events are sent")];
    }
    let sender = match Sender::new(clock.clone(), webhooks, Sockets::default()) {
        Ok(sender) => sender,
        Err(error) => {
            let advice = "the daemon does not start; install the package ca-certificates";
            return vec![problem("webhooks.client", error.to_string()).advise(advice)];
        }
    };
    let check = "webhook.reach";
    let mut findings = Vec::new();
    for webhook in webhooks {
        let finding = match sender.reach(webhook).await {
            Ok(status) => ok(
                check,
                format!("can be reached (HEAD answered with {status}); no event was sent"),
            ),
            Err((class, detail)) => problem(check, format!("{}: {detail}", class.as_str()))
                .advise(unreached(class, webhook)),
        };
        findings.push(finding.of_webhook(webhook.name.as_str()));
    }
    findings
}

fn unreached(class: AttemptErrorClass, webhook: &WebhookSettings) -> String {
    let name = &webhook.name;
    let url = webhook.url.as_ref();
    let host = url.and_then(Url::host_str).unwrap_or_default();
    let port = url.and_then(Url::port_or_known_default).unwrap_or(443);
    let tried = "its events are tried again and given up in the end";
    match class {
        AttemptErrorClass::BlockedAddress => format!(
            "the guard keeps events from addresses inside; if the receiver is meant to be there, set allow_private = true in \
             [webhooks.{name}] and run: systemctl reload jobtrackd (link-local addresses stay blocked)"
        ),
        AttemptErrorClass::Dns => format!("{tried}; is the name right? Run: getent hosts {host}"),
        AttemptErrorClass::Connect => format!(
            "{tried}; the receiver is down, or a firewall is in the way, run: curl -sv -o /dev/null --connect-timeout 5 \
             {host}:{port}"
        ),
        AttemptErrorClass::Tls => format!(
            "{tried}; a certificate that is not valid for {host}, or of an unknown authority, run: openssl s_client -connect \
             {host}:{port} </dev/null"
        ),
        AttemptErrorClass::Timeout | AttemptErrorClass::Http => {
            format!("{tried}; ask the receiver's owner, and see: jobtrackd webhook list")
        }
    }
}

/// What is not sent: events for webhooks that are not configured, and to webhooks that are disabled.
pub(in crate::cli) async fn unsent(store: &Store, names: &[WebhookName]) -> Vec<Finding> {
    let check = "webhook.stranded";
    let stranded = match store.unconfigured_webhooks(names).await {
        Ok(stranded) => stranded.into_iter(),
        Err(error) => {
            let text = "whether events wait for webhooks that are not configured cannot be read";
            return vec![unreadable(check, text, &error)];
        }
    };
    let stranded = stranded.map(|stranded| {
        let name = outside(stranded.webhook.as_str(), 64);
        let text = format!("{} for it, and it is not configured", stranded.wait());
        let advice = format!(
            "they are not sent; if it has another name now, run: jobtrackd webhook move {name} NEW; if they are not wanted: \
             jobtrackd deliveries give-up --all --webhook {name}"
        );
        problem(check, text).advise(advice).of_webhook(&name)
    });
    let mut findings: Vec<Finding> = stranded.collect();
    for name in names {
        let health = store.webhook_health(name).await.ok();
        if let Some((since, reason)) = health.and_then(|health| health.disabled) {
            let text = format!("disabled since {since}: {}", outside(&reason, 200));
            let advice = format!(
                "nothing is sent to it and its events are kept; once its owner wants them, run: jobtrackd webhook enable {name}"
            );
            let finding = problem("webhook.disabled", text).advise(advice);
            findings.push(finding.of_webhook(name.as_str()));
        }
    }
    findings
}

/// What waits for the webhooks of the configuration, and whether those in `reached` can be reached; webhook by webhook.
pub(in crate::cli) async fn probe(
    store: Option<&Store>,
    names: &[WebhookName],
    reached: Option<&[WebhookSettings]>,
    clock: &Clock,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(store) = store {
        findings.extend(unsent(store, names).await);
        for name in names {
            let rows = unreadable_rows(store, name).await.into_iter();
            let found = rows.chain(backlog(store, name, clock).await);
            findings.extend(found.map(|each| each.of_webhook(&outside(name.as_str(), 64))));
        }
    }
    if let Some(webhooks) = reached {
        findings.extend(reach(webhooks, clock).await);
    }
    findings.sort_by(|a, b| a.webhook.cmp(&b.webhook));
    findings
}

fn unreadable(check: &'static str, text: &str, error: &StoreError) -> Finding {
    problem(check, format!("{text}: {error}"))
        .advise("the daemon cannot either; run: jobtrackd check --offline")
}

async fn unreadable_rows(store: &Store, name: &WebhookName) -> Option<Finding> {
    let health = store.webhook_health(name).await.ok();
    let deliveries = store.unreadable_deliveries(name).await.unwrap_or_default();
    let mut wrong = Vec::from_iter(health.and_then(|health| health.unreadable));
    wrong.extend(deliveries.into_iter().map(|(_, error)| error));
    let rows = match wrong.len() {
        1 => "a row cannot be read and is left out".to_owned(),
        many => format!("{many} rows cannot be read and are left out"),
    };
    let text = format!("{rows}: {}", outside(wrong.first()?, 300));
    let advice = "another program has changed it; correct it by hand, or give the event up: jobtrackd deliveries give-up EVENT";
    Some(problem("webhook.rows", text).advise(advice))
}

async fn backlog(store: &Store, name: &WebhookName, clock: &Clock) -> Vec<Finding> {
    let check = "webhook.backlog";
    let backlog = match store.backlog(name).await {
        Ok(backlog) => backlog,
        Err(error) => {
            return vec![unreadable(
                check,
                "what waits for it cannot be read",
                &error,
            )];
        }
    };
    let age = |since| clock.now().since(since);
    let waits = format!("{} not delivered yet", count(backlog.pending, "event"));
    let late = backlog.oldest_pending.map(age).filter(|age| *age > LATE);
    let mut findings = vec![match late {
        Some(age) => warning(check, format!("{waits}, the oldest happened {}", ago(age))).advise(format!(
            "it does not take them, is paused, or no daemon runs; see last_error: sqlite3 -readonly jobs.db \"SELECT job_id, \
             attempts, last_error FROM deliveries WHERE webhook = '{name}' AND state = 'pending' LIMIT 5\""
        )),
        None => ok(check, waits),
    }];
    if backlog.exhausted > 0 {
        let events = count(backlog.exhausted, "event");
        let latest = backlog.latest_exhausted.map_or_else(String::new, |at| {
            format!(", the latest happened {}", ago(age(at)))
        });
        let text = format!("{events} of the latest 10,000 given up after the last attempt{latest}");
        findings.push(warning("webhook.given_up", text).advise(
            "they are kept; once the receiver works again, see what would be sent with: jobtrackd replay --webhook NAME \
             --since 7d --failed-only --dry-run",
        ));
    }
    findings
}
