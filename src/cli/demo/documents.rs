//! The two examples of the API's documentation, word for word, and how their jobs continue.

use serde_json::{Value, json};

use crate::simulator::{Challenge, Phase, Script};

/// A job whose third step is in progress.
pub(super) const FIRST: &str = include_str!("seed-1.json");

/// A job that waits for the answer to a challenge.
pub(super) const SECOND: &str = include_str!("seed-2.json");

/// The right answer to the second document's challenge.
const CODE: &str = "1234";

/// The first document, until its last step succeeds.
pub(super) fn first() -> Script {
    let done = edited(
        FIRST,
        "2016-06-08T09:14:32.000Z",
        &[("retrieve-transactions", "success")],
    );
    Script::new(vec![
        Phase::verbatim(0, FIRST),
        Phase::verbatim(8_000, done),
    ])
}

/// The second document, until its challenge is answered; then its steps succeed one by one.
pub(super) fn second() -> Script {
    let mut phases = Vec::new();
    let mut document = SECOND.to_owned();
    for (at_ms, updated, step, status) in [
        (0, "29", "mfa-challenge", "in-progress"),
        (2_400, "31", "mfa-challenge", "success"),
        (3_600, "32", "retrieve-accounts", "in-progress"),
        (6_800, "34", "retrieve-accounts", "success"),
        (6_800, "34", "retrieve-transactions", "in-progress"),
        (11_600, "37", "retrieve-transactions", "success"),
    ] {
        let updated = format!("2021-06-08T09:14:{updated}.000Z");
        document = edited(&document, &updated, &[(step, status)]);
        phases.push(Phase::verbatim(at_ms, document.clone()));
    }
    Script::new(vec![Phase::verbatim(0, SECOND)]).asking(Challenge {
        expected: vec![CODE.to_owned()],
        expires_ms: None,
        accepted: Script::new(phases),
        refused: None,
        expired: None,
    })
}

/// The document with some steps in another state; a step in `success` gets the link that it has in the documentation.
fn edited(document: &str, updated: &str, changes: &[(&str, &str)]) -> String {
    let mut job: Value = serde_json::from_str(document).unwrap_or_default();
    job["updated"] = json!(updated);
    for step in job["steps"].as_array_mut().into_iter().flatten() {
        let title = step["title"].as_str().unwrap_or_default().to_owned();
        let Some((_, status)) = changes.iter().find(|(changed, _)| *changed == title) else {
            continue;
        };
        step["status"] = json!(status);
        step["result"] = match (*status, title.strip_prefix("retrieve-")) {
            ("success", Some(what)) => {
                let url = format!("/users/ea3a81/{what}?filter=institution.id.eq('AU00000')");
                json!([{"type": "link", "url": url}])
            }
            _ => Value::Null,
        };
    }
    job.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_phase_of_either_document_has_succeeded_in_every_step() {
        let second = second();
        let branch = second.challenge.map(|challenge| challenge.accepted);
        for script in [first(), branch.unwrap()] {
            let Some(crate::simulator::Content::Verbatim(last)) =
                script.phases.last().map(|phase| &phase.content)
            else {
                panic!("the documents are served word for word");
            };
            let job: Value = serde_json::from_str(last).unwrap();
            let steps = job["steps"].as_array().unwrap();
            assert!(steps.iter().all(|step| step["status"] == "success"));
            assert_eq!(job["id"], "61723");
        }
    }
}
