//! What throttled polls mean for the others.

use super::*;

#[test]
fn one_throttled_job_is_a_second_for_the_others_and_the_next_answer_decides() {
    for (signal, closed_for) in [
        (good(1), 0),
        (Signal::Answered, 0),
        (forbidden(1), 0),
        (trouble(), 0),
        (unusable(), 0),
        (throttled(Some(60)), 60_000),
        (throttled(None), 1000),
        (throttled(Some(0)), 1000),
    ] {
        let mut bench = Bench::new();
        bench.poll("a", &throttled(Some(1800)));
        assert_eq!(
            (bench.closed_for(), bench.kind()),
            (1000, Some(GateReasonKind::Throttled))
        );
        let suspect = bench.gate.suspect().map(JobId::as_str);
        assert_eq!(suspect, Some("a"));
        bench.wait(1000);
        assert!(bench.gate.on_trial(bench.now));
        bench.poll("b", &signal);
        assert_eq!(bench.closed_for(), closed_for, "{signal:?}");
        assert_eq!(bench.gate.suspect(), None);
        assert!(!bench.gate.on_trial(bench.now));
        let all_wait = bench.gate.pause(bench.now).is_some();
        assert_eq!(all_wait, closed_for > 0);
    }
}

#[test]
fn the_same_job_throttled_again_confirms_nothing_nor_does_what_was_under_way() {
    let mut bench = Bench::new();
    let (first, second) = (bench.begin(), bench.begin());
    bench.note(first, "a", &throttled(Some(1800)));
    bench.note(second, "b", &throttled(Some(1800)));
    assert_eq!(bench.closed_for(), 1000);
    bench.wait(1000);
    bench.poll("a", &throttled(Some(1800)));
    assert_eq!(bench.closed_for(), 0);
    assert!(bench.gate.on_trial(bench.now));
    assert_eq!(bench.gate.pause(bench.now), None);
    bench.poll("b", &throttled(Some(1800)));
    assert_eq!(bench.closed_for(), 1_800_000);
}

#[test]
fn a_pause_that_the_upstream_wants_is_kept_whole_and_the_latest_end_wins() {
    let mut bench = Bench::new();
    bench.both(&throttled(Some(60)));
    assert_eq!(
        (bench.closed_for(), bench.kind()),
        (60_000, Some(GateReasonKind::Throttled))
    );
    bench.poll("a", &throttled(Some(10)));
    assert_eq!(bench.closed_for(), 60_000);
    bench.poll("a", &throttled(None));
    bench.poll("c", &good(1));
    assert_eq!(bench.closed_for(), 60_000, "nothing shortens it");
    bench.poll("b", &throttled(Some(90)));
    assert_eq!(bench.closed_for(), 90_000);
    bench.wait(90_000);
    assert_eq!(bench.gate.state(bench.now), GateState::Open);
}

#[test]
fn an_answer_ends_our_own_pause_but_not_the_part_the_upstream_wants() {
    let mut bench = Bench::new();
    bench.both(&throttled(None));
    for signal in [
        throttled(None),
        throttled(None),
        throttled(None),
        throttled(Some(2)),
    ] {
        bench.poll("a", &signal);
    }
    assert_eq!(bench.closed_for(), 8000);
    bench.poll("c", &good(1));
    assert_eq!(bench.closed_for(), 8000);
    bench.wait(2000);
    bench.poll("c", &good(1));
    assert_eq!(bench.closed_for(), 0);
}

#[test]
fn an_operator_ends_a_pause_at_once_and_the_next_begins_as_always() {
    let mut bench = Bench::new();
    bench.both(&throttled(Some(3600)));
    bench.gate.resume();
    assert_eq!(bench.closed_for(), 0);
    assert!(!bench.gate.on_trial(bench.now));
    bench.poll("a", &throttled(Some(60)));
    assert_eq!(bench.closed_for(), 1000);
    let until = bench.now.plus(Duration::from_secs(600));
    bench.gate.pause_until(until, bench.now);
    assert_eq!(bench.gate.pause(bench.now), Some(until));
    let by_a_clock_that_was_ahead = bench.now.plus(2 * MOST);
    bench.gate.pause_until(by_a_clock_that_was_ahead, bench.now);
    assert_eq!(bench.gate.pause(bench.now), Some(bench.now.plus(MOST)));
    bench.poll("x", &no_token(until, false));
    bench.gate.resume();
    assert_eq!(bench.closed_for(), 0);
    bench.poll("x", &refused());
    bench.gate.resume();
    assert_eq!(bench.closed_for(), 5000, "a refusal is not a pause");
}

#[test]
fn jitter_lengthens_a_pause_and_the_longest_that_is_allowed_is_the_most() {
    for (asked, random, millis) in [
        (60, 0.0, 60_000),
        (60, 0.5, 63_000),
        (0, 0.0, 1000),
        (3600, 0.0, 3_600_000),
        (3599, 0.9, 3_600_000),
        (u64::MAX, 0.9, 3_600_000),
    ] {
        let mut bench = Bench::new();
        bench.poll("a", &throttled(None));
        bench.wait(1000);
        let ticket = bench.begin();
        bench.note_with(ticket, "b", &throttled(Some(asked)), random);
        assert_eq!(bench.closed_for(), millis, "{asked} s");
    }
}
