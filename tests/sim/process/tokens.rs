//! The token: requested once for all who wait, dropped when refused.

use jobtrackd_core::machines::gate::pauses;
use jobtrackd_core::time::{Monotonic, Now};

use super::{Out, Process, duration};
use crate::time::{MINUTE, Time};

#[derive(Debug)]
pub(super) struct Tokens {
    /// Whether tokens are granted; else one is good for ever.
    is_granted: bool,
    generation: u64,
    current: Option<Current>,
    /// Polls that wait for the one that is being requested.
    waiting: Vec<u64>,
    is_requested: bool,
    failures: u32,
    failed: Option<Failed>,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    /// The API's number of it.
    number: u64,
    renew_at: Monotonic,
    expires_at: Monotonic,
}

/// Why there is no token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
    pub(super) status: u16,
    pub(super) retry_at: Monotonic,
}

/// What a poll is sent with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token {
    /// The number of a token, if there is one, and its generation.
    Is(Option<u64>, u64),
    /// It is requested, and the poll waits for it.
    Wait,
    Failed(Failed),
}

impl Tokens {
    pub(super) fn new(is_granted: bool) -> Self {
        Self {
            is_granted,
            generation: 0,
            current: None,
            waiting: Vec::new(),
            is_requested: false,
            failures: 0,
            failed: None,
        }
    }

    /// A token of this generation was refused.
    pub(super) fn drop(&mut self, generation: u64) {
        if generation == self.generation {
            self.current = None;
        }
    }

    pub(super) fn forget(&mut self, poll: u64) {
        self.waiting.retain(|waiting| *waiting != poll);
    }

    pub(super) fn resume(&mut self) {
        self.failed.take_if(|failed| is_pause(failed.status));
    }
}

/// Whether the token endpoint asked for a pause, and did not refuse us.
fn is_pause(status: u16) -> bool {
    status == 403 || status == 429
}

impl Process {
    pub(super) fn token(&mut self, poll: u64, now: Now) -> Token {
        let tokens = &mut self.tokens;
        if !tokens.is_granted {
            return Token::Is(None, 0);
        }
        let valid = tokens
            .current
            .filter(|current| now.monotonic < current.expires_at);
        let rests = tokens
            .failed
            .filter(|failed| now.monotonic < failed.retry_at);
        match (valid, rests) {
            (Some(current), _)
                if now.monotonic < current.renew_at || rests.is_some() || tokens.is_requested =>
            {
                Token::Is(Some(current.number), tokens.generation)
            }
            (None, Some(failed)) if !tokens.is_requested => Token::Failed(failed),
            _ => {
                tokens.waiting.push(poll);
                if !std::mem::replace(&mut tokens.is_requested, true) {
                    self.out.push(Out::Grant);
                }
                Token::Wait
            }
        }
    }

    /// The token endpoint has answered.
    pub(super) fn granted(&mut self, result: Result<(u64, Time), u16>, now: Now) {
        let random = self.draws.fraction();
        let tokens = &mut self.tokens;
        tokens.is_requested = false;
        match result {
            Ok((number, life)) => {
                let life = duration(life);
                let early = (life / 5).min(duration(5 * MINUTE));
                tokens.generation += 1;
                tokens.failures = 0;
                tokens.failed = None;
                tokens.current = Some(Current {
                    number,
                    renew_at: now.monotonic.plus(life - early),
                    expires_at: now.monotonic.plus(life),
                });
            }
            Err(status) => {
                tokens.failures += 1;
                let pause = match status {
                    401 => pauses::grown(pauses::REFUSED, tokens.failures, random),
                    403 => pauses::lengthened(duration(5 * MINUTE), random),
                    _ => pauses::grown(pauses::THROTTLED, tokens.failures, random),
                };
                let retry_at = now.monotonic.plus(pause);
                tokens.failed = Some(Failed { status, retry_at });
            }
        }
        for poll in std::mem::take(&mut self.tokens.waiting) {
            self.request(poll, now);
        }
    }
}
