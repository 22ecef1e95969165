//! `manual`: the page jobtrackd(1). Commands and options are those of the program; the rest is written by hand.

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::screen::print;

/// Without a day, so that the page changes only with its content.
const TITLE: &str = concat!(
    ".TH JOBTRACKD 1 \"\" \"jobtrackd ",
    env!("CARGO_PKG_VERSION"),
    "\" \"User Commands\"\n"
);

const SYNOPSIS: &str = ".SH SYNOPSIS\n\\fBjobtrackd\\fR [\\fB\\-\\-config\\fR \\fIFILE\\fR] \\fICOMMAND\\fR [\\fIARGUMENT\\fR...]\n";

/// The sections that are not about commands and options, in roff.
const WRITTEN: &str = include_str!("manual.roff");

/// The beginning of options as clap renders them; the lines before it do not belong into the middle of a page.
const OPTIONS: &str = ".SH OPTIONS\n";

/// Prints the page.
pub(super) fn run(command: Command) -> anyhow::Result<()> {
    print(&page(command)?)
}

fn page(command: Command) -> anyhow::Result<String> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut name = Vec::new();
    Man::new(command.clone()).render_name_section(&mut name)?;
    let mut page = TITLE.to_owned();
    page.push_str(&String::from_utf8(name)?);
    page.push_str(SYNOPSIS);
    page.push_str(OPTIONS);
    page.push_str(&options(&command)?);
    page.push_str(".SH COMMANDS\n");
    describe_below(&command, &mut page)?;
    page.push_str(WRITTEN);
    Ok(page)
}

/// A command that the help leaves out and the page has: it is for those who read pages.
const UNLISTED: &str = "bench";

/// All commands below this one, and those below them.
fn describe_below(command: &Command, page: &mut String) -> anyhow::Result<()> {
    let is_shown = |each: &&Command| !each.is_hide_set() || each.get_name() == UNLISTED;
    for command in command.get_subcommands().filter(is_shown) {
        // Global options are listed once, at the top.
        let own = |arg: Arg| {
            let anywhere = arg.is_global_set() || arg.get_id() == "help";
            let is_hidden = anywhere || arg.is_hide_set();
            arg.hide(is_hidden)
        };
        let mut command = command.clone().mut_args(own);
        page.push_str(&heading(&mut command)?);
        page.push_str(&options(&command)?);
        page.push_str(&examples(&command)?);
        describe_below(&command, page)?;
    }
    Ok(())
}

fn heading(command: &mut Command) -> anyhow::Result<String> {
    let usage = command.render_usage().to_string();
    let about = command.get_long_about().or_else(|| command.get_about());
    let mut roff = Roff::new();
    roff.control("SS", [usage.trim_start_matches("Usage: ").trim()]);
    roff.text([roman(about.map(ToString::to_string).unwrap_or_default())]);
    written(&roff)
}

/// The options as clap_mangen sets them, without its heading.
fn options(command: &Command) -> anyhow::Result<String> {
    let mut section = Vec::new();
    Man::new(command.clone()).render_options_section(&mut section)?;
    let section = String::from_utf8(section)?;
    let (_, options) = section.split_once(OPTIONS).unwrap_or_default();
    Ok(options.to_owned())
}

/// What the help says after the options. Lines that are indented stay lines.
fn examples(command: &Command) -> anyhow::Result<String> {
    let help = command.get_after_long_help().or(command.get_after_help());
    let Some(help) = help else {
        return Ok(String::new());
    };
    let mut roff = Roff::new();
    roff.control("PP", []);
    let mut verbatim = false;
    for line in help.to_string().lines() {
        if verbatim != line.starts_with(' ') {
            verbatim = !verbatim;
            roff.control(if verbatim { "nf" } else { "fi" }, []);
        }
        if line.trim().is_empty() {
            roff.control("PP", []);
        } else {
            roff.text([roman(line)]);
        }
    }
    roff.control("fi", []);
    written(&roff)
}

fn written(roff: &Roff) -> anyhow::Result<String> {
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(String::from_utf8(text)?)
}
