//! What the daemon was told, and the files that say it.

use std::fs;
use std::path::Path;

use super::account::{Accounts, Identity, Mode, READ, WRITE};
use super::{Finding, as_root};
use crate::cli::privilege::reads_as_root;
use crate::config::{ConfigError, SecretFile, Settings, Sources};

/// Where systemd keeps the credentials of the running daemon.
const CREDENTIALS: &str = "/run/credentials/jobtrackd.service";

/// The same sources, with the credentials of the running daemon when this process has none of its own.
pub(in crate::cli) fn with_credentials(sources: &Sources) -> (Sources, Option<Finding>) {
    let folder = Path::new(CREDENTIALS);
    if sources.credentials_directory.is_some() || fs::read_dir(folder).is_err() {
        return (sources.clone(), None);
    }
    let found = Finding::ok(
        "configuration.credentials",
        format!(
            "this shell has no credentials; those of the running daemon are used ({CREDENTIALS})"
        ),
    );
    let sources = Sources {
        credentials_directory: Some(folder.to_owned()),
        ..sources.clone()
    };
    (sources, Some(found))
}

/// Where a good configuration comes from, and what is unwise about it.
pub(in crate::cli) fn good(sources: &Sources, settings: &Settings) -> Vec<Finding> {
    let from = match &sources.file {
        Some(file) => file.display().to_string(),
        None => "no file, built-in defaults and the environment".to_owned(),
    };
    let webhooks = settings.webhooks.len();
    let mut findings = vec![Finding::ok(
        "configuration.file",
        format!("{from}; {webhooks} webhooks"),
    )];
    findings.extend(settings.warnings.iter().map(|warning| {
        let (says, advice) = match warning.split_once("; run: ") {
            Some((says, command)) => (says, format!("run: {command}")),
            None => (
                warning.as_str(),
                "it works; put it right in the configuration".to_owned(),
            ),
        };
        Finding::warning("configuration.warning", says, advice)
    }));
    findings
}

/// What is wrong with a bad one. `only_secrets`: everything but the secrets could be read.
pub(in crate::cli) fn bad(
    sources: &Sources,
    error: &ConfigError,
    only_secrets: bool,
) -> Vec<Finding> {
    let hidden = only_secrets && may_be_hidden(error);
    error
        .problems
        .iter()
        .map(|problem| {
            let origin = problem.origin.as_ref();
            let origin = origin.map_or_else(String::new, |origin| format!(" ({origin})"));
            let says = format!("{}: {}{origin}", problem.key, problem.wrong);
            if hidden {
                return Finding::note(
                    "configuration.secret",
                    says,
                    format!("only the daemon's user should be able to; {}", as_root()),
                );
            }
            let mut advice = format!("the daemon does not start with it; {}", problem.remedy);
            if problem.wrong.ends_with("is missing") && sources.credentials_directory.is_none() {
                advice += "; if the unit gives it as a credential, this shell cannot see it, run: systemd-run -P \
                           --wait -p LoadCredential=NAME:FILE jobtrackd doctor (NAME:FILE as in: systemctl show -p \
                           LoadCredential jobtrackd)";
            }
            Finding::problem("configuration.problem", says, advice)
        })
        .collect()
}

/// Whether nothing is wrong but that this user, who is not the daemon's, may not read the secrets.
pub(in crate::cli) fn may_be_hidden(error: &ConfigError) -> bool {
    let denied = |text: &str| text.contains("Permission denied");
    !reads_as_root() && error.problems.iter().all(|problem| denied(&problem.wrong))
}

/// The modes of the file and of the secrets it names. `daemon` is who has to read them, when that is known.
pub(in crate::cli) fn files(
    sources: &Sources,
    secrets: &[SecretFile],
    daemon: Option<Identity>,
    accounts: &Accounts,
) -> Vec<Finding> {
    let file = sources.file.iter().map(|file| (file, None));
    let named = secrets.iter().filter(|secret| !secret.credential);
    let named = named.map(|secret| (&secret.path, Some(secret.key.as_str())));
    let mut findings: Vec<Finding> = file
        .chain(named)
        .filter_map(|(path, key)| {
            let mode = Mode::from(&fs::metadata(path).ok()?);
            readable_and_safe(path, key, mode, daemon, accounts)
        })
        .collect();
    let credentials = secrets.iter().filter(|secret| secret.credential).count();
    if credentials > 0 {
        findings.push(Finding::ok(
            "configuration.credentials",
            format!("{credentials} secrets come as credentials of the service manager"),
        ));
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
        return Some(Finding::problem(
            check,
            format!("everybody on this machine can write {what}"),
            format!("whoever does decides where events and keys go; run: chmod o-w {shown}"),
        ));
    }
    let daemon = daemon.filter(|daemon| daemon.uid != 0)?;
    if mode.permits(daemon, READ) {
        return None;
    }
    let (user, group) = (
        accounts.user_name(daemon.uid),
        accounts.group_name(daemon.gid),
    );
    let owner = accounts.shown(mode.owner);
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let real = real.display();
    Some(Finding::warning(
        check,
        format!(
            "{what} belongs to {owner} with mode {bits:04o}, so {user} cannot read it",
            bits = mode.bits
        ),
        match key {
            Some(_) => format!(
                "the daemon does not start without it, unless it runs as another user; run: chown -h {user} {real}"
            ),
            None => format!(
                "the daemon does not start without it, unless it runs as another user; run: chgrp -h {group} {real} && \
                 chmod g+r {real}"
            ),
        },
    ))
}
