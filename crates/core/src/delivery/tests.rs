use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_000_000);

fn refused() -> AttemptResult {
    AttemptResult::Refused {
        status: 500,
        detail: "Internal Server Error".to_owned(),
        too_slow: false,
    }
}

fn throttled(seconds: u64) -> AttemptResult {
    AttemptResult::Throttled {
        status: 429,
        retry_after: Duration::from_secs(seconds),
    }
}

fn later(seconds: u64) -> UnixMillis {
    NOW.plus(Duration::from_secs(seconds))
}

/// The context of an event that is due, does not expire, and has had no pause.
fn context(used: u32, schedule: &[Duration]) -> RetryContext<'_> {
    RetryContext {
        used,
        schedule,
        expires_at: None,
        due: NOW,
        paused: Duration::ZERO,
        empty_pauses: 0,
    }
}

fn seconds(schedule: &[u64]) -> Vec<Duration> {
    schedule.iter().copied().map(Duration::from_secs).collect()
}

fn after(result: &AttemptResult, used: u32, schedule: &[u64]) -> AfterAttempt {
    let schedule = seconds(schedule);
    after_attempt(result, None, &context(used, &schedule), NOW, 0.0).after
}

#[test]
fn one_attempt_follows_per_entry_and_then_the_delivery_is_exhausted() {
    let schedule = [Duration::from_secs(5), Duration::from_secs(30)];
    let after = |used, random| {
        after_attempt(&refused(), None, &context(used, &schedule), NOW, random).after
    };
    assert_eq!(after(0, 0.0), AfterAttempt::Retry(later(5)));
    assert_eq!(after(1, 0.0), AfterAttempt::Retry(later(30)));
    assert_eq!(after(1, 1.0), AfterAttempt::Retry(UnixMillis(1_034_500)));
    assert_eq!(after(2, 0.0), AfterAttempt::Exhausted);
    assert_eq!(
        super::tests::after(&refused(), 0, &[]),
        AfterAttempt::Exhausted
    );
}

#[test]
fn a_probe_before_the_event_is_due_uses_up_no_entry_and_changes_no_time() {
    let schedule = seconds(&[5, 3600]);
    for used in [0, 1, 2] {
        let early = RetryContext {
            due: later(40),
            ..context(used, &schedule)
        };
        let decision = after_attempt(&refused(), None, &early, NOW, 0.0);
        assert_eq!(decision.after, AfterAttempt::Again(later(40)));
    }
}

#[test]
fn after_an_early_probe_an_event_is_due_no_later_than_a_retry_or_a_pause_can_put_it_off() {
    let schedule = seconds(&[100, 5]);
    let after = |paused| {
        let put_back = RetryContext {
            due: later(100_000),
            paused: Duration::from_secs(paused),
            ..context(1, &schedule)
        };
        after_attempt(&refused(), None, &put_back, NOW, 0.0).after
    };
    assert_eq!(after(0), AfterAttempt::Again(later(115)));
    assert_eq!(after(1), AfterAttempt::Again(later(86_400)));
}

#[test]
fn a_pause_uses_up_no_entry_and_is_never_shortened() {
    let schedule = seconds(&[60, 3600]);
    let decision = after_attempt(&throttled(120), None, &context(2, &schedule), NOW, 0.0);
    let pause = Some(Duration::from_secs(120));
    let after = AfterAttempt::Again(later(120));
    assert_eq!(decision, Decision { after, pause });
}

#[test]
fn pauses_as_long_as_the_whole_schedule_use_up_its_entries() {
    let schedule = seconds(&[60, 240]);
    let after = |used, paused| {
        let context = RetryContext {
            paused: Duration::from_secs(paused),
            ..context(used, &schedule)
        };
        after_attempt(&throttled(100), None, &context, NOW, 0.0).after
    };
    assert_eq!(after(0, 299), AfterAttempt::Again(later(100)));
    assert_eq!(after(0, 300), AfterAttempt::Retry(later(100)));
    assert_eq!(after(1, 300), AfterAttempt::Retry(later(240)), "the later");
    assert_eq!(after(2, 300), AfterAttempt::Exhausted);
    let one_attempt = after_attempt(&throttled(9), None, &context(0, &[]), NOW, 0.0);
    assert_eq!(one_attempt.after, AfterAttempt::Exhausted);
}

#[test]
fn pauses_of_zero_length_double_up_to_five_minutes() {
    let schedule = seconds(&[86_400]);
    let pauses = (0..11).map(|empty_pauses| {
        let context = RetryContext {
            empty_pauses,
            ..context(0, &schedule)
        };
        let decision = after_attempt(&throttled(0), None, &context, NOW, 0.0);
        decision.pause.unwrap().as_secs()
    });
    let expected = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
    assert_eq!(pauses.collect::<Vec<_>>(), expected);
}

#[test]
fn success_and_410_are_decided_by_the_status_alone() {
    let delivered = AttemptResult::Delivered { status: 204 };
    assert_eq!(after(&delivered, 99, &[]), AfterAttempt::Delivered);
    assert_eq!(after(&AttemptResult::Gone, 0, &[]), AfterAttempt::Disabled);
    assert_eq!(AttemptResult::Gone.status(), Some(410));
    assert_eq!(delivered.error(), None);
}

