//! A configuration file. Its secrets are in no error, and in nothing that is printed of the settings.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use jobtrackd::config::{Sources, load};
use tempfile::TempDir;
use toml::{Table, Value};

/// Keys whose values are secret.
const SECRET: [&str; 4] = ["api_key", "client_secret", "secret", "token"];
/// A shorter text may be part of any other one, as `https://` is of an advice.
const SHORTEST: usize = 9;

pub(super) fn check(bytes: &[u8]) {
    let folder = TempDir::new().expect("a folder can be made");
    let file = folder.path().join("jobtrackd.toml");
    fs::write(&file, bytes).expect("a file can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let sources = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let loaded = load(&sources);
    let printed = match &loaded {
        Ok(settings) => format!("{settings:?} {}", settings.warnings.join("\n")),
        Err(error) => {
            assert!(!error.problems.is_empty(), "a refusal has a reason");
            for problem in &error.problems {
                // Keys are as long as somebody writes them; what is wrong with them is said in few words.
                assert!(
                    problem.wrong.len() <= 2000 + 4 * problem.key.len(),
                    "{}",
                    problem.wrong.len()
                );
            }
            format!("{error} {error:?}")
        }
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let table = text.parse::<Table>().unwrap_or_default();
    let mut secrets = Vec::new();
    collect(&table, false, &mut secrets);
    // A secret that is somewhere else as well is none.
    secrets.retain(|secret| secret.len() >= SHORTEST && text.matches(secret).count() == 1);
    for secret in secrets {
        assert!(!printed.contains(secret), "a secret is printed: {printed}");
    }
}

fn collect<'a>(table: &'a Table, is_secret: bool, secrets: &mut Vec<&'a str>) {
    for (key, value) in table {
        let is_secret = is_secret || SECRET.contains(&key.as_str()) || key == "headers";
        match value {
            Value::Table(inner) => collect(inner, is_secret, secrets),
            Value::String(text) if is_secret => secrets.push(text),
            _ => {}
        }
    }
}
