//! `Retry-After` of a webhook: the webhook as a whole is left alone, and nothing of the schedule is used up.

use jobtrackd::core::time::UnixMillis;

use super::{HOUR, MINUTE, SECOND, delivering_world, done, webhook};

/// A moment as an HTTP date.
fn http_date(at: UnixMillis) -> String {
    let text = at.rfc3339();
    let number = |range: std::ops::Range<usize>| text[range].to_owned();
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = months[number(5..7).parse::<usize>().unwrap() - 1];
    let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let day = days[usize::try_from(at.seconds() / 86_400 % 7).unwrap()];
    format!(
        "{day}, {} {month} {} {} GMT",
        number(8..10),
        number(0..4),
        number(11..19)
    )
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_pauses_the_webhook_as_a_whole_and_costs_no_entry() {
    for (status, by_date) in [(429, false), (503, false), (429, true), (503, true)] {
        // Not a single retry comes in time.
        let mut world = delivering_world("retry = [\"1d\"]", &webhook("other", "")).await;
        let until = world.clock.now().plus(2 * MINUTE);
        let wish = if by_date {
            http_date(until)
        } else {
            "120".to_owned()
        };
        world
            .sink
            .reply_in_turn("all", &[(status, &wish), (status, "60")]);
        done(&mut world, "a").await;
        world.pass(10 * SECOND).await;
        done(&mut world, "b").await;
        world.pass(109 * SECOND).await;
        let case = format!("{status} {wish}");
        assert_eq!(world.sink.requests("all").len(), 1, "{case}");
        assert_eq!(world.sink.accepted("other").len(), 2, "{case}");
        world.until_ended(HOUR).await;
        assert_eq!(world.sink.accepted("all").len(), 2, "{case}");
        let attempts = world
            .rows("SELECT status, started_at, started_at + duration_ms FROM attempts WHERE webhook = 'all' ORDER BY started_at, status DESC")
            .await;
        let at = |row: usize, column: usize| attempts[row][column].parse::<i64>().unwrap();
        let asked = if by_date { until.0 } else { at(0, 2) + 120_000 };
        assert!(
            at(1, 1) >= asked && at(1, 1) < asked + 100,
            "{case}: {attempts:?}"
        );
        // At the end of the pause both jobs went at once, and one of them met the second wish.
        let statuses = attempts.iter().map(|row| row[0].as_str());
        let expected = [
            status.to_string(),
            status.to_string(),
            "204".to_owned(),
            "204".to_owned(),
        ];
        assert!(
            statuses.eq(expected.iter().map(String::as_str)),
            "{case}: {attempts:?}"
        );
        assert!(at(3, 1) >= at(1, 2) + 60_000, "{case}: {attempts:?}");
        let states = world.rows("SELECT DISTINCT state FROM deliveries").await;
        assert_eq!(states, [["delivered"]], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_nothing_is_not_a_loop_without_a_pause() {
    for wish in ["0", "Sun, 06 Nov 1994 08:49:37 GMT"] {
        let mut world = delivering_world("", "").await;
        let answers = vec![(429, wish); 100];
        world.sink.reply_in_turn("all", &answers);
        done(&mut world, "j").await;
        world.pass(10 * SECOND).await;
        let requests = world.sink.requests("all").len();
        assert!(
            (2..=12).contains(&requests),
            "{requests} requests in ten seconds for {wish}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_outlives_a_restart() {
    let mut world = delivering_world("", "").await;
    world.sink.reply_in_turn("all", &[(429, "600")]);
    done(&mut world, "a").await;
    world.pass(10 * SECOND).await;
    world.stop().await;
    world.start().await;
    done(&mut world, "b").await;
    world.pass(9 * MINUTE).await;
    assert_eq!(world.sink.requests("all").len(), 1);
    world.until_ended(HOUR).await;
    assert_eq!(world.sink.accepted("all").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn throttling_without_a_readable_wish_uses_the_schedule() {
    for wish in ["", "soon", "-5", "1.5"] {
        let mut world = delivering_world("retry = [\"7s\"]", "").await;
        world.sink.reply_in_turn("all", &[(429, wish), (503, wish)]);
        done(&mut world, "j").await;
        world.until_ended(MINUTE).await;
        assert_eq!(
            world.value("SELECT state FROM deliveries").await,
            "exhausted",
            "{wish:?}"
        );
        assert_eq!(world.sink.requests("all").len(), 2);
    }
}
