//! Keys that do not exist, and secrets.

use super::*;

#[test]
fn unknown_variables_name_the_key_the_variable_and_the_nearest_key() {
    for (key, fragments) in [
        (
            "upstream.base_ulr",
            ["upstream.base_ulr", "did you mean upstream.base_url?"],
        ),
        ("upstraem.base_url", ["upstraem", "did you mean upstream?"]),
        (
            "webhooks.billing.evnets",
            [
                "webhooks.billing.evnets",
                "did you mean webhooks.billing.events?",
            ],
        ),
        (
            "upstream.max_delay",
            ["upstream.max_delay", "did you mean polling.max_delay?"],
        ),
        (
            "log.colour",
            ["log.colour", "the keys here are level, format"],
        ),
        (
            "log",
            ["log: this variable names no key", "JOBTRACKD__SECTION__KEY"],
        ),
        (
            "webhooks.billing",
            [
                "webhooks.billing: this variable names no key",
                "WEBHOOKS__NAME__KEY",
            ],
        ),
        ("log.level.deep", ["log.level.deep", "names no key"]),
        (
            "webhooks.bil ling.url",
            ["webhooks.\"bil ling\"", "A-Z a-z 0-9"],
        ),
        (
            "webhooks.x1234567890123456789012345678901234567890123456789012345678901234.url",
            ["webhooks.\"x123", "1 to 64"],
        ),
    ] {
        let text = load(&sources(&[(key, "x")])).unwrap_err().to_string();
        let variable = format!(
            "(environment variable JOBTRACKD__{})",
            key.replace('.', "__").to_uppercase()
        );
        for fragment in fragments.into_iter().chain([variable.as_str()]) {
            assert!(text.contains(fragment), "no {fragment:?} in: {text}");
        }
    }
}

#[test]
fn other_variables_are_none_of_our_business_and_bytes_that_are_no_text_are_refused() {
    let mut sources = sources(&[]);
    for name in [
        "JOBTRACKD_CONFIG",
        "JOBTRACKD_COMMIT",
        "JOBTRACKD_URL",
        "JOBTRACKDX",
        "PATH",
        // What Kubernetes gives for services of these names.
        "JOBTRACKD_SERVICE_HOST",
        "JOBTRACKD_STATUS_PORT",
        "JOBTRACKD_STATUS_SERVICE_PORT",
        "JOBTRACKD_LOG_PORT_80_TCP_ADDR",
        "JOBTRACKD_WEBHOOKS_SERVICE_HOST",
    ] {
        sources.environment.insert(name.to_owned(), "x".to_owned());
    }
    load(&sources).unwrap();
    refused(&[("log.level", "\u{fffd}", &["not UTF-8"])]);
}

