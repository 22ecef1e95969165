//! Secrets from files and from the service manager.

use std::path::PathBuf;

use jobtrackd::config::{Settings, load, load_database};
use jobtrackd::upstream::Auth;
use secrecy::ExposeSecret as _;

use super::{CANARY, Folder, NO_AUTH, SECRET, contains_all, permit};

#[test]
fn secrets_come_from_files_and_credentials_and_lose_their_last_newline() {
    let folder = Folder::new();
    let key = folder.write("api_key", "from-file\n");
    folder.write("credentials/api_key", "from-credential\r\n");
    folder.write(
        "credentials/webhook.billing",
        format!("{SECRET}\n{SECRET}\n"),
    );
    let old = folder.write("old", SECRET);
    let hooks = format!(
        "[webhooks.billing]\nurl = \"https://a.example\"\n\
         [webhooks.other]\nurl = \"https://a.example\"\nsecret_files = [{old:?}, {old:?}, {old:?}]\n"
    );
    let token = |settings: &Settings| match &settings.upstream.auth {
        Auth::Bearer { token } => token.expose_secret().to_owned(),
        other => panic!("{other:?}"),
    };
    let bearer = "[upstream]\nauth = \"bearer\"\n";
    let settings = folder.load(&format!("{bearer}{hooks}")).unwrap();
    assert_eq!(token(&settings), "from-credential");
    assert_eq!(settings.webhooks[0].keys.len(), 2);
    assert_eq!(settings.webhooks[1].keys.len(), 3);
    let settings = folder
        .load(&format!("{bearer}api_key_file = {key:?}\n{hooks}"))
        .unwrap();
    assert_eq!(token(&settings), "from-file");
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn a_secret_file_that_is_missing_empty_or_strange_is_named_and_not_shown() {
    let folder = Folder::new();
    let files = [
        (folder.path("missing"), "cannot read"),
        (folder.0.path().to_owned(), "cannot read"),
        (folder.write("empty", "\n"), "nothing in it"),
        (folder.write("binary", [0xff, b'c']), "not UTF-8"),
        (
            folder.write("words", format!("{CANARY} {CANARY}")),
            "white space",
        ),
        (
            folder.write("large", "x".repeat(128 * 1024 + 1)),
            "larger than 131072",
        ),
    ];
    for (path, fragment) in files {
        let toml = format!("[upstream]\napi_key_file = {path:?}\n");
        let text = folder.refusal(&toml);
        contains_all(
            &text,
            &["upstream.api_key_file: ", path.to_str().unwrap(), fragment],
        );
        assert!(!text.contains(CANARY), "{text}");
        load_database(&folder.sources(&toml)).unwrap();
    }
    let weak = folder.write("weak", CANARY);
    let text = folder.refusal(&format!(
        "{NO_AUTH}[webhooks.a]\nurl = \"https://a.example\"\nsecret_file = {weak:?}\n"
    ));
    contains_all(
        &text,
        &["webhooks.a.secret_file: ", weak.to_str().unwrap(), "base64"],
    );
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn an_empty_credential_is_a_missing_one_and_a_folder_of_credentials_serves_all_webhooks() {
    let folder = Folder::new();
    folder.write("credentials/api_key", "\n");
    contains_all(
        &folder.refusal(""),
        &[
            "upstream.api_key_file: the API key is missing",
            "/etc/jobtrackd/api_key",
        ],
    );
    let hooks = "[webhooks.billing]\nurl = \"https://a.example\"\n\
                 [webhooks.crm]\nurl = \"https://a.example\"\n";
    folder.write(
        "credentials/webhook_billing",
        format!("{SECRET}\n{SECRET}\n"),
    );
    contains_all(
        &folder.refusal(&format!("{NO_AUTH}{hooks}")),
        &[
            "webhooks.crm.secret_file: the signing secret is missing",
            "/etc/jobtrackd/webhooks/crm",
        ],
    );
    folder.write("credentials/webhook.crm", "\n");
    folder.write("credentials/webhook_crm", SECRET);
    let settings = folder.load(&format!("{NO_AUTH}{hooks}")).unwrap();
    assert_eq!(settings.webhooks[0].keys.len(), 2);
    assert_eq!(settings.webhooks[1].keys.len(), 1);
}

#[test]
fn a_secret_that_everybody_can_read_is_a_warning() {
    let folder = Folder::new();
    let key = folder.write("api_key", "key");
    permit(&key, 0o644);
    let settings = folder
        .load(&format!("[upstream]\napi_key_file = {key:?}\n"))
        .unwrap();
    let [warning] = settings.warnings.as_slice() else {
        panic!("{:?}", settings.warnings)
    };
    contains_all(
        warning,
        &["upstream.api_key_file", "everybody", key.to_str().unwrap()],
    );

    let sources = folder.sources("[upstream]\napi_key = \"key\"\n");
    assert!(load(&sources).unwrap().warnings.is_empty());
    permit(sources.file.as_ref().unwrap(), 0o644);
    contains_all(
        &load(&sources).unwrap().warnings.join("\n"),
        &["jobtrackd.toml", "chmod"],
    );
}

#[test]
fn commands_that_need_only_the_database_take_no_secret_but_the_whole_file_must_be_right() {
    let folder = Folder::new();
    let toml = "[database]\nurl = \"sqlite:x.db\"\n[upstream]\napi_key_file = \"/nowhere/key\"\n\
                [webhooks.a]\nurl = \"https://a.example\"\n";
    let database = load_database(&folder.sources(toml)).unwrap();
    assert_eq!(database.path, PathBuf::from("x.db"));
    for bad in [
        "timeout = 5",
        "tmeout = \"5s\"",
        "secret = \"a\"\nsecret_file = \"b\"",
    ] {
        let sources = folder.sources(&format!("{toml}{bad}\n"));
        load_database(&sources).expect_err(bad);
    }
}

#[test]
fn headers_and_tls_of_a_webhook_are_read_and_what_is_wrong_is_named_and_not_shown() {
    let folder = Folder::new();
    let hook = |rest: &str| {
        format!(
            "{NO_AUTH}[webhooks.a]\nurl = \"https://a.example\"\nsecret = \"{SECRET}\"\n{rest}\n"
        )
    };
    let support = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support");
    let whole = format!(
        "ca_file = \"{support}/loopback.pem\"\nclient_cert_file = \"{support}/client.pem\"\n\
         headers = {{ X-Key = \"{CANARY}\", authorization = \"Bearer {CANARY}\" }}"
    );
    let settings = folder.load(&hook(&whole)).unwrap();
    let [webhook] = settings.webhooks.as_slice() else {
        panic!("{:?}", settings.webhooks)
    };
    let names: Vec<&str> = webhook.headers.iter().map(|header| header.name()).collect();
    assert_eq!(names, ["x-key", "authorization"]);
    assert!(!webhook.trust.is_plain());
    let shown = format!("{settings:?}");
    assert!(!shown.contains(CANARY), "{shown}");

    let empty = folder.write("empty.pem", "");
    let bad = [
        (
            format!("headers = {{ Host = \"{CANARY}\" }}"),
            "headers.\"Host\": this header is set by jobtrackd",
        ),
        (
            format!("headers = {{ \"a b\" = \"{CANARY}\" }}"),
            "not a valid header name",
        ),
        (
            format!("headers = {{ x = \"{CANARY}\\n\\u0000\" }}"),
            "control characters",
        ),
        (format!("headers = \"{CANARY}\""), "a table of texts"),
        ("headers = { x = 5 }".to_owned(), "a table of texts"),
        (format!("ca_file = {empty:?}"), "no certificate in PEM"),
        (
            format!("client_cert_file = \"{support}/loopback.nowhere\""),
            "cannot read",
        ),
        (
            format!("client_cert_file = {empty:?}"),
            "with its private key",
        ),
    ];
    for (rest, wrong) in bad {
        let text = folder.refusal(&hook(&rest));
        contains_all(&text, &["webhooks.a.", wrong]);
        assert!(!text.contains(CANARY), "{text}");
    }
}
