//! Where the demo is shown: lines that move on a terminal, plain ones elsewhere.

use std::io::{self, IsTerminal as _, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::paint::{Paint, holds_challenge, kind_word, symbol};
use super::play::{Actor, Happening, Play, What};
use crate::clock::Clock;
use crate::core::time::UnixMillis;
use crate::store::StepRow;

/// The most running jobs that are shown at once.
const MAX_LINES: usize = 14;

/// Refreshes per second of a moving display.
const REFRESHES: u8 = 10;

const SPINNER: [&str; 8] = ["⠋", "⠙", "⠸", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Where progress and the report go.
pub struct Screen {
    progress: Box<dyn Write + Send>,
    report: Box<dyn Write + Send>,
    moving: bool,
    paint: Paint,
}

/// How progress is shown.
pub(super) enum View {
    /// Lines that move, on a terminal.
    Moving(Box<Moving>),
    /// One line per happening.
    Plain(Box<dyn Write + Send>),
}

pub(super) struct Moving {
    bars: MultiProgress,
    lines: Vec<ProgressBar>,
    summary: ProgressBar,
    paint: Paint,
    clock: Clock,
    turns: usize,
    farewell: Vec<usize>,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("moving", &self.moving)
            .finish_non_exhaustive()
    }
}

impl Screen {
    /// The process's own: progress on standard error, which moves when both it and standard output are a terminal and
    /// `plain` is false; the report on standard output. `NO_COLOR` is honoured.
    #[must_use]
    pub fn of_process(plain: bool) -> Self {
        let terminal = io::stderr().is_terminal() && io::stdout().is_terminal();
        let named = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = named("TERM").is_some_and(|term| term == "dumb");
        Self {
            progress: Box::new(io::stderr()),
            report: Box::new(io::stdout()),
            moving: terminal && !dumb && !plain,
            paint: Paint {
                colours: io::stdout().is_terminal() && !dumb && named("NO_COLOR").is_none(),
            },
        }
    }

    /// Plain lines without colours, progress and report to these writers.
    #[must_use]
    pub fn plain(progress: Box<dyn Write + Send>, report: Box<dyn Write + Send>) -> Self {
        Self {
            progress,
            report,
            moving: false,
            paint: Paint { colours: false },
        }
    }

    pub(super) fn into_parts(self) -> (View, Box<dyn Write + Send>, Paint) {
        let view = if self.moving {
            View::Moving(Box::new(Moving::new(self.paint)))
        } else {
            View::Plain(self.progress)
        };
        (view, self.report, self.paint)
    }
}

impl View {
    /// Says something for good.
    pub(super) fn say(&mut self, line: &str) {
        // A display that cannot be written to is no reason to end the demo.
        let _ = match self {
            Self::Moving(moving) => moving.bars.println(line),
            Self::Plain(out) => writeln!(out, "{line}"),
        };
    }

    /// Shows what has just happened.
    pub(super) fn show(&mut self, play: &Play, happenings: &[Happening]) {
        match self {
            Self::Moving(moving) => moving.show(play, happenings),
            Self::Plain(_) => {
                for happening in happenings {
                    if let Some(actor) = play.actors.get(happening.actor) {
                        self.say(&plain_line(play.began_at, actor, happening));
                    }
                }
            }
        }
    }

    /// Takes what moves off the screen; what was said for good stays.
    pub(super) fn close(self) {
        if let Self::Moving(moving) = self {
            for line in moving.lines.iter().chain([&moving.summary]) {
                line.finish_and_clear();
            }
        }
    }
}

fn seconds(from: UnixMillis, to: UnixMillis) -> f64 {
    to.since(from).as_secs_f64()
}

fn plain_line(began_at: UnixMillis, actor: &Actor, happening: &Happening) -> String {
    let what = match &happening.what {
        What::Enqueued => format!("enqueued ({})", actor.role.about),
        What::CancelAsked => "cancel requested".to_owned(),
        What::Answered(true) => "the user answers the challenge".to_owned(),
        What::Answered(false) => "the user answers the challenge wrongly".to_owned(),
        What::Step { title, from, to } => match from {
            Some(from) => format!("step {title}: {from} -> {to}"),
            None => format!("step {title}: {to}"),
        },
        What::Told {
            event,
            hook,
            taken: true,
            ..
        } => format!("{event} delivered to {hook}"),
        What::Told {
            event,
            hook,
            status,
            ..
        } => format!("{event} refused by {hook} ({status})"),
        What::Ended(None) => "ended: success".to_owned(),
        What::Ended(Some(kind)) => format!("ended: failed ({})", kind_word(*kind)),
    };
    let at = seconds(began_at, happening.at);
    format!("{at:7.3}  {:<18} {what}", actor.role.id)
}

impl Moving {
    fn new(paint: Paint) -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(REFRESHES));
        let summary = bars.add(bar());
        Self {
            bars,
            lines: Vec::new(),
            summary,
            paint,
            clock: Clock::system(),
            turns: 0,
            farewell: Vec::new(),
        }
    }

    fn show(&mut self, play: &Play, happenings: &[Happening]) {
        let ended = happenings.iter().filter_map(|happening| {
            matches!(happening.what, What::Ended(_)).then_some(happening.actor)
        });
        self.farewell.extend(ended);
        self.farewell.retain(|index| {
            let Some(actor) = play.actors.get(*index).filter(|actor| actor.is_settled()) else {
                return true;
            };
            // A display that cannot be drawn is no reason to end the demo.
            let _ = self.bars.println(farewell(actor, self.paint));
            false
        });
        self.turns += 1;
        let now = self.clock.now();
        let running: Vec<&Actor> = play
            .actors
            .iter()
            .filter(|actor| actor.since.is_some() && !actor.is_settled())
            .collect();
        let shown = running.len().min(MAX_LINES);
        while self.lines.len() < shown {
            let line = self.bars.insert_before(&self.summary, bar());
            self.lines.push(line);
        }
        for line in self.lines.drain(shown..) {
            line.finish_and_clear();
            self.bars.remove(&line);
        }
        let turn = SPINNER
            .get(self.turns % SPINNER.len())
            .copied()
            .unwrap_or(" ");
        for (line, actor) in self.lines.iter().zip(&running) {
            line.set_message(moving_line(actor, turn, now, self.paint));
        }
        self.summary
            .set_message(summary(play, running.len(), now, self.paint));
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_msg}");
    // The template is fixed and parses; the default style shows the message too.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::new_spinner().with_style(style)
}

