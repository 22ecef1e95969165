//! Which URL a job is polled at: every one has the origin of `base_url`.

use url::Url;

use super::job_path::JobPath;
use super::refused::{RefusedUrl, check_characters, check_parts};
use crate::core::job::JobId;

/// Where the API is: every URL that is requested has its origin.
#[derive(Debug, Clone)]
pub struct Base {
    /// `base_url` with a path that ends in `/`.
    root: Url,
    jobs: JobPath,
}

/// Why `upstream.base_url` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "upstream.base_url is not an http or https URL with a host and without userinfo, query and fragment"
)]
pub struct UnusableBase;

impl Base {
    /// Takes `upstream.base_url`; its path is kept, with or without a `/` at its end.
    ///
    /// # Errors
    /// [`UnusableBase`] unless it is http or https, has a host, and has no userinfo, query or fragment.
    pub fn new(base_url: &Url, jobs: &JobPath) -> Result<Self, UnusableBase> {
        let plain = base_url.username().is_empty()
            && base_url.password().is_none()
            && base_url.query().is_none()
            && base_url.fragment().is_none();
        let http = matches!(base_url.scheme(), "http" | "https") && base_url.has_host();
        if !(plain && http) {
            return Err(UnusableBase);
        }
        let mut root = base_url.clone();
        root.path_segments_mut()
            .map_err(|()| UnusableBase)?
            .pop_if_empty()
            .push("");
        Ok(Self {
            root,
            jobs: jobs.clone(),
        })
    }

    /// The URL a job is polled at: `url` when the row has one, else `upstream.job_path` with its id below `base_url`.
    ///
    /// A `url` is a path that starts with exactly one `/` (a query is allowed; it is resolved against the origin, not
    /// against `base_url`'s path), or an absolute URL of `base_url`'s origin.
    ///
    /// # Errors
    /// [`RefusedUrl`] says why the URL is never requested.
    pub fn job_url(&self, id: &JobId, url: Option<&str>) -> Result<Url, RefusedUrl> {
        match url {
            Some(text) => self.link_url(text),
            None => self.made_of(id),
        }
    }

    /// Where tokens are requested: `{base_url}/token`.
    #[must_use]
    pub fn token_url(&self) -> Url {
        let mut url = self.root.clone();
        // The root got a path when it was made, so this never is a URL without one.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("token");
        }
        url
    }

    /// Whether `url` has the origin of `base_url`: same scheme, host and port, default ports filled in.
    #[must_use]
    pub fn owns(&self, url: &Url) -> bool {
        same_origin(url, &self.root)
    }

    /// `base_url` with a path that ends in `/`.
    pub(super) fn root(&self) -> &Url {
        &self.root
    }

    /// An id has no character with a meaning in URLs and is not only dots, so it cannot change what the template means: that was
    /// checked once. Neither scheme and host nor dot segments are looked at again for every poll.
    fn made_of(&self, id: &JobId) -> Result<Url, RefusedUrl> {
        let url = self.jobs.below(&self.root, id);
        match url.path().starts_with(self.root.path()) {
            true => Ok(url),
            false => Err(RefusedUrl::OutsideBase),
        }
    }

    /// The URL a link of the API leads to, by the rules of [`Base::job_url`].
    ///
    /// # Errors
    /// [`RefusedUrl`] says why it is never requested.
    pub fn link_url(&self, text: &str) -> Result<Url, RefusedUrl> {
        check_characters(text)?;
        let absolute = if text.starts_with("//") {
            return Err(RefusedUrl::TwoSlashes);
        } else if text.starts_with('/') {
            format!("{}{text}", self.root.origin().ascii_serialization())
        } else {
            text.to_owned()
        };
        check_parts(&absolute)?;
        let url = Url::parse(&absolute).map_err(|_| RefusedUrl::Unparsable)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(RefusedUrl::Userinfo);
        }
        if !self.owns(&url) {
            return Err(RefusedUrl::OtherOrigin);
        }
        Ok(url)
    }
}

