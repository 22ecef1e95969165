//! An HTTP answer of an API, read by each dialect: status line, headers, an empty line, the body.

use http::{HeaderMap, HeaderName, HeaderValue};
use jobtrackd::core::dialect::{self, Answer, Dialect, DialectSettings, JsonSettings, Reading};
use jobtrackd::core::job::{JobId, JobState};
use jobtrackd::core::observe::{Evidence, MAX_BYTES_AT_ONCE, Observation, Tracked, observe};
use jobtrackd::core::snapshot::{MAX_STEPS, Snapshot};
use jobtrackd::core::text::{decompressed, text_of};
use jobtrackd::core::time::UnixMillis;
use serde_json::Value;

/// As much of a body as is read.
const LIMIT: usize = 1 << 20;
const NOW: UnixMillis = UnixMillis(1_795_359_845_000);
const ORIGIN: &str = "https://api.example";

struct Parts<'a> {
    status: u16,
    headers: HeaderMap,
    body: &'a [u8],
}

pub(super) fn check(bytes: &[u8]) {
    let Some(Parts {
        status,
        headers,
        body,
    }) = parts(bytes)
    else {
        return;
    };
    let Ok(body) = decompressed(body.to_vec(), LIMIT) else {
        return;
    };
    assert!(body.len() <= LIMIT.max(bytes.len()));
    let text = text_of(&body);
    assert!(text.len() <= 3 * body.len());
    let job = JobId::parse("1").expect("it is an id");
    let waits = headers
        .get_all("retry-after")
        .iter()
        .filter_map(|value| value.to_str().ok());
    let most = std::time::Duration::from_secs(3600);
    let answer = Answer {
        status,
        headers: &headers,
        retry_after: jobtrackd::core::backoff::parse_retry_after(waits, NOW, most),
        body: &text,
    };
    for entry in &dialect::ALL {
        for progress in [false, true] {
            let settings = DialectSettings {
                progress,
                json: json(),
            };
            let dialect = dialect::named(entry.name, &settings).expect("its name is in the list");
            reads(&*dialect, &answer, &job);
        }
    }
}

fn json() -> JsonSettings {
    let pointer = |text: &str| text.parse().expect("it is a pointer");
    JsonSettings {
        status: Some(pointer("/status")),
        success: vec!["done".to_owned(), "true".to_owned()],
        failure: vec!["failed".to_owned(), "false".to_owned()],
        error_code: Some(pointer("/error/code")),
        error_title: Some(pointer("/error/message")),
        error_detail: Some(pointer("/errors/0/detail")),
        progress: Some(pointer("/progress")),
        updated: Some(pointer("/updated")),
    }
}

fn parts(bytes: &[u8]) -> Option<Parts<'_>> {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n")?;
    let (head, body) = (&bytes[..end], &bytes[end + 2..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = std::str::from_utf8(lines.next()?).ok()?;
    let status: u16 = status.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(name, value);
    }
    (100..1000).contains(&status).then_some(Parts {
        status,
        headers,
        body,
    })
}

fn reads(dialect: &dyn Dialect, answer: &Answer<'_>, job: &JobId) {
    let words = dialect.error(answer);
    let line = words.line(answer.status);
    assert!(
        line.len() <= 64 + 3 * answer.body.len(),
        "an error says what is there"
    );
    let read = dialect.read(answer, None);
    assert_eq!(
        read,
        dialect.read(answer, None),
        "the same answer means the same"
    );
    match dialect.read(answer, Some(job)) {
        Reading::Job(snapshot) => assert_eq!(read, Reading::Job(snapshot), "an id only refuses"),
        Reading::Unusable(_) => {}
        other => assert_eq!(read, other),
    }
    assert!(answer.is_success() || !matches!(read, Reading::Unusable(_)));
    if let Reading::Job(snapshot) = read {
        observes(&snapshot, answer, job);
    }
}

/// What follows from the job that was read: once, and nothing when the same is seen again.
fn observes(snapshot: &Snapshot, answer: &Answer<'_>, job: &JobId) {
    assert!(snapshot.steps.len() <= MAX_STEPS);
    assert!(
        snapshot.body.iter().all(|body| body == answer.body.trim()),
        "verbatim"
    );
    let unseen = Tracked::blank(job.clone(), NOW);
    let seen = Evidence::Snapshot(snapshot.clone());
    let first = observe(&unseen, &seen, NOW, ORIGIN).expect("nothing recorded is damaged");
    follows(&first, job);
    if first.limited || first.state != JobState::InProgress {
        return;
    }
    let tracked = unseen.after(&first);
    let again = observe(&tracked, &seen, NOW, ORIGIN).expect("what was recorded is read back");
    assert!(
        again.transitions.is_empty(),
        "nothing has changed: {:?}",
        again.transitions
    );
    assert!(
        again.events.is_empty(),
        "nothing is sent twice: {:?}",
        again.events
    );
    assert!(
        again.steps.is_empty(),
        "nothing is recorded twice: {:?}",
        again.steps
    );
}

fn follows(observation: &Observation, job: &JobId) {
    let seqs = observation
        .transitions
        .iter()
        .map(|transition| transition.seq);
    assert!(seqs.eq(1..=u32::try_from(observation.transitions.len()).expect("they are bounded")));
    let mut bytes = 0;
    for (sequence, event) in (1..).zip(&observation.events) {
        assert_eq!(event.sequence, sequence);
        let body: Value = serde_json::from_str(&event.body).expect("an event is JSON");
        assert_eq!(body["data"]["job_id"], job.as_str());
        assert_eq!(body["data"]["sequence"], sequence);
        assert_eq!(body["type"], event.kind.as_str());
        let ends = event.kind.as_str() == "job.completed" || event.kind.as_str() == "job.failed";
        assert_eq!(
            ends,
            observation.state.is_final() && sequence as usize == observation.events.len()
        );
        bytes += if ends { 0 } else { event.body.len() };
    }
    assert!(
        bytes <= MAX_BYTES_AT_ONCE,
        "{bytes} bytes of events from one answer"
    );
}
