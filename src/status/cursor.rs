//! Cursors of lists. A cursor names the last row of a page, so it stays valid while rows are added and over a restart;
//! clients send it back unchanged.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::core::job::JobId;
use crate::core::time::UnixMillis;
use crate::store::TimelineKey;

const WRONG: &str = "after is not a cursor of this list; take next of the page before";

/// A position in a list of jobs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct JobCursor(pub(super) UnixMillis, pub(super) JobId);

/// A position in one job's timeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct TimelineCursor(pub(super) TimelineKey);

/// A position in the order of all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct EventCursor(pub(super) i64);

fn wrap(position: &impl Serialize) -> String {
    // Numbers and texts can always be written.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(position).unwrap_or_default())
}

fn unwrap<T: for<'a> Deserialize<'a>>(text: &str) -> Result<T, String> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| WRONG)?;
    Ok(serde_json::from_slice(&bytes).map_err(|_| WRONG)?)
}

impl JobCursor {
    pub(super) fn text(&self) -> String {
        wrap(&("job", self.0, &self.1))
    }
}

impl TryFrom<String> for JobCursor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (list, at, id): (String, i64, String) = unwrap(&text)?;
        let id = JobId::parse(&id).map_err(|_| WRONG)?;
        if list != "job" {
            return Err(WRONG.to_owned());
        }
        Ok(Self(UnixMillis(at), id))
    }
}

impl TimelineCursor {
    pub(super) fn text(&self) -> String {
        let key = &self.0;
        wrap(&("at", key.at, key.rank, key.n, &key.webhook, key.number))
    }
}

impl TryFrom<String> for TimelineCursor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (list, at, rank, n, webhook, number): (String, i64, u8, u32, String, u32) =
            unwrap(&text)?;
        if list != "at" {
            return Err(WRONG.to_owned());
        }
        Ok(Self(TimelineKey {
            at: UnixMillis(at),
            rank,
            n,
            webhook,
            number,
        }))
    }
}

impl TryFrom<String> for EventCursor {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let position = digits.then(|| text.parse().ok()).flatten();
        position.map(Self).ok_or_else(|| WRONG.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was_and_no_other_list_takes_it() {
        let job = JobCursor(UnixMillis(17), JobId::parse("a.b~c").unwrap());
        let entry = TimelineCursor(TimelineKey {
            at: UnixMillis(-1),
            rank: 3,
            n: 7,
            webhook: "b:ü".to_owned(),
            number: 2,
        });
        assert_eq!(JobCursor::try_from(job.text()), Ok(job.clone()));
        assert_eq!(TimelineCursor::try_from(entry.text()), Ok(entry.clone()));
        assert!(JobCursor::try_from(entry.text()).is_err());
        assert!(TimelineCursor::try_from(job.text()).is_err());
        assert!(EventCursor::try_from(job.text()).is_err());
        for wrong in ["", "%", "AAAA", "-1", " 1", "99999999999999999999"] {
            assert!(JobCursor::try_from(wrong.to_owned()).is_err(), "{wrong}");
            assert!(EventCursor::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert_eq!(EventCursor::try_from("12".to_owned()), Ok(EventCursor(12)));
    }
}
