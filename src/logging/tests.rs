//! The formats, through the real layer: events go in, bytes come out.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing::subscriber::with_default;
use tracing::{debug, error, info, trace, warn};

use super::*;
use crate::core::time::UnixMillis;

const START: UnixMillis = UnixMillis(1_795_359_845_120);

/// What an attacker would write into a text that is logged.
const HOSTILE: &str = "x\n<0>forged\r\n\u{1b}[2K\u{9b}31m\u{85}\u{2028}\u{202e}\" level=ERROR";

/// Runs `work` with an output, and returns what was written.
fn written(output: Output, level: &str, work: impl FnOnce()) -> String {
    // Time stands still, however long the work takes.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    let _entered = runtime.enter();
    let kept = Arc::new(Mutex::new(String::new()));
    let keeping = Arc::clone(&kept);
    let lines = Lines {
        output,
        clock: Clock::driven(START),
        write: move |line: &str| keeping.lock().push_str(line),
    };
    let subscriber = Registry::default().with(lines.with_filter(filter(level).unwrap()));
    with_default(subscriber, work);
    let text = kept.lock();
    text.clone()
}

fn text(work: impl FnOnce()) -> String {
    written(Output::Text { colours: false }, "trace", work)
}

fn objects(work: impl FnOnce()) -> Vec<Value> {
    let lines = written(Output::Json, "trace", work);
    let object = |line| serde_json::from_str(line).unwrap();
    lines.lines().map(object).collect()
}

/// A journald that reads nothing by itself, and where it listens.
fn journald() -> (TempDir, PathBuf, UnixDatagram) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journald = UnixDatagram::bind(&path).unwrap();
    (folder, path, journald)
}

/// Entries as journald would read them: name, line break, length in eight bytes, value, line break.
fn entries(work: impl FnOnce()) -> Vec<BTreeMap<String, String>> {
    let (_folder, path, journald) = journald();
    let output = Output::Journal(Journal::at(&path).unwrap());
    assert_eq!(written(output, "trace", work), "", "nothing goes elsewhere");
    journald.set_nonblocking(true).unwrap();
    let mut datagram = vec![0; 1 << 20];
    let mut found = Vec::new();
    while let Ok(length) = journald.recv(&mut datagram) {
        // The first one only tries whether journald listens.
        if length > 0 {
            found.push(entry(&datagram[..length]));
        }
    }
    found
}

fn entry(mut bytes: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        let (name, rest) = (&bytes[..end], &bytes[end + 1..]);
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap());
        let (value, rest) = rest[8..].split_at(usize::try_from(length).unwrap());
        let name = String::from_utf8(name.to_vec()).unwrap();
        let twice = fields.insert(name.clone(), String::from_utf8(value.to_vec()).unwrap());
        assert_eq!(twice, None, "{name} twice");
        bytes = rest.strip_prefix(b"\n").unwrap();
    }
    fields
}

#[test]
fn a_text_line_has_time_level_message_and_fields() {
    let lines = text(|| {
        info!(job_id = %61723, polls = 4_u64, "job completed");
        warn!(
            webhook = "billing",
            error = "status: 500 Oh",
            missing = None::<u64>,
            "no"
        );
        info!(target: "hyper::client", on = true, "connected");
    });
    assert_eq!(
        lines,
        "2026-11-22T15:04:05.120Z  INFO job completed job_id=61723 polls=4\n\
         2026-11-22T15:04:05.120Z  WARN no webhook=billing error=\"status: 500 Oh\"\n\
         2026-11-22T15:04:05.120Z  INFO hyper::client: connected on=true\n"
    );
    let coloured = written(Output::Text { colours: true }, "info", || warn!("w"));
    let expected = "\u{1b}[2m2026-11-22T15:04:05.120Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m w\n";
    assert_eq!(coloured, expected);
}

#[test]
fn a_json_line_is_one_flat_object() {
    let lines = written(Output::Json, "info", || {
        warn!(job_id = %61723, retry_in_ms = 1500_u64, ratio = 0.5, on = true, "all\nin");
    });
    assert_eq!(
        lines,
        "{\"timestamp\":\"2026-11-22T15:04:05.120Z\",\"level\":\"WARN\",\"message\":\"all\\\\nin\",\
         \"job_id\":\"61723\",\"retry_in_ms\":1500,\"ratio\":0.5,\"on\":true,\
         \"target\":\"jobtrackd::logging::tests\"}\n"
    );
}

