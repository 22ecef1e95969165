//! What is said at the end: a table of jobs, sums, and the checks.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::checks::Check;
use super::evidence::{Case, Evidence};
use super::paint::{Paint, kind_word};
use crate::core::delivery::DeliveryState;

/// The most lines said of one check that failed.
const MAX_LINES: usize = 10;

/// The columns where there is room, and on a narrow terminal.
const WIDE: [&str; 10] = [
    "job",
    "kind",
    "end",
    "steps",
    "transitions",
    "requests",
    "events",
    "deliveries",
    "attempts",
    "signatures",
];
const NARROW: [&str; 10] = [
    "job", "kind", "end", "steps", "trans.", "polls", "events", "deliv.", "tries", "signed",
];

/// The narrowest terminal on which the wide columns stand without breaks, in characters.
const ROOM: u16 = 128;

/// Where the column stands that a narrow terminal has no room for.
const KIND: usize = 1;

/// A line under the header, and nothing else.
const STYLE: TableStyle = TableStyle::new().header_separator(LineStyle::new('─', '─', '─', '─'));

/// Columns that hold numbers start here.
const NUMBERS: usize = 3;

/// The whole report.
pub(super) fn text(evidence: &Evidence, checks: &[Check], paint: Paint) -> String {
    let mut text = format!("{}\n\n", table(evidence));
    let sums = Sums::of(evidence);
    // Writing to a String never fails.
    let _ = writeln!(
        text,
        "{} jobs, {} transitions, {} events; {} requests to the API with {} tokens\n\
         {} deliveries in {} attempts ({} refused and tried again), {} of {} signatures verified\n",
        evidence.cases.len(),
        sums.transitions,
        sums.events,
        evidence.totals.requests,
        evidence.totals.tokens,
        sums.delivered,
        sums.attempts,
        sums.attempts.saturating_sub(sums.delivered),
        sums.verified,
        sums.received,
    );
    for check in checks {
        let mark = if check.missing.is_empty() {
            paint.green("✓")
        } else {
            paint.red("✗")
        };
        let _ = writeln!(text, "{mark} {}", check.promise);
        for problem in check.missing.iter().take(MAX_LINES) {
            let _ = writeln!(text, "    {problem}");
        }
        if let Some(more) = check
            .missing
            .len()
            .checked_sub(MAX_LINES)
            .filter(|more| *more > 0)
        {
            let _ = writeln!(text, "    and {more} more");
        }
    }
    text
}

/// What is added up, of one job or of all.
#[derive(Default)]
struct Sums {
    transitions: usize,
    events: usize,
    delivered: usize,
    deliveries: usize,
    attempts: usize,
    received: usize,
    verified: usize,
}

impl Sums {
    fn of(evidence: &Evidence) -> Self {
        let mut all = Self::default();
        for case in &evidence.cases {
            all.add(case);
        }
        all
    }

    fn add(&mut self, case: &Case) {
        if let Some(detail) = &case.detail {
            let delivered = |state: DeliveryState| state == DeliveryState::Delivered;
            let rows = detail.deliveries.iter();
            self.transitions += detail.transitions.len();
            self.events += detail.events.len();
            self.delivered += rows.filter(|row| delivered(row.state)).count();
            self.deliveries += detail.deliveries.len();
            self.attempts += detail.attempts.len();
        }
        self.received += case.received.len();
        let verified = case
            .received
            .iter()
            .filter(|request| request.signature.is_ok());
        self.verified += verified.count();
    }
}

fn table(evidence: &Evidence) -> Table {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_content_arrangement(ContentArrangement::Dynamic);
    let narrow = table.width().is_some_and(|width| width < ROOM);
    let cells = |texts: [String; WIDE.len()]| {
        texts
            .into_iter()
            .enumerate()
            .filter(|(index, _)| !narrow || *index != KIND)
            .map(|(index, text)| cell(index, text))
            .collect::<Vec<_>>()
    };
    let headers = if narrow { NARROW } else { WIDE };
    table.set_header(cells(headers.map(str::to_owned)));
    for case in &evidence.cases {
        table.add_row(cells(row(case, narrow)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 1));
    }
    table
}

fn cell(index: usize, text: String) -> Cell {
    Cell::new(text).set_alignment(if index < NUMBERS {
        CellAlignment::Left
    } else {
        CellAlignment::Right
    })
}

fn row(case: &Case, narrow: bool) -> [String; WIDE.len()] {
    let mut sums = Sums::default();
    sums.add(case);
    let summary = case.detail.as_ref().map(|detail| &detail.summary);
    let end = match summary.map(|summary| (&summary.failure, summary.row.state)) {
        None => "not enqueued".to_owned(),
        Some((Some(failure), _)) if narrow => kind_word(failure.kind).to_owned(),
        Some((Some(failure), _)) => format!("failed: {}", kind_word(failure.kind)),
        Some((None, state)) => state.to_string(),
    };
    let steps: Vec<&str> = summary
        .iter()
        .flat_map(|summary| &summary.steps)
        .map(|step| step.status.as_str())
        .filter(|status| *status != "missing")
        .collect();
    let done = steps
        .iter()
        .filter(|status| matches!(**status, "success" | "skipped"));
    [
        case.role.id.to_owned(),
        case.role.about.to_owned(),
        end,
        format!("{}/{}", done.count(), steps.len()),
        sums.transitions.to_string(),
        case.requests.len().to_string(),
        sums.events.to_string(),
        format!("{}/{}", sums.delivered, sums.deliveries),
        sums.attempts.to_string(),
        format!("{}/{}", sums.verified, sums.received),
    ]
}
