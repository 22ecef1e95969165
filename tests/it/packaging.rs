//! What an installed program says of itself, and what its packages rely on.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use sqlx::{Connection as _, Row as _, SqliteConnection};

const CHANGELOG: &str = include_str!("../../packaging/debian/changelog");
const POSTINST: &str = include_str!("../../packaging/debian/postinst");

/// Texts with commands that root types, or that are run as root.
const AS_ROOT: [&str; 4] = [
    POSTINST,
    include_str!("../../packaging/install.sh"),
    include_str!("../../README.md"),
    include_str!("../../docs/operating.md"),
];

/// What the program prints; it must end well and complain of nothing.
fn said(arguments: &[&str]) -> String {
    let output = run(arguments);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {complaints}");
    assert_eq!(complaints, "", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_jobtrackd"))
        .args(arguments)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The commands that the help names, without `help` itself.
fn commands() -> Vec<String> {
    let help = said(&["--help"]);
    let (_, list) = help.split_once("\nCommands:\n").unwrap();
    let names = list
        .lines()
        .take_while(|line| !line.is_empty())
        // The rest of a description that was broken is indented further.
        .filter(|line| !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .filter(|name| name != "help")
        .collect::<Vec<_>>();
    assert!(names.len() > 9, "{names:?}");
    names
}

/// The same, and the one that the help leaves out and the pages have.
fn documented() -> Vec<String> {
    let mut commands = commands();
    assert!(!commands.contains(&"bench".to_owned()));
    commands.push("bench".to_owned());
    commands
}

/// The long options that a command's help names.
fn options(command: &str) -> Vec<String> {
    let help = said(&[command, "--help"]);
    help.lines()
        .filter_map(|line| line.trim_start().strip_prefix("-h, ").or(Some(line)))
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .map(|line| {
            let name = line.chars();
            name.take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                .collect()
        })
        .collect()
}

#[tokio::test]
async fn the_version_names_the_commit_and_the_sqlite_that_is_linked() {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let row = sqlx::query("SELECT sqlite_version()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let expected = format!(
        "jobtrackd {version} ({commit}) SQLite {sqlite}\n",
        version = env!("CARGO_PKG_VERSION"),
        commit = env!("JOBTRACKD_COMMIT"),
        sqlite = row.get::<String, _>(0),
    );
    assert_eq!(said(&["--version"]), expected);
    assert_eq!(said(&["-V"]), expected);
}

#[test]
fn what_root_is_to_run_gives_away_no_file_behind_a_link() {
    let mut found = 0;
    for line in AS_ROOT.iter().flat_map(|text| text.lines()) {
        for command in ["chown ", "chgrp "] {
            for (at, _) in line.match_indices(command) {
                assert!(line[at + command.len()..].starts_with("-h "), "{line}");
                found += 1;
            }
        }
    }
    assert!(found >= 3, "{found}");
}

#[test]
fn completions_offer_every_command_that_is_not_hidden() {
    for (shell, before, after) in [
        ("bash", "jobtrackd,", ")\n"),
        ("zsh", "(", ")\n_arguments "),
        ("fish", "needs_command\" -f -a \"", "\""),
    ] {
        let script = said(&["completions", shell]);
        let offers = |command: &str| script.contains(&format!("{before}{command}{after}"));
        for command in commands() {
            assert!(offers(&command), "{shell} does not offer {command}");
        }
        assert!(!offers("manual"), "{shell} offers what is hidden");
    }
    assert_eq!(run(&["completions", "tcsh"]).status.code(), Some(2));
}

#[test]
fn bash_takes_its_completions() {
    let mut bash = Command::new("bash")
        .args(["-n", "-s"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = said(&["completions", "bash"]);
    let mut input = bash.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    drop(input);
    let output = bash.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn the_manual_has_every_command_with_its_options() {
    let manual = said(&["manual"]);
    let (_, delivered) = manual.split_once("\n.SH COMMANDS\n").unwrap();
    let (delivered, _) = delivered.split_once("\n.SH ").unwrap();
    for command in documented() {
        let section = delivered
            .split(".SS ")
            .find(|section| {
                section
                    .trim_start_matches('"')
                    .split([' ', '"', '\n'])
                    .take(2)
                    .eq(["jobtrackd", &command])
            })
            .unwrap_or_else(|| panic!("{command} is missing:\n{manual}"));
        for option in options(&command) {
            // These two go anywhere and are delivered once.
            let place = match option.as_str() {
                "config" | "help" => &manual,
                _ => section,
            };
            let marked = format!(r"\-\-{}\fR", option.replace('-', r"\-"));
            assert!(
                place.contains(&marked),
                "{command} --{option} is missing:\n{section}"
            );
        }
    }
    for hidden in ["jobtrackd manual", r"\-\-pace", r"\-\-role"] {
        assert!(!delivered.contains(hidden), "{hidden} is hidden");
    }
}

#[test]
fn the_page_on_commands_has_every_command_with_its_options() {
    let page = include_str!("../../docs/commands.md");
    for command in documented() {
        let named = format!("`jobtrackd {command}");
        let rows: Vec<_> = page.lines().filter(|row| row.contains(&named)).collect();
        assert!(!rows.is_empty(), "{command} is missing");
        for option in options(&command) {
            let is_there = ["config", "help"].contains(&option.as_str())
                || rows.iter().any(|row| row.contains(&format!("--{option}")));
            assert!(is_there, "{command} --{option} is missing");
        }
    }
}

#[test]
fn the_manual_has_what_only_a_person_can_tell() {
    let manual = said(&["manual"]);
    for heading in [
        "ENQUEUEING WITH SQL",
        "FILES",
        "ENVIRONMENT",
        "SIGNALS",
        "SEE ALSO",
    ] {
        assert!(manual.contains(&format!("\n.SH {heading}\n")), "{heading}");
    }
    let (_, codes) = manual.split_once("\n.SH EXIT STATUS\n").unwrap();
    let (codes, _) = codes.split_once("\n.SH ").unwrap();
    for code in ["0", "1", "2", "78"] {
        assert!(codes.contains(&format!(".B {code}\n")), "{code}");
    }
}

#[test]
fn the_debian_changelog_begins_with_the_version_of_the_program() {
    let expected = concat!("jobtrackd (", env!("CARGO_PKG_VERSION"), "-");
    let first = CHANGELOG.lines().next().unwrap();
    assert!(first.starts_with(expected), "{first}: add an entry");
}

#[test]
fn reloads_are_notified_from_systemd_253_on() {
    let begin = POSTINST.find("knows_notify_reload() {").unwrap();
    let end = begin + POSTINST[begin..].find("\n}\n").unwrap() + 3;
    for (version, expected) in [
        ("systemd 252 (252.38-1~deb12u1)", false),
        ("systemd 253 (253-1)", true),
        ("systemd 257 (257.8-1~deb13u2)", true),
        ("systemd 260~rc1", true),
        ("systemd 1000", true),
        ("systemd 99", false),
        ("", false),
        ("something else", false),
    ] {
        let status = Command::new("sh")
            .args([
                "-euc",
                &format!("{}knows_notify_reload \"$1\"", &POSTINST[begin..end]),
            ])
            .args(["sh", version])
            .status()
            .unwrap();
        assert_eq!(status.success(), expected, "{version:?}");
    }
}
