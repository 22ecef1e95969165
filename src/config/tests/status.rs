//! `[status]`: addresses, the token, names.

use super::*;

const TOKEN: &str = "canary-7f3a-9c1e";

#[test]
fn an_address_that_others_can_reach_needs_a_token_and_the_refusal_says_how_to_give_one() {
    for address in ["0.0.0.0:8787", "[::]:8787", "10.0.0.1:8787", "[fd00::1]:1"] {
        let text = refusal("status.listen", address);
        for words in [
            address,
            "no token",
            "head -c 32 /dev/urandom | base64",
            "/etc/jobtrackd/status_token",
            "token_file = ",
        ] {
            assert!(text.contains(words), "no {words:?} in: {text}");
        }
        let values = [("status.listen", address), ("status.token", TOKEN)];
        let status = settings(&values).status;
        assert_eq!(status.listen, Some(address.parse().unwrap()));
        // What needs no secrets cannot know whether there is one.
        load_database(&sources(&[("status.listen", address)])).unwrap();
    }
    for address in ["127.0.0.1:1", "127.1.2.3:1", "[::1]:1", "unix:/run/s", ""] {
        assert!(
            settings(&[("status.listen", address)])
                .status
                .token
                .is_none()
        );
    }
}

#[test]
fn a_token_is_long_enough_written_once_and_never_printed() {
    let long = "x".repeat(1025);
    for wrong in [
        "canary-7f3a-9c1",
        "canary 7f3a-9c1e-",
        "canary-7f3a-9c1é-",
        &long,
    ] {
        let text = refusal("status.token", wrong);
        assert!(text.contains("16 to 1024 ASCII characters"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
    let status = settings(&[("status.token", TOKEN)]).status;
    assert!(!format!("{status:?}").contains("canary"));
    assert_eq!(status.token.unwrap().expose_secret(), TOKEN);
    let both = [("status.token", TOKEN), ("status.token_file", "/x")];
    let error = load(&sources(&both)).unwrap_err().to_string();
    assert!(
        error.contains("token and token_file are given at once"),
        "{error}"
    );
    assert!(!error.contains("canary"), "{error}");
}

#[test]
fn the_token_comes_from_a_file_or_a_credential_too() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let file = write("file", &format!("{TOKEN}\n"));
    let given = |values: &[(&str, &str)]| {
        let mut sources = sources(values);
        sources.credentials_directory = Some(folder.path().to_owned());
        load(&sources)
    };
    let token = |values: &[(&str, &str)]| {
        let status = given(values).unwrap().status;
        status.token.map(|token| token.expose_secret().to_owned())
    };
    write("status_token", "\n");
    assert_eq!(
        token(&[]),
        None,
        "as the unit makes it where there is no file"
    );
    write("status_token", "credential-5b5b-1");
    assert_eq!(token(&[]).as_deref(), Some("credential-5b5b-1"));
    let named = [("status.token_file", file.to_str().unwrap())];
    assert_eq!(token(&named).as_deref(), Some(TOKEN));
    let files = given(&named).unwrap().secret_files;
    assert_eq!(files[0].key, "status.token_file");
    write("status_token", "short");
    let error = given(&[]).unwrap_err().to_string();
    assert!(
        error.contains("status.token_file: ") && error.contains("16 to"),
        "{error}"
    );
}

#[test]
fn sockets_and_names_are_checked() {
    refused(&[
        (
            "status.listen",
            "unix:status.sock",
            &["absolute path", "unix:/run/jobtrackd"],
        ),
        ("status.listen", "unix:/run/", &["unix:/run/jobtrackd"]),
        (
            "status.hosts",
            "https://jobs.internal",
            &["not a host name", "without scheme"],
        ),
        ("status.hosts", "jobs.internal:80", &["not a host name"]),
        ("status.hosts", "*", &["not a host name"]),
    ]);
    let status = settings(&[("status.hosts", "Jobs.internal, b")]).status;
    assert_eq!(status.hosts, ["jobs.internal", "b"]);
    let unix = settings(&[("status.listen", " unix:/run/a b/s ")]).status;
    assert_eq!(unix.listen, Some("unix:/run/a b/s".parse().unwrap()));
}

#[test]
fn a_reload_takes_the_token_and_the_names_but_not_the_address() {
    let first = [("status.listen", "0.0.0.0:1"), ("status.token", TOKEN)];
    let old = settings(&first);
    let second = [
        ("status.listen", "0.0.0.0:1"),
        ("status.token", "another-7f3a-9c1e"),
        ("status.hosts", "a"),
    ];
    let new = settings(&second);
    assert!(old.restart_needed(&new).is_empty());
    let status = old.renewed(new).status;
    assert_eq!(status.token.unwrap().expose_secret(), "another-7f3a-9c1e");
    assert_eq!(status.hosts, ["a"]);
    let local = settings(&[]);
    assert_eq!(old.restart_needed(&local), ["status.listen"]);
    let kept = old.renewed(local).status;
    assert_eq!(kept.listen, old.status.listen);
    assert_eq!(
        kept.token.unwrap().expose_secret(),
        TOKEN,
        "others can reach it still"
    );
    let without = settings(&[("status.token", TOKEN)]).renewed(settings(&[]));
    assert!(without.status.token.is_none());
}
