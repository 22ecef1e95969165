//! What is shipped for Prometheus and Grafana, and the documents, name metrics, headings and log lines that exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jobtrackd::telemetry::{ALL, Kind};
use serde_json::Value;

use crate::support::world::World;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// The names of our metrics in a text; those of a histogram's series without their suffix.
fn named(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("jobtrackd_").filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
    });
    let word = |at: usize| {
        let rest = text[at..].chars();
        rest.take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    starts.map(|(at, _)| family(&word(at))).collect()
}

fn family(series: &str) -> String {
    let histogram = |name: &str| {
        let mut all = ALL.iter();
        all.any(|metric| metric.name == name && matches!(metric.kind, Kind::Histogram(_)))
    };
    ["_bucket", "_sum", "_count"]
        .into_iter()
        .find_map(|suffix| series.strip_suffix(suffix).filter(|name| histogram(name)))
        .unwrap_or(series)
        .to_owned()
}

fn known() -> BTreeSet<String> {
    ALL.iter().map(|metric| metric.name.to_owned()).collect()
}

/// Everything a dashboard asks, panels in rows included.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("expr" | "query" | "definition", Value::String(text)) => {
                        found.push(text.clone());
                    }
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_every_metric_and_names_no_other() {
    let dashboard: Value = serde_json::from_str(&read("ops/grafana/jobtrackd.json")).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    assert_eq!(named(&asked.join("\n")), known());
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "{}",
            panel["title"]
        );
        if panel["type"] != "row" {
            assert_eq!(
                panel["datasource"]["uid"], "${datasource}",
                "{}",
                panel["title"]
            );
            let targets = panel["targets"].as_array().unwrap();
            let chosen = |target: &Value| {
                target["expr"]
                    .as_str()
                    .unwrap()
                    .contains(r#"instance=~"$instance""#)
            };
            assert!(
                !targets.is_empty() && targets.iter().all(chosen),
                "{}",
                panel["title"]
            );
        }
    }
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows.map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(
        rows,
        ["Jobs", "Upstream", "Deliveries", "Database", "Process"]
    );
}

#[test]
fn labels_of_questions_are_labels_of_the_metrics_they_are_asked_of() {
    let dashboard: Value = serde_json::from_str(&read("ops/grafana/jobtrackd.json")).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, &mut asked);
    let rules = read("ops/prometheus/alerts.yml");
    asked.extend(
        rules
            .lines()
            .filter(|line| line.trim_start().starts_with("expr: "))
            .map(str::to_owned),
    );
    let mut labels = 0;
    for expression in &asked {
        for (at, _) in expression.match_indices("jobtrackd_") {
            let name: String = expression[at..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let Some(list) = expression[at + name.len()..].strip_prefix('{') else {
                continue;
            };
            let Some(metric) = ALL.iter().find(|metric| metric.name == family(&name)) else {
                panic!("{name} in {expression}");
            };
            for pair in list.split('}').next().unwrap().split(',') {
                let label = pair.split(['=', '!']).next().unwrap().trim();
                let common = ["instance", "job", "le"].contains(&label);
                assert!(
                    common || metric.labels.contains(&label),
                    "{label} in {expression}"
                );
                labels += 1;
            }
        }
    }
    assert!(labels > 0, "no label was found");
}

#[test]
fn alerts_name_only_metrics_that_exist_and_say_what_to_do() {
    let rules = read("ops/prometheus/alerts.yml");
    assert!(
        named(&rules).is_subset(&known()),
        "{:?}",
        &named(&rules) - &known()
    );
    for needed in [
        "jobtrackd_ready",
        "jobtrackd_problem",
        "jobtrackd_schedule_lag_seconds",
        "jobtrackd_delivery_oldest_pending_seconds",
        "jobtrackd_wal_bytes",
    ] {
        assert!(named(&rules).contains(needed), "no alert looks at {needed}");
    }
    let mut names = BTreeSet::new();
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        assert!(names.insert(name), "{name}");
        for key in [
            "\n        expr: ",
            "\n        for: ",
            "\n          summary: ",
            "\n          description: ",
        ] {
            assert!(rule.contains(key), "{name} has no {}", key.trim());
        }
        let severity = rule
            .split("severity: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        assert!(matches!(severity, Some("warning" | "critical")), "{name}");
        // That the page has the heading is checked with all other references, in documents.rs.
        let description = rule.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            description.contains(".md, \""),
            "{name} names no part of the documents"
        );
    }
    assert!(named(&read("ops/prometheus/scrape.yml")).is_empty());
}

#[test]
fn the_documents_list_exactly_the_metrics_there_are() {
    let page = read("docs/operating.md");
    let row = |metric: &jobtrackd::telemetry::Metric| {
        let labels: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, kind) = (metric.name, metric.kind.as_str());
        let cells = [
            format!("`{name}`"),
            kind.to_owned(),
            labels.join(", "),
            metric.help.to_owned(),
        ];
        format!("| {} |", cells.join(" | ")).replace("|  |", "| |")
    };
    let expected: Vec<String> = ALL.iter().map(row).collect();
    let listed: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| `jobtrackd_"))
        .collect();
    assert_eq!(listed, expected);
}

/// The sources of the daemon, with strings that go over several lines joined.
fn source() -> String {
    let mut text = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = fs::read_to_string(path).unwrap().replace("\\\n", "\n");
                text.extend(lines.lines().flat_map(|line| [line.trim_start(), " "]));
            }
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_log_lines_in_the_documents_are_those_of_the_daemon() {
    let (page, source) = (read("docs/operating.md"), source());
    let (_, section) = page.split_once("\n## Log lines\n").unwrap();
    let (_, table) = section
        .split_once("\n| level | line | meaning |\n")
        .unwrap();
    let mut found = 0;
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        // The line itself, and the one that ends the condition.
        let quoted = row.split('`').skip(1).step_by(2);
        for line in quoted.filter(|text| text.split(' ').count() > 2) {
            let is_command = line.starts_with("jobtrackd ");
            assert!(is_command || source.contains(line), "no line says {line:?}");
            found += 1;
        }
    }
    assert!(found > 40, "{found}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_records_nothing_says_so() {
    let mut world = World::running().await;
    let (status, body) = world.get("/metrics").await;
    assert_eq!(status, 404);
    let detail = body["data"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("jobtrackd run"), "{detail}");
    world.stop().await;
}
