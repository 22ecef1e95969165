//! The way to the API, step by step: name, connection, TLS, credentials, answer; and the difference between the clocks.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use url::{Position, Url};

use super::{Finding, Level, note, ok, problem, within};
use crate::cli::session::upstream;
use crate::cli::steps;
use crate::cli::text::{brief, outside};
use crate::clock::Clock;
use crate::core::job::JobId;
use crate::core::poll::TroubleClass;
use crate::core::snapshot::{Snapshot, Verdict};
use crate::core::time::UnixMillis;
use crate::upstream::{CheckError, TokenTrouble, UpstreamSettings};

/// Most addresses of a name that are tried.
const ADDRESSES: usize = 4;

/// Most steps of a job that are shown.
const MOST_STEPS: usize = 20;

/// Longest status and result of a step that are shown, in characters.
const STEP_CHARS: usize = 200;

/// A clock this far off is a warning.
const OFF: Duration = Duration::from_secs(30);

/// A clock this far off makes receivers refuse signatures.
const REFUSED: Duration = Duration::from_secs(5 * 60);

/// Asks the API for a job that is not there, and says which step fails.
pub(in crate::cli) async fn probe(settings: &UpstreamSettings, clock: &Clock) -> Vec<Finding> {
    let urls = [Some(&settings.base_url), settings.auth.token_url()];
    for url in urls.into_iter().flatten() {
        if let Err(finding) = reached(url).await {
            return vec![finding];
        }
    }
    let upstream = match upstream(settings, clock) {
        Ok(upstream) => upstream,
        Err(error) => {
            let advice = "the daemon does not start; correct [upstream], or install the package ca-certificates";
            return vec![problem("upstream.client", error.to_string()).advise(advice)];
        }
    };
    let mut findings = vec![match upstream.check().await {
        Ok(checked) => ok("upstream.answer", checked.summary),
        Err(error) => failed(&error, settings),
    }];
    findings.extend(upstream.clock_ahead().map(ahead));
    findings
}

/// Whether the server in a URL is found and takes a connection.
async fn reached(url: &Url) -> Result<(), Finding> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(443);
    let addresses = addresses(host, port).await.map_err(|error| {
        let text = format!("{host} is not found: {error}");
        problem("upstream.name", text).advise(format!(
            "no job can be polled; is the name right, does this machine resolve names? Run: getent hosts {host}; cat \
             /etc/resolv.conf"
        ))
    })?;
    connect(&addresses).await.map_err(|error| {
        let text = format!("{host} does not take a connection: {error}");
        let url = shown(url);
        problem("upstream.connection", text).advise(format!(
            "no job can be polled: {host} is down, or a firewall is in the way; run: curl -sv -o /dev/null {url}"
        ))
    })
}

/// Without its query, which a shell would take apart.
fn shown(url: &Url) -> &str {
    &url[..Position::AfterPath]
}

/// What the dialect reads of a job.
pub(in crate::cli) async fn job(
    settings: &UpstreamSettings,
    clock: &Clock,
    id: &JobId,
    url: Option<&str>,
) -> Finding {
    let upstream = match upstream(settings, clock) {
        Ok(upstream) => upstream,
        Err(error) => return problem("job.answer", error.to_string()),
    };
    let dialect = settings.dialect.name();
    match upstream.read_job(id, url).await {
        Ok(snapshot) => ok(
            "job.answer",
            format!("{id}, read as {dialect}: {}", read(&snapshot)),
        ),
        Err(CheckError::Unreadable(wrong)) => {
            let at = upstream
                .target(id, url)
                .map(String::from)
                .unwrap_or_default();
            problem("job.answer", format!("{id} is not read as {dialect}: {wrong}")).advise(format!(
                "correct upstream.dialect, upstream.job_path or [upstream.json]; see what the API answers with: curl -s '{at}'"
            ))
        }
        Err(error @ (CheckError::NoSuchJob(_) | CheckError::Rejected(_))) => {
            let at = upstream
                .target(id, url)
                .map(String::from)
                .unwrap_or_default();
            problem("job.answer", format!("{id}: {error}"))
                .advise(format!("is the id right, and the address {at}?"))
        }
        Err(error) => Finding {
            check: "job.answer",
            ..failed(&error, settings)
        },
    }
}

/// The job and its steps in a line.
fn read(snapshot: &Snapshot) -> String {
    let state = match &snapshot.verdict {
        Verdict::Running => "it runs".to_owned(),
        Verdict::Success => "it has ended well".to_owned(),
        Verdict::Failed(failure) => format!("it has failed ({})", steps::failure_line(failure)),
    };
    let steps = snapshot.steps.iter().take(MOST_STEPS).map(|step| {
        let result = step
            .result
            .as_deref()
            .map(|json| format!(", result {}", outside(json, STEP_CHARS)));
        format!(
            "{} = {} ({}){}",
            steps::title(&step.title),
            outside(&step.status, STEP_CHARS),
            step.class.as_str(),
            result.unwrap_or_default()
        )
    });
    let steps: Vec<String> = steps.collect();
    match (steps.len(), snapshot.steps.len()) {
        (_, 0) => format!("{state}; no steps"),
        (shown, all) if shown < all => {
            format!("{state}; {} and {} more", steps.join(", "), all - shown)
        }
        _ => format!("{state}; {}", steps.join(", ")),
    }
}