fn symbols(actor: &Actor, paint: Paint) -> String {
    let steps = actor.detail.iter().flat_map(|detail| &detail.summary.steps);
    let symbols: Vec<String> = steps
        .map(|step| symbol(&step.status, step.result.as_deref(), paint))
        .collect();
    let width = symbols.len().min(6);
    format!("{}{}", symbols.concat(), " ".repeat(6 - width))
}

fn moving_line(actor: &Actor, turn: &str, now: UnixMillis, paint: Paint) -> String {
    let current = actor.detail.as_ref().and_then(|detail| {
        let mut steps = detail.summary.steps.iter();
        steps.find(|step| !matches!(step.status.as_str(), "success" | "skipped" | "missing"))
    });
    let doing = match current {
        _ if actor.is_ended() => "telling the webhooks".to_owned(),
        Some(step) if waits(step) => format!("{} waits for its user", step.title),
        Some(step) => format!("{} {}", step.title, step.status),
        None => "not seen yet".to_owned(),
    };
    let age = actor.since.map_or(0.0, |since| seconds(since, now));
    format!(
        "{} {:<17} {} {:<42} {}",
        paint.blue(turn),
        actor.role.id,
        symbols(actor, paint),
        doing,
        paint.dim(&format!("{age:4.1} s")),
    )
}

fn waits(step: &StepRow) -> bool {
    step.status == "in-progress" && step.result.as_deref().is_some_and(holds_challenge)
}

fn farewell(actor: &Actor, paint: Paint) -> String {
    let Some(detail) = &actor.detail else {
        return String::new();
    };
    let summary = &detail.summary;
    let kind = summary.failure.as_ref().map(|failure| failure.kind);
    let (mark, end) = match kind {
        None => (paint.green("✓"), paint.green("success")),
        Some(kind) => (
            paint.yellow("•"),
            paint.yellow(&format!("failed: {}", kind_word(kind))),
        ),
    };
    let took = summary.finished_at.zip(actor.since);
    let took = took.map_or(0.0, |(end, since)| seconds(since, end));
    let padding =
        " ".repeat(18_usize.saturating_sub(kind.map_or(7, |kind| 8 + kind_word(kind).len())));
    format!(
        "{mark} {:<17} {} {end}{padding} {:<23} {}",
        actor.role.id,
        symbols(actor, paint),
        actor.role.about,
        paint.dim(&format!("{took:4.1} s")),
    )
}

fn summary(play: &Play, running: usize, now: UnixMillis, paint: Paint) -> String {
    let ended = play
        .actors
        .iter()
        .filter(|actor| actor.is_settled())
        .count();
    let details = || play.actors.iter().filter_map(|actor| actor.detail.as_ref());
    let transitions: usize = details().map(|detail| detail.transitions.len()).sum();
    let hidden = running.saturating_sub(MAX_LINES);
    let more = if hidden > 0 {
        format!(" ({hidden} not shown)")
    } else {
        String::new()
    };
    let (taken, refused) = play.told;
    let text = format!(
        "{:4.1} s   {ended} of {} jobs ended, {running} running{more}   {transitions} transitions   \
         {taken} events delivered, {refused} refused",
        seconds(play.began_at, now),
        play.actors.len(),
    );
    paint.bold(&text)
}
