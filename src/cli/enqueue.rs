//! `enqueue`: inserts jobs to follow.

use std::io::{BufRead, BufReader, Read, StdinLock};

use anyhow::{Context as _, bail};
use clap::Args as _;
use clap::error::ErrorKind;

use super::screen::{Screen, Style, Tone, note};
use super::session::on_store;
use super::text;
use crate::clock::Clock;
use crate::config::{Sources, Wanted, load_with};
use crate::core::enqueue::{EARLIEST, EnqueueRules, check_times};
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::record::command::EnqueueRecord;
use crate::store::{Enqueued, Jobs as _, NewJob, Store};
use crate::upstream::target::Base;
use crate::words::When;

/// Ids inserted in one transaction.
const BATCH: usize = 500;

/// Longest line of standard input, in bytes.
const LINE_BYTES: u64 = 4096;

/// Longest id that is printed, in characters; a longer one is refused anyway.
const ID_CHARS: usize = 200;

/// Most columns to which short ids are padded.
const MOST_ALIGNED: usize = 40;

/// The id that means standard input.
const STDIN: &str = "-";

#[derive(Debug, clap::Args)]
#[command(after_help = include_str!("help/enqueue.txt").trim_end())]
pub(super) struct Args {
    /// The jobs' ids; - reads them from standard input, one per line
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Where to poll, when not /jobs/{id}: a path, or a URL of the API's own origin; only with one ID
    #[arg(long)]
    url: Option<String>,
    /// A JSON object of at most 16 KiB, part of every event
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

impl Args {
    fn is_stdin(&self) -> bool {
        self.ids.iter().any(|id| id == STDIN)
    }

    /// Checks that the parser cannot make.
    ///
    /// # Errors
    /// A usage error.
    fn check(&self, now: UnixMillis) -> Result<(), clap::Error> {
        let usage = |kind, wrong: &str| {
            let mut command = Self::augment_args(clap::Command::new("jobtrackd enqueue"));
            Err(command.error(kind, wrong))
        };
        let (deadline, not_before) = self.times(now);
        if self.is_stdin() && self.ids.len() > 1 {
            let wrong = "- reads the ids from standard input and stands alone";
            return usage(ErrorKind::ArgumentConflict, wrong);
        }
        if self.url.is_some() && (self.is_stdin() || self.ids.len() > 1) {
            let wrong = "--url is the address of one job and goes with one ID";
            return usage(ErrorKind::ArgumentConflict, wrong);
        }
        if let Err(wrong) = check_times(deadline, not_before, now) {
            let wrong = format!("{wrong}, for example --deadline 2h");
            return usage(ErrorKind::ValueValidation, &wrong);
        }
        Ok(())
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

pub(super) fn run(args: &Args, sources: &Sources) -> anyhow::Result<()> {
    args.check(Clock::system().now())?;
    let settings = load_with(sources, Wanted::default())?;
    let rules = settings.enqueue_rules();
    let base = Base::new(&settings.upstream.base_url, &settings.upstream.job_path)?;
    on_store(&settings.database, async |store, screen| {
        let mut queue = Queue {
            args,
            rules: &rules,
            base: &base,
            store,
            screen,
            all: 0,
            refused: 0,
        };
        if args.is_stdin() {
            queue.stdin().await?;
        } else {
            for batch in args.ids.chunks(BATCH) {
                let batch = batch.iter().map(|id| (id.clone(), None));
                queue.insert(batch.collect()).await?;
            }
        }
        match (queue.refused, queue.all) {
            (0, _) => Ok(()),
            (_, 1) => bail!("the job was refused"),
            (refused, all) if refused == all => bail!("all {all} ids were refused"),
            (refused, all) => {
                bail!("{refused} of {all} ids refused; the others are in the database")
            }
        }
    })
}

/// An id, and its line of standard input.
type Line = (String, Option<u64>);

/// Inserts jobs, and counts those that are refused.
struct Queue<'a> {
    args: &'a Args,
    rules: &'a EnqueueRules,
    /// Of `upstream.base_url`.
    base: &'a Base,
    store: &'a Store,
    screen: &'a mut Screen,
    all: u64,
    refused: u64,
}

impl Queue<'_> {
    async fn stdin(&mut self) -> anyhow::Result<()> {
        let mut lines = Lines {
            reader: BufReader::new(std::io::stdin().lock()),
            number: 0,
        };
        loop {
            let (batch, end) = lines.batch();
            self.insert(batch).await?;
            self.screen.flush();
            if let Some(end) = end {
                end?;
                break;
            }
        }
        if self.all == 0 {
            bail!("standard input held no id; write one per line");
        }
        Ok(())
    }