/// Whether two URLs have the same scheme, host and port, default ports filled in.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    // Called several times per poll, so without `Url::origin`, which copies scheme and host.
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::upstream::InvalidJobPath;
    use crate::upstream::refused::MAX_URL_LEN;

    fn base(text: &str) -> Base {
        let jobs = JobPath::parse("/jobs/{id}").unwrap();
        Base::new(&Url::parse(text).unwrap(), &jobs).unwrap()
    }

    fn polled_at(base_url: &str, url: Option<&str>) -> Result<String, RefusedUrl> {
        let id = JobId::parse("61723").unwrap();
        base(base_url).job_url(&id, url).map(String::from)
    }

    #[test]
    fn a_job_without_url_is_polled_below_the_path_of_base_url() {
        for (base_url, expected) in [
            ("https://h", "https://h/jobs/61723"),
            ("https://h/", "https://h/jobs/61723"),
            ("https://h/api", "https://h/api/jobs/61723"),
            ("https://h/api/", "https://h/api/jobs/61723"),
            ("https://h/a/b%20c/", "https://h/a/b%20c/jobs/61723"),
            ("https://h:443/", "https://h/jobs/61723"),
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090/jobs/61723"),
            ("http://[::1]:9090/x", "http://[::1]:9090/x/jobs/61723"),
        ] {
            assert_eq!(polled_at(base_url, None).as_deref(), Ok(expected));
        }
        assert_eq!(
            base("https://h/api").token_url().as_str(),
            "https://h/api/token"
        );
        assert_eq!(base("https://h").token_url().as_str(), "https://h/token");
    }

    #[test]
    fn an_id_takes_its_place_in_the_template_and_changes_nothing_else() {
        let made = |template: &str, id: &str| {
            let jobs = JobPath::parse(template)?;
            let base = Base::new(&Url::parse("https://h/api/").unwrap(), &jobs).unwrap();
            let url = base.job_url(&JobId::parse(id).unwrap(), None);
            url.map(String::from).map_err(InvalidJobPath::Refused)
        };
        for (template, id, expected) in [
            ("/{id}", "a.b~c-_1", "https://h/api/a.b~c-_1"),
            ("/ops/{id}?v=1", "7", "https://h/api/ops/7?v=1"),
            ("/ops?id={id}&v=1?", "7", "https://h/api/ops?id=7&v=1?"),
            ("/a%20b/x{id}y", "..z", "https://h/api/a%20b/x..zy"),
            ("/.{id}", "a", "https://h/api/.a"),
        ] {
            assert_eq!(made(template, id).as_deref(), Ok(expected));
        }
        for template in ["/%2{id}", "/%{id}e", "/../{id}", "/{id}#x"] {
            let refused = made(template, "e.");
            assert!(
                matches!(refused, Err(InvalidJobPath::Refused(_))),
                "{template}"
            );
        }
    }

    #[test]
    fn urls_of_the_same_origin_are_polled_as_they_are() {
        for (base_url, url, expected) in [
            ("https://h/api", "/v2/jobs/7", "https://h/v2/jobs/7"),
            (
                "https://h/api",
                "/v2/jobs/7?a=..&b=//x/..",
                "https://h/v2/jobs/7?a=..&b=//x/..",
            ),
            ("https://h", "/", "https://h/"),
            ("https://h", "/a//b", "https://h/a//b"),
            ("https://h", "/a@b/...", "https://h/a@b/..."),
            ("https://h", "/%252e%252e/x", "https://h/%252e%252e/x"),
            ("https://h", "https://h/jobs/7", "https://h/jobs/7"),
            ("https://h", "HTTPS://H:443/jobs/7", "https://h/jobs/7"),
            (
                "https://h:8443",
                "https://h:8443?x=1",
                "https://h:8443/?x=1",
            ),
            (
                "http://127.0.0.1:80",
                "http://127.0.0.1/x",
                "http://127.0.0.1/x",
            ),
        ] {
            assert_eq!(
                polled_at(base_url, Some(url)).as_deref(),
                Ok(expected),
                "{url:?}"
            );
        }
    }

    #[test]
    fn every_other_url_is_refused_with_its_reason() {
        use RefusedUrl::*;
        let long = format!("/{}", "x".repeat(MAX_URL_LEN));
        for (url, reason) in [
            (long.as_str(), TooLong),
            ("/jobs/ä", NotAscii),
            ("https://h\u{ff0f}evil/", NotAscii),
            ("/a b", ControlOrSpace),
            ("/a\tb", ControlOrSpace),
            ("/a\r\nX: y", ControlOrSpace),
            ("\n/a", ControlOrSpace),
            ("/a\0", ControlOrSpace),
            ("/a\u{7f}", ControlOrSpace),
            ("/\\evil.test/x", Backslash),
            ("\\\\evil.test\\x", Backslash),
            ("/..\\token", Backslash),
            ("/a#b", Fragment),
            ("https://h/a#", Fragment),
            ("", NotAbsolute),
            ("jobs/7", NotAbsolute),
            ("?x=1", NotAbsolute),
            ("https:/h/x", NotAbsolute),
            ("https:h/x", NotAbsolute),
            ("https:///h/x", NotAbsolute),
            ("ftp://h/x", NotAbsolute),
            ("file:///etc/passwd", NotAbsolute),
            ("javascript:alert(1)", NotAbsolute),
            ("data:text/plain,x", NotAbsolute),
            ("//evil.test/x", TwoSlashes),
            ("//h/x", TwoSlashes),
            ("///h/x", TwoSlashes),
            ("https://user@h/x", Userinfo),
            ("https://user:pass@h/x", Userinfo),
            ("https://:@h/x", Userinfo),
            ("https://h@evil.test/x", Userinfo),
            ("/..", DotSegment),
            ("/.", DotSegment),
            ("/../token", DotSegment),
            ("/jobs/../token", DotSegment),
            ("/jobs/./7", DotSegment),
            ("/jobs/%2e%2e/token", DotSegment),
            ("/jobs/%2E%2e/token", DotSegment),
            ("/jobs/.%2e/token", DotSegment),
            ("/jobs/%2E./token", DotSegment),
            ("/jobs/%2e", DotSegment),
            ("/jobs/..%2ftoken", DotSegment),
            ("/jobs/%2e%2E%5Ctoken", DotSegment),
            ("/jobs/..?x=1", DotSegment),
            ("https://h/../token", DotSegment),
            ("https://h:99999/x", Unparsable),
            ("https://?x", Unparsable),
            ("http://h/x", OtherOrigin),
            ("https://h:8443/x", OtherOrigin),
            ("https://h:80/x", OtherOrigin),
            ("https://evil.test/x", OtherOrigin),
            ("https://h.evil.test/x", OtherOrigin),
            ("https://h./x", OtherOrigin),
        ] {
            assert_eq!(
                polled_at("https://h/api", Some(url)),
                Err(reason),
                "{url:?}"
            );
        }
        let exactly = format!("/{}", "x".repeat(MAX_URL_LEN - 1));
        assert!(polled_at("https://h", Some(&exactly)).is_ok());
    }

    #[test]
    fn a_base_url_with_secrets_or_without_a_host_is_refused() {
        for bad in [
            "https://u@h/",
            "https://u:p@h/",
            "https://h/?a",
            "https://h/#a",
            "mailto:a@b",
            "ftp://h/",
        ] {
            assert_eq!(
                Base::new(&Url::parse(bad).unwrap(), &JobPath::parse("/{id}").unwrap())
                    .unwrap_err(),
                UnusableBase,
                "{bad:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_accepted_url_always_has_the_origin_of_base_url(
            text in prop_oneof![
                any::<String>(),
                "[/.%2eE\\\\@:?#a-h]{0,24}",
                "/[/.%2eE@:?a-h]{0,24}",
                "(?i:https?)://[/.%2eE@:?0-9a-h\\[\\]]{0,24}",
                "https://h(:443)?/[.%2eE/a-h]{0,12}",
            ],
        ) {
            let base = base("https://h/api");
            let id = JobId::parse("1").unwrap();
            if let Ok(url) = base.job_url(&id, Some(&text)) {
                prop_assert_eq!(url.origin().ascii_serialization(), "https://h");
                prop_assert_eq!(url.as_str().split_once("://h/").map(|(scheme, _)| scheme), Some("https"));
                prop_assert!(url.fragment().is_none() && url.username().is_empty());
            }
        }

        #[test]
        fn a_url_made_of_any_id_stays_below_jobs(id in "[A-Za-z0-9._~-]{1,40}") {
            if let Ok(id) = JobId::parse(&id) {
                let url = base("https://h/api/").job_url(&id, None).unwrap();
                prop_assert_eq!(url.as_str(), format!("https://h/api/jobs/{id}"));
            }
        }
    }
}
