//! Secrets: given in place, in files of their own, or by the service manager. None of their text leaves this module
//! except as `SecretString` and `SigningKey`.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::SecretFile;
use super::section::Section;
use super::sources::{Sources, file_origin, read_text};
use crate::core::signature::SigningKey;

/// Largest file that holds secrets, in bytes: room for all headers of a webhook.
const SECRET_BYTES: u64 = 128 * 1024;

/// Most secrets one webhook can have at a time.
const SECRETS: usize = 8;

/// Shortest and longest token of the status server, in bytes.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;

/// Permission of everybody to read.
const READABLE_BY_ALL: u32 = 0o004;

/// Whether secrets are read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Read,
    /// For commands that need none: only how they are given is checked.
    Skip,
}

/// Reads secrets.
pub(super) struct Secrets<'a> {
    pub(super) sources: &'a Sources,
    pub(super) reading: Reading,
}

/// A secret and where it was found: the key that gives it, and its file as the start of a message.
pub(super) struct Given {
    pub(super) key: &'static str,
    pub(super) place: String,
    pub(super) text: Zeroizing<String>,
}

impl Secrets<'_> {
    /// The API key of `[upstream]`. `None` when it is wrong, which is reported, or when secrets are not read.
    pub(super) fn api_key(&self, section: &Section<'_>) -> Option<SecretString> {
        let key = single(section, &["api_key", "api_key_file"])?;
        let given = match key {
            Some("api_key") => self.in_place(section, "api_key")?,
            Some(_) => self.in_file(section, "api_key_file")?,
            None => match self.credential(section, "api_key_file", &["api_key"])? {
                Some(given) => given,
                None => {
                    section.refuse(
                        "api_key_file",
                        "the API key is missing",
                        "under systemd, write the key into /etc/jobtrackd/api_key, which the unit hands over as the \
                         credential api_key; elsewhere write api_key_file = \"FILE\", or api_key = \"…\"",
                    );
                    return None;
                }
            },
        };
        if given.text.bytes().all(|b| b.is_ascii_graphic()) {
            return Some(SecretString::from(given.text.as_str()));
        }
        section.refuse(
            given.key,
            format!(
                "{}the API key holds white space or characters that are not ASCII",
                given.place
            ),
            "give the key alone, on one line",
        );
        None
    }

    /// The token of the status server. Outer `None` as with [`Self::api_key`], inner one when there is none.
    pub(super) fn status_token(&self, section: &Section<'_>) -> Option<Option<SecretString>> {
        let key = single(section, &["token", "token_file"])?;
        let given = match key {
            Some("token") => self.in_place(section, "token")?,
            Some(_) => self.in_file(section, "token_file")?,
            None => match self.credential(section, "token_file", &["status_token"])? {
                Some(given) => given,
                None => return Some(None),
            },
        };
        let text = given.text.as_str();
        if TOKEN_BYTES.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Some(Some(SecretString::from(text)));
        }
        let (least, most) = TOKEN_BYTES.into_inner();
        section.refuse(
            given.key,
            format!(
                "{}a token has {least} to {most} ASCII characters without white space",
                given.place
            ),
            "make one with: head -c 32 /dev/urandom | base64",
        );
        None
    }

    /// The signing keys of a webhook, at least one, or none when secrets are not read. `None` when they are wrong.
    pub(super) fn signing_keys(
        &self,
        section: &Section<'_>,
        name: &str,
    ) -> Option<Vec<SigningKey>> {
        let key = single(section, &["secret", "secret_file", "secret_files"])?;
        if self.reading == Reading::Skip {
            return Some(Vec::new());
        }
        let given = match key {
            Some("secret") => vec![self.in_place(section, "secret")?],
            Some("secret_file") => vec![self.in_file(section, "secret_file")?],
            Some(_) => self.in_files(section, "secret_files")?,
            None => {
                let [own, of_folder] = &credentials_of(name);
                match self.credential(section, "secret_file", &[own, of_folder])? {
                    Some(given) => vec![given],
                    None => {
                        let remedy = format!(
                            "under systemd, write it into /etc/jobtrackd/webhooks/{name}, which the unit hands over as a \
                             credential (or add LoadCredential={own}:FILE to it); elsewhere write secret_file = \"FILE\", \
                             or secret = \"whsec_…\""
                        );
                        section.refuse("secret_file", "the signing secret is missing", remedy);
                        return None;
                    }
                }
            }
        };
        let texts = given
            .iter()
            .flat_map(|given| given.text.split_whitespace().map(move |text| (given, text)));
        let mut keys = Vec::new();
        for (Given { key, place, .. }, text) in texts {
            match SigningKey::parse(text) {
                Ok(signing_key) => keys.push(signing_key),
                Err(error) => {
                    let remedy = "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)";
                    section.refuse(key, format!("{place}{error}"), remedy);
                    return None;
                }
            }
        }
        if keys.len() > SECRETS {
            let wrong = format!("{} secrets are too many", keys.len());
            section.refuse(given.first()?.key, wrong, format!("keep at most {SECRETS}"));
            return None;
        }
        Some(keys)
    }

    /// The URL of a webhook, given by its `url`, its `url_file` or a credential. `None` when it is wrong, which is
    /// reported, or when secrets are not read and it is one.
    pub(super) fn url(
        &self,
        section: &Section<'_>,
        name: (&str, &[&str]),
        example: &str,
    ) -> Option<Given> {
        match single(section, &["url", "url_file"])? {
            Some("url") => Some(Given {
                key: "url",
                place: String::new(),
                text: Zeroizing::new(section.text("url", example)?.to_owned()),
            }),
            Some(_) => self.in_file(section, "url_file"),
            None => {
                let given = self.credential_beside(section, "url_file", name, ".url")?;
                if given.is_none() {
                    let remedy = format!(
                        "write url = {example}, or url_file = \"FILE\"; or, under systemd, write it into \
                         /etc/jobtrackd/webhooks/{}.url, which the unit hands over as a credential",
                        name.0
                    );
                    section.refuse("url", "this key is missing", remedy);
                }
                given
            }
        }
    }

    /// The headers of a webhook that its `headers_file` or a credential gives. `Some(None)` when neither does, or secrets
    /// are not read.
    pub(super) fn headers(
        &self,
        section: &Section<'_>,
        name: (&str, &[&str]),
    ) -> Option<Option<Given>> {
        let key = "headers_file";
        let given = match section.has(key) {
            true => self.in_file(section, key).map(Some),
            false => self.credential_beside(section, key, name, ".headers"),
        };
        match self.reading {
            Reading::Read => given,
            Reading::Skip => Some(None),
        }
    }

    /// The credential of a webhook that has this ending beside the one of its secret. Where another webhook has that
    /// name, the file is its secret.
    fn credential_beside(
        &self,
        section: &Section<'_>,
        key: &'static str,
        (name, known): (&str, &[&str]),
        ending: &str,
    ) -> Option<Option<Given>> {
        let name = format!("{name}{ending}");
        if known.contains(&name.as_str()) {
            return Some(None);
        }
        let [own, of_folder] = &credentials_of(&name);
        self.credential(section, key, &[own, of_folder])
    }

    /// Warns when a key that holds a secret stands in a configuration that everybody can read.
    pub(super) fn warn_of_file(&self, section: &Section<'_>, key: &str) {
        if let Some(file) = &self.sources.file
            && section.origin(key) == Some(&file_origin(file))
        {
            warn_if_readable_by_all(section, key, file);
        }
    }

    fn in_place(&self, section: &Section<'_>, key: &'static str) -> Option<Given> {
        let text = section.text(key, "\"…\"")?;
        self.warn_of_file(section, key);
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        self.present(
            section,
            Given {
                key,
                place: String::new(),
                text,
            },
        )
    }

    fn in_file(&self, section: &Section<'_>, key: &'static str) -> Option<Given> {
        let path = section.text(key, "\"/etc/jobtrackd/secret\"")?;
        self.read(section, key, Path::new(path), true)
    }

    fn in_files(&self, section: &Section<'_>, key: &'static str) -> Option<Vec<Given>> {
        let example = "[\"/etc/jobtrackd/new\", \"/etc/jobtrackd/old\"]";
        let paths = section.texts(key, SECRETS, example)?;
        if paths.is_empty() {
            section.refuse(
                key,
                "the list is empty",
                format!("for example {key} = {example}"),
            );
            return None;
        }
        let read = paths
            .iter()
            .map(|path| self.read(section, key, Path::new(path), true));
        super::section::all(read.collect())
    }

    /// The first of these credentials that is there. `Some(None)` when none is, or it is empty as the unit makes it where
    /// its file is missing; what is wrong with it is reported at `key`.
    fn credential(
        &self,
        section: &Section<'_>,
        key: &'static str,
        names: &[&str],
    ) -> Option<Option<Given>> {
        if self.reading == Reading::Skip {
            return None;
        }
        let Some(folder) = &self.sources.credentials_directory else {
            return Some(None);
        };
        let paths = names.iter().map(|name| folder.join(name));
        match paths.into_iter().find(|path| !is_empty(path)) {
            Some(path) => self.read(section, key, &path, false).map(Some),
            None => Some(None),
        }
    }

    fn read(
        &self,
        section: &Section<'_>,
        key: &'static str,
        path: &Path,
        check_mode: bool,
    ) -> Option<Given> {
        if self.reading == Reading::Skip {
            return None;
        }
        if path.as_os_str().is_empty() {
            section.refuse(
                key,
                "this is empty",
                "write the path of a file, or leave it out",
            );
            return None;
        }
        let text = match read_text(path, SECRET_BYTES) {
            Ok(text) => Zeroizing::new(text),
            Err(wrong) => {
                section.refuse(key, wrong, "the daemon's user must be able to read it");
                return None;
            }
        };
        section.problems().found_secret(SecretFile {
            key: format!("{}.{key}", section.path()),
            path: path.to_owned(),
            credential: !check_mode,
        });
        if check_mode {
            warn_if_readable_by_all(section, key, path);
        }
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        let place = format!("{}: ", path.display());
        self.present(section, Given { key, place, text })
    }

    fn present(&self, section: &Section<'_>, given: Given) -> Option<Given> {
        if given.text.trim().is_empty() {
            let wrong = format!("{}there is nothing in it", given.place);
            section.refuse(
                given.key,
                wrong,
                "put the secret there, or leave the key out",
            );
            return None;
        }
        (self.reading == Reading::Read).then_some(given)
    }
}

