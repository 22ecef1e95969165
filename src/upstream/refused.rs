//! Which URLs are never requested, by their text: parsers and servers read some of them in another way than people do.

use std::borrow::Cow;

/// Longest `jobs.url` in characters.
pub(super) const MAX_URL_LEN: usize = 2048;

/// Why the `url` of a job is never requested (docs/enqueuing.md, "The row").
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedUrl {
    /// Above 2048 characters.
    #[error("the url is longer than {MAX_URL_LEN} characters")]
    TooLong,
    /// Letters outside ASCII: they would be rewritten on the way.
    #[error("the url has characters outside ASCII; percent-encode them")]
    NotAscii,
    /// A parser would drop some of them silently.
    #[error("the url has control characters or spaces; percent-encode them")]
    ControlOrSpace,
    /// A parser would read it as `/`.
    #[error("the url has a backslash")]
    Backslash,
    /// Never sent, so it has no meaning here.
    #[error("the url has a fragment (#…)")]
    Fragment,
    /// Neither `/…` nor `http://…` nor `https://…`.
    #[error("the url is neither a path that starts with / nor an absolute http or https URL")]
    NotAbsolute,
    /// `//…` would name another host.
    #[error("the url starts with // and would name another host")]
    TwoSlashes,
    /// A user name or a password before the host.
    #[error("the url has a user name or password before its host")]
    Userinfo,
    /// `.` or `..` as a segment, percent-encoded or not.
    #[error("the path of the url has dot segments (. or .., also percent-encoded)")]
    DotSegment,
    /// Not a URL at all: a bad port, a bad host.
    #[error("the url cannot be parsed")]
    Unparsable,
    /// Scheme, host or port differ from those of `base_url`.
    #[error("the url's scheme, host or port is not that of upstream.base_url")]
    OtherOrigin,
    /// A URL made of `base_url` and the id would lie outside `base_url`'s path.
    #[error("the job's id leads out of the path of upstream.base_url")]
    OutsideBase,
}

/// Checks what no URL may have in it.
pub(super) fn check_characters(text: &str) -> Result<(), RefusedUrl> {
    if text.chars().nth(MAX_URL_LEN).is_some() {
        return Err(RefusedUrl::TooLong);
    }
    if !text.is_ascii() {
        return Err(RefusedUrl::NotAscii);
    }
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(RefusedUrl::ControlOrSpace);
    }
    if text.contains('\\') {
        return Err(RefusedUrl::Backslash);
    }
    if text.contains('#') {
        return Err(RefusedUrl::Fragment);
    }
    Ok(())
}

/// Checks the text itself, because a parser resolves dot segments and forgives missing slashes.
pub(super) fn check_parts(absolute: &str) -> Result<(), RefusedUrl> {
    let (scheme, rest) = absolute.split_once("://").ok_or(RefusedUrl::NotAbsolute)?;
    let http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    if !http || rest.starts_with('/') {
        return Err(RefusedUrl::NotAbsolute);
    }
    let before_query = rest.split('?').next().unwrap_or_default();
    let (authority, path) = before_query.split_once('/').unwrap_or((before_query, ""));
    if authority.contains('@') {
        return Err(RefusedUrl::Userinfo);
    }
    // Some servers decode %2f and %5c before they split it into segments.
    let path = match path.contains('%') {
        true => Cow::Owned(
            path.to_ascii_lowercase()
                .replace("%2e", ".")
                .replace("%2f", "/")
                .replace("%5c", "/"),
        ),
        false => Cow::Borrowed(path),
    };
    if path
        .split('/')
        .any(|segment| segment == "." || segment == "..")
    {
        return Err(RefusedUrl::DotSegment);
    }
    Ok(())
}
