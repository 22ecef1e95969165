//! What `POST /_control/jobs` and `/_control/faults` of the simulator take.

use jobtrackd::simulator::{FaultRule, MAX_PHASES, NewJob, Script};

pub(super) fn check(bytes: &[u8]) {
    drop(serde_json::from_slice::<FaultRule>(bytes));
    let new: Option<NewJob> = serde_json::from_slice(bytes).ok();
    let script = new
        .and_then(|new| new.script)
        .or_else(|| serde_json::from_slice(bytes).ok());
    if let Some(script) = script
        && script.check().is_ok()
    {
        assert!((1..=MAX_PHASES).contains(&phases(&script)));
    }
}

fn phases(script: &Script) -> usize {
    let branches = script.challenge.iter().flat_map(|challenge| {
        [
            Some(&challenge.accepted),
            challenge.refused.as_ref(),
            challenge.expired.as_ref(),
        ]
    });
    script.phases.len() + branches.flatten().map(phases).sum::<usize>()
}
