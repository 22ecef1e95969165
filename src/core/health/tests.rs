use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000_000);
const RETRY: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

fn tried(after: AfterAttempt, is_probe: bool) -> Tried<'static> {
    Tried {
        event_id: "evt_a",
        is_probe,
        is_success: after == AfterAttempt::Delivered,
        after,
    }
}

fn step(health: Health, after: AfterAttempt) -> Health {
    let is_probe = health.hold().is_some();
    health.after(&tried(after, is_probe), &RETRY, 8, NOW)
}

fn later(seconds: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(seconds))
}

fn held() -> Health {
    (0..HOLD_AFTER).fold(Health::default(), |health, _| {
        step(health, AfterAttempt::Retry(later(5)))
    })
}

#[test]
fn failures_in_a_row_hold_a_webhook_and_a_success_between_them_does_not() {
    let mut health = Health::default();
    for failures in 1..HOLD_AFTER {
        health = step(health, AfterAttempt::Retry(later(5)));
        assert_eq!(health, Health::Ready { failures });
    }
    let spared = step(health.clone(), AfterAttempt::Delivered);
    assert_eq!(spared, Health::Ready { failures: 0 });
    assert_eq!(
        step(health, AfterAttempt::Retry(later(5))),
        Health::Held(Hold {
            since: NOW,
            failures: HOLD_AFTER,
            probe_at: Some(later(5)),
            event_id: None,
        })
    );
}

#[test]
fn probes_follow_the_schedule_of_one_event_and_then_go_on_with_the_next() {
    let probed = step(held(), AfterAttempt::Retry(later(30)));
    let hold = probed.hold().unwrap();
    assert_eq!(hold.probe_at, Some(later(30)));
    assert_eq!(hold.event_id.as_deref(), Some("evt_a"));
    assert_eq!(hold.failures, HOLD_AFTER + 1);
    for over in [
        AfterAttempt::Exhausted,
        AfterAttempt::Expired,
        AfterAttempt::Aborted,
    ] {
        let next = step(probed.clone(), over);
        let hold = next.hold().unwrap();
        assert_eq!((hold.probe_at, &hold.event_id), (Some(later(5)), &None));
    }
    let without_retries = probed.after(&tried(AfterAttempt::Exhausted, true), &[], 8, NOW);
    assert_eq!(without_retries.hold().unwrap().probe_at, Some(later(1)));
}

#[test]
fn what_was_under_way_when_the_hold_began_moves_no_probe_but_its_success_ends_the_hold() {
    let before = held();
    let late = tried(AfterAttempt::Retry(later(500)), false);
    let after = before.clone().after(&late, &RETRY, 8, NOW);
    let (was, is) = (before.hold().unwrap(), after.hold().unwrap());
    assert_eq!((was.probe_at, &was.event_id), (is.probe_at, &is.event_id));
    let late = tried(AfterAttempt::Delivered, false);
    let after = before.after(&late, &RETRY, 8, NOW);
    assert_eq!(
        after,
        Health::Ramping {
            allowed: 1,
            taken: 0
        }
    );
}

#[test]
fn it_ramps_up_in_powers_of_two_and_a_failure_holds_it_again_at_once() {
    let mut health = step(held(), AfterAttempt::Delivered);
    let mut allowed = Vec::new();
    while health != Health::default() {
        allowed.push(health.allowed(8));
        let failed = step(health.clone(), AfterAttempt::Retry(later(5)));
        assert!(failed.hold().is_some(), "{failed:?}");
        health = step(health, AfterAttempt::Delivered);
    }
    assert_eq!(allowed, [1, 2, 2, 4, 4, 4, 4]);
    let one = held().after(&tried(AfterAttempt::Delivered, true), &RETRY, 1, NOW);
    assert_eq!(one, Health::default(), "one at once is all it ever gets");
}

#[test]
fn a_rest_is_neither_failure_nor_success() {
    let rest = AfterAttempt::Rest(later(120));
    let ready = Health::Ready { failures: 3 };
    assert_eq!(step(ready.clone(), rest), ready);
    let ramping = Health::Ramping {
        allowed: 2,
        taken: 1,
    };
    assert_eq!(step(ramping.clone(), rest), ramping);
    let rested = step(held(), rest);
    assert_eq!(rested.hold().unwrap().probe_at, Some(later(120)));
    assert_eq!(rested.hold().unwrap().failures, HOLD_AFTER);
}

fn outcome() -> impl Strategy<Value = (AfterAttempt, bool)> {
    let after = prop_oneof![
        3 => Just(AfterAttempt::Delivered),
        5 => (1_u64..1000).prop_map(|seconds| AfterAttempt::Retry(later(seconds))),
        1 => (1_u64..1000).prop_map(|seconds| AfterAttempt::Rest(later(seconds))),
        1 => Just(AfterAttempt::Exhausted),
        1 => Just(AfterAttempt::Expired),
        1 => Just(AfterAttempt::Aborted),
    ];
    (after, any::<bool>())
}

proptest! {
    #[test]
    fn however_attempts_go_limits_hold_and_one_success_is_all_it_takes_to_go_on(
        max in 1_usize..=256,
        outcomes in prop::collection::vec(outcome(), 0..60),
    ) {
        let mut health = Health::default();
        for (after, is_late) in outcomes {
            let is_probe = health.hold().is_some() && !is_late;
            let was_held = health.hold().is_some();
            health = health.after(&tried(after, is_probe), &RETRY, max, NOW);
            prop_assert!((1..=max).contains(&health.allowed(max)));
            match (&health, after) {
                (Health::Held(hold), _) => {
                    prop_assert!(hold.failures >= 1);
                    prop_assert!(hold.probe_at.is_some());
                }
                (Health::Ready { failures }, _) => prop_assert!(*failures < HOLD_AFTER),
                (Health::Ramping { .. }, _) => {}
            }
            prop_assert!(after != AfterAttempt::Delivered || health.hold().is_none());
            prop_assert!(!was_held || after == AfterAttempt::Delivered || health.hold().is_some());
        }
        // As many successes as it takes to double 1 up to the most, and it is as if nothing had been.
        for _ in 0..2 * max + 2 {
            health = health.after(&tried(AfterAttempt::Delivered, false), &RETRY, max, NOW);
        }
        prop_assert_eq!(health, Health::default());
    }
}
