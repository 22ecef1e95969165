//! The words of a column: each that the program writes is taken, and no other.

use strum::IntoEnumIterator;

use jobtrackd::core::delivery::DeliveryState;
use jobtrackd::core::event::EventType;
use jobtrackd::core::snapshot::StepClass;

use super::bench::Bench;

const EVENT_AND_DELIVERY: &str = "INSERT INTO events (id, job_id, sequence, type, created_at, body)
    VALUES ('evt_1', '1', 1, 'job.delayed', 1, 'body');
    INSERT INTO deliveries (event_id, webhook, job_id, sequence, state) VALUES ('evt_1', 'w', '1', 1, 'pending')";
const STEP: &str = "INSERT INTO steps (job_id, title, occurrence, position, status, first_seen_at, updated_at, class)
    VALUES ('1', '{}', 9, 0, 's', 1, 1, '{}')";
const TRANSITION: &str = "INSERT INTO transitions (job_id, seq, position, title, occurrence, to_status, observed_at, class)
    VALUES ('1', 900 + length('{}'), 0, '{}', 0, 's', 1, '{}')";
const EVENT: &str = "INSERT INTO events (id, job_id, sequence, type, created_at, body)
    VALUES ('evt_{}', '1', 900, '{}', 1, 'body')";
const DELIVERY: &str = "UPDATE deliveries SET state = '{}', next_attempt_at = NULL, delivered_at = iif('{}' = 'delivered', 5, NULL)";
const TRIGGER: &str = "INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, \"trigger\")
    SELECT iif('{}' = 'test', 'test_1', event_id), webhook, 90 + length('{}'), 1, 1, 200, '{}' FROM deliveries LIMIT 1";
const CUT: &str = "INSERT INTO attempts (event_id, webhook, number, started_at, duration_ms, status, \"trigger\", answer_cut)
    VALUES ('test_{}', 'w', 1, 1, 1, 200, 'test', '{}')";

fn words<T: IntoEnumIterator + Into<&'static str>>() -> Vec<&'static str> {
    T::iter().map(Into::into).collect()
}

/// An event of a test is sent and not recorded.
fn stored_types() -> Vec<&'static str> {
    let mut types = words::<EventType>();
    types.retain(|each| *each != EventType::Test.as_str());
    types
}

#[tokio::test]
async fn each_word_the_program_writes_is_taken_and_no_other() {
    for (script, words) in [
        (STEP, words::<StepClass>()),
        (TRANSITION, words::<StepClass>()),
        (EVENT, stored_types()),
        (DELIVERY, words::<DeliveryState>()),
        (TRIGGER, vec!["schedule", "probe", "manual", "test"]),
        (CUT, vec!["too_large", "too_slow", "broken"]),
    ] {
        for word in words {
            let mut bench = Bench::with_jobs(&["1"]).await;
            bench.outsider.run(EVENT_AND_DELIVERY).await.unwrap();
            let taken = bench.outsider.run(&script.replace("{}", word)).await;
            assert!(matches!(taken, Ok(1..)), "{word}: {taken:?}");
            for odd in [format!("{word}s"), word.to_uppercase(), String::new()] {
                let said = bench.outsider.run(&script.replace("{}", &odd)).await;
                let said = said.unwrap_err();
                assert!(said.starts_with("CHECK constraint failed"), "{odd}: {said}");
            }
        }
    }
}

/// SQLite fills a table of its own with such a list for each row that it checks.
#[tokio::test]
async fn no_check_compares_with_a_list_of_more_than_two_words() {
    let mut bench = Bench::fresh().await;
    let tables = "SELECT sql FROM sqlite_schema WHERE type = 'table'";
    let tables = bench.outsider.rows(tables).await.concat();
    let tables: Vec<&str> = tables.split_whitespace().collect();
    let tables = tables.join(" ");
    let lists: Vec<&str> = tables.split(" IN (").skip(1).collect();
    assert!(lists.len() > 4, "{tables}");
    for list in lists {
        let (list, _) = list.split_once(')').unwrap();
        assert!(list.matches(',').count() < 2, "{list}");
    }
}
