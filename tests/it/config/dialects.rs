//! `upstream.dialect`, `upstream.job_path` and `[upstream.json]`: what is taken, and what is refused with its reason.

use super::{Folder, contains_all, set};
use jobtrackd::core::job::JobId;

fn upstream(lines: &str) -> String {
    format!("[upstream]\nauth = \"none\"\nbase_url = \"https://api.example/v2\"\n{lines}\n")
}

const JSON: &str = "dialect = \"json\"\njob_path = \"/tasks/{id}\"\n[upstream.json]\n";

#[test]
fn each_dialect_polls_at_its_path_unless_another_is_written() {
    let folder = Folder::new();
    for (lines, name, url) in [
        ("", "basiq", "https://api.example/v2/jobs/7"),
        (
            "dialect = \"http-status\"",
            "http-status",
            "https://api.example/v2/7",
        ),
        (
            "dialect = \"azure\"",
            "azure",
            "https://api.example/v2/operations/7",
        ),
        (
            "dialect = \"google-lro\"",
            "google-lro",
            "https://api.example/v2/v1/7",
        ),
        (
            "dialect = \"openai-batch\"\njob_path = \"/state?of={id}&full=1\"",
            "openai-batch",
            "https://api.example/v2/state?of=7&full=1",
        ),
        (
            "dialect = \"json\"\njob_path = \"/tasks/{id}\"\njson = { status = \"/a~1b\", success = [\"true\"] }",
            "json",
            "https://api.example/v2/tasks/7",
        ),
    ] {
        let settings = folder.load(&upstream(lines)).unwrap().upstream;
        assert_eq!(settings.dialect.name(), name);
        let base = jobtrackd::upstream::target::Base::new(&settings.base_url, &settings.job_path);
        let target = base.unwrap().job_url(&JobId::parse("7").unwrap(), None);
        assert_eq!(target.unwrap().as_str(), url);
    }
}

#[test]
fn what_no_job_could_be_followed_with_is_refused_with_its_reason() {
    let folder = Folder::new();
    for (lines, reasons) in [
        (
            "dialect = \"azur\"",
            &["upstream.dialect", "not a dialect", "azure"][..],
        ),
        (
            "job_path = \"jobs/{id}\"",
            &["upstream.job_path", "starts with one /"],
        ),
        (
            "job_path = \"//evil.test/{id}\"",
            &["upstream.job_path", "starts with one /"],
        ),
        ("job_path = \"/jobs\"", &["upstream.job_path", "{id} once"]),
        (
            "job_path = \"/{id}/{id}\"",
            &["upstream.job_path", "{id} once"],
        ),
        (
            "job_path = \"/../{id}\"",
            &["upstream.job_path", "dot segments"],
        ),
        ("job_path = \"/a b/{id}\"", &["upstream.job_path", "spaces"]),
        ("job_path = \"/{id}#x\"", &["upstream.job_path", "fragment"]),
        (
            "dialect = \"json\"\n[upstream.json]\nstatus = \"/s\"\nsuccess = [\"a\"]",
            &["upstream.job_path", "needs the path"],
        ),
        (
            &format!("{JSON}success = [\"a\"]"),
            &["upstream.json.status", "needs this key"],
        ),
        (
            &format!("{JSON}status = \"/s\""),
            &["upstream.json.success", "needs this key"],
        ),
        (
            &format!("{JSON}status = \"/s\"\nsuccess = []"),
            &["upstream.json.success", "no job ends well"],
        ),
        (
            &format!("{JSON}status = \"s\"\nsuccess = [\"a\"]"),
            &["upstream.json.status", "begins with /"],
        ),
        (
            &format!("{JSON}status = \"/~2\"\nsuccess = [\"a\"]"),
            &["upstream.json.status", "~0"],
        ),
        (
            &format!("{JSON}status = \"/s\"\nsuccess = [\"a\"]\nfailure = [\"b\", \"a\"]"),
            &["upstream.json.failure", "\"a\"", "one of both"],
        ),
        (
            &format!("{JSON}statsu = \"/s\""),
            &["upstream.json.statsu", "upstream.json.status"],
        ),
        ("json = 7", &["upstream.json"]),
    ] {
        contains_all(&folder.refusal(&upstream(lines)), reasons);
    }
}

#[test]
fn the_environment_reaches_the_section_below_and_an_unused_one_is_a_warning() {
    let folder = Folder::new();
    let mut sources = folder.sources(&upstream("dialect = \"json\"\njob_path = \"/tasks/{id}\""));
    set(&mut sources, "JOBTRACKD__UPSTREAM__JSON__STATUS", "/state");
    set(
        &mut sources,
        "JOBTRACKD__UPSTREAM__JSON__SUCCESS",
        "done,finished",
    );
    let settings = jobtrackd::config::load(&sources).unwrap();
    let text = format!("{:?}", settings.upstream.dialect);
    contains_all(&text, &["/state", "\"done\", \"finished\""]);
    let list = format!("{JSON}status = \"/done\"\nsuccess = [true, 3, \"ok\"]");
    let text = format!(
        "{:?}",
        folder.load(&upstream(&list)).unwrap().upstream.dialect
    );
    contains_all(&text, &["\"true\", \"3\", \"ok\""]);
    let unused = folder
        .load(&upstream("[upstream.json]\nstatus = \"/s\""))
        .unwrap();
    contains_all(
        &unused.warnings.join("\n"),
        &["[upstream.json]", "dialect is basiq"],
    );
}
