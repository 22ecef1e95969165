//! Web pages that try to use the server behind their visitor's back.

use super::raw::{ask, ask_with};
use crate::support::world::World;

const JSON: &str = "Content-Type: application/json";

#[tokio::test(start_paused = true)]
async fn a_page_whose_name_leads_here_is_refused_by_the_name_it_asks_for() {
    let mut world = World::new().await;
    world.status += "\nhosts = [\"Jobs.internal\"]";
    world.start().await;
    let refused = (421, "host-not-allowed".to_owned());
    let fine = (200, String::new());
    for (host, expected) in [
        ("127.0.0.1:PORT", &fine),
        ("localhost:PORT", &fine),
        ("LOCALHOST:PORT", &fine),
        ("[::1]:PORT", &fine),
        ("jobs.internal", &fine),
        ("jobs.internal:8443", &fine),
        ("rebound.example:PORT", &refused),
        ("rebound.example", &refused),
        ("localhost.rebound.example:PORT", &refused),
        ("xjobs.internal", &refused),
        ("127.0.0.1", &refused),
        ("127.0.0.1:1", &refused),
        ("localhost:1", &refused),
        ("10.0.0.1:PORT", &refused),
        ("[::2]:PORT", &refused),
    ] {
        for path in ["/healthz", "/readyz"] {
            let answer = ask_with(
                &mut world,
                &format!("GET {path}"),
                &[&format!("Host: {host}")],
            )
            .await;
            assert_eq!(&answer.verdict(), expected, "{host}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_says_once_and_clearly_whom_it_asks() {
    let mut world = World::running().await;
    let missing = (400, "request-not-valid".to_owned());
    let refused = (421, "host-not-allowed".to_owned());
    let fine = (200, String::new());
    for (request, expected) in [
        ("GET /healthz HTTP/1.1\r\n\r\n", &missing),
        ("GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", &missing),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", &missing),
        (
            "GET /healthz HTTP/1.1\r\nHost: u@127.0.0.1:PORT\r\n\r\n",
            &missing,
        ),
        (
            "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nHost: rebound.example\r\n\r\n",
            &missing,
        ),
        (
            "GET http://rebound.example/healthz HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
            &refused,
        ),
        (
            "GET http://rebound.example/healthz HTTP/1.0\r\n\r\n",
            &refused,
        ),
        (
            "GET http://127.0.0.1:PORT/healthz HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
            &fine,
        ),
        ("GET /healthz HTTP/1.0\r\n\r\n", &fine),
    ] {
        let answer = ask(&mut world, request).await;
        assert_eq!(&answer.verdict(), expected, "{request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_other_sites_are_refused_and_none_is_ever_invited() {
    let mut world = World::new().await;
    world.status += "\nhosts = [\"jobs.internal\"]";
    world.start().await;
    for (headers, allowed) in [
        (&["Origin: http://127.0.0.1:PORT"][..], true),
        (&["Origin: https://jobs.internal"], true),
        (
            &["Host: jobs.internal", "Origin: https://jobs.internal"],
            true,
        ),
        (&["Sec-Fetch-Site: same-origin"], true),
        (&["Sec-Fetch-Site: none"], true),
        (&["Origin: http://evil.example"], false),
        (&["Origin: http://127.0.0.1:1"], false),
        (&["Origin: https://127.0.0.1"], false),
        (&["Origin: ftp://127.0.0.1:PORT"], false),
        (&["Origin: null"], false),
        (&["Origin: "], false),
        (
            &[
                "Origin: http://127.0.0.1:PORT",
                "Origin: http://evil.example",
            ],
            false,
        ),
        (&["Sec-Fetch-Site: cross-site"], false),
        (&["Sec-Fetch-Site: same-site"], false),
        (
            &["Sec-Fetch-Site: none", "Sec-Fetch-Site: cross-site"],
            false,
        ),
    ] {
        let (fine, written) = if allowed {
            ((200, ""), (404, "resource-not-found"))
        } else {
            ((403, "origin-not-allowed"), (403, "origin-not-allowed"))
        };
        let answer = ask_with(&mut world, "GET /readyz", headers).await;
        let (status, code) = answer.verdict();
        assert_eq!((status, code.as_str()), fine, "{headers:?}");
        let mut write = headers.to_vec();
        write.extend([JSON, "Content-Length: 2\r\n\r\n{}"]);
        let answer = ask_with(&mut world, "POST /nowhere", &write).await;
        let (status, code) = answer.verdict();
        assert_eq!((status, code.as_str()), written, "{headers:?}");
    }
    let asks_first = [
        "Origin: http://evil.example",
        "Access-Control-Request-Method: POST",
    ];
    for (line, headers) in [
        ("OPTIONS /healthz", &asks_first[..]),
        ("OPTIONS /healthz", &["Origin: http://127.0.0.1:PORT"]),
        ("GET /healthz", &["Origin: http://127.0.0.1:PORT"]),
    ] {
        let answer = ask_with(&mut world, line, headers).await;
        assert!(!answer.head.contains("access-control"), "{}", answer.head);
    }
}

#[tokio::test(start_paused = true)]
async fn what_writes_says_that_it_is_json() {
    let mut world = World::running().await;
    let passed = (404, "resource-not-found".to_owned());
    let refused = (415, "unsupported-content-type".to_owned());
    for method in ["POST", "PUT", "PATCH", "DELETE", "STRANGE"] {
        for (header, expected) in [
            ("Content-Type: application/json", &passed),
            ("Content-Type: Application/JSON; charset=utf-8", &passed),
            ("Content-Type: text/plain", &refused),
            ("Content-Type: text/plain; a=application/json", &refused),
            ("Content-Type: application/jsonp", &refused),
            ("Content-Type: application/x-www-form-urlencoded", &refused),
            ("Accept: application/json", &refused),
            (
                "Content-Type: application/json\r\nContent-Type: text/plain",
                &refused,
            ),
        ] {
            let body = "Content-Length: 2\r\n\r\n{}";
            let line = format!("{method} /nowhere");
            let answer = ask_with(&mut world, &line, &[header, body]).await;
            assert_eq!(&answer.verdict(), expected, "{method} {header}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_are_neither_guessed_at_nor_kept_and_name_no_program() {
    let mut world = World::running().await;
    for (line, headers, status) in [
        ("GET /healthz", &[][..], 200),
        ("GET /jobs/none", &[], 404),
        ("GET /nowhere", &[], 404),
        ("GET /healthz", &["Host: rebound.example"], 421),
        ("POST /nowhere", &["Content-Length: 0"], 415),
        ("OPTIONS /healthz", &[], 405),
    ] {
        let answer = ask_with(&mut world, line, headers).await;
        assert_eq!(answer.status, status, "{line}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("server"), None);
    }
}
