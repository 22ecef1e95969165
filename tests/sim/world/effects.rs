//! What the process has done in the database.

use jobtrackd_core::machines::batching::Writable;
use jobtrackd_core::machines::dispatcher::{Answer, Query};
use jobtrackd_core::machines::intake;
use jobtrackd_core::time::UnixMillis;
use jobtrackd_store::StoreError;

use super::{Event, Violation, World};
use crate::database::Database;
use crate::plan::DiskFault;
use crate::process::{Message, Out, Read};
use crate::time::{MS, SECOND, Time};

/// How long after a read that found the database busy it is tried again, and a write as well.
const RETRY: Time = SECOND / 2;

/// Rows of a page of intake: few, so that there is often more than one.
const PAGE: u32 = 7;

impl World<'_> {
    pub(super) fn carry_out(&mut self, out: Out) -> Result<(), Violation> {
        match out {
            Out::Read(read) => self.read(read),
            Out::Commit => {
                // Nobody sees it before it is on the disk.
                let at = self.now + self.delay("commit", self.slowness());
                self.put(at, Event::Do(self.epoch, Box::new(Out::EndCommit)));
                Ok(())
            }
            Out::EndCommit => self.commit(),
            Out::Poll {
                poll,
                request,
                job,
                token,
                etag,
            } => {
                let what = self.asked_for(&job, token, etag);
                self.poll(poll, request, &job, what)
            }
            Out::Grant => {
                let at = self.now + self.delay("to the tokens", MS);
                self.put(at, Event::AtTokens(self.epoch));
                Ok(())
            }
            Out::Post(webhook, delivery) => self.post(webhook, &delivery),
            Out::Later(poll, _) => self.hand(Message::Resend(poll)),
        }
    }

    fn answer(&mut self, name: &str, low: Time, message: Message) {
        let at = self.now + self.delay(name, low);
        self.put(at, Event::hand(self.epoch, message));
    }

    fn read(&mut self, read: Read) -> Result<(), Violation> {
        let is_write = matches!(read, Read::Query(_, Query::Clamp { .. }));
        let trouble = match is_write {
            true => self.write_trouble(),
            false => self.read_trouble(),
        };
        let result = match trouble {
            Some(error) => Err(error),
            None => self.ask(&read),
        };
        match result {
            Ok(message) => self.answer("read", MS / 5, message),
            Err(error) if error.is_temporary() => {
                let again = Event::Do(self.epoch, Box::new(Out::Read(read)));
                self.put(self.now + RETRY, again);
            }
            Err(error) => self.end(&format!("{error} ({read:?})")),
        }
        Ok(())
    }

    fn read_trouble(&mut self) -> Option<StoreError> {
        let is_new = |number: &usize| !self.broken.contains(number);
        let number = self.disk().find_map(|(number, fault)| {
            (fault == DiskFault::Unreadable && is_new(&number)).then_some(number)
        })?;
        self.broken.push(number);
        let message = "disk I/O error".to_owned();
        Some(StoreError::Failed { code: 266, message })
    }

    /// Why nothing can be written now, without a doubt whether it was.
    fn write_trouble(&self) -> Option<StoreError> {
        self.disk().find_map(|(_, fault)| match fault {
            DiskFault::Full => Some(StoreError::Full),
            DiskFault::Locked => Some(StoreError::Busy),
            _ => None,
        })
    }

    fn ask(&mut self, read: &Read) -> Result<Message, StoreError> {
        let database = &self.database;
        Ok(match read {
            Read::Start => Message::Started(database.pause(crate::process::ORIGIN)?),
            Read::Intake(query) => Message::Intake(take_in(database, *query)?),
            Read::Row(id) => Message::Row(id.clone(), database.job(id)?),
            Read::RowOf(poll, id) => Message::RowOf(*poll, database.job(id)?),
            Read::Tracked(poll, id) => Message::Tracked(*poll, database.tracked(id)?),
            Read::Query(webhook, query) => {
                let answer = self.query(*webhook, query)?;
                Message::Query(*webhook, answer)
            }
            Read::Body(webhook, delivery) => {
                let name = self.oracle.name(*webhook);
                let mut delivery = delivery.clone();
                delivery.body = database.body_to_send(&name, &delivery.event_id)?;
                Message::Body(*webhook, delivery)
            }
        })
    }

    fn query(&mut self, webhook: usize, query: &Query) -> Result<Answer, StoreError> {
        let (database, name) = (&self.database, &self.oracle.name(webhook));
        Ok(match query {
            Query::Clamp { longest } => Answer::Clamped(database.clamp(name, *longest)?),
            Query::Row => Answer::Row(Box::new(database.health(name)?)),
            Query::NextExpiry { after } => Answer::Next(database.next_expiry(name, *after)?),
            Query::Expired { at, limit } => Answer::Expired(database.expired(name, *at, *limit)?),
            Query::Due { at, except, limit } => {
                Answer::Deliveries(database.due(name, *at, except, *limit)?)
            }
            Query::Expiring { at, limit } => {
                Answer::Deliveries(database.expiring_due(name, *at, *limit)?)
            }
            Query::ToProbe { expired, limit } => {
                Answer::Deliveries(database.to_probe(name, *expired, *limit)?)
            }
            Query::NextDelivery { after } => Answer::Next(database.next_delivery(name, *after)?),
        })
    }

    /// How long a transaction takes at least.
    fn slowness(&self) -> Time {
        let slow = self.disk().map(|(_, fault)| match fault {
            DiskFault::Slow(by) => by,
            _ => 0,
        });
        slow.max().unwrap_or(0).max(MS)
    }

    fn commit(&mut self) -> Result<(), Violation> {
        let broken = self.disk().find_map(|(number, fault)| match fault {
            DiskFault::Broken { committed } if !self.broken.contains(&number) => {
                Some((number, committed))
            }
            _ => None,
        });
        let trouble = self.write_trouble();
        let (at, wall) = (self.now, self.wall());
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let now = process.now(at, wall);
        let Some(batch) = process.batch(now) else {
            return Ok(());
        };
        if let Some((number, committed)) = broken {
            if committed {
                let _ = self.database.commit(batch);
            }
            self.broken.push(number);
            self.end("disk I/O error (1034)");
            return self.after_commit();
        }
        let result = match trouble {
            Some(error) => Err(error),
            None => self.database.commit(batch),
        };
        match result {
            Ok(committed) => {
                self.answer("read", MS / 5, Message::Committed(committed));
                self.after_commit()
            }
            Err(StoreError::Refused(rule)) => {
                self.oracle.refused(&rule)?;
                self.answer("read", MS / 5, Message::Refused(rule));
                Ok(())
            }
            Err(error) if error.is_temporary() => {
                let writable = match error {
                    StoreError::Full => Writable::DiskFull,
                    _ => Writable::Locked,
                };
                self.oracle.unwritable(self.now);
                self.answer("read", MS, Message::Unwritable(writable));
                Ok(())
            }
            Err(error) => {
                self.end(&error.to_string());
                Ok(())
            }
        }
    }

    /// Somebody has committed: the oracle looks at the tables, and intake will notice.
    pub(super) fn after_commit(&mut self) -> Result<(), Violation> {
        self.oracle.committed(&self.database, self.plan, self.now)?;
        self.delete_ended()?;
        if self.process.is_some() {
            self.put(self.now, Event::hand(self.epoch, Message::Changed));
        }
        Ok(())
    }
}

