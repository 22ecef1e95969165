//! Durations, numbers, and words with a fixed choice.

use super::*;

#[test]
fn durations_need_a_unit_and_stay_within_their_bounds() {
    refused(&[
        (
            "upstream.timeout",
            "15",
            &["bare number", "unit", "timeout = \"15s\""],
        ),
        ("upstream.timeout", "1.5", &["bare number"]),
        (
            "upstream.timeout",
            "15 parsecs",
            &["not a duration", "parsecs", "\"15s\""],
        ),
        ("upstream.timeout", "", &["not a duration"]),
        ("upstream.timeout", "-1s", &["not a duration"]),
        ("upstream.timeout", "0s", &["from 1ms to 10m"]),
        ("upstream.timeout", "11m", &["from 1ms to 10m"]),
        ("webhooks.billing.timeout", "11m", &["from 1ms to 10m"]),
        ("polling.initial_delay", "9ms", &["10ms"]),
        ("polling.queued_delay", "0s", &["10ms"]),
        ("polling.deadline", "0s", &["from 1ms"]),
        (
            "polling.deadline",
            "99999y",
            &["expected a duration from 1ms to 366d"],
        ),
        ("polling.not_found_grace", "soon", &["not a duration"]),
        ("webhooks.billing.retry", "5s,31d", &["entry 2", "30d"]),
        (
            "webhooks.billing.retry",
            "5s,7",
            &["entry 2", "bare number"],
        ),
        (
            "webhooks.billing.retry",
            "5s,",
            &["entry 2", "not a duration"],
        ),
        (
            "webhooks.billing.retry",
            "[\"5s\"]",
            &["brackets", "commas"],
        ),
        (
            "webhooks.billing.retry",
            &["1s"; 51].join(","),
            &["51 entries", "at most 50"],
        ),
    ]);
    assert_eq!(
        settings(&[("webhooks.billing.retry", &["30d"; 50].join(","))]).webhooks[0]
            .retry
            .len(),
        50
    );
    assert_eq!(
        settings(&[("polling.not_found_grace", "0s")])
            .polling
            .not_found_grace,
        Duration::ZERO
    );
}

#[test]
fn numbers_and_flags_stay_within_their_bounds() {
    refused(&[
        (
            "upstream.max_in_flight",
            "0",
            &["from 1 to 4096", "max_in_flight = 256"],
        ),
        ("upstream.max_in_flight", "4097", &["from 1 to 4096"]),
        ("upstream.max_in_flight", "-1", &["from 1 to 4096"]),
        (
            "upstream.max_in_flight",
            "many",
            &["expected a whole number without quotes, not a text"],
        ),
        ("upstream.requests_per_second", "-1", &["from 0 to 100000"]),
        (
            "upstream.requests_per_second",
            "100001",
            &["from 0 to 100000"],
        ),
        (
            "upstream.requests_per_second",
            "0.5",
            &["expected a whole number"],
        ),
        ("webhooks.billing.max_in_flight", "257", &["from 1 to 256"]),
        ("polling.multiplier", "0.9", &["from 1.0 to 10.0"]),
        ("polling.multiplier", "10.1", &["from 1.0 to 10.0"]),
        ("polling.multiplier", "NaN", &["from 1.0 to 10.0"]),
        ("polling.jitter", "1.1", &["from 0.0 to 1.0"]),
        ("polling.jitter", "-0.1", &["from 0.0 to 1.0"]),
        ("upstream.allow_http", "yes", &["true or false"]),
        (
            "database.allow_network_filesystem",
            "maybe",
            &["true or false"],
        ),
        ("webhooks.billing.allow_private", "1", &["true or false"]),
    ]);
}

#[test]
fn words_with_a_fixed_choice_name_the_nearest_one() {
    refused(&[
        (
            "upstream.auth",
            "Basic",
            &[
                "basiq, bearer, basic, header, oauth2 or none",
                "did you mean basic?",
            ],
        ),
        ("upstream.auth", "oauth", &["did you mean oauth2?"]),
        ("upstream.auth", "barer", &["did you mean bearer?"]),
        (
            "upstream.auth",
            "digest",
            &["the other keys give the API key"],
        ),
        ("upstream.api_version", "", &["1 to 64"]),
        ("upstream.scope", "SERVER ACCESS", &["without spaces"]),
        (
            "webhooks.billing.events",
            "job.complete",
            &["job.complete", "did you mean job.completed?"],
        ),
        (
            "webhooks.billing.events",
            "everything",
            &["the events are job.completed, job.failed"],
        ),
        (
            "webhooks.billing.events",
            "*,job.failed",
            &["must be the only entry"],
        ),
        ("webhooks.billing.events", "", &["the list is empty"]),
        (
            "status.listen",
            "localhost:8787",
            &["127.0.0.1:8787", "[::1]:8787"],
        ),
        ("status.listen", ":8787", &["0.0.0.0:8787"]),
        (
            "status.listen",
            "127.0.0.1",
            &["IP address with a port", "turns it off"],
        ),
        ("status.listen", "host.example:80", &["127.0.0.1:80"]),
        ("log.level", "inof", &["not a level", "did you mean info?"]),
        ("log.level", "", &["not a level"]),
        ("log.level", "info,jobtrackd=loud", &["cannot be used"]),
        ("log.format", "jsno", &["did you mean json?"]),
        ("log.format", "xml", &["auto, text, json and journald"]),
    ]);
    assert!(!refusal("upstream.auth", "sk_canary").contains("canary"));
    let listen = settings(&[("status.listen", "[::1]:0")]).status.listen;
    assert_eq!(listen, Some("[::1]:0".parse().unwrap()));
}

