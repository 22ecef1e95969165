//! Who may send requests: the tokens, and the sessions of browsers that were opened with one of them.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::StatusSettings;
use super::settings::Permission;
use super::token::{SessionKey, Token};
use crate::core::text::push_hex;
use crate::core::time::UnixMillis;

/// How the names of cookies begin; the key makes the rest, since all ports of a host share their cookies.
const COOKIE: &str = "jobtrackd_";

/// How long a session lives after its cookie was issued.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// The age from which a cookie is renewed by the next page.
const RENEWED_AFTER: Duration = Duration::from_secs(3600);

/// How far the clock may have been set back since a cookie was issued.
const CLOCK: Duration = Duration::from_secs(300);

/// Who sends a request.
#[derive(Debug, Clone)]
pub(super) struct Operator {
    /// The name of the token, or `local` where none is required.
    pub(super) name: Arc<str>,
    /// Whether requests may change something.
    pub(super) may_act: bool,
    /// Whether there is a session to end.
    pub(super) can_sign_out: bool,
    /// The cookie to answer with, of a session that is not new any more.
    pub(super) renewed: Option<String>,
    /// Cancelled when a reload takes the permission away; streams end with it.
    pub(super) end: CancellationToken,
}

/// Which requests are permitted; can be changed while the server runs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access(pub(super) Arc<RwLock<Rules>>);

/// The rules of the present configuration.
#[derive(Debug)]
pub(super) struct Rules {
    tokens: Vec<Named>,
    /// The end of those who have no token, and need none.
    end: CancellationToken,
    hosts: Vec<String>,
    pub(super) dashboard: bool,
}

/// Follows the time in a cookie that is for https alone.
const SECURE: char = 's';

#[derive(Debug)]
struct Named {
    name: Arc<str>,
    token: Token,
    key: SessionKey,
    cookie: String,
    permission: Permission,
    end: CancellationToken,
}

impl Access {
    /// From the settings.
    #[must_use]
    pub fn new(settings: &StatusSettings) -> Self {
        Self(Arc::new(RwLock::new(Rules::new(settings))))
    }

    /// Applies these settings from the next request on. Sessions and streams of tokens that are not the same any more have
    /// ended.
    pub fn renew(&self, settings: &StatusSettings) {
        let mut rules = self.0.write();
        let mut new = Rules::new(settings);
        new.take_over(&rules);
        *rules = new;
    }

    /// The cookie of a new session for whoever has this token.
    pub(super) fn open(
        &self,
        token: &str,
        secure: bool,
        now: UnixMillis,
    ) -> Option<(Arc<str>, String)> {
        let rules = self.0.read();
        let named = rules.named(token)?;
        Some((Arc::clone(&named.name), named.cookie(secure, now)))
    }

    /// The cookies that end the sessions of a browser. Only those that it has sent: their names follow from tokens.
    pub(super) fn closed(&self, headers: &HeaderMap) -> Vec<String> {
        let rules = self.0.read();
        let known = |name: &&str| rules.tokens.iter().any(|named| named.cookie == *name);
        let names = cookies(headers).map(|(name, _)| name).filter(known);
        names.map(|name| cookie(name, "", 0, false)).collect()
    }
}

impl Rules {
    fn new(settings: &StatusSettings) -> Self {
        let own = settings.token.iter();
        let own = own.map(|token| ("token", token, Permission::Operate));
        let others = settings.tokens.iter();
        let others = others.map(|each| (each.name.as_str(), &each.token, each.permission));
        let named = own.chain(others).map(|(name, token, permission)| {
            let key = SessionKey::of(token);
            let mut cookie = COOKIE.to_owned();
            push_hex(&mut cookie, &key.code("cookie")[..4]);
            Named {
                name: name.into(),
                token: Token::new(token),
                key,
                cookie,
                permission,
                end: CancellationToken::new(),
            }
        });
        Self {
            tokens: named.collect(),
            end: CancellationToken::new(),
            hosts: settings.hosts.clone(),
            dashboard: settings.dashboard,
        }
    }

