//! `mfa`: sends answers to a challenge to the API.

use anyhow::{Context as _, bail};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use zeroize::Zeroizing;

use super::prompt::{Terminal, read_lines};
use super::screen::{Screen, Tone, View};
use super::session::upstream;
use super::text;
use crate::clock::Clock;
use crate::core::job::JobId;
use crate::lifecycle::Signals;
use crate::mfa::{Answers, Challenges, LONGEST_ANSWER, MOST_ANSWERS, OpenChallenge};
use crate::record::command::MfaRecord;
use crate::store::Store;
use crate::upstream::{Relayed, UpstreamSettings};

/// Means "read the answers from standard input".
const STDIN: &str = "-";

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/mfa.txt").trim_end())]
pub(super) struct Args {
    /// The job
    #[arg(value_name = "ID", value_parser = JobId::parse)]
    id: JobId,
    /// One answer per input, in order; `-` reads them from standard input, one per line
    #[arg(value_name = "ANSWER", allow_negative_numbers = true)]
    answers: Vec<SecretString>,
    /// Send the answers even if the challenge has expired by our clock
    #[arg(long)]
    late: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Keeps answers out of core dumps and debuggers of other processes, as far as the system allows.
pub(super) fn leave_no_core() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

pub(super) async fn run(
    args: &Args,
    settings: &UpstreamSettings,
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let clock = Clock::system();
    let upstream = upstream(settings, &clock)?;
    let challenges = Challenges {
        store,
        upstream: &upstream,
        clock: &clock,
        late: args.late,
        shown: None,
    };
    // A signal drops what is in flight, and turns the echo of the terminal on again.
    let mut signals = Signals::listen().context("the program cannot listen to signals")?;
    tokio::select! {
        done = answer(args, &challenges, screen) => done,
        _ = signals.next() => {
            bail!("interrupted; see whether the API has the answers with: jobtrackd show {}", args.id)
        }
    }
}

async fn answer(
    args: &Args,
    challenges: &Challenges<'_>,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let open = challenges.open(&args.id).await?;
    let answers = Answers::new(texts(args, &open).await?)?;
    let relayed = challenges.relay(&args.id, &answers).await?;
    drop(answers);
    if args.json {
        screen.json(&MfaRecord {
            id: &args.id,
            taken: relayed.is_success(),
            status: relayed.status,
            body: body(&relayed),
        })?;
    } else {
        screen.line(&summary(&relayed, &screen.view));
    }
    let id = &args.id;
    if !relayed.is_success() {
        bail!("the API did not accept the answers; see what it asks for with: jobtrackd show {id}");
    }
    if !args.json {
        screen.line(&format!("See the job's progress with: jobtrackd show {id}"));
    }
    Ok(())
}

async fn texts(args: &Args, open: &OpenChallenge) -> anyhow::Result<Vec<Zeroizing<String>>> {
    match args.answers.as_slice() {
        [] => prompted(&args.id, open).await,
        [only] if only.expose_secret() == STDIN => {
            let limit = MOST_ANSWERS * (LONGEST_ANSWER + 1);
            read_lines(std::io::stdin(), limit)
        }
        answers => Ok(answers
            .iter()
            .map(|each| each.expose_secret().to_owned().into())
            .collect()),
    }
}

async fn prompted(id: &JobId, open: &OpenChallenge) -> anyhow::Result<Vec<Zeroizing<String>>> {
    let mut answers = Vec::new();
    let inputs = open.challenge.inputs();
    if inputs.is_empty() {
        return Ok(answers);
    }
    let terminal = Terminal::quiet().with_context(|| {
        format!(
            "there is no answer, and no terminal to ask on; write it after the id, or on a line of standard input: \
             jobtrackd mfa {id} -"
        )
    })?;
    let step = text::outside(&open.step, text::TEXT_LIMIT);
    terminal.print(&format!("{step} of job {id}"))?;
    if let Some(description) = text::raw(&open.challenge.description) {
        terminal.print(&description)?;
    }
    for (number, input) in (1..).zip(inputs).take(MOST_ANSWERS) {
        let input = text::raw(input).unwrap_or_else(|| format!("answer {number}"));
        answers.push(terminal.ask(&input, LONGEST_ANSWER).await?);
    }
    Ok(answers)
}

fn summary(relayed: &Relayed, view: &View) -> String {
    let (tone, mark, words) = match relayed.is_success() {
        true => (Tone::Good, "✓", "the API accepted the answers"),
        false => (Tone::Bad, "✗", "the API did not accept the answers"),
    };
    let body = String::from_utf8_lossy(&relayed.body);
    let body = text::outside(body.trim(), text::TEXT_LIMIT);
    let line = view.marked(tone, mark, &format!("{words}: HTTP {}", relayed.status));
    format!("{line}\n{body}").trim_end().to_owned()
}

fn body(relayed: &Relayed) -> Value {
    serde_json::from_slice(&relayed.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&relayed.body)))
}