/// Nothing is sent to an API that asked for a pause.
pub(in crate::cli) fn paused(until: UnixMillis) -> Finding {
    let text = format!("the API asked to be left alone until {until}, so it was not asked");
    note("upstream.pause", text).advise(
        "polls go on by themselves then; to end the pause now, run: jobtrackd resume. If it happens often, set \
         upstream.requests_per_second",
    )
}

fn failed(error: &CheckError, settings: &UpstreamSettings) -> Finding {
    const REFUSED: &str = "the key or client secret of [upstream] is wrong, revoked, or another environment's; put the right \
                           one in place and run: systemctl restart jobtrackd";
    const THROTTLED: &str =
        "polls wait and go on by themselves; if it happens often, set upstream.requests_per_second";
    let base = &settings.base_url;
    let (key, token_url) = match settings.auth.token_url() {
        Some(url) => ("token_url", url),
        None => ("base_url", base),
    };
    let found = |check, advice: &str| problem(check, error.to_string()).advise(advice);
    let no_answer = |advice: &str| found("upstream.answer", advice);
    match error {
        CheckError::Token(token) => match &token.trouble {
            TokenTrouble::Refused { .. } => found("upstream.credentials", REFUSED),
            TokenTrouble::TooMany { .. } | TokenTrouble::Throttled { .. } => {
                found("upstream.throttled", THROTTLED)
            }
            TokenTrouble::Unavailable(trouble) if trouble.class == TroubleClass::Connect => {
                no_connection(error, token_url)
            }
            TokenTrouble::Unavailable(_) => no_answer(&format!(
                "no token, no polls; is upstream.{key} right? Run: curl -sv -o /dev/null {}",
                shown(token_url)
            )),
        },
        CheckError::NotATokenEndpoint(_) => no_answer(&format!(
            "no token, no polls; correct upstream.token_url, or let requests through without the page. Run: curl -sv {}",
            shown(token_url)
        )),
        CheckError::Refused(_) => found("upstream.credentials", REFUSED),
        CheckError::Forbidden(_) => found(
            "upstream.credentials",
            "the key is good and not enough; ask the API's owner for the right to read jobs, or correct upstream.scope, then \
             run: systemctl reload jobtrackd",
        ),
        CheckError::Throttled(_) => found("upstream.throttled", THROTTLED),
        CheckError::NoConnection(_) => no_connection(error, base),
        CheckError::Target(_) => no_answer("correct upstream.base_url"),
        CheckError::NotTheApi(_) => no_answer(&format!(
            "no job is polled with success; correct upstream.base_url, or let polls through without the page. Run: curl -sv \
             {base}"
        )),
        CheckError::NoAnswer(_)
        | CheckError::NoSuchJob(_)
        | CheckError::Rejected(_)
        | CheckError::Unreadable(_) => no_answer(&format!(
            "jobs are not polled with success; is upstream.base_url right, is the API up? Run: curl -sv -o /dev/null {base}"
        )),
    }
}

/// The port took a connection a moment ago, so what is left is TLS.
fn no_connection(error: &CheckError, url: &Url) -> Finding {
    let host = url.host_str().unwrap_or_default();
    if url.scheme() != "https" {
        return problem("upstream.connection", error.to_string()).advise(format!(
            "{host} closed the connection; is it overloaded? Run it again: jobtrackd doctor"
        ));
    }
    let port = url.port_or_known_default().unwrap_or(443);
    problem("upstream.tls", error.to_string()).advise(format!(
        "the port is open, so it is TLS: a certificate that is not valid for {host}, or of an authority this machine does not \
         know (package ca-certificates), or a clock far off; run: openssl s_client -connect {host}:{port} </dev/null"
    ))
}

/// What the difference to the API's clock means, in milliseconds; positive when ours is ahead.
fn ahead(millis: i64) -> Finding {
    let check = "clock.upstream";
    let off = Duration::from_millis(millis.unsigned_abs());
    if off <= OFF {
        return ok(check, "this clock and the API's agree");
    }
    let direction = if millis >= 0 { "ahead of" } else { "behind" };
    let (level, more) = match off <= REFUSED {
        true => (Level::Warning, ""),
        false => (
            Level::Problem,
            "; receivers refuse signatures that are five minutes off",
        ),
    };
    let text = format!("this clock is {} {direction} the API's{more}", brief(off));
    Finding::new(check, level, text).advise(
        "deadlines, retries and signatures go by it; one of the two is wrong, compare with: date -u; then run: timedatectl \
         set-ntp true",
    )
}

async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found = within("no answer", lookup_host(format!("{host}:{port}"))).await?;
    let found: Vec<SocketAddr> = found.take(ADDRESSES).collect();
    match found.is_empty() {
        true => Err(io::Error::other("the name has no address")),
        false => Ok(found),
    }
}

/// Whether any address takes a connection; else the error of the last of them.
async fn connect(addresses: &[SocketAddr]) -> Result<(), String> {
    let mut last = String::new();
    for address in addresses {
        match within("none", TcpStream::connect(address)).await {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{address}: {error}"),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off_in_either_direction() {
        for (millis, level) in [
            (0, Level::Ok),
            (30_000, Level::Ok),
            (-30_000, Level::Ok),
            (30_001, Level::Warning),
            (-300_000, Level::Warning),
            (300_001, Level::Problem),
            (i64::MIN, Level::Problem),
        ] {
            assert_eq!(ahead(millis).level, level, "{millis}");
        }
        assert!(ahead(-90_000).text.contains("1m 30s behind the API's"));
    }
}
