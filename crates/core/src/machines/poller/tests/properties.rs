//! The limits hold whatever happens, and nothing starves.

use proptest::prelude::*;

use super::*;

/// What may happen next to one of eight jobs.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Row {
        job: u8,
        priority: i64,
        cancel: bool,
        poll_now: bool,
        again: bool,
        is_over: bool,
    },
    Finished {
        which: usize,
        next: Next,
        is_current: bool,
    },
    Read {
        which: usize,
        is_gone: bool,
    },
    Time(Duration),
    ClockSet(i64),
    Writable(bool),
    Reload(usize),
    Signal {
        job: u8,
        signal: Signal,
    },
}

fn happens() -> impl Strategy<Value = Happens> {
    let next = prop_oneof![
        5 => (0..60_u64).prop_map(|seconds| Next::After(Duration::from_secs(seconds))),
        1 => Just(Next::WhenOpen),
        1 => Just(Next::Forget),
        1 => Just(Next::Reread),
    ];
    let signal = prop_oneof![
        3 => Just(Signal::Answered),
        2 => (0..90_u64).prop_map(|seconds| Signal::Throttled {
            retry_after: (seconds > 30).then(|| Duration::from_secs(seconds)),
        }),
        1 => Just(Signal::Refused { generation: 0 }),
        1 => Just(Signal::Trouble),
    ];
    let row = (
        0..8_u8,
        0..3_i64,
        0..20_u8,
        any::<bool>(),
        0..6_u8,
        0..12_u8,
    );
    let finished = (any::<usize>(), next, any::<bool>());
    prop_oneof![
        4 => row.prop_map(|(job, priority, cancel, poll_now, again, is_over)| Happens::Row {
            job, priority, cancel: cancel == 0, poll_now, again: again == 0, is_over: is_over == 0,
        }),
        6 => finished.prop_map(|(which, next, is_current)| Happens::Finished { which, next, is_current }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_gone)| Happens::Read { which, is_gone }),
        5 => (0..20_000_u64).prop_map(|ms| Happens::Time(Duration::from_millis(ms))),
        1 => (-9_000_000..9_000_000_i64).prop_map(Happens::ClockSet),
        1 => any::<bool>().prop_map(Happens::Writable),
        1 => (1..4_usize).prop_map(Happens::Reload),
        2 => (0..8_u8, signal).prop_map(|(job, signal)| Happens::Signal { job, signal }),
    ]
}

/// Applies what happens; `generations` counts how often each job was inserted.
fn apply(
    world: &mut World,
    generations: &mut BTreeMap<u8, i64>,
    most: &mut usize,
    happens: Happens,
) {
    match happens {
        Happens::Row {
            job,
            priority,
            cancel,
            poll_now,
            again,
            is_over,
        } => {
            let generation = generations.entry(job).or_default();
            *generation += i64::from(again);
            let changed = JobRow {
                priority,
                cancel_requested: cancel,
                poll_requested: poll_now,
                created_at: UnixMillis(EPOCH.0 + *generation),
                state: if is_over {
                    JobState::Failed
                } else {
                    JobState::InProgress
                },
                ..row(&format!("j{job}"))
            };
            world.handle(noticed(vec![changed]));
        }
        Happens::Finished {
            which,
            next,
            is_current,
        } if !world.in_flight.is_empty() => {
            let task = world.in_flight.remove(which % world.in_flight.len());
            let Input::Finished(mut over) = ended(&task, next) else {
                return;
            };
            over.is_current = is_current;
            world.handle(Input::Finished(over));
        }
        Happens::Read { which, is_gone } if !world.reading.is_empty() => {
            let read = world.reading.remove(which % world.reading.len());
            let found = (!is_gone).then(|| row(read.as_str()));
            world.handle(Input::Row(read, found));
        }
        Happens::Time(time) => world.pass(time),
        Happens::ClockSet(by) => world.wall = UnixMillis(world.wall.0 + by),
        Happens::Writable(is_writable) => world.handle(Input::Writable(is_writable)),
        Happens::Reload(max_in_flight) => {
            *most = max_in_flight;
            world.handle(Input::Settings(settings(), max_in_flight));
        }
        Happens::Signal { job, signal } => world.signal(&format!("j{job}"), signal),
        Happens::Finished { .. } | Happens::Read { .. } => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// `World` itself refuses two polls of one job at once.
    #[test]
    fn limits_hold_whatever_happens_and_every_job_is_polled_again_once_all_is_well(
        history in proptest::collection::vec(happens(), 1..80),
        per_second in proptest::option::of(1..20_u32),
    ) {
        let mut world = World::new(2, per_second);
        let (mut generations, mut most) = (BTreeMap::new(), 2);
        for happens in history {
            let before = world.started.len();
            apply(&mut world, &mut generations, &mut most, happens);
            prop_assert_eq!(world.started.len(), before, "only `advance` starts anything");
            let polls = |world: &World| world.in_flight.iter().filter(|task| task.work == Work::Poll).count();
            let polls_before = polls(&world);
            let first = world.in_flight.iter().filter(|task| task.work == Work::Poll && task.progress.polls == 0).count();
            prop_assert_eq!(world.poller.first_polls, first);
            let is_closed = matches!(world.gate.state(world.monotonic), GateState::Closed { .. });
            world.advance();
            if polls(&world) > polls_before {
                prop_assert!(polls(&world) <= most, "more polls than the limit");
                prop_assert!(world.poller.is_writable && !is_closed);
            }
        }
        // All is well again: within the longest delay of each job it is polled, or it has ended.
        world.handle(Input::Writable(true));
        while let Some(read) = world.reading.pop() {
            world.handle(Input::Row(read, None));
        }
        world.gate.resume();
        world.run(2 * SETTLING, Next::After(30 * SECOND));
        let later = JobRow { not_before: None, ..row("one-more") };
        world.handle(noticed(vec![later]));
        world.signal("j9", Signal::Good { generation: 9 });
        let from = world.started.len();
        world.run(Duration::from_secs(400), Next::After(SECOND));
        let jobs = &world.poller.jobs;
        let followed: Vec<JobId> = jobs.numbers().into_iter().map(|number| jobs.get(number).unwrap().id.clone()).collect();
        for job in followed {
            prop_assert!(world.started[from..].iter().any(|(_, polled)| *polled == job), "{} is not polled", job);
        }
        if let Some(rate) = per_second {
            let polls = world.started.len() - from;
            prop_assert!(polls <= (rate as usize + 1) * 400, "{} polls", polls);
        }
    }
}
