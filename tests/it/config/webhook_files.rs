//! URLs and headers of webhooks from files and from the service manager.

use jobtrackd::config::{Wanted, load, load_with};
use jobtrackd::webhook::WebhookSettings;

use super::{CANARY, Folder, NO_AUTH, SECRET, contains_all, permit};

/// A webhook with these lines beside its secret.
fn hook(name: &str, rest: &str) -> String {
    format!("[webhooks.{name:?}]\nsecret = \"{SECRET}\"\n{rest}\n")
}

fn names(webhook: &WebhookSettings) -> Vec<&str> {
    webhook.headers.iter().map(|header| header.name()).collect()
}

fn url(webhook: &WebhookSettings) -> &str {
    webhook.url.as_ref().unwrap().as_str()
}

#[test]
fn the_url_and_headers_of_a_webhook_come_from_files() {
    let folder = Folder::new();
    let place = folder.write(
        "url",
        format!("  https://a.example/hook?token={CANARY}\r\n"),
    );
    let headers = folder.write(
        "headers",
        format!("# of ours\r\n\r\nAuthorization: Bearer {CANARY}\r\n  x-two:{CANARY}: a # b \n"),
    );
    let rest =
        format!("url_file = {place:?}\nheaders_file = {headers:?}\nheaders = {{ x-one = \"1\" }}");
    let settings = folder
        .load(&format!("{NO_AUTH}{}", hook("a", &rest)))
        .unwrap();
    let webhook = &settings.webhooks[0];
    assert_eq!(
        url(webhook),
        format!("https://a.example/hook?token={CANARY}")
    );
    assert_eq!(names(webhook), ["x-one", "authorization", "x-two"]);
    let keys: Vec<&str> = settings
        .secret_files
        .iter()
        .map(|file| file.key.as_str())
        .collect();
    assert_eq!(keys, ["webhooks.a.url_file", "webhooks.a.headers_file"]);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    let shown = format!("{settings:?}");
    assert!(!shown.contains(CANARY), "{shown}");
    for (path, key) in [(&place, "url_file"), (&headers, "headers_file")] {
        permit(path, 0o644);
        let warnings = folder
            .load(&format!("{NO_AUTH}{}", hook("a", &rest)))
            .unwrap()
            .warnings;
        contains_all(
            &warnings.join("\n"),
            &[key, "everybody", path.to_str().unwrap()],
        );
        permit(path, 0o600);
    }
}

#[test]
fn a_credential_counts_where_no_key_gives_the_url_or_the_headers_file() {
    for prefix in ["webhook.", "webhook_"] {
        let folder = Folder::new();
        folder.write(&format!("credentials/{prefix}a"), SECRET);
        folder.write(
            &format!("credentials/{prefix}a.url"),
            "https://credential.example/\n",
        );
        folder.write(&format!("credentials/{prefix}a.headers"), "x-key: 1\n");
        let settings = folder.load(&format!("{NO_AUTH}[webhooks.a]\n")).unwrap();
        assert_eq!(url(&settings.webhooks[0]), "https://credential.example/");
        assert_eq!(names(&settings.webhooks[0]), ["x-key"]);
        let file = folder.write("file", "x-file: 1");
        let written =
            format!("[webhooks.a]\nurl = \"https://b.example\"\nheaders_file = {file:?}\n");
        let settings = folder.load(&format!("{NO_AUTH}{written}")).unwrap();
        assert_eq!(url(&settings.webhooks[0]), "https://b.example/");
        assert_eq!(names(&settings.webhooks[0]), ["x-file"]);
    }
}

#[test]
fn where_another_webhook_has_the_name_the_credential_is_its_secret() {
    let folder = Folder::new();
    for name in ["a", "a.url", "a.headers", "a.headers.headers"] {
        folder.write(&format!("credentials/webhook_{name}"), SECRET);
    }
    folder.write("credentials/webhook_a.headers.headers", "x-key: 1");
    let hooks = ["a", "a.url", "a.headers"]
        .map(|name| format!("[webhooks.{name:?}]\nurl = \"https://{name}.example\"\n"));
    let settings = folder
        .load(&format!("{NO_AUTH}{}", hooks.concat()))
        .unwrap();
    let found: Vec<_> = settings
        .webhooks
        .iter()
        .map(|each| (each.name.as_str(), each.keys.len(), names(each)))
        .collect();
    assert_eq!(
        found,
        [
            ("a", 1, vec![]),
            ("a.headers", 1, vec!["x-key"]),
            ("a.url", 1, vec![])
        ]
    );
}

