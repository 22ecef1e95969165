//! Whom jobs belong to, and their jobs in pages.

use super::super::fixtures::{seen, with_deliveries};
use super::super::{Backend, Bench};
use crate::{UserFilter, UserPage, Users as _};

/// A remote job that leads to these users.
fn job(id: &str, source: &str, more: &str) -> String {
    format!(
        r#"{{"type":"job","id":"{id}","steps":[{{"title":"a","status":"odd","result":{{"url":"{more}"}}}}],"links":{{"source":"{source}"}}}}"#
    )
}

async fn page<B: Backend>(bench: &Bench<B>, filter: &UserFilter) -> (Vec<String>, UserPage) {
    let page = bench.store().jobs_of_user(filter).await.unwrap();
    let id = |resource: &String| {
        let job: serde_json::Value = serde_json::from_str(resource).unwrap();
        job["id"].as_str().unwrap().to_owned()
    };
    (page.resources.iter().map(id).collect(), page)
}

fn of(user: &str, limit: u32) -> UserFilter {
    UserFilter {
        user: user.to_owned(),
        connection: None,
        after: None,
        limit,
    }
}

pub(super) async fn a_recorded_job_belongs_to_those_it_leads_to_now_and_a_deleted_one_to_nobody<
    B: Backend,
>() {
    let mut bench = Bench::<B>::with_jobs(&["1", "2"]).await;
    let first = job("1", "/users/u1/connections/c", "/users/u2/x");
    bench.sees("1", &first, &[]).await;
    let second = job("2", "/reports/7", "https://api/v3/users/u2?x=/users/u9");
    bench.sees("2", &second, &[]).await;
    let found = async |bench: &Bench<B>| {
        let mut found = Vec::new();
        for user in ["u1", "u2", "u3", "u9"] {
            found.push(page(bench, &of(user, 10)).await.0.join(" "));
        }
        found
    };
    assert_eq!(found(&bench).await, ["1", "2 1", "", ""]);
    let mut filter = of("u1", 10);
    filter.connection = Some("c".to_owned());
    assert_eq!(page(&bench, &filter).await.0, ["1"]);
    filter.connection = Some("d".to_owned());
    assert!(page(&bench, &filter).await.0.is_empty());
    let done = job("1", "/users/u1/connections/c", "/users/u3").replace("odd", "success");
    bench.sees("1", &done, &[]).await;
    assert_eq!(found(&bench).await, ["1", "2", "1", ""]);
    assert!(bench.delete("1").await.unwrap());
    assert_eq!(found(&bench).await, ["", "2", "", ""]);
}

pub(super) async fn what_is_not_recorded_changes_nobody_s_jobs<B: Backend>() {
    let bench = Bench::<B>::with_jobs(&["1"]).await;
    let before = bench.tracked("1").await;
    bench.sees("1", &job("1", "/users/u1", ""), &[]).await;
    let stale = seen(&before, &job("1", "/users/u2", ""));
    bench.record(vec![with_deliveries(stale, &[])]).await;
    assert_eq!(page(&bench, &of("u1", 10)).await.0, ["1"]);
    assert!(page(&bench, &of("u2", 10)).await.0.is_empty());
}

pub(super) async fn a_page_of_a_user_s_jobs_has_at_most_4_mib_and_one_job_more_and_none_is_left_out<
    B: Backend,
>() {
    let bench = Bench::<B>::with_jobs(&["1", "2", "3", "4", "5", "6", "7"]).await;
    let large = "x".repeat(900 << 10);
    for id in ["1", "2", "3", "4", "5", "6", "7"] {
        let of_user = if id == "4" {
            "/users/u2/x"
        } else {
            "/users/u1/x"
        };
        bench.sees(id, &job(id, of_user, &large), &[]).await;
    }
    let mut filter = of("u1", 500);
    let (first, one) = page(&bench, &filter).await;
    assert_eq!(first.len(), 5, "{first:?}");
    let bytes: usize = one.resources.iter().map(String::len).sum();
    assert!(bytes < (5 << 20), "{bytes}");
    filter.after = one.next;
    let (rest, last) = page(&bench, &filter).await;
    assert_eq!((rest.len(), last.next), (1, None));
    let mut all: Vec<String> = first.into_iter().chain(rest).collect();
    all.sort();
    assert_eq!(all, ["1", "2", "3", "5", "6", "7"]);
    assert_eq!(page(&bench, &of("u2", 500)).await.0, ["4"]);
}
