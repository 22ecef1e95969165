//! Where requests may go.

use super::*;

#[test]
fn urls_are_https_or_http_where_that_is_harmless() {
    let private = ("webhooks.billing.allow_private", "true");
    for (url, more) in [
        ("https://api.example/v1", None),
        ("http://localhost:9090", None),
        ("http://127.8.9.1:9090", None),
        ("http://[::1]:9090", None),
        ("http://api.example", Some(("upstream.allow_http", "true"))),
    ] {
        let values: Vec<_> = [("upstream.base_url", url)]
            .into_iter()
            .chain(more)
            .collect();
        assert!(
            settings(&values)
                .upstream
                .base_url
                .as_str()
                .starts_with(url)
        );
    }
    settings(&[("webhooks.billing.url", "http://127.0.0.1:9000/h"), private]);
    settings(&[("webhooks.billing.url", "http://localhost:9000/h")]);
    settings(&[("webhooks.billing.url", "https://10.0.0.1/h"), private]);

    for key in ["upstream.base_url", "webhooks.billing.url"] {
        refused(&[
            (
                key,
                "http://api.example",
                &["over http", "allow_http = true in ["],
            ),
            (key, "http://localhost.example", &["allow_http"]),
            (key, "http://[::ffff:127.0.0.1]", &["allow_http"]),
            (key, "ftp://api.example", &["https://"]),
            (key, "api.example", &["not a valid URL", "for example"]),
            (key, "https://", &["not a valid URL"]),
            (
                key,
                "https://u:canary@api.example",
                &["no user and no password"],
            ),
            (key, "https://api.example/#x", &["no fragment"]),
            (
                key,
                &format!("https://api.example/{}", "x".repeat(2048)),
                &["at most 2048"],
            ),
        ]);
    }
    refused(&[(
        "upstream.base_url",
        "https://api.example/?x=1",
        &["no query"],
    )]);
    assert!(!refusal("upstream.base_url", "https://u:canary@api.example").contains("canary"));
}

#[test]
fn webhooks_at_private_addresses_are_accepted_only_when_that_is_meant() {
    let key = "webhooks.billing.url";
    refused(&[
        (
            key,
            "https://10.0.0.1/",
            &["private", "allow_private = true in [webhooks.billing]"],
        ),
        (key, "http://127.0.0.1:9000/", &["allow_private = true"]),
        (key, "https://[fd00::1]/", &["allow_private = true"]),
        (key, "https://0x7f.1/", &["allow_private = true"]),
        (key, "https://169.254.169.254/", &["link-local", "never"]),
    ]);
    let values = [
        (key, "https://[fe80::1]/"),
        ("webhooks.billing.allow_private", "true"),
    ];
    assert!(
        load(&sources(&values))
            .unwrap_err()
            .to_string()
            .contains("link-local")
    );
}

#[test]
fn a_webhook_is_never_the_daemons_own_status_address() {
    let allow = ("webhooks.billing.allow_private", "true");
    for url in ["http://127.0.0.1:8787/jobs", "http://localhost:8787/jobs"] {
        let error = load(&sources(&[("webhooks.billing.url", url), allow])).unwrap_err();
        assert!(error.to_string().contains("own status address"), "{error}");
    }
    let off = ("status.listen", "");
    settings(&[
        ("webhooks.billing.url", "http://127.0.0.1:8787/jobs"),
        allow,
        off,
    ]);
}