    /// Inserts a batch in one transaction, and prints the result of each.
    async fn insert(&mut self, batch: Vec<Line>) -> anyhow::Result<()> {
        let now = self.screen.view.now;
        let (mut jobs, mut refusals) = (Vec::new(), Vec::new());
        for (id, _) in &batch {
            let job = self.args.job(id.clone(), now);
            let refusal = self.refusal(&job, now);
            if refusal.is_none() {
                jobs.push(job);
            }
            refusals.push(refusal);
        }
        let inserted = match jobs.is_empty() {
            true => Vec::new(),
            false => self.store.enqueue_all(&jobs).await?,
        };
        let mut inserted = inserted.into_iter();
        let ids = batch.iter().map(|(id, _)| text::outside(id, ID_CHARS));
        let widest = ids.map(|id| text::columns(&id)).max();
        let width = widest.unwrap_or(0).min(MOST_ALIGNED);
        for (line, refusal) in batch.iter().zip(refusals) {
            let outcome = refusal.map(Enqueued::Refused).or_else(|| inserted.next());
            let Some(outcome) = outcome else { break };
            self.report(line, width, &outcome)?;
        }
        Ok(())
    }

    /// Why a job is not inserted. A wrong id is refused by the table.
    fn refusal(&self, job: &NewJob, now: UnixMillis) -> Option<String> {
        let (webhook, url) = (job.webhook.as_deref(), job.url.as_deref());
        let (deadline, not_before) = (job.deadline_at, job.not_before);
        if let Err(wrong) = self.rules.check(webhook, deadline, not_before, now) {
            return Some(wrong.to_string());
        }
        let id = JobId::parse(&job.id).ok()?;
        let wrong = self.base.job_url(&id, url).err()?;
        Some(wrong.to_string())
    }

    fn report(
        &mut self,
        (id, line): &Line,
        width: usize,
        outcome: &Enqueued,
    ) -> anyhow::Result<()> {
        self.all += 1;
        let (outcome, (tone, mark, text), reason) = match outcome {
            Enqueued::New => ("enqueued", (Tone::Good, "✓", "enqueued"), None),
            Enqueued::Exists => ("exists", (Tone::Dim, "·", "exists, not changed"), None),
            Enqueued::Refused(reason) => ("refused", (Tone::Bad, "✗", "refused"), Some(&**reason)),
        };
        if self.args.json {
            self.screen.json(&EnqueueRecord {
                id,
                outcome,
                reason,
            })?;
        }
        let id = text::outside(id, ID_CHARS);
        if let Some(reason) = reason {
            self.refused += 1;
            // After what was printed of the ids before it.
            self.screen.flush();
            let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
            let reason = text::outside(reason, text::TEXT_LIMIT);
            let style = Style::of(&std::io::stderr());
            let text = style.paint(tone, &format!("{text}{line}: {reason}"));
            note(&format!("{} {id}  {text}", style.paint(tone, mark)));
        } else if !self.args.json {
            let view = self.screen.view;
            let blanks = width.saturating_sub(text::columns(&id));
            let line = format!("{id}{:blanks$}  {}", "", view.paint(tone, text));
            self.screen.line(&view.marked(tone, mark, &line));
        }
        Ok(())
    }
}

/// Ids from standard input, in batches of what has arrived so that a slow writer sees each one answered.
struct Lines {
    reader: BufReader<StdinLock<'static>>,
    number: u64,
}

impl Lines {
    /// The next ids, without blank lines; and how the input ended, once it did.
    fn batch(&mut self) -> (Vec<Line>, Option<anyhow::Result<()>>) {
        let mut ids = Vec::new();
        loop {
            match self.line() {
                Ok(Some(line)) if line.is_empty() => {}
                Ok(Some(id)) => ids.push((id, Some(self.number))),
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
