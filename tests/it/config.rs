//! The configuration from real files: the shipped ones, broken ones, secrets and credentials.

mod auth;
mod dialects;
mod secrets;
mod tokens;
mod webhook_files;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobtrackd::config::{ConfigError, Settings, Sources, load};
use jobtrackd::core::cadence::PollingPolicy;
use proptest::prelude::*;
use tempfile::TempDir;

/// The shipped example.
const EXAMPLE: &str = include_str!("../../config/jobtrackd.toml");

/// A signing secret of 32 bytes.
const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// What must never be printed.
const CANARY: &str = "canary7f3a";

/// A folder with a configuration file, secrets and credentials.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder can be made"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file that only its owner can read.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        let folder = path.parent().expect("the path is inside the folder");
        fs::create_dir_all(folder).expect("a folder can be made");
        fs::write(&path, content).expect("a file can be written");
        permit(&path, 0o600);
        path
    }

    /// Sources with this file, and the folder's `credentials`.
    fn sources(&self, toml: &str) -> Sources {
        Sources {
            file: Some(self.write("jobtrackd.toml", toml)),
            credentials_directory: Some(self.path("credentials")),
            ..Sources::default()
        }
    }

    fn load(&self, toml: &str) -> Result<Settings, ConfigError> {
        load(&self.sources(toml))
    }

    fn refusal(&self, toml: &str) -> String {
        let text = self.load(toml).expect_err(toml).to_string();
        let heading = format!(
            "bad configuration in {}",
            self.path("jobtrackd.toml").display()
        );
        assert!(text.starts_with(&heading), "{text}");
        text
    }
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the file is ours");
}

fn set(sources: &mut Sources, variable: &str, value: &str) {
    sources
        .environment
        .insert(variable.to_owned(), value.to_owned());
}

fn contains_all(text: &str, fragments: &[&str]) {
    for fragment in fragments {
        assert!(text.contains(fragment), "no {fragment:?} in: {text}");
    }
}

const NO_AUTH: &str = "[upstream]\nauth = \"none\"\n";

#[test]
fn the_shipped_example_is_the_defaults_with_and_without_its_comment_marks() {
    let folder = Folder::new();
    folder.write("credentials/api_key", "key\n");
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|first: char| first.is_ascii_lowercase()) => key,
            _ => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(uncommented.contains("\ndeadline = "));
    let defaults = load(&Sources {
        credentials_directory: Some(folder.path("credentials")),
        ..Sources::default()
    })
    .unwrap();
    for text in [EXAMPLE, &uncommented] {
        let settings = folder.load(text).unwrap();
        assert_eq!(format!("{settings:?}"), format!("{defaults:?}"));
        assert_eq!(settings.polling, PollingPolicy::default());
    }
}

#[test]
fn the_example_of_a_webhook_in_the_shipped_file_is_the_default_of_a_webhook() {
    let folder = Folder::new();
    folder.write("credentials/webhook.billing", SECRET);
    let line = |key: &str| {
        let start = format!("#   {key} = ");
        let found = EXAMPLE.lines().find(|line| line.starts_with(&start));
        format!("{}\n", found.unwrap().trim_start_matches('#'))
    };
    let head = format!("{NO_AUTH}[webhooks.billing]\n{}", line("url"));
    let plain = folder.load(&head).unwrap();
    let keys = [
        "events",
        "timeout",
        "max_in_flight",
        "retry",
        "allow_private",
        "allow_http",
    ];
    let values = keys.map(line).concat();
    let full = folder.load(&format!("{head}{values}")).unwrap();
    assert_eq!(format!("{full:?}"), format!("{plain:?}"));
}

#[test]
fn the_file_is_laid_over_the_defaults_and_the_environment_over_the_file() {
    let folder = Folder::new();
    let mut sources = folder.sources(&format!(
        "{NO_AUTH}max_in_flight = 10\ntimeout = \"3s\"\n[polling]\nmultiplier = 2\n\
         [webhooks.Bill-ing]\nurl = \"https://a.example\"\nsecret = \"{SECRET}\"\ntimeout = \"1s\"\n\
         [webhooks.\"a.b\"]\nurl = \"https://b.example\"\nsecret = \"{SECRET}\"\n"
    ));
    set(&mut sources, "JOBTRACKD__UPSTREAM__TIMEOUT", "4s");
    set(
        &mut sources,
        "JOBTRACKD__WEBHOOKS__BILL_ING__URL",
        "https://c.example",
    );
    set(&mut sources, "JOBTRACKD__WEBHOOKS__A_B__MAX_IN_FLIGHT", "3");
    let settings = load(&sources).unwrap();
    assert_eq!(settings.upstream.max_in_flight, 10);
    assert_eq!(settings.upstream.timeout, Duration::from_secs(4));
    assert_eq!(settings.polling.multiplier.to_bits(), 2.0_f64.to_bits());
    let names: Vec<&str> = settings
        .webhooks
        .iter()
        .map(|hook| hook.name.as_str())
        .collect();
    assert_eq!(names, ["Bill-ing", "a.b"]);
    let url = settings.webhooks[0].url.as_ref().unwrap();
    assert_eq!(url.as_str(), "https://c.example/");
    assert_eq!(settings.webhooks[0].timeout, Duration::from_secs(1));
    assert_eq!(settings.webhooks[1].max_in_flight, 3);
}

