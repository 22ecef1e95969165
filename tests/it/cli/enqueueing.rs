//! What `enqueue` refuses, and what it says then.

use serde_json::json;

use super::Shell;

impl Shell {
    fn count(&self) -> usize {
        self.run(&["list", "--json"]).done().json().len()
    }
}

#[test]
fn each_refused_id_is_named_on_standard_error_with_its_reason() {
    let shell = Shell::migrated();
    let said = shell.run(&["enqueue", "a/b"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert_eq!(
        said.err,
        "✗ a/b  refused: jobs.id must be 1 to 200 characters of A-Z a-z 0-9 . _ ~ - and not only dots\n\
         error: the job was refused\n"
    );
    let said = shell.piped(&["enqueue", "-", "--json"], b"1\n\na/b\n2\n..\n");
    let outcomes: Vec<_> = said.json();
    assert_eq!((said.code, outcomes.len(), shell.count()), (1, 4, 2));
    assert_eq!(outcomes[1]["outcome"], "refused");
    let err: Vec<&str> = said.err.lines().collect();
    assert!(
        err[0].starts_with("✗ a/b  refused (line 3): jobs.id"),
        "{err:?}"
    );
    assert!(
        err[1].starts_with("✗ ..  refused (line 5): jobs.id"),
        "{err:?}"
    );
    assert_eq!(
        err[2],
        "error: 2 of 4 ids refused; the others are in the database"
    );
}

#[test]
fn a_webhook_that_is_not_configured_is_refused_and_the_nearest_is_named() {
    let shell = Shell::migrated();
    for (webhook, expected) in [
        (
            "bilings",
            "no webhook bilings is configured; did you mean billing?",
        ),
        ("BILLING", "did you mean billing?"),
        ("crm", "no webhook crm is configured; the names are billing"),
        ("", "the webhook's name is empty; leave it out"),
    ] {
        let said = shell.billing(&["enqueue", "1", "2", "--webhook", webhook]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{webhook}");
        assert!(said.err.contains(expected), "{}", said.err);
        assert!(
            said.err.ends_with("error: all 2 ids were refused\n"),
            "{}",
            said.err
        );
    }
    let said = shell.billing(&["enqueue", "1", "--json", "--webhook", "bilings"]);
    assert_eq!(
        said.json(),
        [json!({"id": "1", "outcome": "refused",
                "reason": "no webhook bilings is configured; did you mean billing?"})]
    );
    let none = shell.run(&["enqueue", "1", "--webhook", "billing"]);
    assert!(
        none.err
            .contains("there is none: write a [webhooks.NAME] section"),
        "{}",
        none.err
    );
    assert_eq!(shell.count(), 0);
    shell
        .billing(&["enqueue", "1", "--webhook", "billing"])
        .done();
}

#[test]
fn a_url_that_would_never_be_requested_is_refused_with_the_reason() {
    let shell = Shell::migrated();
    for (url, expected) in [
        (
            "https://evil.example/jobs/1",
            "is not that of upstream.base_url",
        ),
        (
            "http://au-api.basiq.io/jobs/1",
            "is not that of upstream.base_url",
        ),
        (
            "https://au-api.basiq.io:8443/jobs/1",
            "is not that of upstream.base_url",
        ),
        ("/jobs/%2e%2e%2ftoken", "has dot segments"),
        ("//evil.example/", "starts with //"),
        ("jobs/1", "neither a path"),
        ("https://au-api.basiq.io:99999/", "cannot be parsed"),
    ] {
        let said = shell.run(&["enqueue", "1", "--url", url]);
        assert_eq!((said.code, said.out.as_str()), (1, ""), "{url}");
        assert!(
            said.err.starts_with("✗ 1  refused: the ") && said.err.contains(expected),
            "{}",
            said.err
        );
    }
    assert_eq!(shell.count(), 0);
    shell
        .run(&["enqueue", "1", "--url", "https://au-api.basiq.io/v2/jobs/1"])
        .done();
}

#[test]
fn a_deadline_that_leaves_no_time_for_a_poll_is_wrong_usage() {
    let shell = Shell::migrated();
    for (arguments, expected) in [
        (
            &["--deadline", "2020-01-01T00:00:00Z"][..],
            "the deadline 2020-01-01T00:00:00.000Z has passed; give a later one, for example --deadline 2h",
        ),
        (&["--deadline", "0s"], "has passed"),
        (
            &["--deadline", "1h", "--not-before", "1h"],
            "is not later; give a later deadline",
        ),
        (
            &["--deadline", "1h", "--not-before", "2099-01-01T00:00:00Z"],
            "not_before, 2099-01-01T00:00:00.000Z",
        ),
        (&["--not-before", "1999-12-31T00:00:00Z"], "later than 2001"),
    ] {
        let arguments = [&["enqueue", "1"], arguments].concat();
        let said = shell.run(&arguments);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{arguments:?}");
        assert!(said.err.contains(expected), "{}", said.err);
    }
    let said = shell.run(&["enqueue", "1", "--not-before", "9d"]);
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(
        said.err.contains("(polling.deadline) is not later"),
        "{}",
        said.err
    );
    assert_eq!(shell.count(), 0);
    shell
        .run(&["enqueue", "1", "--not-before", "9d", "--deadline", "10d"])
        .done();
    shell
        .run(&["enqueue", "2", "--not-before", "2020-01-01T00:00:00Z"])
        .done();
}

#[test]
fn metadata_that_is_nested_too_deep_is_refused() {
    let shell = Shell::migrated();
    let nested = |levels: usize| {
        format!(
            "{{\"a\":{}1{}}}",
            "[".repeat(levels - 1),
            "]".repeat(levels - 1)
        )
    };
    let said = shell.run(&["enqueue", "1", "--metadata", &nested(33)]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("at most 32 levels deep"), "{}", said.err);
    shell
        .run(&["enqueue", "1", "--metadata", &nested(32)])
        .done();
}
