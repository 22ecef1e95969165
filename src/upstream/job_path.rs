//! The template of the paths that jobs are polled at, `upstream.job_path`.

use url::Url;

use super::refused::{RefusedUrl, check_characters, check_parts};
use crate::core::job::JobId;

/// Where a job is polled, below `base_url`: a path with the id in it, and perhaps a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobPath {
    before: String,
    after: String,
}

/// The place of the id in a [`JobPath`].
const ID: &str = "{id}";

/// Why a text is not a path for jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJobPath {
    /// Not `/…`.
    #[error("expected a path that starts with one /")]
    NoSlash,
    /// `{id}` is missing, or there more than once.
    #[error("expected {{id}} once, in the place of the job's id")]
    NoId,
    /// A URL with it would never be requested.
    #[error("{0}")]
    Refused(RefusedUrl),
}

impl JobPath {
    /// Takes a template such as `/jobs/{id}`.
    ///
    /// # Errors
    /// [`InvalidJobPath`].
    pub fn parse(text: &str) -> Result<Self, InvalidJobPath> {
        if !text.starts_with('/') || text.starts_with("//") {
            return Err(InvalidJobPath::NoSlash);
        }
        let parts: Vec<&str> = text.split(ID).collect();
        let [before, after] = parts.as_slice() else {
            return Err(InvalidJobPath::NoId);
        };
        // The id would be a part of an escape.
        if before.ends_with('%')
            || before
                .get(..before.len() - 1)
                .is_some_and(|text| text.ends_with('%'))
        {
            return Err(InvalidJobPath::Refused(RefusedUrl::Unparsable));
        }
        let example = format!("http://h{before}1{after}");
        check_characters(&example)
            .and_then(|()| check_parts(&example))
            .map_err(InvalidJobPath::Refused)?;
        Ok(Self {
            before: (*before).to_owned(),
            after: (*after).to_owned(),
        })
    }

    /// The URL of a job below `root`, whose path ends in `/`.
    pub(super) fn below(&self, root: &Url, id: &JobId) -> Url {
        let Self { before, after } = self;
        let (base, id) = (root.path().trim_end_matches('/'), id.as_str());
        let mut url = root.clone();
        match before.split_once('?') {
            Some((path, query)) => {
                url.set_path(&[base, path].concat());
                url.set_query(Some(&[query, id, after].concat()));
            }
            None => {
                let (path, query) = match after.split_once('?') {
                    Some((path, query)) => (path, Some(query)),
                    None => (after.as_str(), None),
                };
                url.set_path(&[base, before, id, path].concat());
                url.set_query(query);
            }
        }
        url
    }
}
