//! The way to the API, step by step: name, connection, TLS, credentials, answer; and what time it is there.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use url::{Host, Url};

use super::{Finding, Level};
use crate::cli::text::brief;
use crate::clock::{Clock, Jitter};
use crate::core::time::UnixMillis;
use crate::sockets::Sockets;
use crate::upstream::{AnswerMemory, CheckError, TokenTrouble, Upstream, UpstreamSettings};

/// Longest wait for a name, and for a connection.
const LIMIT: Duration = Duration::from_secs(5);

/// Most addresses of a name that are tried.
const ADDRESSES: usize = 4;

/// A clock this far off is a warning.
const OFF: Duration = Duration::from_secs(30);

/// A clock this far off makes receivers refuse signatures.
const REFUSED: Duration = Duration::from_secs(5 * 60);

/// Asks the API for a job that is not there, and says which step fails.
pub(in crate::cli) async fn look(settings: &UpstreamSettings, clock: &Clock) -> Vec<Finding> {
    let base = &settings.base_url;
    let addresses = match addresses(base).await {
        Ok(addresses) => addresses,
        Err(error) => {
            return vec![Finding::problem(
                "upstream.name",
                format!("{} is not found: {error}", host(base)),
                format!(
                    "no job can be polled; is the name right, does this machine resolve names? Run: getent hosts {}; cat \
                     /etc/resolv.conf",
                    host(base)
                ),
            )];
        }
    };
    if let Err(error) = connect(&addresses).await {
        return vec![Finding::problem(
            "upstream.connection",
            format!("{} does not take a connection: {error}", host(base)),
            format!(
                "no job can be polled: the API is down, or a firewall is in the way; run: curl -sv -o /dev/null {}",
                shown(base)
            ),
        )];
    }
    let upstream = match Upstream::new(
        settings,
        clock.clone(),
        Jitter::system(),
        Sockets::default(),
        AnswerMemory::default(),
    ) {
        Ok(upstream) => upstream,
        Err(error) => {
            return vec![Finding::problem(
                "upstream.client",
                error.to_string(),
                "the daemon does not start; correct [upstream], or install the package ca-certificates",
            )];
        }
    };
    let answer = match upstream.check().await {
        Ok(checked) => Finding::ok("upstream.answer", checked.summary),
        Err(error) => wrong(&error, base),
    };
    let mut findings = vec![answer];
    findings.extend(upstream.clock_ahead().map(ahead));
    findings
}

/// Nothing is sent to an API that asked for that.
pub(in crate::cli) fn resting(until: UnixMillis) -> Finding {
    Finding::note(
        "upstream.pause",
        format!("the API asked to be left alone until {until}, so it was not asked"),
        "polls go on by themselves then; to end the pause now, run: jobtrackd resume. If it happens often, set \
         upstream.requests_per_second",
    )
}

fn wrong(error: &CheckError, base: &Url) -> Finding {
    let look = shown(base);
    let key = "the key of [upstream] is wrong, revoked, or another environment's; put the right one in place and run: \
               systemctl restart jobtrackd";
    let wait =
        "polls wait and go on by themselves; if it happens often, set upstream.requests_per_second";
    let answer = |advice: String| ("upstream.answer", advice);
    let credentials = |advice: &str| ("upstream.credentials", advice.to_owned());
    let (check, advice) = match error {
        CheckError::Token(token) => match &token.trouble {
            TokenTrouble::Refused { .. } => credentials(key),
            TokenTrouble::TooMany { .. } | TokenTrouble::Throttled { .. } => {
                ("upstream.throttled", wait.to_owned())
            }
            TokenTrouble::Unavailable(trouble)
                if trouble.class == crate::core::poll::TroubleClass::Connect =>
            {
                no_connection(base)
            }
            TokenTrouble::Unavailable(_) => answer(format!(
                "no token, no polls; is upstream.base_url right? Run: curl -sv -o /dev/null {look}"
            )),
        },
        CheckError::Refused(_) => credentials(key),
        CheckError::Forbidden(_) => credentials(
            "the key is good and not enough; ask the API's owner for the right to read jobs, or correct upstream.scope, \
             then run: systemctl reload jobtrackd",
        ),
        CheckError::Throttled(_) => ("upstream.throttled", wait.to_owned()),
        CheckError::NoConnection(_) => no_connection(base),
        CheckError::Target(_) => answer("correct upstream.base_url".to_owned()),
        CheckError::NotTheApi(_) => answer(format!(
            "no job is polled with success; correct upstream.base_url, or let polls through without the page. Run: curl -sv {look}"
        )),
        CheckError::NoAnswer(_) => answer(format!(
            "jobs are not polled with success; is upstream.base_url right, is the API up? Run: curl -sv -o /dev/null {look}"
        )),
    };
    Finding::problem(check, error.to_string(), advice)
}

/// The port took a connection a moment ago, so what is left is TLS.
fn no_connection(base: &Url) -> (&'static str, String) {
    if base.scheme() != "https" {
        let advice =
            "the API closed the connection; is it overloaded? Run it again: jobtrackd doctor";
        return ("upstream.connection", advice.to_owned());
    }
    let host = host(base);
    let port = base.port_or_known_default().unwrap_or(443);
    let advice = format!(
        "the port is open, so it is TLS: a certificate that is not valid for {host}, or of an authority this machine does \
         not know (package ca-certificates), or a clock far off; run: openssl s_client -connect {host}:{port} </dev/null"
    );
    ("upstream.tls", advice)
}

/// What the difference to the API's clock means, in milliseconds; positive when ours is ahead.
fn ahead(millis: i64) -> Finding {
    let check = "clock.upstream";
    let off = Duration::from_millis(millis.unsigned_abs());
    let direction = if millis >= 0 { "ahead of" } else { "behind" };
    let (level, says) = if off <= OFF {
        let says = "this clock and the API's agree".to_owned();
        return Finding::ok(check, says);
    } else if off <= REFUSED {
        (Level::Warning, String::new())
    } else {
        let says = "; receivers refuse signatures that are five minutes off".to_owned();
        (Level::Problem, says)
    };
    Finding::new(
        check,
        level,
        format!("this clock is {} {direction} the API's{says}", brief(off)),
        "deadlines, retries and signatures go by it; one of the two is wrong, compare with: date -u; then run: timedatectl \
         set-ntp true",
    )
}

fn host(base: &Url) -> String {
    base.host_str().unwrap_or_default().to_owned()
}

/// The base URL for a command line; it has neither user nor query, by configuration.
fn shown(base: &Url) -> String {
    base.to_string()
}

async fn addresses(base: &Url) -> Result<Vec<SocketAddr>, String> {
    let port = base.port_or_known_default().unwrap_or(443);
    let name = match base.host() {
        Some(Host::Ipv4(ip)) => return Ok(vec![(ip, port).into()]),
        Some(Host::Ipv6(ip)) => return Ok(vec![(ip, port).into()]),
        Some(Host::Domain(name)) => name,
        None => return Err("there is no host in upstream.base_url".to_owned()),
    };
    match timeout(LIMIT, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => {
            let found: Vec<SocketAddr> = found.take(ADDRESSES).collect();
            if found.is_empty() {
                return Err("the name has no address".to_owned());
            }
            Ok(found)
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// Whether any address takes a connection; else what the last of them said.
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
        assert!(ahead(-90_000).says.contains("1m 30s behind the API's"));
    }
}
