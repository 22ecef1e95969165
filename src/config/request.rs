//! What one webhook's requests carry and trust: headers, authorities, a client certificate.

use std::path::Path;

use zeroize::Zeroizing;

use super::secret::{Given, Reading, Secrets, warn_if_readable_by_all};
use super::section::{Section, all};
use super::sources::read_text;
use crate::webhook::{CustomHeader, Trust};

/// Most headers one webhook can have.
const HEADERS: usize = 20;

/// Largest file of certificates, in bytes.
const PEM_BYTES: u64 = 1 << 20;

/// `headers`, a table of names and values, and those of `headers_file` or a credential.
pub(super) fn headers(
    section: &Section<'_>,
    name: (&str, &[&str]),
    secrets: &Secrets<'_>,
) -> Option<Vec<CustomHeader>> {
    let in_place = in_place(section, secrets);
    let in_file = match secrets.headers(section, name)? {
        Some(given) => in_file(section, &given)?,
        None => Vec::new(),
    };
    let (mut headers, key) = (in_place?, "headers_file");
    let both = |header: &&CustomHeader| headers.iter().any(|each| each.name() == header.name());
    if let Some(header) = in_file.iter().find(both) {
        let wrong = format!("{} stands in headers, too", header.name());
        section.refuse(key, wrong, "keep one of them");
        return None;
    }
    headers.extend(in_file);
    if headers.len() > HEADERS {
        let wrong = format!("{} headers are too many", headers.len());
        section.refuse(key, wrong, format!("write at most {HEADERS}"));
        return None;
    }
    Some(headers)
}

fn in_place(section: &Section<'_>, secrets: &Secrets<'_>) -> Option<Vec<CustomHeader>> {
    if !section.has("headers") {
        return Some(Vec::new());
    }
    let example = "{ x-api-key = \"…\" }";
    let given = section.table("headers", HEADERS, example)?;
    secrets.warn_of_file(section, "headers");
    let read = given.into_iter().map(|(name, value)| {
        let key = format!("headers.{}", super::error::shown(name));
        header(section, &key, "", (name, value))
    });
    all(read.collect())
}

/// Lines `Name: value`; blank ones and those that begin with # are passed over.
fn in_file(section: &Section<'_>, given: &Given) -> Option<Vec<CustomHeader>> {
    let lines = given.text.lines().map(str::trim).enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let read = lines.map(|(index, line)| {
        let place = format!("{}line {}: ", given.place, index + 1);
        let Some(written) = line.split_once(':') else {
            let wrong = format!("{place}there is no colon");
            section.refuse(given.key, wrong, "write each header as Name: value");
            return None;
        };
        header(section, given.key, &place, written)
    });
    all(read.collect())
}

fn header(
    section: &Section<'_>,
    key: &str,
    place: &str,
    (name, value): (&str, &str),
) -> Option<CustomHeader> {
    CustomHeader::parse(name, value)
        .map_err(|wrong| {
            let remedy =
                "a header has a name of its own and a value of printable ASCII on one line";
            section.refuse(key, format!("{place}{wrong}"), remedy);
        })
        .ok()
}

/// `ca_file` and `client_cert_file`.
pub(super) fn trust(section: &Section<'_>, secrets: &Secrets<'_>) -> Option<Trust> {
    let mut trust = Trust::default();
    if let Some(pem) = pem(section, "ca_file", secrets)? {
        trust = trust
            .trusting(pem.as_bytes())
            .map_err(|wrong| refuse(section, "ca_file", wrong))
            .ok()?;
    }
    if let Some(pem) = pem(section, "client_cert_file", secrets)? {
        trust = trust
            .showing(&pem)
            .map_err(|wrong| refuse(section, "client_cert_file", wrong))
            .ok()?;
    }
    Some(trust)
}

fn refuse(section: &Section<'_>, key: &str, wrong: impl std::fmt::Display) {
    let path = section.text(key, "\"FILE\"").unwrap_or_default();
    let remedy = "a PEM file has blocks that begin with -----BEGIN";
    section.refuse(key, format!("{path}: {wrong}"), remedy);
}

/// The file a key names. `Some(None)` when the key is not given, or nothing secret is to be read.
fn pem(
    section: &Section<'_>,
    key: &str,
    secrets: &Secrets<'_>,
) -> Option<Option<Zeroizing<String>>> {
    if !section.has(key) {
        return Some(None);
    }
    let path = Path::new(section.text(key, "\"/etc/jobtrackd/webhook.pem\"")?);
    if secrets.reading == Reading::Skip {
        return Some(None);
    }
    match read_text(path, PEM_BYTES) {
        Ok(text) => {
            if key == "client_cert_file" {
                warn_if_readable_by_all(section, key, path);
            }
            Some(Some(Zeroizing::new(text)))
        }
        Err(wrong) => {
            section.refuse(key, wrong, "the daemon's user must be able to read it");
            None
        }
    }
}
