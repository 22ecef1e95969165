//! `resume`: what the API asked for is waited for no longer.

use serde::Serialize;

use super::screen::Screen;
use super::style::Tone;
use super::text::count;
use crate::store::{Resumed, Store};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "For an API that has asked for too much by mistake. A daemon that is up polls again at once; one that is \
                  down, when it starts. If the API throttles again, polls pause again."
)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Record<'a> {
    pauses: Vec<Pause<'a>>,
    jobs: u64,
}

#[derive(Serialize)]
struct Pause<'a> {
    origin: &'a str,
    paused_until: String,
}

pub(super) async fn run(args: &Args, store: &Store, screen: &mut Screen) -> anyhow::Result<()> {
    let Resumed { pauses, jobs } = store.resume_upstreams().await?;
    if args.json {
        let pauses = pauses.iter().map(|(origin, until)| Pause {
            origin,
            paused_until: until.rfc3339(),
        });
        return screen.json(&Record {
            pauses: pauses.collect(),
            jobs,
        });
    }
    for (origin, until) in &pauses {
        let done = screen.view.paint(Tone::Good, "✓");
        screen.line(&format!(
            "{done} the pause that {origin} asked for, until {until}, is over"
        ));
    }
    if pauses.is_empty() {
        let none = screen.view.paint(Tone::Dim, "· no pause was in force");
        screen.line(&none);
    }
    if jobs > 0 {
        let done = screen.view.paint(Tone::Good, "✓");
        let jobs = count(jobs, "job");
        screen.line(&format!(
            "{done} {jobs} that the API throttled: polled at once"
        ));
    }
    Ok(())
}
