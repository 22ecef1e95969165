use super::*;
use crate::clock_jumps::ClockJumps;

mod properties;

mod throttling;

/// An hour: the longest pause in these tests.
const MOST: Duration = Duration::from_secs(3600);

struct Bench {
    gate: Gate,
    now: Monotonic,
}

impl Bench {
    fn new() -> Self {
        Self {
            gate: Gate::new(MOST),
            now: Monotonic::default(),
        }
    }

    fn begin(&mut self) -> Ticket {
        self.gate.begin()
    }

    fn note(&mut self, ticket: Ticket, job: &str, signal: &Signal) {
        self.note_with(ticket, job, signal, 0.0);
    }

    fn note_with(&mut self, ticket: Ticket, job: &str, signal: &Signal, random: f64) {
        let now = Now {
            monotonic: self.now,
            wall: UnixMillis(0).plus(self.now.since(Monotonic::default())),
            stability: ClockJumps::default().observe(Duration::ZERO, UnixMillis(0)),
        };
        let job = JobId::parse(job).unwrap();
        let end = PollEnd {
            ticket,
            job: &job,
            signal: *signal,
            detail: detail_of(*signal),
        };
        self.gate.note(&end, now, random);
    }

    fn poll(&mut self, job: &str, signal: &Signal) {
        let ticket = self.begin();
        self.note(ticket, job, signal);
    }

    /// Two jobs are throttled, the second after a second.
    fn both(&mut self, signal: &Signal) {
        self.poll("a", &throttled(None));
        self.wait(1000);
        self.poll("b", signal);
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(Duration::from_millis(millis));
    }

    /// Milliseconds until the gate opens; 0 when it is open.
    fn closed_for(&self) -> u128 {
        match self.gate.state(self.now) {
            GateState::Open => 0,
            GateState::Closed { until, .. } => until.since(self.now).as_millis(),
        }
    }

    fn degraded(&self) -> Vec<String> {
        let seconds = |pause: Duration| format!("{} s", pause.as_secs());
        self.gate.degraded(self.now, seconds)
    }

    fn kind(&self) -> Option<GateReasonKind> {
        match self.gate.state(self.now) {
            GateState::Open => None,
            GateState::Closed { reason, .. } => Some(reason.kind),
        }
    }
}

fn good(generation: u64) -> Signal {
    Signal::Good { generation }
}

fn detail_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Throttled { .. } => "HTTP 429",
        Signal::Refused { .. } => "HTTP 401",
        Signal::NoToken { .. } => "HTTP 404",
        Signal::Forbidden { .. } => "HTTP 403",
        Signal::Trouble => "HTTP 502",
        Signal::Unusable => "a login page",
        Signal::Good { .. } | Signal::Answered | Signal::Nothing => "",
    }
}

fn throttled(seconds: Option<u64>) -> Signal {
    let retry_after = seconds.map(Duration::from_secs);
    Signal::Throttled { retry_after }
}

fn refused() -> Signal {
    Signal::Refused { generation: 1 }
}

fn no_token(retry_at: Monotonic, refused: bool) -> Signal {
    Signal::NoToken { retry_at, refused }
}

fn forbidden(generation: u64) -> Signal {
    Signal::Forbidden { generation }
}

fn trouble() -> Signal {
    Signal::Trouble
}

fn unusable() -> Signal {
    Signal::Unusable
}

fn is_refused(bench: &Bench) -> bool {
    matches!(bench.gate.credentials(), Credentials::Refused { .. })
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
        bench.poll("a", &throttled(None));
        bench.wait(1000);
        for seconds in expected {
            bench.poll("b", &signal);
            assert_eq!(bench.closed_for(), seconds * 1000);
            bench.wait(300_000);
        }
        bench.poll("b", &good(1));
        bench.poll("a", &throttled(None));
        bench.wait(1000);
        bench.poll("b", &signal);
        assert_eq!(bench.closed_for(), expected[0] * 1000);
    }
}

