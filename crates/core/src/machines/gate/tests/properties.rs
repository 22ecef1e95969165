//! What holds after any polls, in any order.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Begin,
    /// Which of the polls in flight is over, of which job, with which signal and random number.
    End(prop::sample::Index, &'static str, Signal, f64),
    Wait(u64),
    Pause(u64),
    Resume,
    LongestPause(u64),
}

fn signal() -> impl Strategy<Value = Signal> {
    prop_oneof![
        (1..4u64).prop_map(good),
        Just(Signal::Answered),
        prop::option::of(0..5000u64).prop_map(throttled),
        (1..4u64).prop_map(|generation| Signal::Refused { generation }),
        (0..600_000u64, any::<bool>()).prop_map(|(millis, refused)| {
            no_token(
                Monotonic::default().plus(Duration::from_millis(millis)),
                refused,
            )
        }),
        (1..4u64).prop_map(forbidden),
        Just(trouble()),
        Just(unusable()),
        Just(Signal::Nothing),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let job = prop::sample::select(vec!["a", "b", "c", "d"]);
    let end = (any::<prop::sample::Index>(), job, signal(), 0.0..1.0);
    prop_oneof![
        6 => Just(Step::Begin),
        6 => end.prop_map(|(which, job, signal, random)| Step::End(which, job, signal, random)),
        3 => (0..20_000u64).prop_map(Step::Wait),
        1 => (0..5_000_000u64).prop_map(Step::Pause),
        1 => Just(Step::Resume),
        1 => (1..4000u64).prop_map(Step::LongestPause),
    ]
}

/// Longest time for which anything in these tests can close the gate.
const BOUND: Duration = Duration::from_secs(5000);

/// A gate and the polls in flight.
struct Run {
    bench: Bench,
    in_flight: Vec<Ticket>,
    /// The rules that may have closed the gate.
    named: Vec<GateReasonKind>,
}

impl Run {
    fn of(steps: &[Step]) -> Self {
        let mut run = Self {
            bench: Bench::new(),
            in_flight: Vec::new(),
            named: Vec::new(),
        };
        for step in steps {
            run.apply(step);
            run.check();
        }
        run
    }

    fn apply(&mut self, step: &Step) {
        let bench = &mut self.bench;
        match *step {
            Step::Begin => self.in_flight.push(bench.begin()),
            Step::End(..) if self.in_flight.is_empty() => {}
            Step::End(which, job, signal, random) => {
                let ticket = self.in_flight.remove(which.index(self.in_flight.len()));
                let signal = match signal {
                    Signal::NoToken { retry_at, refused } => {
                        let wait = retry_at.since(Monotonic::default());
                        no_token(bench.now.plus(wait), refused)
                    }
                    signal => signal,
                };
                self.named.extend(kind_of(signal));
                bench.note_with(ticket, job, &signal, random);
            }
            Step::Wait(millis) => bench.wait(millis),
            Step::Pause(millis) => {
                self.named.push(GateReasonKind::Throttled);
                let until = bench.now.plus(Duration::from_millis(millis));
                bench.gate.pause_until(until, bench.now);
            }
            Step::Resume => {
                bench.gate.resume();
                let stays = |kind: &GateReasonKind| *kind == GateReasonKind::CredentialsRefused;
                self.named.retain(stays);
            }
            Step::LongestPause(seconds) => {
                let most = Duration::from_secs(seconds);
                bench.gate.set_longest_pause(most, bench.now);
                let pause = bench.gate.pause(bench.now);
                assert!(pause.is_none_or(|until| until <= bench.now.plus(most)));
            }
        }
    }

    /// Closed by something named, for a limited time, after which it opens by itself.
    fn check(&self) {
        let (gate, now) = (&self.bench.gate, self.bench.now);
        let GateState::Closed { until, reason } = gate.state(now) else {
            return;
        };
        assert!(self.named.contains(&reason.kind), "{reason:?}");
        assert!(!gate.on_trial(now));
        assert!(until > now && until.since(now) <= BOUND, "{until:?}");
        assert_eq!(gate.state(until), GateState::Open);
        assert!(gate.on_trial(until), "one poll goes first");
        assert!(!self.bench.degraded().is_empty());
        assert!(gate.pause(until).is_none());
    }

    fn wait_until_open(&mut self) {
        let millis = u64::try_from(self.bench.closed_for()).unwrap();
        self.bench.wait(millis + 1);
        assert_eq!(self.bench.closed_for(), 0);
    }
}

fn kind_of(signal: Signal) -> Option<GateReasonKind> {
    match signal {
        Signal::Throttled { .. } => Some(GateReasonKind::Throttled),
        Signal::Refused { .. } | Signal::NoToken { refused: true, .. } => {
            Some(GateReasonKind::CredentialsRefused)
        }
        Signal::NoToken { .. } => Some(GateReasonKind::TokenUnavailable),
        _ => None,
    }
}

proptest! {
    #[test]
    fn a_closed_gate_is_closed_by_something_named_and_opens_by_itself(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        Run::of(&steps);
    }

    #[test]
    fn a_job_that_is_read_after_the_gate_has_opened_ends_everything_that_was_wrong(
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut run = Run::of(&steps);
        run.wait_until_open();
        let bench = &mut run.bench;
        bench.poll("e", &good(9));
        prop_assert_eq!(bench.gate.episodes(), Bench::new().gate.episodes());
        prop_assert_eq!(bench.degraded(), Vec::<String>::new());
        prop_assert_eq!(bench.gate.credentials(), &Credentials::Accepted);
        prop_assert!(!bench.gate.on_trial(bench.now) && !bench.gate.is_throttled());
        prop_assert_eq!(bench.gate.suspect(), None);
        bench.poll("a", &throttled(None));
        prop_assert_eq!(bench.closed_for(), 1000, "the next pause begins as always");
    }

    #[test]
    fn a_poll_that_began_before_a_pause_does_not_end_it(
        steps in prop::collection::vec(step(), 0..40),
        asked in prop::option::of(Just(60)),
        decided in signal().prop_filter("throttles", |signal| !matches!(signal, Signal::Throttled { .. })),
    ) {
        let mut run = Run::of(&steps);
        run.wait_until_open();
        let bench = &mut run.bench;
        let before = bench.begin();
        bench.both(&throttled(asked));
        let pause = bench.gate.pause(bench.now);
        bench.note(before, "c", &decided);
        prop_assert_eq!(bench.gate.pause(bench.now), pause);
        prop_assert!(bench.gate.is_throttled());
    }
}