/// What the credentials of a webhook are called: by a unit that names it, and as one file of a folder that
/// LoadCredential=webhook:FOLDER hands over.
fn credentials_of(name: &str) -> [String; 2] {
    [format!("webhook.{name}"), format!("webhook_{name}")]
}

/// The one of these keys that the section has, if it has any. Outer `None` when it has several, which is reported.
fn single(section: &Section<'_>, keys: &[&'static str]) -> Option<Option<&'static str>> {
    let given: Vec<&'static str> = keys
        .iter()
        .copied()
        .filter(|key| section.has(key))
        .collect();
    match given.as_slice() {
        [] => Some(None),
        [key] => Some(Some(key)),
        [first, .., last] => {
            let wrong = format!("{} are given at once", given.join(" and "));
            let from = |key: &str| section.origin(key).unwrap_or("the defaults").to_owned();
            let remedy = format!(
                "keep one: {first} comes from {}, {last} from {}",
                from(first),
                from(last)
            );
            section.refuse(first, wrong, remedy);
            None
        }
    }
}

fn is_empty(path: &Path) -> bool {
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(text) => text.trim_ascii().is_empty(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

pub(super) fn warn_if_readable_by_all(section: &Section<'_>, key: &str, path: &Path) {
    let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
    if mode & READABLE_BY_ALL != 0 {
        section.problems().warn(format!(
            "{}.{key}: everybody on this machine can read {path}; run: chmod o-r {path}",
            section.path(),
            path = path.display()
        ));
    }
}
