use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn job(name: &str) -> JobId {
    JobId::parse(name).unwrap()
}

fn attempt(job_id: &JobId, after: AfterAttempt, is_probe: bool) -> HealthEvidence<'_> {
    HealthEvidence {
        job_id,
        event_id: "evt_a",
        is_probe,
        failed_before: false,
        after,
        paused_until: None,
    }
}

fn step(health: Health, name: &str, after: AfterAttempt) -> Health {
    let is_probe = health.hold().is_some();
    health.after(&attempt(&job(name), after, is_probe), 8, NOW)
}

fn later(seconds: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(seconds))
}

const RETRY: AfterAttempt = AfterAttempt::Retry(UnixMillis(9_000_000));

fn ramping(allowed: u32, taken: u32) -> Health {
    Health::Ramping {
        allowed,
        taken,
        failing: Failing::default(),
    }
}

fn held() -> Health {
    ["a", "b", "c"]
        .into_iter()
        .fold(Health::default(), |health, name| step(health, name, RETRY))
}

#[test]
fn failures_of_three_jobs_in_a_row_hold_a_webhook() {
    let two = step(step(Health::default(), "a", RETRY), "b", RETRY);
    let jobs = vec![job("a"), job("b")];
    assert_eq!(two, Health::Ready(Failing { failures: 2, jobs }));
    let spared = step(two.clone(), "b", AfterAttempt::Delivered);
    assert_eq!(spared, Health::default(), "a success between");
    assert_eq!(
        step(two, "c", AfterAttempt::Exhausted),
        Health::Held(Hold {
            since: NOW,
            failures: 3,
            probes: 0,
            probe_at: Some(later(1)),
            event_id: None,
        })
    );
}

#[test]
fn failures_of_two_jobs_hold_nothing_however_many_they_are() {
    let names = ["a", "b"].into_iter().cycle().take(1000);
    let health = names.fold(Health::default(), |health, name| step(health, name, RETRY));
    assert_eq!((health.hold(), health.failures()), (None, 1000));
    assert_eq!(health.allowed(8), 8);
}