/// The answer to a question of intake.
fn take_in(database: &Database, query: intake::Query) -> Result<intake::Answer, StoreError> {
    use intake::{Answer, Query};
    Ok(match query {
        Query::NewestChange => Answer::Number(database.newest_change()?),
        Query::WebhookRequests => Answer::Requests(database.requests()?.into_iter().collect()),
        Query::UpstreamResumes => Answer::Number(database.resumes()?),
        Query::ActiveJobs(after) => Answer::Page(database.active_jobs(after, PAGE)?),
        Query::Changes(after) => Answer::Page(database.changes(after, PAGE)?),
        // The process knows these.
        Query::Watch | Query::SawCommit => Answer::Watching,
    })
}

/// An effect in one line.
pub(super) fn shown(out: &Out) -> String {
    match out {
        Out::Read(Read::Body(webhook, delivery)) => {
            format!("read body {webhook} {}", delivery.event_id)
        }
        Out::Post(webhook, delivery) => format!(
            "post {} of {} to {webhook}, attempt {}",
            delivery.event_id,
            delivery.job_id,
            delivery.attempts + 1
        ),
        Out::Read(read) => format!("read {read:?}"),
        Out::Poll {
            poll,
            request,
            job,
            token,
            etag,
        } => {
            format!("poll {poll}.{request} of {job} with token {token:?}, unless {etag:?}")
        }
        other => format!("{other:?}"),
    }
}

/// What the process is handed, in one line.
pub(super) fn described(message: &Message) -> String {
    match message {
        Message::Intake(intake::Answer::Page(page)) => format!("{} rows", page.len()),
        Message::Row(id, row) => format!("row of {id}: {}", row.is_some()),
        Message::RowOf(poll, row) => format!("row for poll {poll}: {}", row.is_some()),
        Message::Tracked(poll, tracked) => format!(
            "recorded for poll {poll}: {:?}",
            tracked
                .as_ref()
                .map(|tracked| (tracked.state, tracked.revision))
        ),
        Message::Query(webhook, Answer::Deliveries(found)) => {
            let ids: Vec<_> = found
                .deliveries
                .iter()
                .map(|it| &it.event_id[..9.min(it.event_id.len())])
                .collect();
            format!("answer for {webhook}: deliveries {ids:?}")
        }
        Message::Query(webhook, answer) => format!("answer for {webhook}: {answer:?}"),
        Message::Body(webhook, delivery) => {
            format!("body for {webhook}: {}", delivery.body.is_some())
        }
        Message::Polled(poll, request, Ok(answer), _) => {
            format!(
                "answer to poll {poll}.{request}: {} {:?}",
                answer.status, answer.headers
            )
        }
        Message::Committed(committed) => {
            let mut recorded: Vec<_> = committed.recorded.iter().map(|id| id.as_str()).collect();
            recorded.sort_unstable();
            format!("committed {recorded:?}, wakes {:?}", committed.webhooks)
        }
        Message::Sent(webhook, job, report) => {
            format!("sent to {webhook} of {job}: {:?}", report.result)
        }
        Message::Reload(_) => "reload".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A time of the daemon's wall clock.
pub(super) fn unix(wall: i64) -> UnixMillis {
    UnixMillis(wall)
}
