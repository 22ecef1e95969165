//! Compares what the API showed of a job with the transitions that were recorded.

use std::collections::BTreeMap;
use std::time::Duration;

use jobtrackd::core::job::FailureKind;
use jobtrackd::core::snapshot::StepClass;
use jobtrackd::core::time::UnixMillis;
use jobtrackd::simulator::TrueMoment;
use jobtrackd::store::TransitionRow;
use serde_json::Value;

use super::end_to_end::Case;

/// A poll so close to a change of the API's answer may have seen either side of it.
const BLUR: Duration = Duration::from_millis(40);

/// A poll that was on its way for so long at most when the daemon itself ended the job is not recorded any more.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// Steps by title: status and result.
type Picture = BTreeMap<String, (String, Value)>;

/// What is wrong with a job's transitions: they must be gapless, each begin where the one before ended, lead only
/// through what the API really showed and in that order, and leave out nothing that a poll saw.
pub(super) fn problems(case: &Case) -> Vec<String> {
    let Some(truth) = &case.truth else {
        return Vec::new();
    };
    let recorded = match replay(&case.transitions) {
        Ok(pictures) => pictures,
        Err(problem) => return vec![problem],
    };
    let mut problems = Vec::new();
    let shown: Vec<Option<Picture>> = truth.moments.iter().map(picture).collect();
    let mut index = 0;
    for (at, picture) in &recorded {
        let rest = shown.get(index..).unwrap_or_default();
        match rest
            .iter()
            .position(|moment| moment.as_ref() == Some(picture))
        {
            Some(further) => index += further,
            None => problems.push(format!("recorded at {at} what the API did not show then")),
        }
    }
    for at in seen(case) {
        let Some(moment) = moment_at(&truth.moments, at) else {
            continue;
        };
        let picture = shown.get(moment).and_then(Option::as_ref);
        if picture.is_some_and(|picture| recorded.iter().all(|(_, known)| known != picture)) {
            problems.push(format!(
                "what the API showed at {at} was polled but not recorded"
            ));
        }
    }
    problems
}

/// The pictures that the transitions lead through, one for each observation.
fn replay(transitions: &[TransitionRow]) -> Result<Vec<(UnixMillis, Picture)>, String> {
    let mut pictures: Vec<(UnixMillis, Picture)> = Vec::new();
    let mut now = Picture::new();
    let mut words: BTreeMap<&str, &str> = BTreeMap::new();
    for (transition, number) in transitions.iter().zip(1..) {
        let TransitionRow {
            seq,
            title,
            from,
            to,
            observed_at,
            ..
        } = transition;
        if *seq != number {
            return Err(format!("transition {number} has the number {seq}"));
        }
        let before = words.insert(title, to);
        if before != from.as_deref() {
            return Err(format!("transition {seq} does not begin where {title} was"));
        }
        if to == "missing" {
            now.remove(title);
        } else {
            let result = transition.result.as_deref().map(serde_json::from_str);
            let result = result.and_then(Result::ok).unwrap_or(Value::Null);
            let step = (to.clone(), result);
            if now
                .insert(title.clone(), step.clone())
                .is_some_and(|old| old == step)
            {
                return Err(format!("transition {seq} changes nothing"));
            }
        }
        match pictures.last_mut() {
            Some((at, picture)) if at == observed_at => picture.clone_from(&now),
            _ => pictures.push((*observed_at, now.clone())),
        }
    }
    Ok(pictures)
}

fn picture(moment: &TrueMoment) -> Option<Picture> {
    let body: Value = serde_json::from_str(moment.body.as_deref()?).ok()?;
    let steps = body["steps"].as_array()?.iter().map(|step| {
        let word = |key: &str| step[key].as_str().unwrap_or_default().to_owned();
        (word("title"), (word("status"), step["result"].clone()))
    });
    Some(steps.collect())
}

/// When the API answered a poll with the job itself, and the answer must have been recorded.
fn seen(case: &Case) -> impl Iterator<Item = UnixMillis> {
    let ended = case.detail.summary.finished_at;
    let cut_short = matches!(
        case.job.end,
        Some(FailureKind::Cancelled | FailureKind::Expired)
    );
    let margin = if cut_short {
        ON_ITS_WAY
    } else {
        Duration::ZERO
    };
    case.requests
        .iter()
        .filter(|request| request.status == Some(200) && request.fault.is_none())
        .map(|request| request.at)
        .filter(move |at| ended.is_some_and(|ended| at.plus(margin) <= ended))
}

/// Which moment was shown then; `None` next to a change.
fn moment_at(moments: &[TrueMoment], at: UnixMillis) -> Option<usize> {
    let shown = |at: UnixMillis| moments.iter().rposition(|moment| moment.at <= at);
    let (before, after) = (shown(at.minus(BLUR)), shown(at.plus(BLUR)));
    before.filter(|_| before == after)
}

fn transition(seq: u32, at: i64, from: Option<&str>, to: &str) -> TransitionRow {
    TransitionRow {
        seq,
        position: 0,
        title: "a".to_owned(),
        occurrence: 0,
        from: from.map(str::to_owned),
        to: to.to_owned(),
        class: StepClass::Unknown,
        result: None,
        observed_at: UnixMillis(at),
        remote_updated: None,
    }
}

#[test]
fn a_gap_a_false_start_and_an_empty_change_are_noticed() {
    let first = transition(1, 5, None, "pending");
    for (second, problem) in [
        (
            transition(3, 6, Some("pending"), "success"),
            "has the number 3",
        ),
        (transition(2, 6, None, "success"), "does not begin"),
        (
            transition(2, 6, Some("pending"), "pending"),
            "changes nothing",
        ),
    ] {
        let error = replay(&[first.clone(), second]).unwrap_err();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn a_step_that_went_missing_comes_back_from_there() {
    let pictures = replay(&[
        transition(1, 5, None, "pending"),
        transition(2, 6, Some("pending"), "missing"),
        transition(3, 7, Some("missing"), "pending"),
    ])
    .unwrap();
    let steps: Vec<usize> = pictures.iter().map(|(_, picture)| picture.len()).collect();
    assert_eq!(steps, [1, 0, 1]);
}
