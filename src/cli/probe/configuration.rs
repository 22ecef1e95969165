//! The configuration, and the files it comes from.

use std::fs;
use std::path::Path;

use super::account::{Accounts, Identity, Mode, READ, WRITE};
use super::{Finding, as_root, files, note, ok, problem, warning};
use crate::cli::privilege::reads_as_root;
use crate::config::{ConfigError, DatabaseSettings, SecretFile, Settings, Sources};

/// Where systemd keeps the credentials of the running daemon.
const CREDENTIALS: &str = "/run/credentials/jobtrackd.service";

/// The same sources, with the credentials of the running daemon when this process has none of its own.
pub(in crate::cli) fn with_credentials(sources: &Sources) -> (Sources, Option<Finding>) {
    let mut sources = sources.clone();
    let folder = Path::new(CREDENTIALS);
    if sources.credentials_directory.is_some() || fs::read_dir(folder).is_err() {
        return (sources, None);
    }
    sources.credentials_directory = Some(folder.to_owned());
    let text = format!(
        "this shell has no credentials; those of the running daemon are used ({CREDENTIALS})"
    );
    (sources, Some(ok("configuration.credentials", text)))
}

/// What was loaded, or what is wrong with it, and the files it comes from. Without `database` not even that could be read.
pub(in crate::cli) fn probe(
    sources: &Sources,
    loaded: &Result<Settings, ConfigError>,
    database: Option<&DatabaseSettings>,
    accounts: &Accounts,
) -> Vec<Finding> {
    let mut findings = match loaded {
        Ok(settings) => good(sources, settings),
        Err(error) => bad(sources, error, database.is_some()),
    };
    let secrets = loaded
        .as_ref()
        .map_or(&[][..], |settings| &settings.secret_files);
    let daemon = database.and_then(|database| files::daemon_of(&database.path, accounts));
    findings.extend(modes(sources, secrets, daemon, accounts));
    findings
}

/// Where a good configuration comes from, and what is unwise about it.
pub(in crate::cli) fn good(sources: &Sources, settings: &Settings) -> Vec<Finding> {
    let from = match &sources.file {
        Some(file) => file.display().to_string(),
        None => "no file, built-in defaults and the environment".to_owned(),
    };
    let webhooks = settings.webhooks.len();
    let mut findings = vec![ok(
        "configuration.file",
        format!("{from}; {webhooks} webhooks"),
    )];
    findings.extend(settings.warnings.iter().map(|unwise| {
        let (text, advice) = match unwise.split_once("; run: ") {
            Some((text, command)) => (text, format!("run: {command}")),
            None => (
                unwise.as_str(),
                "it works; correct it in the configuration".to_owned(),
            ),
        };
        warning("configuration.warning", text).advise(advice)
    }));
    findings
}

/// What is wrong with a bad one. `only_secrets`: everything but the secrets could be read.
fn bad(sources: &Sources, error: &ConfigError, only_secrets: bool) -> Vec<Finding> {
    let hidden = only_secrets && may_be_hidden(error);
    let mut findings = Vec::new();
    for found in &error.problems {
        let origin = found.origin.as_ref();
        let origin = origin.map_or_else(String::new, |origin| format!(" ({origin})"));
        let text = format!("{}: {}{origin}", found.key, found.wrong);
        if hidden {
            let advice = format!("only the daemon's user should be able to; {}", as_root());
            findings.push(note("configuration.secret", text).advise(advice));
            continue;
        }
        let mut advice = format!("the daemon does not start with it; {}", found.remedy);
        if found.wrong.ends_with("is missing") && sources.credentials_directory.is_none() {
            advice += "; if the unit gives it as a credential, this shell cannot see it, run: systemd-run -P --wait -p \
                       LoadCredential=NAME:FILE jobtrackd doctor (NAME:FILE as in: systemctl show -p LoadCredential jobtrackd)";
        }
        findings.push(problem("configuration.problem", text).advise(advice));
    }
    findings
}

/// Whether nothing is wrong but that this user, who is not the daemon's, may not read the secrets.
pub(in crate::cli) fn may_be_hidden(error: &ConfigError) -> bool {
    let mut problems = error.problems.iter();
    !reads_as_root() && problems.all(|problem| problem.wrong.contains("Permission denied"))
}

/// The modes of the file and of the secrets it names. `daemon` is who has to read them, when that is known.
fn modes(
    sources: &Sources,
    secrets: &[SecretFile],
    daemon: Option<Identity>,
    accounts: &Accounts,
) -> Vec<Finding> {
    let (credentials, named): (Vec<_>, Vec<_>) =
        secrets.iter().partition(|secret| secret.credential);
    let named = named
        .iter()
        .map(|secret| (&secret.path, Some(secret.key.as_str())));
    let paths = sources.file.iter().map(|file| (file, None)).chain(named);
    let mut findings: Vec<Finding> = paths
        .filter_map(|(path, key)| {
            let mode = Mode::from(&fs::metadata(path).ok()?);
            readable_and_safe(path, key, mode, daemon, accounts)
        })
        .collect();
    if !credentials.is_empty() {
        let credentials = credentials.len();
        let text = format!("{credentials} secrets come as credentials of the service manager");
        findings.push(ok("configuration.credentials", text));
    }
    findings
}

fn readable_and_safe(
    path: &Path,
    key: Option<&str>,
    mode: Mode,
    daemon: Option<Identity>,
    accounts: &Accounts,
) -> Option<Finding> {
    let shown = path.display();
    let (check, what) = match key {
        Some(key) => ("configuration.secret", format!("{key}: {shown}")),
        None => ("configuration.file", shown.to_string()),
    };
    if mode.permits_others(WRITE) {
        let text = format!("everybody on this machine can write {what}");
        let advice =
            format!("whoever does decides where events and keys go; run: chmod o-w {shown}");
        return Some(problem(check, text).advise(advice));
    }
    let daemon = daemon.filter(|daemon| daemon.uid != 0)?;
    if mode.permits(daemon, READ) {
        return None;
    }
    let (user, group) = (
        accounts.users.name(daemon.uid),
        accounts.groups.name(daemon.gid),
    );
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let real = real.display();
    let command = match key {
        Some(_) => format!("chown -h {user} {real}"),
        None => format!("chgrp -h {group} {real} && chmod g+r {real}"),
    };
    let owner = accounts.describe(mode);
    let text = format!("{what} {owner}, so {user} cannot read it");
    Some(warning(check, text).advise(format!(
        "the daemon does not start without it, unless it runs as another user; run: {command}"
    )))
}
