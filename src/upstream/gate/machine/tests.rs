use super::*;

struct Bench {
    machine: Machine,
    start: Instant,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            machine: Machine::default(),
            start,
            now: start,
        }
    }

    fn begin(&mut self) -> Ticket {
        self.machine.begin()
    }

    fn note(&mut self, ticket: Ticket, signal: &Signal) {
        self.note_with(ticket, signal, 0.0);
    }

    fn note_with(&mut self, ticket: Ticket, signal: &Signal, random: f64) {
        let moment = Moment {
            now: self.now,
            time_of_day: UnixMillis(0).plus(self.now - self.start),
            random,
        };
        self.machine.note(ticket, signal, &moment);
    }

    fn poll(&mut self, signal: &Signal) {
        let ticket = self.begin();
        self.note(ticket, signal);
    }

    fn wait(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// Milliseconds until the gate opens; 0 when it is open.
    fn closed_for(&self) -> u128 {
        match self.machine.state(self.now) {
            GateState::Open => 0,
            GateState::Closed { until, .. } => (until - self.now).as_millis(),
        }
    }

    fn kind(&self) -> Option<GateReasonKind> {
        match self.machine.state(self.now) {
            GateState::Open => None,
            GateState::Closed { reason, .. } => Some(reason.kind),
        }
    }
}

fn good(generation: u64) -> Signal {
    Signal::Good { generation }
}

fn throttled(seconds: Option<u64>) -> Signal {
    Signal::Throttled {
        detail: "HTTP 429".into(),
        retry_after: seconds.map(Duration::from_secs),
    }
}

fn refused() -> Signal {
    Signal::Refused {
        detail: "HTTP 401".into(),
        retry_at: None,
    }
}

fn forbidden(generation: u64) -> Signal {
    Signal::Forbidden {
        detail: "HTTP 403".into(),
        generation,
    }
}

fn trouble() -> Signal {
    Signal::Trouble {
        detail: "HTTP 502".into(),
    }
}

fn is_refused(bench: &Bench) -> bool {
    matches!(bench.machine.credentials(), Credentials::Refused { .. })
}

#[test]
fn a_pause_that_was_asked_for_is_kept_whole_and_the_latest_end_wins() {
    let mut bench = Bench::new();
    bench.poll(&throttled(Some(60)));
    assert_eq!(
        (bench.closed_for(), bench.kind()),
        (60_000, Some(GateReasonKind::Throttled))
    );
    bench.poll(&throttled(Some(10)));
    assert_eq!(bench.closed_for(), 60_000);
    bench.poll(&throttled(None));
    bench.poll(&good(1));
    assert_eq!(bench.closed_for(), 60_000, "nothing shortens it");
    bench.poll(&throttled(Some(90)));
    assert_eq!(bench.closed_for(), 90_000);
    bench.wait(90_000);
    assert_eq!(bench.machine.state(bench.now), GateState::Open);
}

#[test]
fn a_success_ends_our_own_pause_but_not_the_part_the_upstream_asked_for() {
    let mut bench = Bench::new();
    for signal in [
        throttled(None),
        throttled(None),
        throttled(None),
        throttled(None),
        throttled(Some(2)),
    ] {
        bench.poll(&signal);
    }
    assert_eq!(bench.closed_for(), 8000);
    bench.poll(&good(1));
    assert_eq!(bench.closed_for(), 8000);
    bench.wait(2000);
    bench.poll(&good(1));
    assert_eq!(bench.closed_for(), 0);
}

#[test]
fn jitter_lengthens_a_pause_and_a_day_is_the_most() {
    for (asked, random, millis) in [
        (60, 0.0, 60_000),
        (60, 0.5, 63_000),
        (0, 0.0, 1000),
        (86_400, 0.0, 86_400_000),
        (86_400, 0.9, 86_400_000),
        (u64::MAX, 0.9, 86_400_000),
    ] {
        let mut bench = Bench::new();
        let ticket = bench.begin();
        bench.note_with(ticket, &throttled(Some(asked)), random);
        assert_eq!(bench.closed_for(), millis, "{asked} s");
    }
}

#[test]
fn our_own_pauses_double_to_five_minutes_and_a_success_starts_them_anew() {
    for (signal, expected) in [
        (
            throttled(None),
            [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300],
        ),
        (refused(), [5, 10, 20, 40, 80, 160, 300, 300, 300, 300, 300]),
    ] {
        let mut bench = Bench::new();
        for seconds in expected {
            bench.poll(&signal);
            assert_eq!(bench.closed_for(), seconds * 1000);
            bench.wait(300_000);
        }
        bench.poll(&good(1));
        bench.poll(&signal);
        assert_eq!(bench.closed_for(), expected[0] * 1000);
    }
}

#[test]
fn one_wave_of_polls_counts_as_one_failure() {
    for (signal, pause) in [(throttled(None), 1000), (refused(), 5000)] {
        let mut bench = Bench::new();
        let wave: Vec<Ticket> = (0..256).map(|_| bench.begin()).collect();
        for ticket in wave {
            bench.note(ticket, &signal);
            assert_eq!(bench.closed_for(), pause);
        }
        bench.wait(pause as u64);
        bench.poll(&signal);
        assert_eq!(bench.closed_for(), pause * 2);
    }
}

