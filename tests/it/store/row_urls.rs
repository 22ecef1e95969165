//! What may stand in `jobs.url`.

use super::bench::Bench;
use super::rows::{bytes, quoted, refused};
use jobtrackd::store::Intake as _;

const BAD: &str = r"jobs/1 1 //evil.test/jobs/1 ///x /a\b \\evil /\evil.test /ä /a#b # ftp://h/a file:///etc/passwd
    javascript:alert(1) https:/h/a https:h https:// http:// https:///a https://?a https://u@h/a https://u:p@h/a
    https://@h/ https://h@evil.test https://u@h?a HTTPS://u@h/a https://h/a#b https://h\@evil.test/a /. /.. /./a /../a
    /a/. /a/.. /a/./b /a/../b /%2e /%2E /%2e%2e /%2E%2E/a /.%2e/a /%2E./a /a/%2e/b /a/%2e%2E?x /..?x https://h/../a
    https://h/%2e%2e/a https://h/a/.. https://h/. https://h/..?x=1";

const GOOD: &str = "/ /jobs/1 /a//b /a?x=../.. /a?u=https://h/../b /a/... /a.b/.c /..a /a.. /%2e%2ea /a@b /a?x=@ https://h
    https://h/ https://h/a@b https://h?x=a@b http://127.0.0.1:9090/jobs/1 HTTPS://H/A https://[::1]:8443/a /a%20b%00
    /a/%2e%2e%2fb /~a;b=1,2'3";

#[tokio::test]
async fn a_bad_url_is_refused_with_the_rule() {
    let mut bench = Bench::fresh().await;
    let mut urls: Vec<String> = BAD.split_whitespace().map(quoted).collect();
    urls.extend(["", " ", "/a b", " /a", "/a ", "/a\tb", "/a\nb"].map(quoted));
    urls.push(quoted(&format!("/{}", "x".repeat(2048))));
    urls.push(bytes(b"/a\0b"));
    urls.push(bytes(b"/a\x7f"));
    urls.push(bytes(b"/a\xff"));
    for url in &urls {
        refused(
            &mut bench,
            "id, url",
            &format!("'1', {url}"),
            "jobs.url must be a path that starts with one / or an http(s) URL",
        )
        .await;
    }
}

#[tokio::test]
async fn good_urls_are_taken() {
    let mut bench = Bench::fresh().await;
    let longest = format!("/{}", "x".repeat(2047));
    let good: Vec<&str> = GOOD.split_whitespace().chain([longest.as_str()]).collect();
    for (n, url) in good.iter().enumerate() {
        let script = format!("INSERT INTO jobs (id, url) VALUES ('{n}', {})", quoted(url));
        assert_eq!(bench.outsider.run(&script).await, Ok(1), "{url}");
    }
    let page = bench.store.active_jobs(0, 100).await.unwrap();
    let urls: Vec<_> = page
        .into_iter()
        .filter_map(|change| change.job.unwrap().url)
        .collect();
    assert_eq!(urls, good);
}