#[test]
fn what_is_wrong_with_a_file_of_headers_is_named_by_its_line_and_not_shown() {
    let folder = Folder::new();
    let many: String = (0..21).map(|n| format!("x-{n}: 1\n")).collect();
    for (content, expected) in [
        (
            format!("x-a: 1\n\n{CANARY}\n"),
            "line 3: there is no colon; write each header as Name: value",
        ),
        (
            format!("{CANARY} x: {CANARY}"),
            "line 1: not a valid header name",
        ),
        (
            format!("x-key : {CANARY}"),
            "line 1: not a valid header name",
        ),
        (
            format!("host: {CANARY}"),
            "line 1: this header is set by jobtrackd",
        ),
        (
            format!("x-key: {CANARY}é"),
            "line 1: the value holds control characters, or others than ASCII",
        ),
        (
            format!("x-key: {CANARY}{}", "x".repeat(4096)),
            "line 1: the value is longer than 4096 bytes",
        ),
        (
            format!("X-ONE: {CANARY}"),
            "x-one is in headers, too; keep one of them",
        ),
        (many, "22 headers are too many; write at most 20"),
        ("\n".to_owned(), "there is nothing in it"),
    ] {
        let file = folder.write("headers", content);
        let rest = format!(
            "url = \"https://a.example\"\nheaders = {{ x-one = \"1\" }}\nheaders_file = {file:?}"
        );
        let text = folder.refusal(&format!("{NO_AUTH}{}", hook("a", &rest)));
        contains_all(&text, &["webhooks.a.headers_file: ", expected]);
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn what_is_wrong_with_the_file_of_a_url_is_named_and_not_shown() {
    let folder = Folder::new();
    for (content, expected) in [
        (
            format!("ftp://a.example/{CANARY}"),
            "expected a URL that starts with https://",
        ),
        (
            format!("https://a.example/{CANARY}\nhttps://b.example"),
            "no white space",
        ),
        (format!("\"https://a.example/{CANARY}\""), "not a valid URL"),
        (
            format!("http://a.example/{CANARY}"),
            "others can read what is sent over http",
        ),
        (format!("https://{CANARY}@a.example/"), "has no user"),
        (format!("https://a.example/#{CANARY}"), "no fragment"),
        (
            format!("https://10.0.0.1/{CANARY}"),
            "a loopback or private address",
        ),
        (
            format!("https://169.254.169.254/{CANARY}"),
            "a link-local or metadata address",
        ),
        (
            format!("http://127.0.0.1:8787/{CANARY}"),
            "own status address",
        ),
        (
            format!("https://a.example/{}", "x".repeat(3000)),
            "at most 2048 bytes",
        ),
    ] {
        let file = folder.write("url", content);
        let text = folder.refusal(&format!(
            "{NO_AUTH}{}",
            hook("a", &format!("url_file = {file:?}"))
        ));
        contains_all(&text, &["webhooks.a.url_file: ", expected]);
        assert!(!text.contains(CANARY), "{text}");
    }
}

#[test]
fn a_webhook_has_one_url_and_what_is_missing_is_said() {
    let folder = Folder::new();
    let both = format!("url = \"https://a.example/{CANARY}\"\nurl_file = \"/nowhere\"");
    let text = folder.refusal(&format!("{NO_AUTH}{}", hook("a", &both)));
    contains_all(
        &text,
        &["webhooks.a.url: url and url_file are given at once"],
    );
    let text = folder.refusal(&format!(
        "{NO_AUTH}{}",
        hook("a", "url_file = \"/nowhere\"")
    ));
    contains_all(&text, &["webhooks.a.url_file: cannot read /nowhere"]);
    let text = folder.refusal(&format!("{NO_AUTH}{}", hook("a", "")));
    contains_all(
        &text,
        &[
            "webhooks.a.url: this key is missing",
            "url_file = \"FILE\"",
            "/etc/jobtrackd/webhooks/a.url",
        ],
    );
}

#[test]
fn commands_that_need_no_secret_read_no_such_file() {
    let folder = Folder::new();
    let rest = "url_file = \"/nowhere/url\"\nheaders_file = \"/nowhere/headers\"\nheaders = { x-one = \"1\" }";
    let sources = folder.sources(&format!("{NO_AUTH}{}[webhooks.b]\n", hook("a", rest)));
    let webhooks = load_with(&sources, Wanted::default()).unwrap().webhooks;
    let found: Vec<_> = webhooks
        .iter()
        .map(|each| (each.url.is_some(), names(each)))
        .collect();
    assert_eq!(found, [(false, vec!["x-one"]), (false, vec![])]);
    let wanted = Wanted {
        of_webhooks: true,
        ..Wanted::default()
    };
    load_with(&sources, wanted).unwrap_err();
}

#[test]
fn a_url_with_secrets_in_a_configuration_that_everybody_can_read_is_a_warning() {
    let folder = Folder::new();
    for (place, warned) in [
        ("https://a.example/hooks/jobs", false),
        ("https://a.example/hooks/jobs?token=1", true),
        ("https://a.example/hooks/T0Pabcdef0123456789", true),
    ] {
        let sources = folder.sources(&format!("{NO_AUTH}[webhooks.a]\nurl = \"{place}\"\n"));
        folder.write("credentials/webhook.a", SECRET);
        permit(sources.file.as_ref().unwrap(), 0o644);
        let warnings = load(&sources).unwrap().warnings.join("\n");
        assert_eq!(
            warnings.contains("webhooks.a.url: everybody"),
            warned,
            "{warnings}"
        );
    }
}