#[test]
fn probes_keep_to_the_pace_of_the_hold_whatever_their_events_wait_for() {
    let mut health = held();
    let mut gaps = Vec::new();
    for after in [RETRY, AfterAttempt::Exhausted]
        .into_iter()
        .cycle()
        .take(11)
    {
        gaps.push(
            health
                .hold()
                .unwrap()
                .probe_at
                .unwrap()
                .since(NOW)
                .as_secs(),
        );
        health = step(health, "x", after);
    }
    assert_eq!(gaps, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    let hold = health.hold().unwrap();
    assert_eq!((hold.failures, hold.probes), (14, 11));
    assert_eq!(hold.event_id.as_deref(), Some("evt_a"));
}

#[test]
fn attempts_in_flight_when_the_hold_began_move_no_probe_but_their_success_ends_the_hold() {
    let (before, late) = (held(), job("late"));
    let after = before.clone().after(&attempt(&late, RETRY, false), 8, NOW);
    let (was, is) = (before.hold().unwrap(), after.hold().unwrap());
    assert_eq!((was.probe_at, was.probes), (is.probe_at, is.probes));
    let delivered = attempt(&late, AfterAttempt::Delivered, false);
    assert_eq!(before.after(&delivered, 8, NOW), ramping(1, 0));
}

#[test]
fn it_ramps_up_in_powers_of_two_and_failures_of_three_jobs_in_a_row_hold_it_again() {
    let mut health = step(held(), "a", AfterAttempt::Delivered);
    let mut allowed = Vec::new();
    while health != Health::default() {
        allowed.push(health.allowed(8));
        let failed = ["a", "b", "b"].map(|name| (name, RETRY));
        let failed = failed
            .into_iter()
            .fold(health.clone(), |health, (name, after)| {
                let next = step(health.clone(), name, after);
                assert_eq!(next.allowed(8), health.allowed(8), "the others go on");
                next
            });
        let hold = step(failed.clone(), "c", RETRY);
        assert_eq!(hold.hold().unwrap().probe_at, Some(later(1)));
        let spared = step(failed, "b", AfterAttempt::Delivered);
        assert_eq!(step(spared, "c", RETRY).hold(), None, "a success between");
        let again = job("a");
        let again = HealthEvidence {
            failed_before: true,
            ..attempt(&again, RETRY, false)
        };
        assert_eq!(health.clone().after(&again, 8, NOW), health);
        health = step(health, "a", AfterAttempt::Delivered);
    }
    assert_eq!(allowed, [1, 2, 2, 4, 4, 4, 4]);
    let one = held().after(&attempt(&job("a"), AfterAttempt::Delivered, true), 1, NOW);
    assert_eq!(one, Health::default(), "one at once is all it ever gets");
}

#[test]
fn a_pause_is_neither_failure_nor_success() {
    let pause = |health: Health| {
        let is_probe = health.hold().is_some();
        let job = job("a");
        let after_pause = HealthEvidence {
            paused_until: Some(later(120)),
            ..attempt(&job, AfterAttempt::Again(later(120)), is_probe)
        };
        health.after(&after_pause, 8, NOW)
    };
    let ready = step(Health::default(), "b", RETRY);
    assert_eq!(pause(ready.clone()), ready);
    assert_eq!(pause(ramping(2, 1)), ramping(2, 1));
    let after_pause = pause(held());
    assert_eq!(after_pause.hold().unwrap().probe_at, Some(later(120)));
    assert_eq!(after_pause.failures(), 3);
}

#[test]
fn a_probe_that_a_clock_set_years_ahead_comes_within_the_pace() {
    let Health::Held(hold) = held() else {
        panic!("not held")
    };
    let year = 365 * 24 * 3600;
    let ahead = Health::Held(Hold {
        since: later(year),
        probe_at: Some(later(year)),
        ..hold
    });
    let clamped = ahead.clamped(NOW);
    let hold = clamped.hold().unwrap();
    assert_eq!((hold.since, hold.probe_at), (NOW, Some(later(300))));
    assert_eq!(held().clamped(NOW), held());
}

fn outcome() -> impl Strategy<Value = (u8, AfterAttempt, bool, bool)> {
    let after = prop_oneof![
        3 => Just(AfterAttempt::Delivered),
        5 => Just(RETRY),
        1 => Just(AfterAttempt::Again(later(9))),
        1 => Just(AfterAttempt::Exhausted),
        1 => Just(AfterAttempt::Expired),
        1 => Just(AfterAttempt::Aborted),
    ];
    (0_u8..5, after, any::<bool>(), any::<bool>())
}

proptest! {
    #[test]
    fn whatever_attempts_bring_limits_are_kept_and_one_success_ends_a_hold(
        max in 1_usize..=256,
        outcomes in prop::collection::vec(outcome(), 0..60),
    ) {
        let mut health = Health::default();
        let mut failed: Vec<u8> = Vec::new();
        for (number, after, is_late, failed_before) in outcomes {
            let was_held = health.hold().is_some();
            let job = job(&format!("j{number}"));
            let one = HealthEvidence {
                failed_before,
                ..attempt(&job, after, was_held && !is_late)
            };
            health = health.after(&one, max, NOW);
            if after == AfterAttempt::Delivered {
                failed.clear();
            } else if !failed.contains(&number) {
                failed.push(number);
            }
            prop_assert!((1..=max).contains(&health.allowed(max)));
            if let Health::Held(hold) = &health {
                prop_assert!(hold.failures >= 1);
                prop_assert!(hold.probe_at.unwrap() <= later(300));
                prop_assert!(was_held || failed.len() >= HOLD_AFTER_JOBS);
            }
            prop_assert!(after != AfterAttempt::Delivered || health.hold().is_none());
            prop_assert!(!was_held || after == AfterAttempt::Delivered || health.hold().is_some());
        }
        // Enough successes to double 1 up to the most make it ready again.
        for _ in 0..2 * max + 2 {
            health = health.after(&attempt(&job("a"), AfterAttempt::Delivered, false), max, NOW);
        }
        prop_assert_eq!(health, Health::default());
    }
}
