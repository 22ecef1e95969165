//! Jobs of the simulator that ask for answers.

use jobtrackd::simulator::{Challenge, Control, NewJob, Phase, Script, Step};
use serde_json::{Value, json};

/// A challenge for one code, to be answered there.
pub(crate) fn mfa(response: &str) -> Value {
    json!({"type": "mfa", "method": "token", "description": "a code was sent", "input": ["Code"],
           "expiryMs": 120_000, "links": {"response": response}})
}

/// The steps of a job that asks this.
pub(crate) fn asking_steps(mfa: &Value) -> Vec<Step> {
    vec![
        Step::new("mfa-challenge", "in-progress").with(mfa.clone()),
        Step::new("retrieve-accounts", "pending"),
    ]
}

/// What follows a right answer at once.
pub(crate) fn done() -> Script {
    let steps = [
        Step::new("mfa-challenge", "success"),
        Step::new("retrieve-accounts", "success"),
    ];
    Script::new(vec![Phase::steps(0, &steps)])
}

/// Makes a job that asks this from the beginning; `accepted` follows these answers. With a user, a step says whose it is.
pub(crate) fn ask(
    control: &Control,
    id: &str,
    user: Option<&str>,
    mfa: &Value,
    expected: &[&str],
    accepted: Script,
) {
    let challenge = Challenge {
        expected: expected.iter().map(ToString::to_string).collect(),
        expires_ms: None,
        accepted,
        refused: None,
        expired: None,
    };
    let mut steps = asking_steps(mfa);
    if let Some(user) = user {
        let link = json!({"type": "link", "url": format!("/users/{user}/connections/c")});
        steps.push(Step::new("verify-credentials", "success").with(link));
    }
    let script = Script::new(vec![Phase::steps(0, &steps)]).asking(challenge);
    let mut job = NewJob::scripted(script).with_id(id);
    job.user = user.map(str::to_owned);
    control.create(job).unwrap();
}
