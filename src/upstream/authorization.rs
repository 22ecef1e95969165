//! The header that authorizes a request, the one origin that it is sent to, and the secrets in it that no text may show.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::key_header::KeyHeader;
use super::target::same_origin;

/// What replaces a secret in a text.
const HIDDEN: &str = "***";

/// A header with a secret. Clones share it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Authorization(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    name: HeaderName,
    /// Marked sensitive, so that no log shows it.
    value: HeaderValue,
    /// A URL of the origin it is for.
    to: Url,
    /// The secrets in it, in every form that is sent or configured; the longest first, so that each is replaced whole.
    secrets: Vec<Zeroizing<String>>,
}

/// Each is for the origin of `to` alone, and `None` if the secret is empty or not valid in a header.
impl Authorization {
    /// `Authorization: {scheme} {secret}`
    pub(super) fn new(scheme: &str, secret: &str, to: &Url) -> Option<Self> {
        let value = Zeroizing::new(format!("{scheme} {secret}"));
        Self::made(AUTHORIZATION, &value, to, &[secret])
    }

    /// HTTP Basic with `user:password` (RFC 7617).
    pub(super) fn basic(login: &str, to: &Url) -> Option<Self> {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        // Some APIs want their key as the user, without a password.
        let secret = if password.is_empty() { user } else { password };
        Self::encoded(login, to, &[secret])
    }

    /// A client at the token endpoint: HTTP Basic with its id and secret, both form-urlencoded (RFC 6749, 2.3.1).
    pub(super) fn client(id: &str, secret: &str, to: &Url) -> Option<Self> {
        let encoded = |text: &str| -> Zeroizing<String> {
            Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect())
        };
        let (id, encoded_secret) = (encoded(id), encoded(secret));
        let login = Zeroizing::new(format!("{}:{}", *id, *encoded_secret));
        Self::encoded(&login, to, &[secret, &encoded_secret])
    }

    /// The key, unchanged, in the configured header.
    pub(super) fn header(header: &KeyHeader, key: &str, to: &Url) -> Option<Self> {
        Self::made(header.name().clone(), key, to, &[key])
    }

    fn encoded(login: &str, to: &Url, secrets: &[&str]) -> Option<Self> {
        let encoded = Zeroizing::new(STANDARD.encode(login));
        let value = Zeroizing::new(format!("Basic {}", *encoded));
        let secrets = [secrets, &[login, &encoded]].concat();
        Self::made(AUTHORIZATION, &value, to, &secrets)
    }

    fn made(name: HeaderName, value: &str, to: &Url, secrets: &[&str]) -> Option<Self> {
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        let mut secrets: Vec<_> = secrets
            .map(|secret| Zeroizing::new((*secret).to_owned()))
            .collect();
        if secrets.is_empty() {
            return None;
        }
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let mut value = HeaderValue::from_str(value).ok()?;
        value.set_sensitive(true);
        Some(Self(Arc::new(Parts {
            name,
            value,
            to: to.clone(),
            secrets,
        })))
    }
}

impl Authorization {
    /// Whether it may be sent to this URL.
    pub(super) fn is_for(&self, url: &Url) -> bool {
        same_origin(url, &self.0.to)
    }

    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        headers.insert(self.0.name.clone(), self.0.value.clone());
    }

    /// The text with `***` in place of each secret.
    pub(super) fn cleared(&self, text: &str) -> String {
        let secrets = self.0.secrets.iter();
        secrets.fold(text.to_owned(), |text, secret| {
            text.replace(secret.as_str(), HIDDEN)
        })
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {HIDDEN}", self.0.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to() -> Url {
        Url::parse("https://api.example/v1/").unwrap()
    }

    fn sent(authorization: &Authorization) -> (String, String) {
        let mut headers = HeaderMap::new();
        authorization.add_to(&mut headers);
        let (name, value) = headers.iter().next().unwrap();
        assert!(value.is_sensitive());
        let value = value.to_str().unwrap().to_owned();
        (name.to_string(), value)
    }

    #[test]
    fn each_kind_is_encoded_as_its_rule_says() {
        let header = KeyHeader::parse("X-Key").unwrap();
        // The user and the password of RFC 7617, section 2.1; the second is 123 and a pound sign.
        for (authorization, name, value) in [
            (
                Authorization::new("Bearer", "t", &to()),
                "authorization",
                "Bearer t",
            ),
            (
                Authorization::basic("test:123£", &to()),
                "authorization",
                "Basic dGVzdDoxMjPCow==",
            ),
            (
                Authorization::client("a b", "p:q+ü", &to()),
                "authorization",
                // a+b:p%3Aq%2B%C3%BC
                "Basic YStiOnAlM0FxJTJCJUMzJUJD",
            ),
            (
                Authorization::header(&header, "Key a b", &to()),
                "x-key",
                "Key a b",
            ),
        ] {
            let found = sent(&authorization.unwrap());
            assert_eq!(found, (name.to_owned(), value.to_owned()));
        }
        assert!(Authorization::new("Bearer", "", &to()).is_none());
        assert!(Authorization::new("Bearer", "a\nb", &to()).is_none());
        assert!(Authorization::header(&header, "a\0", &to()).is_none());
    }

    #[test]
    fn it_is_for_one_origin_only() {
        let authorization = Authorization::new("Bearer", "t", &to()).unwrap();
        for (url, expected) in [
            ("https://api.example/", true),
            ("https://api.example:443/x?y", true),
            ("http://api.example/", false),
            ("https://api.example:8443/", false),
            ("https://api.example.evil.test/", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(authorization.is_for(&url), expected, "{url}");
        }
    }

    #[test]
    fn every_form_of_a_secret_is_cleared_and_what_is_none_stays() {
        let login = Authorization::basic("anna:s3cret", &to()).unwrap();
        assert_eq!(
            login.cleared("anna: s3cret, anna:s3cret, Basic YW5uYTpzM2NyZXQ="),
            "anna: ***, ***, Basic ***"
        );
        let key = Authorization::basic("s3cret:", &to()).unwrap();
        assert_eq!(key.cleared("user s3cret"), "user ***");
        let client = Authorization::client("anna", "a b+c", &to()).unwrap();
        assert_eq!(
            client.cleared("anna a b+c a+b%2Bc YW5uYTphK2IlMkJj"),
            "anna *** *** ***"
        );
        for shown in [login, key, client] {
            assert_eq!(format!("{shown:?}"), "authorization: ***");
        }
    }
}