#[test]
fn an_entry_of_the_journal_has_every_field_and_the_whole_line_as_its_message() {
    let found = entries(|| {
        info!(job_id = %61723, kind = "step", polls = 4_u64, "job failed");
    });
    let line = found[0]["CODE_LINE"].parse::<u32>().unwrap();
    assert!(line > 0);
    let expected = BTreeMap::from(
        [
            ("MESSAGE", "job failed job_id=61723 kind=step polls=4"),
            ("PRIORITY", "6"),
            ("SYSLOG_IDENTIFIER", "jobtrackd"),
            ("TARGET", "jobtrackd::logging::tests"),
            ("CODE_FILE", "src/logging/tests.rs"),
            ("CODE_LINE", &line.to_string()),
            ("JOB_ID", "61723"),
            ("KIND", "step"),
            ("POLLS", "4"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    assert_eq!(found, [expected]);
}

#[test]
fn levels_are_the_priorities_of_syslog() {
    let found = entries(|| {
        error!("e");
        warn!("w");
        info!("i");
        debug!("d");
        trace!("t");
    });
    let priorities: Vec<&str> = found.iter().map(|entry| &*entry["PRIORITY"]).collect();
    assert_eq!(priorities, ["3", "4", "6", "7", "7"]);
}

#[test]
fn nothing_in_a_value_forges_a_line_a_field_or_a_colour_in_any_format() {
    let say = || {
        info!(job_id = HOSTILE, error = %HOSTILE, debug = ?HOSTILE, "{HOSTILE}");
        info!("after");
    };
    let lines = text(say);
    let escaped = "x\\n<0>forged\\r\\n\\u{1b}[2K\\u{9b}31m\\u{85}\\u{2028}\\u{202e}";
    let expected = format!("job_id=\"{escaped}' level=ERROR\" error=");
    assert!(lines.contains(&expected), "{lines}");
    let forging = |c: char| (c != '\n' && c.is_control()) || crate::core::text::is_deceptive(c);
    assert!(!lines.contains(forging), "{lines:?}");
    assert_eq!(lines.lines().count(), 2);

    let found = objects(say);
    assert_eq!(found.len(), 2);
    for field in ["job_id", "error", "message"] {
        assert_eq!(found[0][field], format!("{escaped}\" level=ERROR"));
    }
    assert_eq!(found[0]["level"], "INFO");
    let raw = written(Output::Json, "info", say);
    assert!(!raw.contains(forging), "{raw:?}");

    let found = entries(say);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["PRIORITY"], "6");
    assert_eq!(found[0]["JOB_ID"], format!("{escaped}\" level=ERROR"));
    assert!(!found[0].values().any(|value| value.contains(forging)));
    assert!(!found[0].values().any(|value| value.contains('\n')));
}

#[test]
fn long_values_are_cut_one_by_one_and_all_together() {
    let long = "\u{1b}".repeat(1 << 20);
    let say = || info!(a = long, b = %long, c = ?long.as_bytes(), d = long, e = long, f = 7, "m");
    let found = &objects(say)[0];
    let expected = format!("{}…", "\\u{1b}".repeat(2000));
    assert_eq!(found["a"], expected);
    assert_eq!(found["b"], expected);
    assert_eq!(found["c"].as_str().unwrap().chars().count(), 2001);
    assert_eq!(found["e"], "…");
    assert_eq!((&found["f"], &found["message"]), (&json!(7), &json!("m")));
    // As large as an entry can become, it still is one datagram.
    assert_eq!(entries(say)[0]["A"], expected);
}

#[test]
fn fields_cannot_take_the_names_that_mean_something() {
    let say = || {
        info!(
            level = "x",
            target = "x",
            timestamp = "x",
            priority = 0,
            code_line = 0,
            _pid = 1,
            http.status = 200,
            "m"
        );
    };
    let found = &objects(say)[0];
    assert_eq!(found["level"], "INFO");
    assert_eq!(found["field_level"], "x");
    assert_eq!(found["http.status"], 200);
    let found = &entries(say)[0];
    for (name, value) in [
        ("PRIORITY", "6"),
        ("FIELD_PRIORITY", "0"),
        ("FIELD_CODE_LINE", "0"),
        ("FIELD__PID", "1"),
        ("HTTP_STATUS", "200"),
        ("FIELD_LEVEL", "x"),
    ] {
        assert_eq!(found[name], value, "{name}");
    }
}

#[test]
fn one_word_is_our_own_level_and_directives_are_taken_as_they_are() {
    let say = || {
        debug!("ours");
        trace!("ours, finer");
        info!(target: "hyper", "theirs");
        debug!(target: "hyper", "theirs, finer");
    };
    for (level, expected) in [
        ("info", vec!["theirs"]),
        ("warn", vec![]),
        ("DEBUG", vec!["ours", "theirs"]),
        (" trace", vec!["ours", "ours, finer", "theirs"]),
        ("debug,jobtrackd=info", vec!["theirs", "theirs, finer"]),
        ("info,hyper=debug", vec!["theirs", "theirs, finer"]),
    ] {
        let lines = written(Output::Json, level, say);
        let message = |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"].clone();
        let messages: Vec<Value> = lines.lines().map(message).collect();
        assert_eq!(messages, expected, "{level}");
    }
}

#[test]
fn auto_is_text_on_a_terminal_journald_under_systemd_and_json_elsewhere() {
    let auto = |terminal, journal| resolve(LogFormat::Auto, terminal, journal);
    assert_eq!(auto(true, true), LogFormat::Text);
    assert_eq!(auto(false, true), LogFormat::Journald);
    assert_eq!(auto(false, false), LogFormat::Json);
    for named in [LogFormat::Text, LogFormat::Json, LogFormat::Journald] {
        assert_eq!(resolve(named, true, true), named);
    }
}

#[test]
fn the_journal_is_recognized_by_device_and_inode_and_not_by_an_inherited_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name| File::create(folder.path().join(name)).unwrap();
    let (journal, other) = (file("journal"), file("other"));
    let found = journal.metadata().unwrap();
    let stream = format!("{}:{}", found.dev(), found.ino());
    let named = Some(OsStr::new(&stream));
    assert!(is_journal(named, &journal));
    assert!(!is_journal(named, &other), "redirected");
    assert!(!is_journal(None, &journal));
    let another_device = format!("{}:{}", found.dev() + 1, found.ino());
    for wrong in [&another_device, "", ":", "1", "a:b", "1:2:3", "-1:2"] {
        assert!(!is_journal(Some(OsStr::new(wrong)), &journal), "{wrong}");
    }
}

#[test]
fn without_journald_auto_is_json_with_a_warning_and_journald_by_name_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let found = choose(LogFormat::Auto, LogFormat::Journald, &path).unwrap();
    assert!(matches!(found, (Output::Json, Some(_))), "{found:?}");
    assert!(choose(LogFormat::Journald, LogFormat::Journald, &path).is_err());
    let _journald = UnixDatagram::bind(&path).unwrap();
    for asked in [LogFormat::Auto, LogFormat::Journald] {
        let found = choose(asked, LogFormat::Journald, &path).unwrap();
        assert!(matches!(found, (Output::Journal(_), None)), "{found:?}");
    }
}

