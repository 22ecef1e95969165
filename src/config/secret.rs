//! Secrets: in the configuration itself, in separate files, or from the service manager. They leave the configuration only
//! as `SecretString`, `SigningKey`, and the headers and URL of a webhook.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::SecretFile;
use super::error::Origin;
use super::section::Section;
use super::sources::{Sources, read_text};
use crate::core::signature::SigningKey;

/// Largest file that holds secrets, in bytes: room for all headers of a webhook.
const SECRET_BYTES: u64 = 128 * 1024;

/// Most secrets one webhook can have at a time.
pub(super) const SECRETS: usize = 8;

/// Shortest and longest token of the status server, in bytes.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=1024;

/// The permission for all users to read.
const READABLE_BY_ALL: u32 = 0o004;

/// The remedy for a file that cannot be read.
const UNREADABLE: &str = "the daemon's user must be able to read it";

/// Reads the secrets of one section.
#[derive(Clone, Copy)]
pub(super) struct Secrets<'a> {
    pub(super) section: Section<'a>,
    pub(super) sources: &'a Sources,
    /// Whether files are read; for commands that need no secret only the keys are checked.
    pub(super) wanted: bool,
}

/// How a secret of `[upstream]` is sent, which decides what it may hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum KeyForm {
    /// As a word behind `Basic` or `Bearer`.
    Word,
    /// As base64 of `user:password`.
    Login,
    /// As the whole value of a header, or encoded so that any printable text can be sent.
    Line,
}

/// A secret and where it was found: its key, and its file as the beginning of a message.
pub(super) struct Found {
    pub(super) key: &'static str,
    pub(super) file: String,
    pub(super) text: Zeroizing<String>,
}

impl Found {
    pub(super) fn is_in_place(&self) -> bool {
        self.file.is_empty()
    }
}

impl KeyForm {
    /// What is wrong with a secret, and what to do; neither text repeats any of it.
    fn wrong_with(self, text: &str) -> Option<(&'static str, &'static str)> {
        let is_printable = |b: u8| (b' '..=b'~').contains(&b);
        match self {
            Self::Word if !text.bytes().all(|b| b.is_ascii_graphic()) => Some((
                "holds white space or characters that are not ASCII",
                "write the key alone, on one line",
            )),
            Self::Login if !text.contains(':') => Some((
                "has no colon, and auth = \"basic\" sends user:password",
                "write user:password (user: where there is no password); for an API whose POST /token takes the key, \
                 write auth = \"basiq\"",
            )),
            Self::Login if text.contains(char::is_control) => Some((
                "holds control characters",
                "write user:password alone, on one line",
            )),
            Self::Line if !text.bytes().all(is_printable) || text.trim() != text => Some((
                "holds control characters or others than ASCII, or begins or ends with a space",
                "write it alone, on one line",
            )),
            _ => None,
        }
    }
}