    /// Who had a permission and still has it keeps their streams; those of others end.
    fn take_over(&mut self, before: &Self) {
        match self.tokens.is_empty() {
            true => self.end.clone_from(&before.end),
            false => before.end.cancel(),
        }
        for old in &before.tokens {
            match self.tokens.iter_mut().find(|new| new.is_as(old)) {
                Some(new) => new.end.clone_from(&old.end),
                None => old.end.cancel(),
            }
        }
    }

    /// Who has sent a request with these headers; `None` when a token is required and there is none. A session is only for
    /// pages.
    pub(super) fn operator(
        &self,
        headers: &HeaderMap,
        is_page: bool,
        now: UnixMillis,
    ) -> Option<Operator> {
        if self.tokens.is_empty() {
            return Some(Operator {
                name: "local".into(),
                may_act: true,
                can_sign_out: false,
                renewed: None,
                end: self.end.clone(),
            });
        }
        let presented = only(headers, &header::AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        if let Some(named) = presented.and_then(|token| self.named(token)) {
            return Some(named.operator(false, None));
        }
        is_page.then(|| self.of_session(headers, now)).flatten()
    }

    /// Every token is compared, so that the time does not say which one is nearly right.
    fn named(&self, token: &str) -> Option<&Named> {
        let mut found = None;
        for named in &self.tokens {
            if named.token.is(token) {
                found = Some(named);
            }
        }
        found
    }

    fn of_session(&self, headers: &HeaderMap, now: UnixMillis) -> Option<Operator> {
        cookies(headers).find_map(|(name, value)| {
            let named = self.tokens.iter().find(|each| each.cookie == name)?;
            named.session(value, now)
        })
    }

    pub(super) fn has_host(&self, name: &str) -> bool {
        self.hosts
            .iter()
            .any(|host| host.eq_ignore_ascii_case(name))
    }
}

impl Named {
    fn operator(&self, can_sign_out: bool, renewed: Option<String>) -> Operator {
        Operator {
            name: Arc::clone(&self.name),
            may_act: self.permission == Permission::Operate,
            can_sign_out,
            renewed,
            end: self.end.clone(),
        }
    }

    /// Whether it is the same name, token and permission.
    fn is_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.permission == other.permission
            && self.key.is("same", &other.key.code("same"))
    }

    fn session(&self, value: &str, now: UnixMillis) -> Option<Operator> {
        let (issued, code) = value.split_once('~')?;
        let code = URL_SAFE_NO_PAD.decode(code).ok()?;
        let seconds = issued.strip_suffix(SECURE).unwrap_or(issued);
        let issued_at = UnixMillis(seconds.parse::<i64>().ok()?.checked_mul(1000)?);
        let is_valid = self.key.is(issued, &code)
            && now < issued_at.plus(SESSION)
            && issued_at <= now.plus(CLOCK);
        let is_old = now.since(issued_at) > RENEWED_AFTER;
        is_valid.then(|| {
            let renewed = is_old.then(|| self.cookie(issued.ends_with(SECURE), now));
            self.operator(true, renewed)
        })
    }

    /// The cookie holds a time, whether it is for https alone, and a code that only who knows the token can make.
    fn cookie(&self, secure: bool, now: UnixMillis) -> String {
        let mut issued = now.seconds().to_string();
        if secure {
            issued.push(SECURE);
        }
        let code = URL_SAFE_NO_PAD.encode(self.key.code(&issued));
        cookie(
            &self.cookie,
            &format!("{issued}~{code}"),
            SESSION.as_secs(),
            secure,
        )
    }
}

/// The names and values of all cookies of a request.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
}

fn cookie(name: &str, value: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Whether the browser reached us by https, as its `Origin` or a proxy says. It can only make a cookie stricter.
pub(super) fn is_secure(headers: &HeaderMap) -> bool {
    const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-proto");
    let origin = only(headers, &header::ORIGIN).unwrap_or_default();
    origin.starts_with("https://") || only(headers, &FORWARDED) == Some("https")
}

/// The only header of this name, when it is text.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}
