//! `[status]`: where the status server listens, and whom it answers.

use super::error::shown;
use super::secret::Secrets;
use super::section::{Section, all};
use crate::status::{InvalidListen, Listen, StatusSettings};

/// Most names of `hosts`.
const HOSTS: usize = 16;

/// Longest name, in bytes.
const NAME_BYTES: usize = 253;

/// Where to listen. Outer `None` when that is wrong, which is reported; inner one when it is turned off.
pub(super) fn listen(section: &Section<'_>) -> Option<Option<Listen>> {
    let text = section.text("listen", "\"127.0.0.1:8787\"")?.trim();
    if text.is_empty() {
        return Some(None);
    }
    let wrong = match text.parse() {
        Ok(listen) => return Some(Some(listen)),
        Err(wrong) => wrong,
    };
    let remedy = match wrong {
        InvalidListen::NoAddress => remedy_for_address(text),
        InvalidListen::Relative | InvalidListen::NoSocket => {
            "for example \"unix:/run/jobtrackd/status.sock\"".to_owned()
        }
    };
    section.refuse("listen", format!("{} {wrong}", shown(text)), remedy);
    None
}

fn remedy_for_address(text: &str) -> String {
    match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => match host {
            "localhost" => format!("write 127.0.0.1:{port} or [::1]:{port} instead of localhost"),
            "" | "*" => format!("write 0.0.0.0:{port} or [::]:{port} for all addresses"),
            _ => format!("names are not looked up here; for example 127.0.0.1:{port}"),
        },
        _ => "for example \"127.0.0.1:8787\", \"[::1]:8787\" or \"unix:/run/jobtrackd/status.sock\"; \"\" turns it off"
            .to_owned(),
    }
}

/// The whole section. `None` when something is wrong, which is reported, or when secrets are not read.
pub(super) fn status(
    section: &Section<'_>,
    listen: Option<&Option<Listen>>,
    secrets: &Secrets<'_>,
) -> Option<StatusSettings> {
    let hosts = hosts(section);
    let token = secrets.status_token(section)?;
    let listen = listen?.clone();
    if let Some(listen) = &listen
        && !listen.is_local()
        && token.is_none()
    {
        section.refuse(
            "listen",
            format!("other machines can reach {listen}, and there is no token that they would have to know"),
            "listen on 127.0.0.1 or a unix socket, or set a token (make one with: head -c 32 /dev/urandom | base64): under \
             systemd, write it into /etc/jobtrackd/status_token, which the unit hands over as the credential \
             status_token; elsewhere write token_file = \"FILE\"",
        );
        return None;
    }
    Some(StatusSettings {
        listen,
        token,
        hosts: hosts?,
    })
}

fn hosts(section: &Section<'_>) -> Option<Vec<String>> {
    let example = "[\"jobs.internal\"]";
    let names = section.texts("hosts", HOSTS, example)?;
    let read = names.iter().map(|name| {
        let fits = (1..=NAME_BYTES).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !fits {
            section.refuse(
                "hosts",
                format!("{} is no host name", shown(name)),
                format!("write names without scheme and port, for example hosts = {example}"),
            );
        }
        fits.then(|| name.to_ascii_lowercase())
    });
    all(read.collect())
}