#[test]
fn a_journald_that_goes_away_costs_no_line() {
    let (_folder, path, journald) = journald();
    let output = output(LogFormat::Journald, &path).unwrap();
    drop(journald);
    let lines = written(output, "info", || info!("m"));
    assert!(lines.contains("\"message\":\"m\""), "{lines}");
}

#[test]
fn a_journald_that_takes_nothing_stops_nothing_and_gets_the_lines_and_how_many_are_lost_later() {
    let (_folder, path, journald) = journald();
    let output = output(LogFormat::Journald, &path).unwrap();
    let many = 10_000;
    let lines = written(output, "info", || {
        for number in 0..many {
            info!(number, "m");
        }
    });
    assert_eq!(lines, "", "nothing goes elsewhere");
    let mut datagram = vec![0; 1 << 20];
    let mut taken = Vec::new();
    let lost: u64 = loop {
        let length = journald.recv(&mut datagram).unwrap();
        let entry = entry(&datagram[..length]);
        match entry.get("LOST") {
            Some(lost) => break lost.parse().unwrap(),
            None => taken.extend(
                entry
                    .get("NUMBER")
                    .map(|number| number.parse::<u64>().unwrap()),
            ),
        }
    };
    assert!(taken.len() > 1000, "{}", taken.len());
    let first: Vec<u64> = (0..taken.len() as u64).collect();
    assert_eq!(taken, first, "in order");
    assert_eq!(lost, many - taken.len() as u64);
}

#[test]
fn what_a_stopped_journald_has_not_taken_goes_to_the_next_one() {
    let (_folder, path, journald) = journald();
    let output = output(LogFormat::Journald, &path).unwrap();
    let (mut taken, last) = (Vec::new(), 699_u64);
    written(output, "info", || {
        for number in 0..=last {
            info!(number, "m");
        }
        std::fs::remove_file(&path).unwrap();
        let next = UnixDatagram::bind(&path).unwrap();
        next.set_nonblocking(true).unwrap();
        drop(journald);
        let mut datagram = vec![0; 1 << 20];
        while taken.last() != Some(&last) {
            info!("another line");
            while let Ok(length) = next.recv(&mut datagram) {
                let number = entry(&datagram[..length]).remove("NUMBER");
                taken.extend(number.map(|number| number.parse::<u64>().unwrap()));
            }
        }
    });
    assert!(taken.is_sorted(), "{taken:?}");
    assert_eq!(taken.len() as u64, last + 1 - taken[0], "none is missing");
}

#[test]
fn the_end_of_the_process_waits_until_a_busy_journald_has_the_lines() {
    let (_folder, path, journald) = journald();
    let journal = Journal::at(&path).unwrap();
    let lines = 600;
    written(Output::Journal(journal.clone()), "info", || {
        (0..lines).for_each(|number| info!(number, "m"));
    });
    let reading = std::thread::spawn(move || {
        let mut datagram = vec![0; 1 << 20];
        // The first one only tries whether journald listens.
        for _ in 0..=lines {
            journald.recv(&mut datagram).unwrap();
        }
    });
    assert!(journal.flush());
    reading.join().unwrap();
}
