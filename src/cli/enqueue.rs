//! `enqueue`: jobs are handed over to be followed.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Read, StdinLock};

use anyhow::{Context as _, bail};
use clap::CommandFactory;
use clap::error::ErrorKind;
use serde::Serialize;
use url::Url;

use super::screen::{Screen, View};
use super::style::{Style, Tone};
use super::text;
use super::when::When;
use crate::core::enqueue::{EARLIEST, EnqueueRules, check_times};
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::store::{Enqueued, NewJob, Store};
use crate::upstream::target::{Base, UnusableBase};

/// Ids inserted in one transaction.
const BATCH: usize = 500;

/// Longest line of standard input, in bytes.
const LINE_BYTES: u64 = 4096;

/// Longest id that is printed, in characters; a longer one is refused anyway.
const ID_CHARS: usize = 200;

/// The id that stands for standard input.
const STDIN: &str = "-";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "It works with the daemon up or down. An id that is there already is left as it is.\n\n\
                  Examples:\n  jobtrackd enqueue 61723\n  \
                  jobtrackd enqueue 61724 --metadata '{\"customer\":\"c_9\"}' --webhook billing --deadline 2h\n  \
                  cut -d, -f1 jobs.csv | jobtrackd enqueue -"
)]
pub(super) struct Args {
    /// The jobs' ids; - reads them from standard input, one per line
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Where to poll, when not /jobs/{id}: a path, or a URL of the API's own origin; only with one ID
    #[arg(long)]
    url: Option<String>,
    /// A JSON object of at most 16 KiB, handed on in every event
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// The one webhook to send to, which must be configured [default: all that subscribe]
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Higher is polled first when requests are short
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    priority: i64,
    /// The job fails as expired past this: a duration from now (2h) or a time (2026-11-22T15:04:05Z)
    #[arg(long, value_name = "WHEN", value_parser = job_time)]
    deadline: Option<When>,
    /// No poll before this: a duration from now (10m) or a time
    #[arg(long, value_name = "WHEN", value_parser = job_time)]
    not_before: Option<When>,
    /// Print one JSON object per id
    #[arg(long)]
    json: bool,
}

fn job_time(text: &str) -> Result<When, &'static str> {
    match text.parse()? {
        When::At(at) if at < EARLIEST => Err("a job's times are later than 2001"),
        when => Ok(when),
    }
}

/// What is the same for all ids of one call, once it is known to make sense.
#[derive(Debug)]
pub(super) struct Options {
    stdin: bool,
}

impl Args {
    /// Checks what the parser cannot.
    ///
    /// # Errors
    /// A usage error.
    pub(super) fn options(&self, now: UnixMillis) -> Result<Options, clap::Error> {
        let stdin = self.ids.iter().any(|id| id == STDIN);
        let (deadline, not_before) = self.times(now);
        if stdin && self.ids.len() > 1 {
            let wrong = "- reads the ids from standard input and stands alone";
            return Err(usage(ErrorKind::ArgumentConflict, wrong));
        }
        if self.url.is_some() && (stdin || self.ids.len() > 1) {
            let wrong = "--url is the address of one job and goes with one ID";
            return Err(usage(ErrorKind::ArgumentConflict, wrong));
        }
        if let Err(wrong) = check_times(deadline, not_before, now) {
            let wrong = format!("{wrong}, for example --deadline 2h");
            return Err(usage(ErrorKind::ValueValidation, wrong));
        }
        Ok(Options { stdin })
    }

    fn times(&self, now: UnixMillis) -> (Option<UnixMillis>, Option<UnixMillis>) {
        let [deadline, not_before] =
            [self.deadline, self.not_before].map(|when| when.map(|when| when.after(now)));
        (deadline, not_before)
    }

    fn job(&self, id: String, now: UnixMillis) -> NewJob {
        let (deadline_at, not_before) = self.times(now);
        NewJob {
            id,
            url: self.url.clone(),
            metadata: self.metadata.clone(),
            webhook: self.webhook.clone(),
            priority: self.priority,
            deadline_at,
            not_before,
        }
    }
}