#[test]
fn a_variable_with_too_few_underscores_is_refused_and_its_right_name_is_suggested() {
    for (variable, key, right) in [
        (
            "JOBTRACKD_UPSTREAM_BASE_URL",
            "upstream.base_url",
            "UPSTREAM__BASE_URL",
        ),
        (
            "JOBTRACKD_UPSTREAM__BASE_ULR",
            "upstream.base_url",
            "UPSTREAM__BASE_URL",
        ),
        (
            "JOBTRACKD_polling_max_delay",
            "polling.max_delay",
            "POLLING__MAX_DELAY",
        ),
        (
            "JOBTRACKD_WEBHOOKS_BILL_ING_SECRET_FILE",
            "webhooks.bill_ing.secret_file",
            "WEBHOOKS__BILL_ING__SECRET_FILE",
        ),
        (
            "JOBTRACKD_WEBHOOK_CRM_URL",
            "webhooks.crm.url",
            "WEBHOOKS__CRM__URL",
        ),
        ("JOBTRACKD__LOG_LEVEL", "log_level", "LOG__LEVEL"),
        (
            "JOBTRACKD__WEBHOOKS__CRM_URL",
            "webhooks.crm_url",
            "WEBHOOKS__CRM__URL",
        ),
    ] {
        let mut sources = sources(&[]);
        let canary = "canary7f3a".to_owned();
        sources.environment.insert(variable.to_owned(), canary);
        let error = load(&sources).expect_err(variable);
        assert_eq!(error.problems[0].key, key);
        let text = error.to_string();
        let expected =
            format!("did you mean JOBTRACKD__{right}? (environment variable {variable})");
        assert!(text.contains(&expected), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn a_number_of_threads_that_the_runtime_cannot_use_is_refused() {
    for (threads, fits) in [
        ("1", true),
        ("1024", true),
        ("0", false),
        ("1025", false),
        ("", false),
        (" 2", false),
        ("-1", false),
        ("two", false),
        ("\u{fffd}", false),
        ("99999999999999999999", false),
    ] {
        let mut sources = sources(&[]);
        let name = "TOKIO_WORKER_THREADS".to_owned();
        sources.environment.insert(name, threads.to_owned());
        let loaded = load(&sources);
        assert_eq!(loaded.is_ok(), fits, "{threads}");
        if let Err(error) = loaded {
            let text = error.to_string();
            assert!(
                text.contains(
                    "TOKIO_WORKER_THREADS: expected a whole number of threads from 1 to 1024"
                ),
                "{text}"
            );
        }
    }
}

#[test]
fn secrets_are_written_once_and_are_whole() {
    refused(&[
        ("webhooks.billing.secret", "", &["nothing in it"]),
        ("webhooks.billing.secret", "whsec_canary!", &["not base64"]),
        (
            "webhooks.billing.secret",
            "whsec_AAAA",
            &["3 bytes", "head -c 32"],
        ),
        (
            "webhooks.billing.secret",
            &[SECRET; 9].join(" "),
            &["9 secrets are too many"],
        ),
        ("upstream.api_key", "", &["nothing in it"]),
        ("upstream.api_key", "two words", &["white space"]),
    ]);
    assert!(!refusal("webhooks.billing.secret", "whsec_canary!").contains("canary"));
    assert!(!refusal("upstream.api_key", "canary two").contains("canary"));
    for (key, other) in [
        ("upstream.api_key_file", "upstream.api_key"),
        ("webhooks.billing.secret_file", "webhooks.billing.secret"),
        ("webhooks.billing.secret_files", "webhooks.billing.secret"),
    ] {
        let error = load(&sources(&[(key, "/nowhere")])).unwrap_err();
        assert_eq!(error.problems[0].key, other);
        let text = error.to_string();
        assert!(
            text.contains("given at once") && text.contains("keep one"),
            "{text}"
        );
    }
    let two = settings(&[("webhooks.billing.secret", &[SECRET; 2].join("\n"))]);
    assert_eq!(two.webhooks[0].keys.len(), 2);
}

#[test]
fn a_missing_secret_says_every_way_to_give_it() {
    let mut sources = sources(&[]);
    sources.environment.remove("JOBTRACKD__UPSTREAM__API_KEY");
    sources
        .environment
        .remove("JOBTRACKD__WEBHOOKS__BILLING__SECRET");
    let text = load(&sources).unwrap_err().to_string();
    for way in [
        "api_key_file = \"",
        "credential api_key",
        "api_key = \"",
        "secret_file = \"",
        "LoadCredential=webhook.billing:",
        "secret = \"whsec_",
    ] {
        assert!(text.contains(way), "no {way:?} in: {text}");
    }
    load_database(&sources).unwrap();
    let auth = ("JOBTRACKD__UPSTREAM__AUTH".to_owned(), "none".to_owned());
    sources.environment.extend([auth]);
    assert!(!load(&sources).unwrap_err().to_string().contains("api_key"));
}

#[test]
fn nothing_prints_a_secret() {
    let sources = sources(&[("upstream.auth", "bearer")]);
    let settings = load(&sources).unwrap();
    let Auth::Bearer { token } = &settings.upstream.auth else {
        panic!("{:?}", settings.upstream.auth)
    };
    assert_eq!(token.expose_secret(), "key-1");
    let shown = format!("{settings:?} {sources:?}");
    assert!(
        !shown.contains("key-1") && !shown.contains("AQIDBAUG"),
        "{shown}"
    );
}
