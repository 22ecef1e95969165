//! `upstream.auth`: what each needs, what is wrong with it, and what it does not use.

use super::*;
use crate::upstream::{KeyHeader, OAuthClient};

/// The keys of a client of OAuth 2.0.
const CLIENT: [(&str, &str); 4] = [
    ("upstream.auth", "oauth2"),
    ("upstream.token_url", "https://login.example/token"),
    ("upstream.client_id", "client-1"),
    ("upstream.client_secret", "canary-secret"),
];

/// Without an API key, which `sources` has.
fn without_key(values: &[(&str, &str)]) -> Sources {
    let mut sources = sources(values);
    sources.environment.remove("JOBTRACKD__UPSTREAM__API_KEY");
    sources
}

fn client(more: &[(&str, &str)]) -> OAuthClient {
    let values = [&CLIENT[..], more].concat();
    let settings = load(&without_key(&values)).unwrap();
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    match settings.upstream.auth {
        Auth::OAuth2(client) => client,
        other => panic!("{other:?}"),
    }
}

/// What is wrong with values, all of which hold a canary where they hold a secret.
fn wrong(values: &[(&str, &str)]) -> String {
    let text = load(&sources(values)).unwrap_err().to_string();
    assert!(!text.contains("canary"), "{text}");
    text
}

#[test]
fn a_key_is_read_as_its_auth_sends_it() {
    let auth = |values: &[(&str, &str)]| settings(values).upstream.auth;
    let login = [
        ("upstream.auth", "basic"),
        ("upstream.api_key", "anna b:pässword :x"),
    ];
    let Auth::Basic { login } = auth(&login) else {
        panic!("not basic")
    };
    assert_eq!(login.expose_secret(), "anna b:pässword :x");
    let values = [
        ("upstream.auth", "header"),
        ("upstream.api_key", "Key token=\"a b\""),
    ];
    let Auth::Header { header, key } = auth(&values) else {
        panic!("not header")
    };
    assert_eq!(header, KeyHeader::parse("x-api-key").unwrap());
    assert_eq!(key.expose_secret(), "Key token=\"a b\"");
    let values = [
        ("upstream.auth", "header"),
        ("upstream.auth_header", "Ocp-Apim-Subscription-Key"),
    ];
    let Auth::Header { header, .. } = auth(&values) else {
        panic!("not header")
    };
    let name = KeyHeader::parse("ocp-apim-subscription-key").unwrap();
    assert_eq!(header, name);
}