#[test]
fn a_poll_in_flight_when_the_gate_closed_does_not_open_it() {
    for signal in [throttled(None), throttled(Some(30)), refused()] {
        let mut bench = Bench::new();
        let (first, second) = (bench.begin(), bench.begin());
        bench.note(first, &signal);
        let closed_for = bench.closed_for();
        bench.note(second, &good(1));
        assert_eq!(bench.closed_for(), closed_for);
        assert_eq!(is_refused(&bench), signal == refused());
    }
    let mut bench = Bench::new();
    bench.poll(&refused());
    bench.poll(&good(1));
    assert_eq!(bench.closed_for(), 0, "a poll started later does");
    assert_eq!(bench.machine.credentials(), &Credentials::Accepted);
}

#[test]
fn without_a_token_the_gate_stays_closed_until_the_next_try() {
    let mut bench = Bench::new();
    let retry_at = bench.now + Duration::from_millis(1700);
    bench.poll(&Signal::NotSent {
        detail: "no".into(),
        retry_at,
    });
    assert_eq!(
        (bench.closed_for(), bench.kind()),
        (1700, Some(GateReasonKind::TokenUnavailable))
    );
    assert_eq!(bench.machine.credentials(), &Credentials::Unknown);
    bench.wait(1700);
    let retry_at = bench.now + Duration::from_secs(5);
    bench.poll(&Signal::Refused {
        detail: "HTTP 404".into(),
        retry_at: Some(retry_at),
    });
    assert_eq!(
        (bench.closed_for(), bench.kind()),
        (5000, Some(GateReasonKind::CredentialsRefused))
    );
}

#[test]
fn refused_credentials_keep_their_beginning_until_a_success() {
    let mut bench = Bench::new();
    assert_eq!(bench.machine.credentials(), &Credentials::Unknown);
    bench.wait(7);
    bench.poll(&refused());
    bench.wait(60_000);
    bench.poll(&refused());
    let Credentials::Refused { since, detail } = bench.machine.credentials() else {
        panic!("not refused");
    };
    assert_eq!((*since, detail.as_str()), (UnixMillis(7), "HTTP 401"));
    bench.poll(&trouble());
    assert!(is_refused(&bench), "trouble proves nothing");
    bench.poll(&good(2));
    assert_eq!(bench.machine.credentials(), &Credentials::Accepted);
}

#[test]
fn a_granted_token_takes_back_a_refusal_of_the_token_endpoint() {
    let mut bench = Bench::new();
    let retry_at = Some(bench.now);
    let detail = String::new();
    bench.poll(&Signal::Refused { detail, retry_at });
    assert!(is_refused(&bench));
    bench.poll(&trouble());
    assert_eq!(bench.machine.credentials(), &Credentials::Unknown);
}

#[test]
fn forbidden_means_refused_credentials_only_while_the_token_has_read_no_job() {
    let mut bench = Bench::new();
    bench.poll(&forbidden(1));
    assert!(is_refused(&bench));
    assert_eq!(bench.closed_for(), 0, "other jobs may be ours");
    bench.poll(&good(1));
    bench.poll(&forbidden(1));
    assert_eq!(bench.machine.credentials(), &Credentials::Accepted);
    bench.poll(&forbidden(2));
    assert!(is_refused(&bench));
}

#[test]
fn an_upstream_is_down_after_three_polls_without_a_usable_answer() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.poll(&trouble());
    }
    bench.poll(&Signal::Nothing);
    assert!(bench.machine.degraded(bench.now).is_empty());
    bench.poll(&trouble());
    assert_eq!(
        bench.machine.degraded(bench.now),
        ["the upstream gives no usable answers: HTTP 502"]
    );
    assert_eq!(bench.closed_for(), 0, "each job has its own backoff");
    bench.poll(&good(1));
    assert!(bench.machine.degraded(bench.now).is_empty());
}

#[test]
fn everything_that_is_wrong_has_its_sentence() {
    let mut bench = Bench::new();
    bench.poll(&throttled(Some(90)));
    bench.poll(&refused());
    assert_eq!(
        bench.machine.degraded(bench.now),
        [
            "the upstream throttles us; no polls for 1m 30s: HTTP 429",
            "the upstream refuses our credentials; no polls for 5s: HTTP 401"
        ]
    );
    assert_eq!(
        bench.kind(),
        Some(GateReasonKind::Throttled),
        "the later end is shown"
    );
    bench.wait(90_001);
    assert_eq!(
        bench.machine.degraded(bench.now),
        ["the upstream refused our credentials: HTTP 401"]
    );
}

#[test]
fn an_episode_begins_with_the_first_closing_and_ends_with_the_first_success() {
    let mut bench = Bench::new();
    let quiet = bench.machine.episodes();
    bench.poll(&throttled(None));
    bench.wait(1000);
    assert!(bench.machine.episodes().throttled.is_some());
    assert!(
        bench.machine.on_trial(bench.now),
        "open, but not yet known to be over"
    );
    bench.poll(&throttled(None));
    bench.wait(2000);
    bench.poll(&good(1));
    assert_eq!(bench.machine.episodes(), quiet);
    assert!(!bench.machine.on_trial(bench.now));
}
