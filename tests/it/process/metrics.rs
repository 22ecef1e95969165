//! What Prometheus reads: every metric there is, with the numbers of what has really happened.

use std::collections::BTreeSet;

use jobtrackd::simulator::{Fault, FaultRule, RetryAfter};
use jobtrackd::telemetry::{ALL, Kind};
use rustix::process::Signal;

use super::exposition::Exposition;
use super::house::House;
use crate::support::waiting::{PATIENCE, found};

/// One scrape, read strictly.
async fn scrape(address: &str) -> Exposition {
    jobtrackd::tls::install_provider();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = client.get(format!("http://{address}/metrics")).send();
    let answer = asked.await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(
        answer.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    Exposition::parse(&answer.text().await.unwrap())
}

/// Scrapes until every series has its value; what is counted in the database is some seconds old at times.
async fn until(address: &str, expected: &[(&str, f64)]) -> Exposition {
    let mut last = Vec::new();
    let seen = found(PATIENCE, async || {
        let scraped = scrape(address).await;
        let wrong = expected
            .iter()
            .map(|(series, value)| (*series, scraped.get(series), *value))
            .filter(|(_, found, value)| *found != Some(*value));
        last = wrong.collect();
        last.is_empty().then_some(scraped)
    });
    let seen = seen.await;
    seen.unwrap_or_else(|| panic!("after {PATIENCE:?} (series, found, expected): {last:#?}"))
}

/// Names, kinds, labels and helps are those of the registry, which follows the rules of Prometheus.
fn as_registered(scraped: &Exposition) {
    let expected: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    assert_eq!(scraped.names(), expected);
    for metric in ALL {
        let family = scraped.family(metric.name);
        assert_eq!(family.kind, metric.kind.as_str(), "{}", metric.name);
        assert_eq!(family.help, metric.help, "{}", metric.name);
        let labels: BTreeSet<String> = metric
            .labels
            .iter()
            .map(|label| (*label).to_owned())
            .collect();
        assert_eq!(family.labels, labels, "{}", metric.name);
        let in_base_units = !["_ms", "_millis", "_kb", "_minutes"]
            .iter()
            .any(|unit| metric.name.contains(unit));
        assert!(
            metric.name.starts_with("jobtrackd_") && in_base_units,
            "{}",
            metric.name
        );
        if let Kind::Histogram(buckets) = metric.kind {
            assert!(
                buckets.is_sorted() && buckets.len() <= 14,
                "{}",
                metric.name
            );
        }
    }
}

#[tokio::test]
async fn every_metric_is_there_from_the_first_scrape_on_but_those_of_attempts() {
    let house = House::new().await;
    let program = house.run();
    let address = program.ready().await;
    let scraped = scrape(&address).await;
    let later = [
        "jobtrackd_delivery_attempt_duration_seconds",
        "jobtrackd_delivery_lag_seconds",
    ];
    let expected: BTreeSet<&str> = ALL.iter().map(|metric| metric.name).collect();
    let expected = &expected - &BTreeSet::from(later);
    assert_eq!(scraped.names(), expected);
    for series in [
        r#"jobtrackd_polls_total{outcome="throttled"}"#,
        r#"jobtrackd_jobs_finished_total{outcome="expired"}"#,
        r#"jobtrackd_events_total{type="job.failed"}"#,
        r#"jobtrackd_delivery_attempts_total{webhook="all",outcome="exhausted",error="timeout"}"#,
        r#"jobtrackd_stalls_total{part="writer"}"#,
        r#"jobtrackd_problem{problem="disk_full"}"#,
        "jobtrackd_detection_delay_seconds_count",
        "jobtrackd_upstream_paused_seconds_total",
    ] {
        assert_eq!(scraped.value(series), 0.0, "{series}");
    }
    program.stop().await;
}

#[tokio::test]
async fn a_scrape_tells_what_has_happened_by_the_names_kinds_and_labels_of_the_registry() {
    let house = House::new().await;
    let program = house.run();
    let address = program.ready().await;
    let body = r#"{"type":"job","id":"2","updated":"2026-01-01T00:00:00Z","steps":[{"title":"a","status":"failed"}]}"#;
    let failed = FaultRule::new(Fault::Status {
        status: 200,
        retry_after: None,
        body: Some(body.to_owned()),
    });
    house.control().inject(failed.on_job("2")).unwrap();
    house.follow("1", &[(0, &[("a", "success")])]).await;
    house.sql("INSERT INTO jobs (id) VALUES ('2')").await;
    house.until_ended().await;
    let scraped = until(
        &address,
        &[
            (r#"jobtrackd_jobs{state="success"}"#, 1.0),
            (r#"jobtrackd_jobs{state="failed"}"#, 1.0),
            (r#"jobtrackd_jobs{state="pending"}"#, 0.0),
            ("jobtrackd_jobs_followed", 0.0),
            (r#"jobtrackd_jobs_finished_total{outcome="success"}"#, 1.0),
            (r#"jobtrackd_jobs_finished_total{outcome="step"}"#, 1.0),
            ("jobtrackd_job_requests_count", 2.0),
            ("jobtrackd_job_requests_sum", 2.0),
            ("jobtrackd_rows_noticed_total", 2.0),
            ("jobtrackd_transitions_total", 2.0),
            (r#"jobtrackd_events_total{type="job.completed"}"#, 1.0),
            (r#"jobtrackd_events_total{type="job.step_changed"}"#, 2.0),
            (r#"jobtrackd_polls_total{outcome="answered"}"#, 2.0),
            ("jobtrackd_poll_duration_seconds_count", 2.0),
            ("jobtrackd_schedule_lag_seconds_count", 2.0),
            (r#"jobtrackd_token_requests_total{outcome="granted"}"#, 1.0),
            (
                r#"jobtrackd_delivery_attempts_total{webhook="all",outcome="delivered",error="none"}"#,
                4.0,
            ),
            (r#"jobtrackd_delivery_attempt_duration_seconds_count{webhook="all"}"#, 4.0),
            (r#"jobtrackd_delivery_lag_seconds_count{webhook="all"}"#, 4.0),
            (r#"jobtrackd_deliveries{webhook="all",state="pending"}"#, 0.0),
            (r#"jobtrackd_delivery_oldest_pending_seconds{webhook="all"}"#, 0.0),
            (r#"jobtrackd_deliveries_in_flight{webhook="all"}"#, 0.0),
            ("jobtrackd_ready", 1.0),
        ],
    )
    .await;
    as_registered(&scraped);
    // The row came long after the change that the second job tells of, so its delay is counted from the row on.
    assert!(scraped.value("jobtrackd_detection_delay_seconds_count") >= 1.0);
    assert!(scraped.value("jobtrackd_detection_delay_seconds_sum") < 60.0);
    assert!(
        scraped.value("jobtrackd_commit_changes_sum")
            >= scraped.value("jobtrackd_commit_duration_seconds_count")
    );
    assert!(scraped.value("jobtrackd_database_bytes") > 4096.0);
    assert!(scraped.value("jobtrackd_wal_bytes") > 0.0);
    assert!(scraped.value("jobtrackd_resident_memory_bytes") > 1e6);
    assert!(scraped.value("jobtrackd_open_fds") < scraped.value("jobtrackd_max_fds"));
    assert!(scraped.value("jobtrackd_start_time_seconds") > 1.7e9);
    program.stop().await;
}

#[tokio::test]
async fn trouble_of_receivers_and_rows_is_counted_by_webhook() {
    let mut house = House::new().await;
    for name in ["gone", "busy", "dead"] {
        house.webhook(name);
        house.raw(&format!("webhooks.{name}"), "events", "[\"job.completed\"]");
    }
    house.raw("webhooks.dead", "retry", "[]");
    house.sink.reply_in_turn("all", &[(500, ""), (302, "")]);
    house.sink.reply_in_turn("gone", &[(410, "")]);
    house.sink.reply_in_turn("busy", &[(429, "3600")]);
    house.sink.reply_in_turn("dead", &[(503, "")]);
    let program = house.run();
    let address = program.ready().await;
    house.follow("1", &[(0, &[("a", "success")])]).await;
    house.make("2", &[(0, &[("a", "in-progress")])]);
    house
        .sql("INSERT INTO jobs (id, webhook) VALUES ('2', 'nobody')")
        .await;
    // The database is counted now and then only, so everything is there before the first time.
    let done =
        "SELECT state = 'success' AND (SELECT count(*) FROM deliveries WHERE state = 'pending') = 1
                FROM jobs WHERE id = '1'";
    house.until(done, "1").await;
    let scraped = until(
        &address,
        &[
            (r#"jobtrackd_delivery_attempts_total{webhook="all",outcome="retry",error="status"}"#, 1.0),
            (r#"jobtrackd_delivery_attempts_total{webhook="all",outcome="retry",error="redirect"}"#, 1.0),
            (r#"jobtrackd_delivery_attempts_total{webhook="gone",outcome="disabled",error="gone"}"#, 1.0),
            (r#"jobtrackd_delivery_attempts_total{webhook="busy",outcome="paused",error="throttled"}"#, 1.0),
            (r#"jobtrackd_delivery_attempts_total{webhook="dead",outcome="exhausted",error="status"}"#, 1.0),
            (r#"jobtrackd_webhook_disabled{webhook="gone"}"#, 1.0),
            (r#"jobtrackd_webhook_paused{webhook="busy"}"#, 1.0),
            (r#"jobtrackd_webhook_paused{webhook="gone"}"#, 0.0),
            (r#"jobtrackd_deliveries{webhook="gone",state="disabled"}"#, 1.0),
            (r#"jobtrackd_deliveries{webhook="dead",state="exhausted"}"#, 1.0),
            (r#"jobtrackd_deliveries{webhook="busy",state="pending"}"#, 1.0),
            ("jobtrackd_jobs_unknown_webhook", 1.0),
            ("jobtrackd_jobs_followed", 1.0),
        ],
    )
    .await;
    assert!(scraped.value(r#"jobtrackd_delivery_oldest_pending_seconds{webhook="busy"}"#) > 0.0);
    assert_eq!(
        scraped.get(r#"jobtrackd_delivery_lag_seconds_count{webhook="busy"}"#),
        None
    );
    program.stop().await;
}

#[tokio::test]
async fn trouble_with_the_upstream_is_counted_and_so_are_reloads() {
    let mut house = House::new().await;
    let throttled = FaultRule::new(Fault::Status {
        status: 429,
        retry_after: Some(RetryAfter::Seconds(600)),
        body: None,
    });
    let program = house.run();
    let address = program.ready().await;
    let nonsense = FaultRule::new(Fault::Status {
        status: 200,
        retry_after: None,
        body: Some("nonsense".to_owned()),
    });
    house
        .control()
        .inject(nonsense.on_job("1").times(1))
        .unwrap();
    house.follow("1", &[(0, &[("a", "success")])]).await;
    house.until_ended().await;
    house.control().inject(throttled.on_job("2")).unwrap();
    house.follow("2", &[(0, &[("a", "success")])]).await;
    until(
        &address,
        &[
            (r#"jobtrackd_polls_total{outcome="unusable"}"#, 1.0),
            (r#"jobtrackd_polls_total{outcome="answered"}"#, 1.0),
            (r#"jobtrackd_polls_total{outcome="throttled"}"#, 1.0),
            ("jobtrackd_upstream_paused", 1.0),
            (r#"jobtrackd_problem{problem="throttled"}"#, 1.0),
            (r#"jobtrackd_problem{problem="credentials_refused"}"#, 0.0),
            ("jobtrackd_ready", 1.0),
        ],
    )
    .await;
    program.signal(Signal::HUP);
    program.says("the configuration was read again").await;
    house.set("upstream", "api_key", "");
    program.signal(Signal::HUP);
    program.says("the configuration was refused").await;
    let reloads = [
        (r#"jobtrackd_reloads_total{outcome="taken"}"#, 1.0),
        (r#"jobtrackd_reloads_total{outcome="refused"}"#, 1.0),
    ];
    until(&address, &reloads).await;
    program.stop().await;
}

#[tokio::test]
async fn refused_credentials_make_it_unready() {
    let mut house = House::new().await;
    house.set("upstream", "api_key", "a-wrong-key");
    let program = house.run();
    let address = program.ready().await;
    house.follow("1", &[(0, &[("a", "success")])]).await;
    until(
        &address,
        &[
            ("jobtrackd_ready", 0.0),
            (r#"jobtrackd_problem{problem="credentials_refused"}"#, 1.0),
            ("jobtrackd_upstream_paused", 1.0),
            (r#"jobtrackd_token_requests_total{outcome="refused"}"#, 1.0),
            (
                r#"jobtrackd_polls_total{outcome="credentials_refused"}"#,
                1.0,
            ),
        ],
    )
    .await;
    program.stop().await;
}