fn usage(kind: ErrorKind, wrong: impl Display) -> clap::Error {
    let mut command = super::Cli::command();
    command.build();
    match command.find_subcommand_mut("enqueue") {
        Some(command) => command.error(kind, wrong),
        None => clap::Error::raw(kind, wrong),
    }
}

/// What jobs are checked against, beside the rules of the table.
#[derive(Debug)]
pub(super) struct Rules {
    rules: EnqueueRules,
    base: Base,
}

impl Rules {
    /// With `upstream.base_url`, which must be one.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn new(base_url: &Url, rules: EnqueueRules) -> Result<Self, UnusableBase> {
        let base = Base::new(base_url)?;
        Ok(Self { rules, base })
    }

    /// Why a job is not inserted. An id that is wrong is left to the table.
    fn refusal(&self, job: &NewJob, now: UnixMillis) -> Option<String> {
        let (webhook, url) = (job.webhook.as_deref(), job.url.as_deref());
        let checked = self
            .rules
            .check(webhook, job.deadline_at, job.not_before, now);
        if let Err(wrong) = checked {
            return Some(wrong.to_string());
        }
        let id = JobId::parse(&job.id).ok()?;
        let wrong = self.base.job_url(&id, url).err()?;
        Some(wrong.to_string())
    }
}

#[derive(Serialize)]
struct Record<'a> {
    id: &'a str,
    outcome: &'static str,
    reason: Option<&'a str>,
}

/// How many ids there were, and how many were refused.
#[derive(Debug, Default)]
struct Tally {
    all: u64,
    refused: u64,
}

pub(super) async fn run(
    args: &Args,
    options: &Options,
    rules: &Rules,
    store: &Store,
    screen: &mut Screen,
) -> anyhow::Result<()> {
    let mut tally = Tally::default();
    if options.stdin {
        let mut lines = Lines::of(std::io::stdin().lock());
        loop {
            let (batch, end) = lines.batch();
            hand_over(args, rules, batch, store, screen, &mut tally).await?;
            screen.flush();
            match end {
                Some(end) => break end?,
                None => continue,
            }
        }
        if tally.all == 0 {
            bail!("standard input held no id; write one per line");
        }
    } else {
        for batch in args.ids.chunks(BATCH) {
            let batch = batch.iter().cloned().map(|id| Given { id, line: None });
            hand_over(args, rules, batch.collect(), store, screen, &mut tally).await?;
        }
    }
    match (tally.refused, tally.all) {
        (0, _) => Ok(()),
        (_, 1) => bail!("the job was refused"),
        (refused, all) if refused == all => bail!("all {all} ids were refused"),
        (refused, all) => bail!("{refused} of {all} ids refused; the others are in the database"),
    }
}

async fn hand_over(
    args: &Args,
    rules: &Rules,
    batch: Vec<Given>,
    store: &Store,
    screen: &mut Screen,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let now = screen.view.now;
    let mut jobs = Vec::with_capacity(batch.len());
    let refusals: Vec<Option<String>> = batch
        .iter()
        .map(|given| {
            let job = args.job(given.id.clone(), now);
            let refusal = rules.refusal(&job, now);
            if refusal.is_none() {
                jobs.push(job);
            }
            refusal
        })
        .collect();
    let mut inserted = match jobs.is_empty() {
        true => Vec::new().into_iter(),
        false => store.enqueue_all(&jobs).await?.into_iter(),
    };
    let outcomes: Vec<Enqueued> = refusals
        .into_iter()
        .filter_map(|refusal| refusal.map(Enqueued::Refused).or_else(|| inserted.next()))
        .collect();
    let shown: Vec<String> = batch
        .iter()
        .map(|given| text::outside(&given.id, ID_CHARS))
        .collect();
    let width = shown.iter().map(|id| text::columns(id)).max().unwrap_or(0);
    for ((given, id), outcome) in batch.iter().zip(&shown).zip(&outcomes) {
        tally.all += 1;
        if args.json {
            screen.json(&record(&given.id, outcome))?;
        }
        match outcome {
            Enqueued::Refused(reason) => {
                tally.refused += 1;
                // After what was said of the ids before it.
                screen.flush();
                super::note(&refused(id, given.line, reason));
            }
            _ if args.json => {}
            outcome => screen.line(&line(id, outcome, width.min(40), &screen.view)),
        }
    }
    Ok(())
}

