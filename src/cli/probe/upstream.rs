//! The way to the API, step by step: name, connection, TLS, credentials, answer; and the difference between the clocks.
//! The first two are those of `upstream.token_url`, too, where there is one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use url::{Position, Url};

use super::{Finding, Level, note, ok, problem};
use crate::cli::session::upstream;
use crate::cli::text::brief;
use crate::clock::Clock;
use crate::core::poll::TroubleClass;
use crate::core::time::UnixMillis;
use crate::upstream::{CheckError, TokenTrouble, UpstreamSettings};

/// Longest wait for a name, and for a connection.
const LIMIT: Duration = Duration::from_secs(5);

/// Most addresses of a name that are tried.
const ADDRESSES: usize = 4;

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
    let addresses = addresses(url).await.map_err(|error| {
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
    let (check, advice) = match error {
        CheckError::Token(token) => match &token.trouble {
            TokenTrouble::Refused { .. } => ("upstream.credentials", REFUSED.to_owned()),
            TokenTrouble::TooMany { .. } | TokenTrouble::Throttled { .. } => {
                ("upstream.throttled", THROTTLED.to_owned())
            }
            TokenTrouble::Unavailable(trouble) if trouble.class == TroubleClass::Connect => {
                no_connection(token_url)
            }
            TokenTrouble::Unavailable(_) => (
                "upstream.answer",
                format!(
                    "no token, no polls; is upstream.{key} right? Run: curl -sv -o /dev/null {}",
                    shown(token_url)
                ),
            ),
        },
        CheckError::NotATokenEndpoint(_) => (
            "upstream.answer",
            format!(
                "no token, no polls; correct upstream.token_url, or let requests through without the page. Run: curl -sv {}",
                shown(token_url)
            ),
        ),
        CheckError::Refused(_) => ("upstream.credentials", REFUSED.to_owned()),
        CheckError::Forbidden(_) => (
            "upstream.credentials",
            "the key is good and not enough; ask the API's owner for the \
             right to read jobs, or correct upstream.scope, then run: systemctl reload jobtrackd"
                .to_owned(),
        ),
        CheckError::Throttled(_) => ("upstream.throttled", THROTTLED.to_owned()),
        CheckError::NoConnection(_) => no_connection(base),
        CheckError::Target(_) => ("upstream.answer", "correct upstream.base_url".to_owned()),
        CheckError::NotTheApi(_) => (
            "upstream.answer",
            format!(
                "no job is polled with success; correct upstream.base_url, or let polls through without the page. Run: curl -sv {base}"
            ),
        ),
        CheckError::NoAnswer(_) => (
            "upstream.answer",
            format!(
                "jobs are not polled with success; is upstream.base_url right, is the API up? Run: curl -sv -o /dev/null {base}"
            ),
        ),
    };
    problem(check, error.to_string()).advise(advice)
}

/// The port took a connection a moment ago, so what is left is TLS.
fn no_connection(url: &Url) -> (&'static str, String) {
    let host = url.host_str().unwrap_or_default();
    if url.scheme() != "https" {
        let advice = format!(
            "{host} closed the connection; is it overloaded? Run it again: jobtrackd doctor"
        );
        return ("upstream.connection", advice);
    }
    let port = url.port_or_known_default().unwrap_or(443);
    let advice = format!(
        "the port is open, so it is TLS: a certificate that is not valid for {host}, or of an authority this machine does not \
         know (package ca-certificates), or a clock far off; run: openssl s_client -connect {host}:{port} </dev/null"
    );
    ("upstream.tls", advice)
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

async fn addresses(url: &Url) -> Result<Vec<SocketAddr>, String> {
    let url = url.clone();
    let resolving = spawn_blocking(move || url.socket_addrs(|| None));
    let mut found = match timeout(LIMIT, resolving).await {
        Ok(resolved) => resolved
            .map_err(io::Error::from)
            .flatten()
            .map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no answer within {} s", LIMIT.as_secs())),
    };
    found.truncate(ADDRESSES);
    match found.is_empty() {
        true => Err("the name has no address".to_owned()),
        false => Ok(found),
    }
}

/// Whether any address takes a connection; else the error of the last of them.
async fn connect(addresses: &[SocketAddr]) -> Result<(), String> {
    let mut last = String::new();
    for address in addresses {
        last = match timeout(LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => format!("{address}: {error}"),
            Err(_) => format!("{address}: none within {} s", LIMIT.as_secs()),
        };
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
