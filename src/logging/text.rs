//! Lines for people at a terminal.

use tracing::Level;

use super::line::Line;

const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Time, level, message and fields.
pub(super) fn shown(line: &Line, colours: bool) -> String {
    let (time, level, words) = (line.time, line.level, line.words());
    if colours {
        let colour = colour(level);
        format!("{DIM}{time}{PLAIN} {colour}{level:>5}{PLAIN} {words}\n")
    } else {
        format!("{time} {level:>5} {words}\n")
    }
}

fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}