#[test]
fn one_wave_of_polls_counts_as_one_failure() {
    for (signal, pause) in [(throttled(None), 1000), (refused(), 5000)] {
        let mut bench = Bench::new();
        bench.poll("a", &throttled(None));
        bench.wait(1000);
        let wave: Vec<Ticket> = (0..256).map(|_| bench.begin()).collect();
        for ticket in wave {
            bench.note(ticket, "b", &signal);
            assert_eq!(bench.closed_for(), pause);
        }
        bench.wait(pause as u64);
        bench.poll("b", &signal);
        assert_eq!(bench.closed_for(), pause * 2);
    }
}

#[test]
fn a_poll_in_flight_when_the_gate_closed_does_not_open_it() {
    for signal in [throttled(None), throttled(Some(30)), refused()] {
        let mut bench = Bench::new();
        let (first, second) = (bench.begin(), bench.begin());
        bench.note(first, "a", &signal);
        let closed_for = bench.closed_for();
        bench.note(second, "b", &good(0));
        assert_eq!(bench.closed_for(), closed_for);
        assert_eq!(is_refused(&bench), signal == refused());
    }
    let mut bench = Bench::new();
    bench.poll("a", &refused());
    bench.poll("a", &good(1));
    assert_eq!(bench.closed_for(), 0, "a poll started later does");
    assert_eq!(bench.gate.credentials(), &Credentials::Accepted);
}

#[test]
fn what_refused_one_job_and_reads_another_with_the_same_token_is_that_jobs_trouble() {
    for signal in [refused(), forbidden(1)] {
        for (job, generation, refused_still) in [("b", 1, false), ("b", 2, true), ("a", 1, true)] {
            let mut bench = Bench::new();
            let (first, second) = (bench.begin(), bench.begin());
            bench.note(first, "a", &signal);
            assert!(is_refused(&bench));
            bench.note(second, job, &good(generation));
            assert_eq!(is_refused(&bench), refused_still, "{job} {generation}");
            let closed = refused_still && signal == refused();
            assert_eq!(bench.closed_for() > 0, closed, "{job} {generation}");
        }
    }
    let mut bench = Bench::new();
    let (first, second) = (bench.begin(), bench.begin());
    bench.note(first, "a", &refused());
    bench.poll("a", &no_token(bench.now, true));
    bench.note(second, "b", &good(1));
    assert!(
        is_refused(&bench),
        "the token endpoint has refused us since"
    );
}

#[test]
fn without_a_token_the_gate_stays_closed_until_the_next_try() {
    let mut bench = Bench::new();
    let retry_at = bench.now.plus(Duration::from_millis(1700));
    bench.poll("a", &no_token(retry_at, false));
    assert_eq!(
        (bench.closed_for(), bench.kind()),
        (1700, Some(GateReasonKind::TokenUnavailable))
    );
    assert_eq!(bench.gate.credentials(), &Credentials::Unknown);
    bench.wait(1700);
    let retry_at = bench.now.plus(Duration::from_secs(5));
    bench.poll("a", &no_token(retry_at, true));
    assert_eq!(
        (bench.closed_for(), bench.kind()),
        (5000, Some(GateReasonKind::CredentialsRefused))
    );
}

#[test]
fn refused_credentials_keep_their_beginning_until_a_success() {
    let mut bench = Bench::new();
    assert_eq!(bench.gate.credentials(), &Credentials::Unknown);
    bench.wait(7);
    bench.poll("a", &refused());
    bench.wait(60_000);
    bench.poll("a", &refused());
    let Credentials::Refused { since, detail } = bench.gate.credentials() else {
        panic!("not refused");
    };
    assert_eq!((*since, detail.as_str()), (UnixMillis(7), "HTTP 401"));
    for proves_nothing in [trouble(), unusable(), throttled(None)] {
        bench.poll("a", &proves_nothing);
        assert!(is_refused(&bench));
    }
    bench.poll("a", &good(2));
    assert_eq!(bench.gate.credentials(), &Credentials::Accepted);
}

#[test]
fn a_granted_token_takes_back_a_refusal_of_the_token_endpoint() {
    let mut bench = Bench::new();
    bench.poll("a", &no_token(bench.now, true));
    assert!(is_refused(&bench));
    bench.poll("a", &trouble());
    assert_eq!(bench.gate.credentials(), &Credentials::Unknown);
}

