//! The webhooks: whether they can be reached, and what they have not been told.

use std::time::Duration;

use url::Url;

use super::Finding;
use crate::cli::text::{ago, count, outside};
use crate::clock::Clock;
use crate::core::delivery::{AttemptErrorClass, WebhookName};
use crate::sockets::Sockets;
use crate::store::Store;
use crate::webhook::{Sender, WebhookSettings};

/// An event that waits longer than this is late.
const LATE: Duration = Duration::from_secs(10 * 60);

/// Sends a HEAD request, which changes nothing, to each.
pub(in crate::cli) async fn reach(webhooks: &[WebhookSettings], clock: &Clock) -> Vec<Finding> {
    if webhooks.is_empty() {
        return vec![Finding::ok(
            "webhooks.none",
            "none configured; nobody is told",
        )];
    }
    let sender = match Sender::new(clock.clone(), webhooks, Sockets::default()) {
        Ok(sender) => sender,
        Err(error) => {
            let advice = "the daemon does not start; install the package ca-certificates";
            return vec![Finding::problem(
                "webhooks.client",
                error.to_string(),
                advice,
            )];
        }
    };
    let mut findings = Vec::new();
    for webhook in webhooks {
        let found = match sender.reach(webhook).await {
            Ok(status) => Finding::ok(
                "webhook.reach",
                format!("can be reached (HEAD answered with {status}); no event was sent"),
            ),
            Err((class, detail)) => Finding::problem(
                "webhook.reach",
                format!("{}: {detail}", class.as_str()),
                advice(class, webhook),
            ),
        };
        findings.push(found.of_webhook(webhook.name.as_str()));
    }
    findings
}

fn advice(class: AttemptErrorClass, webhook: &WebhookSettings) -> String {
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

/// Those that answered "never again".
pub(in crate::cli) async fn disabled(store: &Store, names: &[WebhookName]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in names {
        if let Ok(health) = store.webhook_health(name).await
            && let Some((since, reason)) = health.disabled
        {
            let found = Finding::problem(
                "webhook.disabled",
                format!("disabled since {since}: {}", outside(&reason, 200)),
                format!(
                    "nothing is sent to it and its events are kept; once its owner wants them, run: jobtrackd webhook enable \
                     {name}"
                ),
            );
            findings.push(found.of_webhook(name.as_str()));
        }
    }
    findings
}

/// Events that wait for webhooks which are not configured.
pub(in crate::cli) async fn stranded(store: &Store, known: &[WebhookName]) -> Vec<Finding> {
    let check = "webhook.stranded";
    let found = match store.stranded(known).await {
        Ok(found) => found,
        Err(error) => {
            return vec![Finding::problem(
                check,
                format!(
                    "whether events wait for webhooks that are not configured cannot be read: {error}"
                ),
                "the daemon cannot either; run: jobtrackd check --offline",
            )];
        }
    };
    let each = found.into_iter().map(|stranded| {
        let name = outside(stranded.webhook.as_str(), 64);
        let events = stranded.wait();
        Finding::problem(
            check,
            format!("{events} for it, and it is not configured"),
            format!(
                "nobody sends them; if it has another name now, run: jobtrackd webhook move {name} NEW; if nobody wants \
                 them: jobtrackd deliveries give-up --all --webhook {name}"
            ),
        )
        .of_webhook(&name)
    });
    each.collect()
}

/// Rows that another hand has spoilt, so that the daemon leaves them out.
pub(in crate::cli) async fn spoilt(store: &Store, names: &[WebhookName]) -> Vec<Finding> {
    let check = "webhook.rows";
    let mut findings = Vec::new();
    for name in names {
        let mut wrong = Vec::new();
        if let Ok(health) = store.webhook_health(name).await
            && let Some(error) = health.unreadable
        {
            wrong.push(error);
        }
        if let Ok(deliveries) = store.unreadable_deliveries(name).await {
            wrong.extend(deliveries.into_iter().map(|(_, error)| error));
        }
        let Some(first) = wrong.first() else { continue };
        let rows = match wrong.len() {
            1 => "a row cannot be read and is left out".to_owned(),
            many => format!("{many} rows cannot be read and are left out"),
        };
        let found = Finding::problem(
            check,
            format!("{rows}: {}", outside(first, 300)),
            "another program has changed it; put it right by hand, or give the event up: jobtrackd deliveries give-up EVENT",
        );
        findings.push(found.of_webhook(&outside(name.as_str(), 64)));
    }
    findings
}

/// What waits for them, and what was given up.
pub(in crate::cli) async fn backlog(
    store: &Store,
    names: &[WebhookName],
    clock: &Clock,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in names {
        let found = backlog_of(store, name, clock).await;
        findings.extend(
            found
                .into_iter()
                .map(|found| found.of_webhook(name.as_str())),
        );
    }
    findings
}

async fn backlog_of(store: &Store, name: &WebhookName, clock: &Clock) -> Vec<Finding> {
    let backlog = match store.backlog(name).await {
        Ok(backlog) => backlog,
        Err(error) => {
            return vec![Finding::problem(
                "webhook.backlog",
                format!("what waits for it cannot be read: {error}"),
                "the daemon cannot either; run: jobtrackd check --offline",
            )];
        }
    };
    let mut findings = Vec::new();
    let waits = count(backlog.pending, "event");
    let check = "webhook.backlog";
    let age = backlog.pending_since.map(|since| clock.now().since(since));
    findings.push(match age {
        Some(age) if age > LATE => Finding::warning(
            check,
            format!("{waits} not told yet, the oldest happened {}", ago(age)),
            format!(
                "it does not take them, rests, or no daemon runs; see last_error: sqlite3 -readonly jobs.db \"SELECT job_id, \
                 attempts, last_error FROM deliveries WHERE webhook = '{name}' AND state = 'pending' LIMIT 5\""
            ),
        ),
        _ => Finding::ok(check, format!("{waits} not told yet")),
    });
    if backlog.exhausted > 0 {
        let latest = backlog.exhausted_latest.map_or_else(String::new, |at| {
            format!(", the latest happened {}", ago(clock.now().since(at)))
        });
        findings.push(Finding::warning(
            "webhook.given_up",
            format!(
                "{} of the latest 10,000 given up after the last attempt{latest}",
                count(backlog.exhausted, "event")
            ),
            "they are kept; once the receiver is right again, see what would be sent with: jobtrackd replay --webhook NAME \
             --since 7d --failed-only --dry-run",
        ));
    }
    findings
}
