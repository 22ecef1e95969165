//! Answers of the API as HTTP, in each dialect.

use super::truth::{CODE, DETAIL, Step, TITLE, Verdict, Version};
use crate::time::{EPOCH, MS, Time, true_wall};

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(status: u16, body: String) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body,
        }
    }

    pub(crate) fn html(status: u16) -> Self {
        Self {
            status,
            headers: vec![("content-type", "text/html".to_owned())],
            body: format!("<html><body>{status}</body></html>"),
        }
    }

    pub(crate) fn not_modified() -> Self {
        Self {
            status: 304,
            headers: Vec::new(),
            body: String::new(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What is rendered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) dialect: &'static str,
    /// The id as the API writes it.
    pub(crate) id: &'a str,
    pub(crate) version: &'a Version,
    pub(crate) now: Time,
    /// Whether objects have their keys in another order, which is no difference.
    pub(crate) is_turned: bool,
}

impl Page<'_> {
    /// The steps as they are shown now: what a challenge counts down to moves.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let shown = |step: &Step| {
            let mut step = step.clone();
            if let (Some(until), Some(result)) = (step.answer_until, &step.result) {
                let left = until.saturating_sub(self.now) / MS;
                step.result = Some(result.replace("EXPIRY", &left.to_string()));
            }
            step
        };
        self.version.steps.iter().map(shown).collect()
    }

    pub(crate) fn answer(&self) -> Answer {
        let updated = date(true_wall(self.version.from));
        match self.dialect {
            "basiq" => self.basiq(&updated),
            "http-status" => self.http_status(),
            "azure" => self.azure(&updated),
            "google-lro" => self.google(&updated),
            "openai-batch" => self.openai(),
            _ => self.any(&updated),
        }
    }

    fn word(&self) -> &str {
        self.version.steps.first().map_or("", |step| &step.status)
    }

    fn end(&self) -> &str {
        self.version
            .steps
            .first()
            .and_then(|step| step.result.as_deref())
            .unwrap_or("null")
    }

    fn basiq(&self, updated: &str) -> Answer {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let steps = self.steps();
        let steps = steps.iter().map(|step| {
            let result = step.result.as_deref().unwrap_or("null");
            let (title, status) = (quoted(step.title), quoted(&step.status));
            match self.is_turned {
                true => format!(r#"{{"result":{result},"status":{status},"title":{title}}}"#),
                false => format!(r#"{{"title":{title},"status":{status},"result":{result}}}"#),
            }
        });
        let steps = steps.collect::<Vec<_>>().join(",");
        let id = quoted(self.id);
        Answer::json(
            200,
            format!(
                r#"{{"type":"job","id":{id},"created":"{}","updated":"{updated}","steps":[{steps}],"links":{{"self":"/jobs/1"}}}}"#,
                date(EPOCH)
            ),
        )
    }

    fn http_status(&self) -> Answer {
        let status = self.word().parse().unwrap_or(500);
        match (status, self.version.verdict) {
            // The status alone says that it is not the end.
            (202, _) => Answer::json(202, r#"{"rows":12000}"#.to_owned()),
            (201 | 303, _) => Answer {
                status,
                headers: vec![("location", "/reports/9".to_owned())],
                body: String::new(),
            },
            (204, _) => Answer {
                status,
                headers: Vec::new(),
                body: String::new(),
            },
            (_, Verdict::Failed(_)) => Answer::json(status, self.end().to_owned()),
            _ => Answer::json(status, r#"{"rows":12000}"#.to_owned()),
        }
    }

    fn azure(&self, updated: &str) -> Answer {
        let (id, word) = (self.id, self.word());
        let end = match self.version.verdict {
            Verdict::Running => String::new(),
            Verdict::Success => format!(r#","properties":{}"#, self.end()),
            Verdict::Failed(_) => format!(r#","error":{}"#, self.end()),
        };
        Answer::json(
            200,
            format!(
                r#"{{"id":"/operations/{id}","name":"{id}","status":"{word}","lastUpdatedDateTime":"{updated}"{end}}}"#
            ),
        )
    }

    fn google(&self, updated: &str) -> Answer {
        let (id, done) = (self.id, self.word());
        let end = match self.version.verdict {
            Verdict::Running => String::new(),
            Verdict::Success => format!(r#","response":{}"#, self.end()),
            Verdict::Failed(_) => format!(r#","error":{}"#, self.end()),
        };
        Answer::json(
            200,
            format!(
                r#"{{"name":"projects/p/operations/{id}","metadata":{{"updateTime":"{updated}"}},"done":{done}{end}}}"#
            ),
        )
    }

    fn openai(&self) -> Answer {
        let (id, word) = (self.id, self.word());
        let errors = match self.version.verdict {
            Verdict::Failed(_) => {
                serde_json::json!({"data": [{"code": CODE, "message": TITLE, "detail": DETAIL}]})
                    .to_string()
            }
            _ => "null".to_owned(),
        };
        let files = match self.version.verdict {
            Verdict::Running => r#""output_file_id":null,"error_file_id":null"#,
            _ => {
                r#""output_file_id":"file-1","error_file_id":null,"request_counts":{"total":9,"completed":9,"failed":0}"#
            }
        };
        Answer::json(
            200,
            format!(
                r#"{{"id":"{id}","object":"batch","status":"{word}","errors":{errors},{files}}}"#
            ),
        )
    }

    fn any(&self, updated: &str) -> Answer {
        let word = match self.word() {
            "7" => "7".to_owned(),
            word => format!("\"{word}\""),
        };
        let why = match self.version.verdict {
            Verdict::Failed(_) => {
                serde_json::json!([{"id": CODE, "text": TITLE, "more": DETAIL}]).to_string()
            }
            _ => "[]".to_owned(),
        };
        Answer::json(
            200,
            format!(r#"{{"job":{{"state":{word},"why":{why},"changed":"{updated}"}}}}"#),
        )
    }
}

/// An error of the API in its own words.
pub(crate) fn error(dialect: &str, status: u16, code: &str) -> Answer {
    let body = match dialect {
        "basiq" => serde_json::json!({
            "type": "list", "correlationId": "1",
            "data": [{"type": "error", "code": code, "title": "No.", "detail": "Not this one."}]
        }),
        "json" => serde_json::json!({"job": {"why": [{"id": code, "text": "No."}]}}),
        _ => serde_json::json!({"error": {"code": code, "message": "No."}}),
    };
    Answer::json(status, body.to_string())
}

/// RFC 3339 with milliseconds, of Unix milliseconds.
fn date(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (hours, seconds) = (rest / 3_600_000, rest / 1000);
    let (minutes, millis) = (seconds / 60 % 60, rest % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{:02}.{millis:03}Z",
        seconds % 60
    )
}

/// The date of RFC 9110, of Unix milliseconds.
pub(crate) fn http_date(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let names = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let name = names[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
    let month = months[usize::try_from(month - 1).unwrap_or(0)];
    let (hours, seconds) = (rest / 3_600_000, rest / 1000);
    let minutes = seconds / 60 % 60;
    format!(
        "{name}, {day:02} {month} {year:04} {hours:02}:{minutes:02}:{:02} GMT",
        seconds % 60
    )
}

/// Year, month and day of a day since 1970, by counting: the simulation stays within a few years.
fn civil(mut days: i64) -> (i64, i64, i64) {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

/// The time that [`date`] has written, in microseconds since the beginning.
pub(crate) fn undated(text: &str) -> Option<Time> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // No run takes longer than a few days.
    let first = EPOCH / 86_400_000;
    let days = (first - 10..first + 50).find(|days| civil(*days) == (year, month, day))?;
    let seconds = (number(11, 13)? * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let millis = days * 86_400_000 + seconds * 1000 + number(20, 23)?;
    u64::try_from(millis - EPOCH).ok().map(|since| since * MS)
}