#[test]
fn a_client_of_oauth2_has_a_scope_only_if_the_user_wrote_one() {
    let plain = client(&[]);
    assert_eq!(plain.token_url.as_str(), "https://login.example/token");
    assert_eq!(plain.client_id, "client-1");
    assert_eq!(plain.client_secret.expose_secret(), "canary-secret");
    assert_eq!(plain.scope, None);
    let scoped = client(&[("upstream.scope", "jobs.read https://x/.default")]);
    assert_eq!(
        scoped.scope.as_deref(),
        Some("jobs.read https://x/.default")
    );
    // Even the default, if that is what is written.
    let scoped = client(&[("upstream.scope", "SERVER_ACCESS")]);
    assert_eq!(scoped.scope.as_deref(), Some("SERVER_ACCESS"));
    let local = client(&[("upstream.token_url", "http://127.0.0.1:9091/t?policy=x")]);
    assert_eq!(local.token_url.query(), Some("policy=x"));
    client(&[
        ("upstream.token_url", "http://login.internal/t"),
        ("upstream.allow_http", "true"),
    ]);
    let shown = format!("{plain:?}");
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn a_key_that_cannot_be_sent_is_refused_and_not_repeated() {
    for (auth, key, fragments) in [
        (
            "basic",
            "canary",
            &[
                "the API key has no colon",
                "write user:password",
                "auth = \"basiq\"",
            ][..],
        ),
        ("basic", "canary:a\tb", &["control characters"]),
        ("bearer", "canary x", &["white space", "on one line"]),
        ("basiq", "canary\u{e9}", &["not ASCII"]),
        ("header", "canary\u{e9}", &["others than ASCII"]),
        ("header", "canary\u{1}", &["control characters"]),
        ("header", " canary", &["begins or ends with a space"]),
    ] {
        let text = wrong(&[("upstream.auth", auth), ("upstream.api_key", key)]);
        for fragment in ["upstream.api_key: the API key"].iter().chain(fragments) {
            assert!(text.contains(fragment), "no {fragment:?} in: {text}");
        }
    }
}

#[test]
fn a_header_that_the_client_sets_itself_cannot_hold_the_key() {
    let long = "x".repeat(65);
    for (name, fragment) in [
        ("Host", "set by jobtrackd itself"),
        ("content-length", "set by jobtrackd itself"),
        ("Accept", "set by jobtrackd itself"),
        ("accept-encoding", "set by jobtrackd itself"),
        ("connection", "set by jobtrackd itself"),
        ("transfer-encoding", "set by jobtrackd itself"),
        ("proxy-authorization", "set by jobtrackd itself"),
        ("x key", "not a valid header name"),
        ("", "not a valid header name"),
        (long.as_str(), "at most 64 characters"),
    ] {
        let text = wrong(&[("upstream.auth", "header"), ("upstream.auth_header", name)]);
        let key = "upstream.auth_header: ";
        assert!(text.contains(key) && text.contains(fragment), "{text}");
        assert!(text.contains("for example auth_header = \"x-api-key\""));
    }
}

#[test]
fn everything_that_a_client_of_oauth2_lacks_is_reported_at_once() {
    let text = load(&without_key(&[("upstream.auth", "oauth2")]));
    let text = text.unwrap_err().to_string();
    for fragment in [
        "upstream.token_url: this key is missing; write token_url = \"https://",
        "upstream.client_id: this key is missing; write client_id = \"",
        "upstream.client_secret_file: the client secret is missing",
        "/etc/jobtrackd/client_secret",
        "credential client_secret",
        "client_secret_file = \"",
        "client_secret = \"",
    ] {
        assert!(text.contains(fragment), "no {fragment:?} in: {text}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");
    // A command that wants no secret does not miss it.
    let values = [&CLIENT[..3], &[("database.url", "sqlite:x.db")]].concat();
    load_database(&without_key(&values)).unwrap();
}

#[test]
fn what_is_wrong_with_a_client_of_oauth2_is_named_and_not_repeated() {
    let long = "x".repeat(1025);
    for (key, value, fragments) in [
        (
            "token_url",
            "http://login.example",
            &["sent over http", "allow_http = true in [upstream]"][..],
        ),
        ("token_url", "ftp://login.example", &["https://"]),
        (
            "token_url",
            "login.example",
            &["not a valid URL", "https://login.example.com/oauth2/token"],
        ),
        (
            "token_url",
            "https://id:canary@login.example",
            &["no user and no password"],
        ),
        ("token_url", "https://login.example/#x", &["no fragment"]),
        ("client_id", "", &["1 to 256 printable ASCII characters"]),
        (
            "client_id",
            long.as_str(),
            &["1 to 256 printable ASCII characters"],
        ),
        ("client_id", "é", &["for example client_id = \""]),
        ("client_secret", "canary\u{e9}", &["others than ASCII"]),
        ("client_secret", "canary ", &["ends with a space"]),
        ("client_secret", " ", &["there is nothing in it"]),
        ("scope", "a  b", &["one space between them"]),
        ("scope", "", &["leave it out"]),
        ("scope", "a\"b", &["without \" and \\"]),
        ("scope", long.as_str(), &["at most 1024"]),
    ] {
        let key = format!("upstream.{key}");
        let values = [&CLIENT[..], &[(key.as_str(), value)]].concat();
        let text = wrong(&values);
        assert!(text.contains(&format!("{key}: ")), "{text}");
        for fragment in fragments {
            assert!(text.contains(fragment), "no {fragment:?} in: {text}");
        }
    }
}

#[test]
fn keys_that_the_chosen_auth_does_not_use_are_warnings() {
    let written = [
        ("upstream.api_version", "3.0"),
        ("upstream.scope", "x"),
        ("upstream.auth_header", "x-key"),
        ("upstream.token_url", "nonsense"),
        ("upstream.client_id", "x"),
        ("upstream.client_secret", "x"),
    ];
    let all = [
        "api_key",
        "api_version",
        "scope",
        "auth_header",
        "token_url",
        "client_id",
        "client_secret",
    ];
    for (auth, used) in [
        ("basiq", &["api_key", "api_version", "scope"][..]),
        ("bearer", &["api_key"]),
        ("basic", &["api_key"]),
        ("header", &["api_key", "auth_header"]),
        ("none", &[]),
    ] {
        let chosen = [
            ("upstream.auth", auth),
            ("upstream.api_key", "user:password"),
        ];
        let warnings = settings(&[&written[..], &chosen].concat()).warnings;
        let unused = all.iter().filter(|key| !used.contains(key));
        let expected: Vec<String> = unused
            .map(|key| format!("upstream.{key}: not used, because auth is {auth}"))
            .collect();
        assert_eq!(warnings, expected, "{auth}");
    }
    let warnings = settings(&CLIENT).warnings;
    let expected = ["upstream.api_key: not used, because auth is oauth2"];
    assert_eq!(warnings, expected);
    let unwritten = settings(&[("upstream.auth", "bearer")]).warnings;
    assert!(unwritten.is_empty(), "a default is not written");
}
