//! Which jobs are handed on to their next poll.

use super::*;

#[test]
fn a_small_job_that_goes_on_is_handed_on_as_it_is_recorded() {
    let long = "x".repeat(MAX_HANDED_ON);
    let (running, over, refused) = ("pending", "success", Recorded::Refused(detail()));
    for (status, updated, recorded, is_handed_on) in [
        (running, None, Recorded::Yes, true),
        (running, Some(long.as_str()), Recorded::Yes, false),
        (over, None, Recorded::Yes, false),
        (running, None, Recorded::Stale, false),
        (running, None, refused, false),
    ] {
        let found = polled(answer(status, updated), None);
        let read = Input::Tracked(Ok(Some(recorded_job())));
        let inputs = vec![(0, found), (0, read), (0, Input::Recorded(recorded))];
        let tracked = finished(task(Work::Poll), inputs).tracked;
        let known = tracked.map(|job| (job.revision, job.state, job.last_seq, job.steps.len()));
        let expected = is_handed_on.then_some((1, JobState::InProgress, 1, 1));
        assert_eq!(known, expected, "{status}");
    }
}