#[test]
fn forbidden_closes_nothing_for_the_others() {
    let mut bench = Bench::new();
    bench.poll("a", &forbidden(1));
    assert!(is_refused(&bench));
    assert_eq!(bench.closed_for(), 0, "other jobs may be ours");
    bench.poll("a", &good(1));
    assert_eq!(bench.gate.credentials(), &Credentials::Accepted);
}

#[test]
fn an_upstream_is_down_after_three_polls_without_an_answer() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        bench.poll("a", &trouble());
    }
    bench.poll("a", &Signal::Nothing);
    assert!(bench.degraded().is_empty());
    bench.poll("a", &trouble());
    assert_eq!(
        bench.degraded(),
        ["the upstream gives no usable answers: HTTP 502"]
    );
    assert_eq!(bench.closed_for(), 0, "each job has its own backoff");
    bench.poll("a", &Signal::Answered);
    assert!(bench.degraded().is_empty());
}

#[test]
fn an_upstream_is_down_when_three_different_jobs_have_no_usable_answer_and_none_is_read_between() {
    let down = |polls: &[(&str, Signal)]| {
        let mut bench = Bench::new();
        for (job, signal) in polls {
            bench.poll(job, signal);
        }
        assert_eq!(bench.gate.episodes().down.is_some(), bench.gate.is_down());
        bench.gate.is_down()
    };
    let page = |job| (job, unusable());
    assert!(down(&[page("a"), page("b"), page("c")]));
    assert!(down(&[
        page("a"),
        page("b"),
        page("a"),
        page("b"),
        page("c")
    ]));
    assert!(!down(&[page("a"), page("b"), page("a"), page("b")]));
    assert!(!down(&[page("a"), page("b"), ("d", good(1)), page("c")]));
    assert!(!down(&[page("a"), page("b"), page("c"), ("a", good(1))]));
    assert!(
        down(&[page("a"), page("b"), ("d", Signal::Answered), page("c")]),
        "not there is not read"
    );
    assert!(down(&[page("a"), ("b", trouble()), page("c")]));
    assert!(!down(&[
        ("a", Signal::Answered),
        ("b", Signal::Answered),
        ("c", Signal::Answered)
    ]));
}

#[test]
fn everything_that_is_wrong_has_its_sentence() {
    let mut bench = Bench::new();
    bench.poll("a", &throttled(Some(90)));
    assert_eq!(
        bench.degraded(),
        ["the upstream throttles us; no polls for 1 s: HTTP 429"]
    );
    bench.wait(1000);
    assert_eq!(
        bench.degraded(),
        ["the upstream throttles us and has answered no poll since: HTTP 429"]
    );
    bench.poll("b", &throttled(Some(90)));
    bench.poll("a", &refused());
    assert_eq!(
        bench.degraded(),
        [
            "the upstream throttles us; no polls for 90 s (jobtrackd resume ends that): HTTP 429",
            "the upstream refuses our credentials; no polls for 5 s: HTTP 401"
        ]
    );
    assert_eq!(
        bench.kind(),
        Some(GateReasonKind::Throttled),
        "the later end is shown"
    );
    bench.wait(90_001);
    bench.poll("a", &forbidden(1));
    assert_eq!(
        bench.degraded(),
        ["the upstream refused our credentials: HTTP 403"]
    );
}

#[test]
fn an_episode_begins_with_the_first_closing_and_ends_with_the_first_answer() {
    let mut bench = Bench::new();
    let quiet = bench.gate.episodes();
    bench.both(&throttled(None));
    assert!(bench.gate.episodes().throttled.is_some());
    bench.wait(1000);
    assert!(
        bench.gate.on_trial(bench.now),
        "open, but not yet known to be over"
    );
    bench.poll("b", &throttled(None));
    bench.wait(2000);
    bench.poll("a", &good(1));
    assert_eq!(bench.gate.episodes(), quiet);
    assert!(!bench.gate.on_trial(bench.now));
}
