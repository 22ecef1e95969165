//! What was measured, for people and for programs.

use std::thread::available_parallelism;
use std::time::Duration;

use super::super::screen::{Screen, View};
use super::super::table::{self, Cell, Columns, plain};
use super::super::text;
use super::measures::{Figures, Rate, Times};
use super::place::Place;
use crate::core::time::millis;
use crate::measuring::{load, processor};
use crate::record::command::{BenchRateRecord, BenchRecord, BenchTimesRecord};
use crate::store::sqlite::FilesystemKind;

const COLUMNS: Columns<'_> = Columns {
    headings: &["MEASURE", "P50", "P99", "RATE", "DAEMON", "PEERS"],
    ruled: true,
    numbers: &[1, 2, 3, 4, 5],
    yields: &[(5, 0), (0, 20)],
    ..Columns::PLAIN
};

/// How to read it, a paragraph each.
const READING: [&str; 3] = [
    "RATE is what this machine does with everything on it. DAEMON and PEERS are processor time for one of them: the peers, a \
     simulated API and a receiver that do as little as possible, are another process on this machine, and where they run \
     elsewhere the daemon has that time as well.",
    "Row to first request: from the commit of a row by another program until the API gets the first request for its job.",
    "A durable commit is one row flushed to the disk. Changes that come together share one, so a slow disk delays what is recorded and \
     delivered by about that time, and polls that find nothing new do not wait for it.",
];

/// The machine, and how long it took.
struct Conditions {
    processors: u64,
    processor: String,
    load: Option<f64>,
    took: Duration,
}

/// Prints it all.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn print(
    figures: &Figures,
    place: &Place,
    took: Duration,
    json: bool,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let conditions = Conditions {
        processors: available_parallelism().map_or(1, |count| count.get() as u64),
        processor: processor(),
        load: load(),
        took,
    };
    if json {
        let directory = place.folder.to_string_lossy();
        return screen.json(&record(figures, place, &directory, &conditions));
    }
    let text = text(figures, place, &conditions, &screen.view);
    screen.text(&text);
    Ok(())
}

fn record<'a>(
    figures: &Figures,
    place: &'a Place,
    directory: &'a str,
    conditions: &'a Conditions,
) -> BenchRecord<'a> {
    let rate = |rate: Rate| BenchRateRecord {
        per_second: rounded(rate.per_second),
        daemon_us: rounded(rate.daemon_us),
        peers_us: rounded(rate.peers_us),
    };
    let times = |times: Times| BenchTimesRecord {
        p50_ms: rounded(times.p50_ms),
        p99_ms: rounded(times.p99_ms),
        count: times.count as u64,
    };
    BenchRecord {
        directory,
        filesystem: &place.filesystem.name,
        processors: conditions.processors,
        processor: &conditions.processor,
        load_1m: conditions.load,
        polls: rate(figures.polls),
        ends: rate(figures.ends),
        deliveries: rate(figures.deliveries),
        first_request: times(figures.first_request),
        commit: times(figures.commit),
        took_ms: millis(conditions.took),
    }
}

/// To a hundredth.
fn rounded(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

fn text(figures: &Figures, place: &Place, conditions: &Conditions, view: &View) -> String {
    let mut out = String::new();
    for line in text::wrap(&header(place, conditions), view.width) {
        out += &format!("{line}\n");
    }
    out += "\n";
    let rows = [
        rate("polls that find nothing new", figures.polls),
        rate("jobs that have ended, row to webhook", figures.ends),
        rate("deliveries to one webhook", figures.deliveries),
        times("row to first request", figures.first_request),
        times("one durable commit", figures.commit),
    ];
    let cell = |row: &[String; 6], column: usize, _| -> Cell { plain(row[column].clone()) };
    out += &table::draw(&COLUMNS, &rows, cell, view);
    out += "\n";
    for line in READING.iter().flat_map(|text| text::wrap(text, view.width)) {
        out += &format!("{}\n", view.dim(&line));
    }
    out
}

fn header(place: &Place, conditions: &Conditions) -> String {
    let load = conditions
        .load
        .map_or(String::new(), |load| format!(", load {load}"));
    let kind = match place.filesystem.kind {
        FilesystemKind::Local => "",
        FilesystemKind::Memory => ", which is memory: commits to a disk take longer",
        FilesystemKind::Network => ", which is on a network",
    };
    format!(
        "{} ({}){load}; database on {}{kind}, in {} (the folder {}); took {}",
        text::count(conditions.processors, "processor"),
        text::outside(&conditions.processor, 100),
        text::outside(&place.filesystem.name, 100),
        text::outside(&place.folder.to_string_lossy(), 300),
        text::outside(&place.choice, 300),
        text::brief(conditions.took),
    )
}

fn rate(name: &str, rate: Rate) -> [String; 6] {
    let [daemon, peers] = [rate.daemon_us, rate.peers_us].map(|cost| format!("{cost:.0} µs"));
    let none = String::new;
    let per_second = format!("{:.0}/s", rate.per_second);
    [name.to_owned(), none(), none(), per_second, daemon, peers]
}

fn times(name: &str, times: Times) -> [String; 6] {
    let [half, most] = [times.p50_ms, times.p99_ms].map(|time| format!("{time:.1} ms"));
    let none = String::new;
    [name.to_owned(), half, most, none(), none(), none()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::Style;
    use crate::core::time::UnixMillis;
    use crate::store::sqlite::Filesystem;

    fn shown(kind: FilesystemKind) -> String {
        let rate = |per_second| Rate {
            per_second,
            daemon_us: 38.4,
            peers_us: 12.0,
        };
        let times = |p50_ms| Times {
            p50_ms,
            p99_ms: p50_ms * 2.0,
            count: 100,
        };
        let figures = Figures {
            polls: rate(24_300.4),
            ends: rate(1948.0),
            deliveries: rate(12_200.0),
            first_request: times(21.25),
            commit: times(0.44),
        };
        let place = Place::for_tests(
            "/srv/jobs".into(),
            Filesystem {
                kind,
                name: "ext4".into(),
            },
        );
        let conditions = Conditions {
            processors: 2,
            processor: "Test\u{1b}[2J".to_owned(),
            load: Some(0.5),
            took: Duration::from_secs(29),
        };
        let view = View {
            style: Style { colour: false },
            width: 100,
            now: UnixMillis(0),
        };
        text(&figures, &place, &conditions, &view)
    }

    #[test]
    fn the_table_has_units_and_says_where_and_how_to_read_it() {
        let shown = shown(FilesystemKind::Local);
        let unbroken: Vec<&str> = shown.split_whitespace().collect();
        let unbroken = unbroken.join(" ");
        for part in [
            r"2 processors (Test\u{1b}[2J), load 0.5; database on ext4, in /srv/jobs (the folder as named); took 29s",
            "MEASURE P50 P99 RATE DAEMON PEERS",
            "polls that find nothing new 24300/s 38 µs 12 µs",
            "row to first request 21.2 ms 42.5 ms",
            "one durable commit 0.4 ms 0.9 ms",
            "RATE is what this machine does",
        ] {
            assert!(unbroken.contains(part), "{part}\n{shown}");
        }
        assert!(shown.lines().all(|line| text::columns(line) <= 100));
    }

    #[test]
    fn a_file_system_in_memory_is_said_to_be_one() {
        assert!(shown(FilesystemKind::Memory).contains("which is memory"));
    }
}