impl Secrets<'_> {
    /// The API key of `[upstream]`. `None` when it is wrong, which is reported, or when secrets are not wanted.
    pub(super) fn api_key(&self, form: KeyForm) -> Option<SecretString> {
        let found = self.secret(&["api_key", "api_key_file"], &["api_key"])?;
        let Some(found) = found.first() else {
            let remedy = "under systemd, write the key into /etc/jobtrackd/api_key, which the unit hands over as the \
                          credential api_key; elsewhere write api_key_file = \"FILE\", or api_key = \"…\"";
            let section = &self.section;
            section.refuse("api_key_file", "the API key is missing", remedy);
            return None;
        };
        self.of_form(form, "API key", found)
    }

    /// The secret of the OAuth 2.0 client of `[upstream]`. `None` as with [`Self::api_key`].
    pub(super) fn client_secret(&self) -> Option<SecretString> {
        let found = self.secret(&["client_secret", "client_secret_file"], &["client_secret"])?;
        let Some(found) = found.first() else {
            let remedy = "under systemd, write it into /etc/jobtrackd/client_secret, which the unit hands over as the \
                          credential client_secret; elsewhere write client_secret_file = \"FILE\", or client_secret = \"…\"";
            let wrong = "the client secret is missing";
            self.section.refuse("client_secret_file", wrong, remedy);
            return None;
        };
        self.of_form(KeyForm::Line, "client secret", found)
    }

    /// A token of the status server, if there is one in the section or as this credential. `None` also as with [`Self::api_key`].
    pub(super) fn token(&self, credential: &str) -> Option<SecretString> {
        let found = self.secret(&["token", "token_file"], &[credential])?;
        let Found { key, file, text } = found.first()?;
        if TOKEN_BYTES.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Some(SecretString::from(text.as_str()));
        }
        let (least, most) = TOKEN_BYTES.into_inner();
        let wrong =
            format!("{file}a token has {least} to {most} ASCII characters without white space");
        let remedy = "make one with: head -c 32 /dev/urandom | base64";
        self.section.refuse(key, wrong, remedy);
        None
    }

    /// The signing keys of a webhook; none also as with [`Self::api_key`].
    pub(super) fn signing_keys(&self, name: &str) -> Vec<SigningKey> {
        let keys = ["secret", "secret_file", "secret_files"];
        let [own, of_folder] = &credentials(name);
        let Some(found) = self.secret(&keys, &[own, of_folder]) else {
            return Vec::new();
        };
        let Some(first) = found.first() else {
            let remedy = format!(
                "under systemd, write it into /etc/jobtrackd/webhooks/{name}, which the unit hands over as a credential (or \
                 add LoadCredential={own}:FILE to it); elsewhere write secret_file = \"FILE\", or secret = \"whsec_…\""
            );
            let wrong = "the signing secret is missing";
            self.section.refuse("secret_file", wrong, remedy);
            return Vec::new();
        };
        let mut keys = Vec::new();
        for Found { key, file, text } in &found {
            for word in text.split_whitespace() {
                match SigningKey::parse(word) {
                    Ok(signing_key) => keys.push(signing_key),
                    Err(error) => {
                        let remedy =
                            "make one with: echo whsec_$(head -c 32 /dev/urandom | base64)";
                        self.section.refuse(key, format!("{file}{error}"), remedy);
                        return keys;
                    }
                }
            }
        }
        if keys.len() > SECRETS {
            let wrong = format!("{} secrets are too many", keys.len());
            let remedy = format!("keep at most {SECRETS}");
            self.section.refuse(first.key, wrong, remedy);
        }
        keys
    }

    /// The value of the one of `keys` that the section has, else the first of these credentials that is not empty; empty
    /// when there is neither. A key that ends in `_file` or `_files` names files, and comes last. `None` when something
    /// is wrong, which is reported, or when a file would have to be read and secrets are not wanted.
    pub(super) fn find(
        &self,
        keys: &[&'static str],
        credentials: &[impl AsRef<Path>],
    ) -> Option<Vec<Found>> {
        let section = &self.section;
        let written = keys.iter().copied().filter(|key| section.has(key));
        let written: Vec<&'static str> = written.collect();
        let key = match written.as_slice() {
            [first, .., last] => {
                let (from, to) = (section.origin(first), section.origin(last));
                let wrong = format!("{} are given at once", written.join(" and "));
                let remedy = format!("keep one: {first} comes from {from}, {last} from {to}");
                section.refuse(first, wrong, remedy);
                return None;
            }
            [key] => Some(*key),
            [] => None,
        };
        match key {
            Some(key) if !key.contains("_file") => {
                let text = Zeroizing::new(section.text(key)?.to_owned());
                let file = String::new();
                Some(vec![self.present(Found { key, file, text })?])
            }
            _ if !self.wanted => None,
            Some(key) if key.ends_with('s') => {
                let files = section.texts(key, SECRETS);
                if files.is_empty() && section.is_right() {
                    section.refuse_value(key, "the list is empty");
                }
                let read = files
                    .iter()
                    .map(|file| self.read(key, file.as_ref(), false));
                read.collect()
            }
            Some(key) => Some(vec![self.read(key, section.text(key)?.as_ref(), false)?]),
            None => {
                let folder = self.sources.credentials_directory.as_ref();
                let paths = folder
                    .into_iter()
                    .flat_map(|folder| credentials.iter().map(|name| folder.join(name)));
                // The unit passes an empty credential where there is no file.
                let path = paths.into_iter().find(|path| !is_empty(path));
                let key = keys
                    .iter()
                    .find(|key| key.ends_with("_file"))
                    .unwrap_or(&"");
                let read = path.map(|path| self.read(key, &path, true));
                read.into_iter().collect()
            }
        }
    }

    /// Warns if a key that holds a secret is in a configuration that all users can read.
    pub(super) fn warn_in_place(&self, key: &str) {
        if let Origin::File(path) = self.section.origin(key) {
            self.warn_if_readable_by_all(key, path);
        }
    }

    pub(super) fn warn_if_readable_by_all(&self, key: &str, path: &Path) {
        let mode = std::fs::metadata(path).map_or(0, |metadata| metadata.mode());
        if mode & READABLE_BY_ALL != 0 {
            let (section, path) = (self.section.path, path.display());
            self.section.problems.warn(format!(
                "{section}.{key}: everybody on this machine can read {path}; run: chmod o-r {path}"
            ));
        }
    }

    /// Reads a file that a key names; a problem is reported for the key.
    pub(super) fn read_file(
        &self,
        key: &str,
        path: &Path,
        limit: u64,
    ) -> Option<Zeroizing<String>> {
        let text = read_text(path, limit).map(Zeroizing::new);
        text.map_err(|wrong| self.section.refuse(key, wrong, UNREADABLE))
            .ok()
    }

    /// The secret, or a report of what keeps it from being sent.
    fn of_form(&self, form: KeyForm, what: &str, found: &Found) -> Option<SecretString> {
        let Found { key, file, text } = found;
        match form.wrong_with(text) {
            None => Some(SecretString::from(text.as_str())),
            Some((wrong, remedy)) => {
                self.section
                    .refuse(key, format!("{file}the {what} {wrong}"), remedy);
                None
            }
        }
    }

    /// The same as [`Self::find`], for values that are secret in the configuration too.
    fn secret(
        &self,
        keys: &[&'static str],
        credentials: &[impl AsRef<Path>],
    ) -> Option<Vec<Found>> {
        let found = self.find(keys, credentials)?;
        for found in found.iter().filter(|found| found.is_in_place()) {
            self.warn_in_place(found.key);
        }
        self.wanted.then_some(found)
    }

    fn read(&self, key: &'static str, path: &Path, credential: bool) -> Option<Found> {
        if path.as_os_str().is_empty() {
            let remedy = "write the path of a file, or leave it out";
            self.section.refuse(key, "this is empty", remedy);
            return None;
        }
        let text = self.read_file(key, path, SECRET_BYTES)?;
        self.section.problems.found_secret(SecretFile {
            key: format!("{}.{key}", self.section.path),
            path: path.to_owned(),
            credential,
        });
        if !credential {
            self.warn_if_readable_by_all(key, path);
        }
        let file = format!("{}: ", path.display());
        self.present(Found { key, file, text })
    }

    /// Without line breaks at the end; refused if nothing is left.
    fn present(&self, found: Found) -> Option<Found> {
        let Found { key, file, text } = found;
        if text.trim().is_empty() {
            let wrong = format!("{file}there is nothing in it");
            let remedy = "put the secret there, or leave the key out";
            self.section.refuse(key, wrong, remedy);
            return None;
        }
        let text = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
        Some(Found { key, file, text })
    }
}

/// The names of a webhook's credentials: in a unit that names the webhook, and as a file of a folder that
/// LoadCredential=webhook:FOLDER passes.
pub(super) fn credentials(name: &str) -> [String; 2] {
    [format!("webhook.{name}"), format!("webhook_{name}")]
}

fn is_empty(path: &Path) -> bool {
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(text) => text.trim_ascii().is_empty(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}
