//! The tasks that carry out polls. Each stays for the next poll, since to begin a task for each of them costs more than all
//! decisions about it; there are as many as polls were ever in flight or being recorded at once.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::poll::{Context, PollError};
use crate::core::job::{Failure, JobId};
use crate::core::machines::poll::{Finished, Task};

/// A poll that is over, or why the process has to end.
pub(super) type Outcome = Result<Box<Finished>, PollError>;

/// What a slot has done.
#[derive(Debug)]
pub(super) enum News {
    /// The request of a poll is over, and what it found is being recorded.
    Answered,
    /// The poll is over.
    Over(Outcome),
}

/// What a slot is sent.
enum Order {
    /// Carry out this poll, which has this number.
    Run(u64, Arc<Context>, Box<Task>),
    /// End the job of the poll with this number instead of waiting for its request.
    Cut(u64, Failure),
}

/// The tasks, and which of them polls which job.
#[derive(Debug)]
pub(super) struct Slots {
    all: Vec<Slot>,
    /// Those without a poll; the last one to finish is the first to begin.
    idle: Vec<usize>,
    /// The number of the last poll.
    last: u64,
    news: mpsc::UnboundedReceiver<(usize, News)>,
    reporting: mpsc::UnboundedSender<(usize, News)>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Slot {
    orders: mpsc::UnboundedSender<Order>,
    /// The job that it polls, and the number of that poll.
    busy: Option<(JobId, u64)>,
}

impl Default for Slots {
    fn default() -> Self {
        let (reporting, news) = mpsc::unbounded_channel();
        Self {
            all: Vec::new(),
            idle: Vec::new(),
            last: 0,
            news,
            reporting,
            tasks: JoinSet::new(),
        }
    }
}

impl Slots {
    /// Begins a poll.
    pub(super) fn start(&mut self, context: Arc<Context>, task: Box<Task>) {
        let slot = self.idle.pop().unwrap_or_else(|| self.add());
        self.last += 1;
        let slot = &mut self.all[slot];
        slot.busy = Some((task.id.clone(), self.last));
        // Fails if the slot has panicked, which `news` reports.
        let _ = slot.orders.send(Order::Run(self.last, context, task));
    }

    /// Ends a job instead of waiting for its request, unless that has just ended.
    pub(super) fn cut(&mut self, id: &JobId, failure: Failure) {
        // Few are cut; to find them by their ids would cost each poll two entries in a map.
        let mut busy = self.all.iter().filter_map(|slot| {
            let (job, number) = slot.busy.as_ref()?;
            (job == id).then_some((&slot.orders, *number))
        });
        if let Some((orders, number)) = busy.next() {
            let _ = orders.send(Order::Cut(number, failure));
        }
    }

    /// What a slot has done next.
    ///
    /// # Errors
    /// When a task has panicked.
    pub(super) async fn news(&mut self) -> Result<News, tokio::task::JoinError> {
        tokio::select! {
            biased;
            Some((slot, news)) = self.news.recv() => Ok(self.note(slot, news)),
            Some(Err(panicked)) = self.tasks.join_next() => Err(panicked),
            else => std::future::pending().await,
        }
    }

    /// The next one, if there is one already.
    pub(super) fn try_news(&mut self) -> Option<News> {
        let (slot, news) = self.news.try_recv().ok()?;
        Some(self.note(slot, news))
    }

    /// Whether polls are in flight.
    pub(super) fn are_busy(&self) -> bool {
        self.idle.len() < self.all.len()
    }

    fn note(&mut self, slot: usize, news: News) -> News {
        if matches!(news, News::Over(_)) {
            self.idle.push(slot);
            self.all[slot].busy = None;
        }
        news
    }

    fn add(&mut self) -> usize {
        let slot = self.all.len();
        let (sender, orders) = mpsc::unbounded_channel();
        self.all.push(Slot {
            orders: sender,
            busy: None,
        });
        self.tasks
            .spawn(Box::pin(work(slot, orders, self.reporting.clone())));
        slot
    }
}

async fn work(
    slot: usize,
    mut orders: mpsc::UnboundedReceiver<Order>,
    reporting: mpsc::UnboundedSender<(usize, News)>,
) {
    while let Some(order) = orders.recv().await {
        // A cut of a poll that is over is for nobody.
        let Order::Run(number, context, task) = order else {
            continue;
        };
        // Fails when the loop is gone, and this task is about to be.
        let report = |news| reporting.send((slot, news));
        let answered = || drop(report(News::Answered));
        let over = context.run(*task, cut(&mut orders, number), answered).await;
        if report(News::Over(over)).is_err() {
            return;
        }
    }
}

/// Resolves when the job of the poll with this number is to be ended instead.
async fn cut(orders: &mut mpsc::UnboundedReceiver<Order>, poll: u64) -> Failure {
    loop {
        match orders.recv().await {
            Some(Order::Cut(number, failure)) if number == poll => return failure,
            // That of an earlier poll; no other one is sent to a busy slot.
            Some(_) => {}
            // The loop is gone, and this task is about to be.
            None => std::future::pending().await,
        }
    }
}