#[test]
fn a_variable_that_could_mean_two_webhooks_is_refused_unless_it_is_exact() {
    let folder = Folder::new();
    let hook = |name: &str| {
        format!("[webhooks.{name}]\nurl = \"https://a.example\"\nsecret = \"{SECRET}\"\n")
    };
    let toml = format!("{NO_AUTH}{}{}", hook("a-b"), hook("a_b"));
    let mut sources = folder.sources(&toml);
    set(&mut sources, "JOBTRACKD__WEBHOOKS__a_b__TIMEOUT", "1s");
    assert_eq!(
        load(&sources).unwrap().webhooks[1].timeout,
        Duration::from_secs(1)
    );
    set(&mut sources, "JOBTRACKD__WEBHOOKS__A_B__TIMEOUT", "1s");
    let text = load(&sources).unwrap_err().to_string();
    contains_all(
        &text,
        &["any of a-b, a_b", "JOBTRACKD__WEBHOOKS__A_B__TIMEOUT"],
    );
}

#[test]
fn all_problems_of_a_file_are_reported_at_once() {
    let text = Folder::new().refusal(&format!(
        "base_url = \"x\"\n{NO_AUTH}base-url = \"https://a.example\"\ntimeout = 15\nmax_in_flight = \"8\"\n\
         [polling.jitter]\nx = 1\n[webhook.billing]\nurl = \"x\"\n\
         [webhooks]\nurl = \"https://a.example\"\n[webhooks.\"*\"]\ntimeout = \"1s\"\n\
         [webhooks.a]\nsecret = 5\nevents = \"job.failed\"\nretry = [5]\n[log]\nlevel = [\"info\"]\n"
    ));
    contains_all(
        &text,
        &[
            "base_url: there is no such key; did you mean upstream.base_url?",
            "upstream.base-url: there is no such key; did you mean upstream.base_url?",
            "upstream.timeout: a bare number is not a duration",
            "upstream.max_in_flight: expected a whole number without quotes, not a text",
            "polling.jitter: expected a number without quotes, not a section",
            "webhook: there is no such section; did you mean webhooks?",
            "webhooks.url: expected a section [webhooks.NAME], not a text",
            "webhooks.\"*\": this cannot be the name of a webhook",
            "webhooks.a.url: this key is missing; write url = \"https://",
            "webhooks.a.secret: expected text in quotes, not a whole number",
            "webhooks.a.events: expected a list of texts, not a text",
            "webhooks.a.retry: entry 1: a bare number",
            "log.level: expected text in quotes, not a list",
        ],
    );
    assert_eq!(text.lines().count(), 14, "{text}");
}

#[test]
fn a_section_that_is_a_value_is_refused() {
    let folder = Folder::new();
    for (toml, fragment) in [
        (
            "upstream = 5",
            "upstream: expected a section [upstream], not a whole number",
        ),
        (
            "[[webhooks]]\nurl = \"x\"",
            "webhooks: expected a section [webhooks.NAME], not a list",
        ),
        ("\"webhooks.x\" = 1", "webhooks.x: there is no such key"),
    ] {
        contains_all(&folder.refusal(toml), &[fragment]);
    }
}

#[test]
fn a_file_that_is_named_must_be_there_and_readable() {
    let folder = Folder::new();
    for path in [folder.path("missing.toml"), folder.0.path().to_owned()] {
        let sources = Sources::from_process(Some(path.clone()));
        let error = load(&sources).unwrap_err();
        assert_eq!(error.file.as_ref(), Some(&path));
        assert_eq!(error.problems.len(), 1);
        contains_all(
            &error.to_string(),
            &[path.to_str().unwrap(), "cannot read", "--config"],
        );
    }
    fs::write(folder.path("binary.toml"), [0xff, 0xfe]).unwrap();
    let file = Some(folder.path("binary.toml"));
    let sources = Sources {
        file,
        ..Sources::default()
    };
    contains_all(&load(&sources).unwrap_err().to_string(), &["not UTF-8"]);
    let large = "#".repeat(1024 * 1024 + 1);
    contains_all(&folder.refusal(&large), &["larger than"]);
}

#[test]
fn a_file_that_is_not_toml_is_shown_by_position_without_its_text() {
    let folder = Folder::new();
    for (toml, fragments) in [
        (
            format!("[upstream]\napi_key = {CANARY}\n"),
            ["line 2, column 11", "quote"],
        ),
        (
            format!("[upstream]\napi_key = \"{CANARY}\n"),
            ["line 2, column ", "not TOML"],
        ),
        (
            format!("[upstream]\n{CANARY}\n"),
            ["line 2, column ", "key with no value"],
        ),
        (
            format!("a = \"{CANARY}\" a = 1"),
            ["line 1, column ", "not TOML"],
        ),
        (
            format!("a = 1\na = \"{CANARY}\""),
            ["line 2, column 1", "duplicate key"],
        ),
        (
            "a = 99999999999999999999".to_owned(),
            ["not TOML", "too large"],
        ),
    ] {
        let text = folder.refusal(&toml);
        contains_all(&text, &fragments);
        assert!(!text.contains(CANARY), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever goes wrong around a secret, the error does not show it.
    #[test]
    fn no_damage_to_a_file_brings_a_secret_into_the_error(
        at in 0_usize..80,
        junk in "[ -~\n\r\t\u{0}é]{0,6}",
        cut in 0_usize..4,
    ) {
        let toml = format!(
            "[upstream]\napi_key = \"{CANARY}\"\ntimeout = 5\n[webhooks.a]\nsecret = '''\n{CANARY}'''\n"
        );
        let at = at.min(toml.len() - cut);
        let damaged = format!("{}{junk}{}", &toml[..at], &toml[at + cut..]);
        // Damage inside the canary leaves nothing to look for, and a bare word before `=` is a key, which is named.
        prop_assume!(damaged.matches(CANARY).count() == 2);
        let text = Folder::new().refusal(&damaged);
        prop_assert!(!text.contains(CANARY), "{damaged:?}: {text}");
    }
}
