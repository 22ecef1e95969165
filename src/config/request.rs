//! What one webhook's requests carry and trust: headers, authorities, a client certificate.

use std::path::Path;

use zeroize::Zeroizing;

use super::secret::{Reading, Secrets, warn_if_readable_by_all};
use super::section::Section;
use super::sources::{file_origin, read_text};
use crate::webhook::{CustomHeader, Trust};

/// Most headers one webhook can have.
const HEADERS: usize = 20;

/// Largest file of certificates, in bytes.
const PEM_BYTES: u64 = 1 << 20;

/// `headers`: a table of names and values.
pub(super) fn headers(section: &Section<'_>, secrets: &Secrets<'_>) -> Option<Vec<CustomHeader>> {
    if !section.has("headers") {
        return Some(Vec::new());
    }
    let example = "{ x-api-key = \"…\" }";
    let given = section.table("headers", HEADERS, example)?;
    if let Some(file) = &secrets.sources.file
        && section.origin("headers") == Some(&file_origin(file))
    {
        warn_if_readable_by_all(section, "headers", file);
    }
    let read = given.into_iter().map(|(name, value)| {
        CustomHeader::parse(name, value)
            .map_err(|wrong| {
                let key = format!("headers.{}", super::error::shown(name));
                let remedy =
                    "a header has a name of its own and a value of printable ASCII on one line";
                section.refuse(&key, wrong.to_string(), remedy);
            })
            .ok()
    });
    super::section::all(read.collect())
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
