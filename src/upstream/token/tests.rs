use super::*;
use crate::core::poll::{Trouble, TroubleClass};

fn base() -> Base {
    let jobs = crate::upstream::JobPath::parse("/jobs/{id}").unwrap();
    Base::new(&url::Url::parse("https://api.example").unwrap(), &jobs).unwrap()
}

fn grant(life: u64) -> Grant {
    Grant {
        header: Authorization::new("Bearer", "x", base().root()).unwrap(),
        life: Duration::from_secs(life),
    }
}

fn refused() -> TokenTrouble {
    TokenTrouble::Refused {
        detail: "HTTP 404".into(),
    }
}

fn unavailable() -> TokenTrouble {
    TokenTrouble::Unavailable(Trouble {
        class: TroubleClass::Connect,
        detail: "refused".into(),
    })
}

fn pauses(trouble: impl Fn() -> TokenTrouble, random: f64) -> Vec<u128> {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let pause = |_| (cache.failed(now, trouble(), random).retry_at - now).as_millis();
    (0..10).map(pause).collect()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_early_and_used_to_its_end() {
    for (life, renewed_after) in [(3600, 3300), (86_400, 86_100), (100, 80)] {
        let (mut cache, start) = (Cache::default(), Instant::now());
        assert_eq!(cache.advice(start), Advice::Request);
        let token = cache.granted(start, grant(life));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            cache.advice(at(renewed_after - 1)),
            Advice::Use(token.clone())
        );
        assert_eq!(
            cache.advice(at(renewed_after)),
            Advice::Renew(token.clone())
        );
        cache.failed(at(renewed_after), unavailable(), 0.0);
        assert_eq!(cache.advice(at(renewed_after)), Advice::Use(token.clone()));
        assert_eq!(cache.advice(at(renewed_after + 1)), Advice::Renew(token));
        assert_eq!(cache.advice(at(life)), Advice::Request);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_token_that_was_refused_is_dropped() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let first = cache.granted(now, grant(3600));
    let second = cache.granted(now, grant(3600));
    cache.invalidate(first.generation);
    assert_eq!(cache.advice(now), Advice::Use(second.clone()));
    cache.invalidate(second.generation);
    assert_eq!(cache.advice(now), Advice::Request);
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_five_minutes_and_jitter_only_lengthens_them() {
    let refusals = [
        5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000, 300_000,
    ];
    assert_eq!(pauses(refused, 0.0), refusals);
    assert_eq!(pauses(refused, 0.5)[..2], [5250, 10_500]);
    assert_eq!(pauses(refused, 0.99)[9], 300_000);
    assert_eq!(pauses(unavailable, 0.0)[..4], [1000, 2000, 4000, 8000]);
    let too_many = || TokenTrouble::TooMany {
        detail: String::new(),
    };
    assert_eq!(pauses(too_many, 0.0)[0], 300_000);
    let throttled = |seconds: Option<u64>| {
        pauses(
            || TokenTrouble::Throttled {
                detail: String::new(),
                retry_after: seconds.map(Duration::from_secs),
            },
            0.0,
        )[0]
    };
    assert_eq!(
        [throttled(None), throttled(Some(0)), throttled(Some(60))],
        [1000, 1000, 60_000]
    );
}

#[tokio::test(start_paused = true)]
async fn until_the_next_try_callers_get_the_last_error_and_a_grant_forgets_it() {
    let (mut cache, now) = (Cache::default(), Instant::now());
    let error = cache.failed(now, refused(), 0.0);
    assert_eq!(
        cache.advice(error.retry_at - Duration::from_millis(1)),
        Advice::Wait(error.clone())
    );
    assert_eq!(cache.advice(error.retry_at), Advice::Request);
    cache.granted(now, grant(3600));
    assert_eq!(
        cache.failed(now, refused(), 0.0).retry_at,
        now + Duration::from_secs(5)
    );
}

fn user(number: usize) -> UserId {
    UserId::parse(&format!("u{number}")).unwrap()
}

#[test]
fn a_user_meets_the_same_token_until_too_many_others_came_after() {
    let auth = Auth::Basiq {
        api_key: "key".into(),
        api_version: "3.0".into(),
        scope: "SERVER_ACCESS".into(),
    };
    let tokens = Tokens::new(&auth, &base(), Jitter::seeded(1)).unwrap();
    let Source::Granted(clients) = tokens.source else {
        panic!("they are granted")
    };
    let first = clients.slot(Some(&user(0)));
    let second = clients.slot(Some(&user(1)));
    assert_eq!(first.form, "scope=CLIENT_ACCESS&userId=u0");
    for number in 2..MAX_USERS {
        clients.slot(Some(&user(number)));
    }
    assert!(Arc::ptr_eq(&first, &clients.slot(Some(&user(0)))));
    clients.slot(Some(&user(MAX_USERS)));
    assert!(
        Arc::ptr_eq(&first, &clients.slot(Some(&user(0)))),
        "it was used again, so another one goes"
    );
    assert!(!Arc::ptr_eq(&second, &clients.slot(Some(&user(1)))));
    assert_eq!(clients.users.lock().len(), MAX_USERS);
}