#[test]
fn the_database_is_a_sqlite_file() {
    for (url, path) in [
        ("sqlite:///srv/jobs.db", "/srv/jobs.db"),
        ("sqlite:/srv/jobs.db", "/srv/jobs.db"),
        ("sqlite://jobs.db", "jobs.db"),
        ("sqlite:data/jobs.db", "data/jobs.db"),
    ] {
        assert_eq!(
            settings(&[("database.url", url)]).database.path,
            PathBuf::from(path)
        );
    }
    let key = "database.url";
    refused(&[
        (
            key,
            "/srv/jobs.db",
            &["starts with sqlite:", "sqlite:///var"],
        ),
        (key, "sqlite://", &["missing"]),
        (key, "sqlite::memory:", &["outlive"]),
        (key, "sqlite:///srv/jobs.db?mode=ro", &["after ?"]),
        (key, "sqlite:///srv/", &["folder"]),
    ]);
    assert!(!refusal(key, "postgres://u:canary@h/db").contains("canary"));
}

#[test]
fn a_default_gives_way_to_what_the_user_wrote() {
    let seconds = Duration::from_secs;
    for (written, expected) in [
        (&[("initial_delay", "10m")][..], [600, 600, 600]),
        (&[("initial_delay", "1m")], [60, 60, 300]),
        (&[("max_delay", "100ms")], [0, 0, 300]),
        (&[("error_max_delay", "100ms")], [0, 30, 0]),
        (
            &[("initial_delay", "10m"), ("max_delay", "1h")],
            [600, 3600, 600],
        ),
        (
            &[("initial_delay", "10m"), ("max_delay", "10m")],
            [600, 600, 600],
        ),
    ] {
        let keys: Vec<(String, &str)> = written
            .iter()
            .map(|(key, value)| (format!("polling.{key}"), *value))
            .collect();
        let keys: Vec<(&str, &str)> = keys
            .iter()
            .map(|(key, value)| (key.as_str(), *value))
            .collect();
        let polling = settings(&keys).polling;
        let found = [
            polling.initial_delay,
            polling.max_delay,
            polling.error_max_delay,
        ];
        assert_eq!(found.map(|delay| delay.as_secs()), expected, "{written:?}");
        if expected[0] == 0 {
            assert_eq!(polling.initial_delay, Duration::from_millis(100));
        }
    }
    let days = |days: u64| Some(seconds(days * 24 * 3600));
    for (jobs, events, attempts, expected) in [
        ("7d", "", "", [days(7), days(7), days(7)]),
        ("20d", "", "", [days(20), days(20), days(14)]),
        ("", "5d", "", [days(90), days(5), days(5)]),
        ("", "120d", "", [days(120), days(120), days(14)]),
        ("", "", "60d", [days(90), days(60), days(60)]),
        ("", "", "120d", [days(120), days(120), days(120)]),
        ("", "", "forever", [None, None, None]),
        ("forever", "", "40d", [None, days(40), days(40)]),
        ("20d", "", "1d", [days(20), days(20), days(1)]),
        ("20d", "", "20d", [days(20), days(20), days(20)]),
    ] {
        let given = [
            ("retention.jobs", jobs),
            ("retention.events", events),
            ("retention.attempts", attempts),
        ];
        let given: Vec<(&str, &str)> = given
            .into_iter()
            .filter(|(_, age)| !age.is_empty())
            .collect();
        let retention = settings(&given).retention;
        let found = [retention.jobs, retention.events, retention.attempts];
        assert_eq!(found, expected, "{given:?}");
    }
}

#[test]
fn two_values_of_the_user_that_contradict_each_other_are_refused() {
    for (first, second, wrong) in [
        (
            ("polling.initial_delay", "31s"),
            ("polling.max_delay", "30s"),
            "polling.max_delay: this is shorter than initial_delay, which is 31s",
        ),
        (
            ("polling.initial_delay", "1s"),
            ("polling.error_max_delay", "500ms"),
            "polling.error_max_delay: this is shorter than initial_delay, which is 1s",
        ),
        (
            ("retention.jobs", "7d"),
            ("retention.events", "8d"),
            "retention.events: this is longer than jobs",
        ),
        (
            ("retention.jobs", "7d"),
            ("retention.attempts", "8d"),
            "retention.attempts: this is longer than jobs",
        ),
        (
            ("retention.events", "7d"),
            ("retention.attempts", "forever"),
            "retention.attempts: this is longer than events",
        ),
    ] {
        let error = load(&sources(&[first, second])).unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
}