#[test]
fn a_directive_stops_the_event_or_the_webhook_and_does_not_revoke_a_success() {
    let schedule = seconds(&[5]);
    let after = |result, directive| {
        after_attempt(&result, Some(directive), &context(0, &schedule), NOW, 0.0).after
    };
    for result in [refused(), throttled(5)] {
        assert_eq!(
            after(result.clone(), Directive::Disable),
            AfterAttempt::Disabled
        );
        assert_eq!(
            after(result, Directive::AbortMessage),
            AfterAttempt::Aborted
        );
    }
    for directive in [Directive::Disable, Directive::AbortMessage] {
        let delivered = AttemptResult::Delivered { status: 200 };
        assert_eq!(after(delivered, directive), AfterAttempt::Delivered);
        assert_eq!(
            after(AttemptResult::Gone, directive),
            AfterAttempt::Disabled
        );
    }
    assert_eq!("disable".parse(), Ok(Directive::Disable));
    assert_eq!("abort-message".parse(), Ok(Directive::AbortMessage));
    assert!("Disable it".parse::<Directive>().is_err());
}

/// The delays, in milliseconds, of an event that is always refused and expires after `life` seconds.
fn delays_until_expiry(schedule: &[Duration], life: u64) -> (Vec<i64>, AfterAttempt) {
    let mut now = NOW;
    let mut delays = Vec::new();
    loop {
        let context = RetryContext {
            expires_at: Some(later(life)),
            ..context(u32::try_from(delays.len()).unwrap(), schedule)
        };
        match after_attempt(&refused(), None, &context, now, 0.0).after {
            AfterAttempt::Retry(at) => {
                delays.push(at.0 - now.0);
                now = at;
            }
            end => return (delays, end),
        }
    }
}

#[test]
fn an_event_that_expires_is_retried_fast_until_a_second_before_its_expiry() {
    let slow = [Duration::from_secs(5), Duration::from_secs(3600)];
    let (delays, end) = delays_until_expiry(&slow, 60);
    let expected = [1000, 2000, 4000, 8000, 15_000, 15_000, 14_000];
    assert_eq!(
        (delays.as_slice(), end),
        (&expected[..], AfterAttempt::Expired)
    );
    assert_eq!(
        delays_until_expiry(&[], 3),
        (vec![1000, 1000], AfterAttempt::Expired)
    );
    let quick = [Duration::from_millis(100); 3];
    let (delays, _) = delays_until_expiry(&quick, 60);
    assert_eq!(
        delays[..4],
        [100, 100, 100, 8000],
        "a shorter entry goes first"
    );
}

#[test]
fn fast_retries_have_an_end_even_if_the_expiry_is_far_away() {
    let (delays, end) = delays_until_expiry(&[], 10_000_000);
    assert_eq!(delays.len(), EXPIRING_RETRIES as usize);
    assert_eq!(end, AfterAttempt::Exhausted);
    let hours = [Duration::from_secs(3600); 62];
    let (delays, end) = delays_until_expiry(&hours, 10_000_000);
    assert_eq!(delays[59..], [15_000, 3_600_000, 3_600_000]);
    assert_eq!(end, AfterAttempt::Exhausted);
}

#[test]
fn a_pause_beyond_the_expiry_expires_the_event_at_once() {
    let schedule = seconds(&[3600]);
    let after = |seconds| {
        let context = RetryContext {
            expires_at: Some(later(seconds)),
            ..context(0, &schedule)
        };
        after_attempt(&throttled(30), None, &context, NOW, 0.0).after
    };
    assert_eq!(after(30), AfterAttempt::Expired);
    assert_eq!(after(31), AfterAttempt::Again(later(30)));
}

proptest! {
    #[test]
    fn a_retry_is_never_early_never_late_and_never_after_the_expiry(
        schedule in prop::collection::vec(0_u64..3_000_000, 0..12),
        used in 0_u32..80,
        life in prop::option::of(0_u64..4_000_000),
        random in 0.0_f64..1.0,
    ) {
        let schedule: Vec<Duration> = schedule.into_iter().map(Duration::from_millis).collect();
        let expires_at = life.map(|life| NOW.plus(Duration::from_millis(life)));
        let context = RetryContext { expires_at, ..context(used, &schedule) };
        let entry = schedule.get(used as usize);
        match after_attempt(&refused(), None, &context, NOW, random).after {
            AfterAttempt::Retry(at) => {
                let delay = at.since(NOW);
                match (entry, expires_at) {
                    (Some(entry), None) => {
                        prop_assert!(delay + Duration::from_millis(1) >= *entry);
                        prop_assert!(delay <= entry.mul_f64(1.0 + RETRY_JITTER));
                    }
                    (_, Some(end)) => {
                        prop_assert!(at < end && used < EXPIRING_RETRIES.max(schedule.len() as u32));
                        let longest = entry.copied().unwrap_or(Duration::MAX);
                        prop_assert!(delay <= longest.saturating_mul(2).max(Duration::from_secs(1)));
                        prop_assert!(used >= EXPIRING_RETRIES || delay <= Duration::from_millis(17_250));
                    }
                    (None, None) => prop_assert!(false, "a retry without an entry"),
                }
            }
            AfterAttempt::Exhausted => prop_assert!(entry.is_none()),
            AfterAttempt::Expired => prop_assert!(life.is_some_and(|life| life <= 4_000_000)),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