fn record<'a>(id: &'a str, outcome: &'a Enqueued) -> Record<'a> {
    let (outcome, reason) = match outcome {
        Enqueued::New => ("enqueued", None),
        Enqueued::Known => ("exists", None),
        Enqueued::Refused(reason) => ("refused", Some(reason.as_str())),
    };
    Record {
        id,
        outcome,
        reason,
    }
}

/// What is said of an id that was not refused.
fn line(id: &str, outcome: &Enqueued, width: usize, view: &View) -> String {
    let (tone, mark, said) = match outcome {
        Enqueued::Known => (Tone::Dim, "·", "already there, left as it is"),
        _ => (Tone::Good, "✓", "enqueued"),
    };
    let blanks = width.saturating_sub(text::columns(id));
    format!(
        "{} {id}{}  {}",
        view.paint(tone, mark),
        " ".repeat(blanks),
        view.paint(tone, said)
    )
}

/// What is said of one that was, on standard error.
fn refused(id: &str, line: Option<u64>, reason: &str) -> String {
    let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
    let said = format!("refused{line}: {}", text::outside(reason, text::TEXT_LIMIT));
    let style = Style::of(&std::io::stderr());
    format!(
        "{} {id}  {}",
        style.paint(Tone::Bad, "✗"),
        style.paint(Tone::Bad, &said)
    )
}

/// An id, and its line of standard input.
struct Given {
    id: String,
    line: Option<u64>,
}

/// Ids from standard input, in batches of what has arrived so that a slow writer sees each one answered.
struct Lines {
    reader: BufReader<StdinLock<'static>>,
    number: u64,
}

impl Lines {
    fn of(stdin: StdinLock<'static>) -> Self {
        Self {
            reader: BufReader::new(stdin),
            number: 0,
        }
    }

    /// The next ids, without blank lines; and how the input ended, once it did.
    fn batch(&mut self) -> (Vec<Given>, Option<anyhow::Result<()>>) {
        let mut ids = Vec::new();
        loop {
            match self.line() {
                Ok(Some(line)) if line.is_empty() => {}
                Ok(Some(id)) => ids.push(Given {
                    id,
                    line: Some(self.number),
                }),
                Ok(None) => return (ids, Some(Ok(()))),
                Err(error) => return (ids, Some(Err(error))),
            }
            if ids.len() >= BATCH || !self.reader.buffer().contains(&b'\n') {
                return (ids, None);
            }
        }
    }

    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut bytes = Vec::new();
        let read = (&mut self.reader)
            .take(LINE_BYTES)
            .read_until(b'\n', &mut bytes)
            .context("standard input cannot be read")?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        if !bytes.ends_with(b"\n") && read as u64 == LINE_BYTES {
            bail!(
                "line {} of standard input is longer than {LINE_BYTES} bytes; write one id per line",
                self.number
            );
        }
        Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_duration_from_now_or_a_time() {
        let now = UnixMillis(1_000_000);
        let parse = |text: &str| job_time(text).map(|when| when.after(now));
        assert_eq!(parse("90s"), Ok(UnixMillis(1_090_000)));
        assert_eq!(
            parse("2026-11-22T15:04:05+11:00"),
            Ok(UnixMillis(1_795_320_245_000))
        );
        for wrong in [
            "",
            "soon",
            "90",
            "-5m",
            "2026-11-22",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
