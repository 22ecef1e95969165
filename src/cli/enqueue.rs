//! `enqueue`: jobs are handed over to be followed.

use std::io::{BufRead, BufReader, Read, StdinLock};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args as _;
use clap::error::ErrorKind;

use super::screen::Screen;
use super::session::on_store;
use super::style::{Style, Tone};
use super::{print, text};
use crate::clock::Clock;
use crate::config::{Sources, load_enqueue};
use crate::core::enqueue::{EARLIEST, EnqueueRules, check_times};
use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::record::command::EnqueueRecord;
use crate::store::{Enqueued, NewJob, Store};
use crate::upstream::target::Base;

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
    #[arg(long, value_name = "WHEN")]
    deadline: Option<When>,
    /// No poll before this: a duration from now (10m) or a time
    #[arg(long, value_name = "WHEN")]
    not_before: Option<When>,
    /// Print one JSON object per id
    #[arg(long)]
    json: bool,
}

/// A moment as it is written on a command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// So long after now.
    In(Duration),
    /// Then.
    At(UnixMillis),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(duration) = humantime::parse_duration(text) {
            return Ok(Self::In(duration));
        }
        match UnixMillis::parse_rfc3339(text) {
            Some(at) if at >= EARLIEST => Ok(Self::At(at)),
            Some(_) => Err("a job's times are later than 2001".to_owned()),
            None => Err(
                "write a duration such as 90s, 2h or 8d, or a time such as 2026-11-22T15:04:05Z"
                    .to_owned(),
            ),
        }
    }
}

impl When {
    fn after(self, now: UnixMillis) -> UnixMillis {
        match self {
            Self::In(duration) => now.plus(duration),
            Self::At(at) => at,
        }
    }
}

impl Args {
    fn is_stdin(&self) -> bool {
        self.ids.iter().any(|id| id == STDIN)
    }

    /// Checks what the parser cannot.
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
    let (database, base_url, rules) = load_enqueue(sources)?;
    let base = Base::new(&base_url)?;
    on_store(&database, async |store, screen| {
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

/// Jobs on their way into the database, and how many were refused.
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
        let mut lines = Lines::of(std::io::stdin().lock());
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

    /// Inserts a batch in one transaction, and prints what became of each.
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
        let shown: Vec<String> = batch
            .iter()
            .map(|(id, _)| text::outside(id, ID_CHARS))
            .collect();
        let width = shown.iter().map(|id| text::columns(id)).max().unwrap_or(0);
        for (((id, line), shown), refusal) in batch.iter().zip(&shown).zip(refusals) {
            let outcome = refusal.map(Enqueued::Refused).or_else(|| inserted.next());
            let Some(outcome) = outcome else { break };
            self.report(
                id,
                *line,
                &text::pad(shown, width.min(40).max(text::columns(shown))),
                &outcome,
            )?;
        }
        Ok(())
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

    fn report(
        &mut self,
        id: &str,
        line: Option<u64>,
        shown: &str,
        outcome: &Enqueued,
    ) -> anyhow::Result<()> {
        self.all += 1;
        let (word, reason, tone, mark, text) = match outcome {
            Enqueued::New => ("enqueued", None, Tone::Good, "✓", "enqueued"),
            Enqueued::Known => (
                "exists",
                None,
                Tone::Dim,
                "·",
                "already there, left as it is",
            ),
            Enqueued::Refused(reason) => ("refused", Some(reason.as_str()), Tone::Bad, "✗", ""),
        };
        let record = EnqueueRecord {
            id,
            outcome: word,
            reason,
        };
        let Some(reason) = reason else {
            return self.screen.answer(self.args.json, &record, |view| {
                vec![view.marked(tone, mark, &format!("{shown}  {}", view.paint(tone, text)))]
            });
        };
        self.refused += 1;
        if self.args.json {
            self.screen.json(&record)?;
        }
        // After what was printed of the ids before it.
        self.screen.flush();
        let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
        let reason = text::outside(reason, text::TEXT_LIMIT);
        let style = Style::of(&std::io::stderr());
        let text = style.paint(tone, &format!("refused{line}: {reason}"));
        print::note(&format!(
            "{} {}  {text}",
            style.paint(tone, mark),
            shown.trim_end()
        ));
        Ok(())
    }
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
        let parse = |text: &str| text.parse::<When>().map(|when| when.after(now));
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
