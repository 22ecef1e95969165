//! `upstream.auth`, and the keys for the credentials of requests to the API.

use super::error::did_you_mean;
use super::secret::{KeyForm, Secrets};
use super::section::Section;
use super::url::{Written, url};
use crate::core::text::nearest;
use crate::upstream::{Auth, KeyHeader, OAuthClient};

const AUTHS: [&str; 6] = ["basiq", "bearer", "basic", "header", "oauth2", "none"];

const WITH_KEY: &[&str] = &["basiq", "bearer", "basic", "header"];

/// The keys that only some values of `auth` use, with these values.
const USED_BY: [(&str, &[&str]); 9] = [
    ("api_key", WITH_KEY),
    ("api_key_file", WITH_KEY),
    ("api_version", &["basiq"]),
    ("scope", &["basiq", "oauth2"]),
    ("auth_header", &["header"]),
    ("token_url", &["oauth2"]),
    ("client_id", &["oauth2"]),
    ("client_secret", &["oauth2"]),
    ("client_secret_file", &["oauth2"]),
];

/// Longest `api_version`, `auth_header`, and `scope` of basiq, in bytes.
const WORD_BYTES: usize = 64;

/// Longest `client_id`, in bytes.
const CLIENT_ID_BYTES: usize = 256;

/// Longest `scope` of oauth2, in bytes.
const SCOPE_BYTES: usize = 1024;

/// `None` if something is wrong, which is reported.
pub(super) fn auth(secrets: &Secrets<'_>, allow_http: bool) -> Option<Auth> {
    let section = &secrets.section;
    let written = section.text("auth")?;
    let Some(auth) = AUTHS.into_iter().find(|auth| *auth == written) else {
        // The value is not shown: it may be a key in the wrong place.
        let remedy = did_you_mean(nearest(written, AUTHS), "the other keys give the API key");
        let wrong = "expected basiq, bearer, basic, header, oauth2 or none";
        section.refuse("auth", wrong, remedy);
        return None;
    };
    warn_of_unused(section, auth);
    let api_key = |form| secrets.api_key(form).unwrap_or_default();
    Some(match auth {
        "basiq" => Auth::Basiq {
            api_key: api_key(KeyForm::Word),
            api_version: word(section, "api_version"),
            scope: word(section, "scope"),
        },
        "bearer" => Auth::Bearer {
            token: api_key(KeyForm::Word),
        },
        "basic" => Auth::Basic {
            login: api_key(KeyForm::Login),
        },
        "header" => {
            let key = api_key(KeyForm::Line);
            let header = key_header(section)?;
            Auth::Header { header, key }
        }
        "oauth2" => Auth::OAuth2(client(secrets, allow_http)?),
        _ => Auth::None,
    })
}

fn warn_of_unused(section: &Section<'_>, auth: &str) {
    for (key, used_by) in USED_BY {
        if section.is_written(key) && !used_by.contains(&auth) {
            let warning = format!("upstream.{key}: not used, because auth is {auth}");
            section.problems.warn(warning);
        }
    }
}

fn key_header(section: &Section<'_>) -> Option<KeyHeader> {
    let key = "auth_header";
    let name = section.text(key)?;
    if name.len() > WORD_BYTES {
        let wrong = format!("expected a name of at most {WORD_BYTES} characters");
        section.refuse_value(key, wrong);
        return None;
    }
    let read = KeyHeader::parse(name);
    read.map_err(|wrong| section.refuse_value(key, wrong.to_string()))
        .ok()
}

fn client(secrets: &Secrets<'_>, allow_http: bool) -> Option<OAuthClient> {
    let section = &secrets.section;
    let token_url = section.text("token_url").and_then(|text| {
        let written = Written {
            key: "token_url",
            file: "",
            text,
            allow_http,
        };
        url(section, &written)
    });
    let client_id = section.text("client_id").unwrap_or("unknown");
    let printable = client_id.bytes().all(|b| (b' '..=b'~').contains(&b));
    if !(1..=CLIENT_ID_BYTES).contains(&client_id.len()) || !printable {
        let wrong = format!("expected 1 to {CLIENT_ID_BYTES} printable ASCII characters");
        section.refuse_value("client_id", wrong);
    }
    let client_secret = secrets.client_secret().unwrap_or_default();
    // The default is for Basiq's API.
    let scope = section.is_written("scope").then(|| scopes(section));
    Some(OAuthClient {
        token_url: token_url?,
        client_id: client_id.to_owned(),
        client_secret,
        scope,
    })
}

/// Words of the characters that RFC 6749, 3.3, permits, with one space between them.
fn scopes(section: &Section<'_>) -> String {
    let text = section.text("scope").unwrap_or("unknown");
    let is_scope = |word: &str| {
        let permitted = |b: u8| b.is_ascii_graphic() && !b"\"\\".contains(&b);
        !word.is_empty() && word.bytes().all(permitted)
    };
    if text.len() > SCOPE_BYTES || !text.split(' ').all(is_scope) {
        let wrong = format!(
            "expected words of ASCII characters without \" and \\, one space between them, at most {SCOPE_BYTES} characters"
        );
        let remedy =
            "for example scope = \"jobs.read\"; leave it out if the token endpoint wants none";
        section.refuse("scope", wrong, remedy);
    }
    text.to_owned()
}

/// A text that is sent in a header or a form.
fn word(section: &Section<'_>, key: &str) -> String {
    let text = section.text(key).unwrap_or("unknown");
    if !(1..=WORD_BYTES).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let wrong = format!("expected 1 to {WORD_BYTES} ASCII characters without spaces");
        section.refuse_value(key, wrong);
    }
    text.to_owned()
}
