//! `[status]`: where the status server listens, and which requests it permits.

use secrecy::{ExposeSecret as _, SecretString};

use super::error::quoted;
use super::secret::Secrets;
use super::section::Section;
use crate::status::{InvalidListen, Listen, NamedToken, Permission, StatusSettings};

/// Most names of `hosts`.
const HOSTS: usize = 16;

/// What operators without a named token are called.
const RESERVED: [&str; 2] = ["token", "local"];

/// Longest name, in bytes.
const NAME_BYTES: usize = 253;

/// Reads `[status]`; `named` are the sections of further tokens, by their names.
pub(super) fn status(secrets: &Secrets<'_>, named: &[(&str, Secrets<'_>)]) -> StatusSettings {
    let section = &secrets.section;
    let token = secrets.token("status_token");
    let tokens = tokens(token.as_ref(), named);
    let settings = StatusSettings {
        listen: listen(section),
        token,
        tokens,
        dashboard: section.flag("dashboard"),
        hosts: hosts(section),
    };
    if let Some(listen) = &settings.listen
        && !settings.needs_token()
        && !listen.is_local()
        && secrets.wanted
        && section.is_right()
    {
        section.refuse(
            "listen",
            format!("other machines can reach {listen}, and no token is required"),
            "listen on 127.0.0.1 or a unix socket, or set a token (make one with: head -c 32 /dev/urandom | base64): under \
             systemd, write it into /etc/jobtrackd/status_token, which the unit hands over as the credential \
             status_token; elsewhere write token_file = \"FILE\"",
        );
    }
    settings
}

/// Further tokens, each another one than those before it.
fn tokens(own: Option<&SecretString>, named: &[(&str, Secrets<'_>)]) -> Vec<NamedToken> {
    let mut tokens: Vec<NamedToken> = Vec::new();
    for (name, secrets) in named {
        let section = &secrets.section;
        if RESERVED.contains(name) {
            section.refuse(
                "token_file",
                format!(
                    "{name} is what the log calls whoever comes with status.token, or without any"
                ),
                "write another name",
            );
        }
        let access = section.text("access").map(str::parse::<Permission>);
        if let Some(Err(_)) = access {
            section.refuse(
                "access",
                "this is neither \"read\" nor \"operate\"",
                "write access = \"read\"",
            );
        }
        let found = secrets.token(&format!("status_token.{name}"));
        let Some(token) = found else {
            if secrets.wanted && section.is_right() {
                let remedy = format!(
                    "write token_file = \"FILE\", or token = \"…\"; under systemd, add LoadCredential=status_token.{name}:FILE"
                );
                section.refuse("token_file", "the token is missing", remedy);
            }
            continue;
        };
        let is_same = |other: &SecretString| other.expose_secret() == token.expose_secret();
        let others = tokens.iter().map(|each| (each.name.as_str(), &each.token));
        let mut others = own
            .map(|own| ("status.token", own))
            .into_iter()
            .chain(others);
        if let Some((other, _)) = others.find(|(_, other)| is_same(other)) {
            let wrong = format!("this is the token of {other}, too");
            section.refuse(
                "token_file",
                wrong,
                "make another one with: head -c 32 /dev/urandom | base64",
            );
        }
        tokens.push(NamedToken {
            name: (*name).to_owned(),
            token,
            permission: access.and_then(Result::ok).unwrap_or(Permission::Read),
        });
    }
    tokens
}

/// Where to listen; `None` when that is turned off.
fn listen(section: &Section<'_>) -> Option<Listen> {
    let text = section.text("listen")?.trim();
    if text.is_empty() {
        return None;
    }
    let read = text.parse().map_err(|wrong| {
        let remedy = match wrong {
            InvalidListen::NoAddress => remedy_for_address(text),
            InvalidListen::Relative | InvalidListen::NoSocket => {
                "for example \"unix:/run/jobtrackd/status.sock\"".to_owned()
            }
        };
        section.refuse("listen", format!("{} {wrong}", quoted(text)), remedy);
    });
    read.ok()
}

fn remedy_for_address(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => match host {
            "localhost" => format!("write 127.0.0.1:{port} or [::1]:{port} instead of localhost"),
            "" | "*" => format!("write 0.0.0.0:{port} or [::]:{port} for all addresses"),
            _ => format!("names are not resolved here; for example 127.0.0.1:{port}"),
        },
        _ => "for example \"127.0.0.1:8787\", \"[::1]:8787\" or \"unix:/run/jobtrackd/status.sock\"; \"\" turns it off"
            .to_owned(),
    }
}

fn hosts(section: &Section<'_>) -> Vec<String> {
    let names = section.texts("hosts", HOSTS);
    for name in &names {
        let fits = (1..=NAME_BYTES).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fits {
            let example = section.example("hosts");
            let remedy = format!("write names without scheme and port, for example {example}");
            section.refuse(
                "hosts",
                format!("{} is not a host name", quoted(name)),
                remedy,
            );
        }
    }
    names.iter().map(|name| name.to_ascii_lowercase()).collect()
}
