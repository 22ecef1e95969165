//! Every rule, as a table. Values come through the environment here; `tests/it/config.rs` reads real files.

mod values;

mod addresses;

mod sources;

mod auth;

mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::core::event::EventType;
use crate::upstream::Auth;
use strum::IntoEnumIterator;

/// A secret of 32 bytes that is nobody's.
const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// Sources without a file: an API key, one webhook, and these keys, dots for the separator.
fn sources(values: &[(&str, &str)]) -> Sources {
    let needed = [
        ("upstream.api_key", "key-1"),
        ("webhooks.billing.url", "https://billing.example/hook"),
        ("webhooks.billing.secret", SECRET),
    ];
    let environment: BTreeMap<String, String> = needed
        .iter()
        .chain(values)
        .map(|(key, value)| {
            let name = format!("JOBTRACKD__{}", key.replace('.', "__").to_uppercase());
            (name, (*value).to_owned())
        })
        .collect();
    Sources {
        environment,
        ..Sources::default()
    }
}

fn settings(values: &[(&str, &str)]) -> Settings {
    load(&sources(values)).unwrap_or_else(|error| panic!("{values:?}: {error}"))
}

/// The whole text of what is wrong, which must be about `key`.
fn refusal(key: &str, value: &str) -> String {
    let error = load(&sources(&[(key, value)])).expect_err(&format!("{key} = {value}"));
    let text = error.to_string();
    assert!(
        error.problems.iter().any(|problem| problem.key == key),
        "{key} is not named: {text}"
    );
    text
}

/// Each (key, value) is refused with a text that holds each fragment.
fn refused(cases: &[(&str, &str, &[&str])]) {
    for (key, value, fragments) in cases {
        let text = refusal(key, value);
        for fragment in *fragments {
            assert!(text.contains(fragment), "no {fragment:?} in: {text}");
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_modules_and_of_the_documents() {
    let settings = settings(&[]);
    assert_eq!(
        settings.database.path,
        PathBuf::from("/var/lib/jobtrackd/jobs.db")
    );
    assert_eq!(settings.polling, PollingPolicy::default());
    let upstream = &settings.upstream;
    assert_eq!(upstream.base_url.as_str(), "https://au-api.basiq.io/");
    assert_eq!(upstream.timeout, Duration::from_secs(15));
    assert_eq!(upstream.max_in_flight, 256);
    assert_eq!(upstream.requests_per_second, None);
    let Auth::Basiq {
        api_key,
        api_version,
        scope,
    } = &upstream.auth
    else {
        panic!("{:?}", upstream.auth)
    };
    assert_eq!(api_key.expose_secret(), "key-1");
    assert_eq!(
        [api_version.as_str(), scope.as_str()],
        ["3.0", "SERVER_ACCESS"]
    );
    let webhook = &settings.webhooks[0];
    assert_eq!(webhook.name.as_str(), "billing");
    assert_eq!(webhook.events, EventType::DEFAULT);
    assert_eq!(webhook.timeout, Duration::from_secs(15));
    assert_eq!(webhook.max_in_flight, 8);
    let seconds: Vec<u64> = webhook.retry.iter().map(Duration::as_secs).collect();
    let hour = 3600;
    assert_eq!(
        seconds,
        [
            5,
            30,
            300,
            1800,
            2 * hour,
            5 * hour,
            10 * hour,
            14 * hour,
            20 * hour,
            24 * hour
        ]
    );
    assert!(!webhook.allow_private);
    assert_eq!(webhook.keys.len(), 1);
    assert_eq!(
        settings.status.listen,
        Some("127.0.0.1:8787".parse().unwrap())
    );
    assert_eq!(settings.log.level, "info");
    assert_eq!(settings.log.format, LogFormat::Auto);
    assert!(settings.warnings.is_empty());
}

#[test]
fn every_value_of_the_environment_arrives_with_its_type() {
    let settings = settings(&[
        ("database.url", "sqlite:jobs.db"),
        ("database.allow_network_filesystem", "true"),
        ("database.create", "false"),
        ("upstream.max_in_flight", "4096"),
        ("upstream.requests_per_second", "20"),
        ("upstream.timeout", "250ms"),
        ("polling.multiplier", "2"),
        ("polling.jitter", "0.25"),
        (
            "webhooks.billing.events",
            "job.failed, webhook.test,job.failed",
        ),
        ("webhooks.billing.retry", "1s,2m"),
        ("webhooks.billing.allow_private", "TRUE"),
        ("webhooks.audit.url", "https://audit.example/?token=1"),
        ("webhooks.audit.secret", SECRET),
        ("webhooks.audit.events", "*"),
        ("webhooks.audit.retry", ""),
        ("status.listen", ""),
        ("log.level", "warn,jobtrackd_store=debug"),
        ("log.format", "journald"),
    ]);
    assert_eq!(settings.database.path, PathBuf::from("jobs.db"));
    assert!(settings.database.allow_network_filesystem);
    assert!(!settings.database.create);
    assert_eq!(settings.upstream.max_in_flight, 4096);
    assert_eq!(settings.upstream.requests_per_second.unwrap().get(), 20);
    assert_eq!(settings.upstream.timeout, Duration::from_millis(250));
    assert_eq!(settings.polling.multiplier.to_bits(), 2.0_f64.to_bits());
    assert_eq!(settings.polling.jitter.to_bits(), 0.25_f64.to_bits());
    let [audit, billing] = settings.webhooks.as_slice() else {
        panic!("{:?}", settings.webhooks)
    };
    assert_eq!(
        [audit.name.as_str(), billing.name.as_str()],
        ["audit", "billing"]
    );
    assert!(audit.events.iter().copied().eq(EventType::iter()));
    assert!(audit.retry.is_empty());
    let url = audit.url.as_ref().unwrap();
    assert_eq!(url.query(), Some("token=1"));
    assert_eq!(billing.events, [EventType::Failed, EventType::Test]);
    assert_eq!(
        billing.retry,
        [Duration::from_secs(1), Duration::from_secs(120)]
    );
    assert!(billing.allow_private);
    assert_eq!(settings.status.listen, None);
    assert_eq!(settings.log.level, "warn,jobtrackd_store=debug");
    assert_eq!(settings.log.format, LogFormat::Journald);
}

#[test]
fn only_what_a_reload_cannot_change_asks_for_a_restart() {
    let old = settings(&[]);
    let same = settings(&[("log.level", "debug"), ("upstream.timeout", "1s")]);
    assert!(old.restart_needed(&same).is_empty());
    let new = settings(&[
        ("database.url", "sqlite:x.db"),
        ("status.listen", ""),
        ("log.format", "json"),
    ]);
    assert_eq!(
        old.restart_needed(&new),
        ["database.url", "status.listen", "log.format"]
    );
    let key = "database.allow_network_filesystem";
    assert_eq!(old.restart_needed(&settings(&[(key, "true")])), [key]);
}
