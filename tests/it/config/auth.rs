//! `upstream.auth` in real files: where its secrets come from, and what is wrong with them.

use jobtrackd::config::{Settings, load, load_database};
use jobtrackd::upstream::{Auth, OAuthClient};
use secrecy::ExposeSecret as _;

use super::{CANARY, Folder, contains_all, permit, set};

const OAUTH2: &str = "[upstream]\nauth = \"oauth2\"\ntoken_url = \"https://login.example/token\"\n\
                      client_id = \"client-1\"\n";

fn client(settings: &Settings) -> &OAuthClient {
    match &settings.upstream.auth {
        Auth::OAuth2(client) => client,
        other => panic!("{other:?}"),
    }
}

fn secret(settings: &Settings) -> &str {
    client(settings).client_secret.expose_secret()
}

#[test]
fn a_client_secret_comes_from_its_file_the_credential_or_the_configuration() {
    let folder = Folder::new();
    let file = folder.write("client_secret", "from file\n");
    folder.write("credentials/client_secret", "from-credential\r\n");
    folder.write("credentials/api_key", "not used");
    let settings = folder.load(OAUTH2).unwrap();
    assert_eq!(secret(&settings), "from-credential");
    let [found] = settings.secret_files.as_slice() else {
        panic!("{:?}", settings.secret_files)
    };
    assert_eq!(found.key, "upstream.client_secret_file");
    assert!(found.credential);

    let with_file = format!("{OAUTH2}client_secret_file = {file:?}\n");
    let settings = folder.load(&with_file).unwrap();
    assert_eq!(secret(&settings), "from file");
    assert_eq!(settings.secret_files[0].path, file);
    assert!(!settings.secret_files[0].credential);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);

    let mut sources = folder.sources(OAUTH2);
    set(
        &mut sources,
        "JOBTRACKD__UPSTREAM__CLIENT_SECRET",
        "from environment",
    );
    set(&mut sources, "JOBTRACKD__UPSTREAM__SCOPE", "a b");
    let settings = load(&sources).unwrap();
    assert_eq!(secret(&settings), "from environment");
    assert_eq!(client(&settings).scope.as_deref(), Some("a b"));

    permit(&file, 0o644);
    let warnings = folder.load(&with_file).unwrap().warnings.join("\n");
    contains_all(
        &warnings,
        &["upstream.client_secret_file: everybody", "chmod o-r"],
    );
    let in_place = folder.sources(&format!("{OAUTH2}client_secret = \"{CANARY}\"\n"));
    permit(in_place.file.as_ref().unwrap(), 0o644);
    let settings = load(&in_place).unwrap();
    let warnings = settings.warnings.join("\n");
    contains_all(&warnings, &["upstream.client_secret: everybody"]);
    let shown = format!("{settings:?} {warnings}");
    assert!(!shown.contains(CANARY), "{shown}");
}

#[test]
fn a_client_secret_that_is_missing_empty_or_strange_is_named_and_not_shown() {
    let folder = Folder::new();
    folder.write("credentials/client_secret", "\n");
    contains_all(
        &folder.refusal(OAUTH2),
        &[
            "upstream.client_secret_file: the client secret is missing; under systemd, write it into \
             /etc/jobtrackd/client_secret, which the unit hands over as the credential client_secret; elsewhere write \
             client_secret_file = \"FILE\", or client_secret = \"…\"",
        ],
    );
    let both = format!("client_secret = \"{CANARY}\"\nclient_secret_file = \"x\"\n");
    let text = folder.refusal(&format!("{OAUTH2}{both}"));
    contains_all(
        &text,
        &["client_secret and client_secret_file are given at once"],
    );
    assert!(!text.contains(CANARY), "{text}");
    let files = [
        (folder.path("missing"), "cannot read"),
        (folder.write("empty", "\n"), "nothing in it"),
        (folder.write("binary", [0xff, b'c']), "not UTF-8"),
        (
            folder.write("lines", format!("{CANARY}\n{CANARY}")),
            "the client secret holds control characters",
        ),
    ];
    for (path, fragment) in files {
        let toml = format!("{OAUTH2}client_secret_file = {path:?}\n");
        let text = folder.refusal(&toml);
        let key = "upstream.client_secret_file: ";
        contains_all(&text, &[key, path.to_str().unwrap(), fragment]);
        assert!(!text.contains(CANARY), "{text}");
        load_database(&folder.sources(&toml)).unwrap();
    }
}

#[test]
fn a_login_or_key_of_a_file_that_cannot_be_sent_is_named_and_not_shown() {
    let folder = Folder::new();
    for (auth, content, fragment) in [
        (
            "basic",
            format!("{CANARY}\n"),
            "the API key has no colon, and auth = \"basic\" sends user:password; write user:password (user: where there is \
             no password); for an API whose POST /token takes the key, write auth = \"basiq\"",
        ),
        (
            "basic",
            format!("{CANARY}:a\n{CANARY}:b\n"),
            "the API key holds control characters; write user:password alone, on one line",
        ),
        (
            "header",
            format!("{CANARY}\nx\n"),
            "the API key holds control characters or others than ASCII, or begins or ends with a space; write it alone, on \
             one line",
        ),
        (
            "bearer",
            format!("{CANARY} x\n"),
            "the API key holds white space or characters that are not ASCII; write the key alone, on one line",
        ),
    ] {
        let file = folder.write("api_key", content);
        let toml = format!("[upstream]\nauth = \"{auth}\"\napi_key_file = {file:?}\n");
        let text = folder.refusal(&toml);
        let named = format!("upstream.api_key_file: {}: {fragment}", file.display());
        contains_all(&text, &[&named]);
        assert!(!text.contains(CANARY), "{text}");
    }
    let file = folder.write("api_key", "anna: pass word \n");
    let toml = format!("[upstream]\nauth = \"basic\"\napi_key_file = {file:?}\n");
    let Auth::Basic { login } = folder.load(&toml).unwrap().upstream.auth else {
        panic!("not basic")
    };
    assert_eq!(login.expose_secret(), "anna: pass word ");
}

#[test]
fn an_auth_that_is_written_wrongly_is_not_repeated() {
    let text = Folder::new().refusal(&format!("[upstream]\nauth = \"{CANARY}\"\n"));
    contains_all(
        &text,
        &[
            "upstream.auth: expected basiq, bearer, basic, header, oauth2 or none; the other keys give the API key",
        ],
    );
    assert!(!text.contains(CANARY), "{text}");
    let text = Folder::new().refusal("[upstream]\nauth = \"oauth\"\nclient_sercet = \"x\"\n");
    contains_all(
        &text,
        &[
            "did you mean oauth2?",
            "upstream.client_sercet: there is no such key; did you mean upstream.client_secret?",
        ],
    );
}

#[test]
fn a_table_or_a_number_is_none_of_these_keys() {
    let text = Folder::new().refusal(
        "[upstream]\nauth = \"oauth2\"\ntoken_url = 5\nclient_id = true\nclient_secret = [\"x\"]\nscope = 1\n",
    );
    contains_all(
        &text,
        &[
            "upstream.token_url: expected text in quotes, not a whole number",
            "upstream.client_id: expected text in quotes, not true or false",
            "upstream.client_secret: expected text in quotes, not a list",
            "upstream.scope: expected text in quotes, not a whole number",
        ],
    );
    assert_eq!(text.lines().count(), 5, "{text}");
    let text =
        Folder::new().refusal("[upstream]\nauth = \"header\"\napi_key = \"x\"\nauth_header = 5\n");
    contains_all(&text, &["upstream.auth_header: expected text in quotes"]);
}
