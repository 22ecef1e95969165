//! Further tokens of the status server.

use jobtrackd::config::load;
use jobtrackd::status::Permission;
use secrecy::ExposeSecret as _;

use super::{CANARY, Folder, NO_AUTH, contains_all};

const ONE: &str = "token-one-7f3a-9c1e-0d2b";

const OTHER: &str = "token-other-44aa-1b2c-3d4e";

#[test]
fn named_tokens_come_from_files_credentials_and_the_environment_and_read_unless_they_may_more() {
    let folder = Folder::new();
    let file = folder.write("alice.token", format!("{ONE}\n"));
    folder.write("credentials/status_token.wall", format!("{OTHER}\n"));
    let mut sources = folder.sources(&format!(
        "{NO_AUTH}\n[status]\nlisten = \"0.0.0.0:8787\"\n\
         [status.tokens.alice]\ntoken_file = {file:?}\naccess = \"operate\"\n[status.tokens.wall]\n"
    ));
    let variable = "JOBTRACKD__STATUS__TOKENS__BOB__TOKEN".to_owned();
    sources
        .environment
        .insert(variable, format!("{ONE}-of-bob"));
    let settings = load(&sources).unwrap().status;
    let tokens = settings.tokens.iter().map(|each| {
        let token = each.token.expose_secret().to_owned();
        (each.name.as_str(), token, each.permission)
    });
    let expected = [
        ("alice", ONE.to_owned(), Permission::Operate),
        ("bob", format!("{ONE}-of-bob"), Permission::Read),
        ("wall", OTHER.to_owned(), Permission::Read),
    ];
    assert_eq!(tokens.collect::<Vec<_>>(), expected);
    assert!(settings.token.is_none() && settings.dashboard);
}

#[test]
fn a_token_that_is_missing_shared_or_wrong_is_refused_without_being_shown() {
    let folder = Folder::new();
    let refused = |rest: &str, fragments: &[&str]| {
        let text = folder.refusal(&format!("{NO_AUTH}\n{rest}"));
        contains_all(&text, fragments);
        assert!(!text.contains(CANARY), "{text}");
    };
    let long = format!("{CANARY}-{ONE}");
    refused(
        "[status.tokens.alice]\naccess = \"read\"",
        &[
            "status.tokens.alice.token_file",
            "the token is missing",
            "status_token.alice",
        ],
    );
    refused(
        &format!("[status]\ntoken = \"{long}\"\n[status.tokens.alice]\ntoken = \"{long}\""),
        &[
            "status.tokens.alice",
            "this is the token of status.token, too",
        ],
    );
    refused(
        &format!("[status.tokens.alice]\ntoken = \"{long}\"\naccess = \"write\""),
        &[
            "status.tokens.alice.access",
            "neither \"read\" nor \"operate\"",
        ],
    );
    refused(
        &format!("[status.tokens.\"a b\"]\ntoken = \"{long}\""),
        &["this cannot be the name of a token"],
    );
    refused(
        &format!("[status.tokens.alice]\ntokn = \"{long}\""),
        &[
            "status.tokens.alice.tokn",
            "did you mean status.tokens.alice.token?",
        ],
    );
    refused(
        &format!("[status.tokens]\nalice = \"{long}\""),
        &[
            "status.tokens.alice",
            "expected a section [status.tokens.NAME]",
        ],
    );
}
