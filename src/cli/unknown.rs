//! Errors for a job that does not exist: what was perhaps meant, and a remedy.

use anyhow::anyhow;
use strsim::damerau_levenshtein;

use crate::core::job::JobId;
use crate::store::{Lists as _, Store, StoreError};

/// The newest jobs that an unknown id is compared with.
const COMPARED: u32 = 500;

/// Most ids that are suggested.
const MOST_PROPOSED: usize = 3;

/// Most differences, in letters, between an id and a suggestion.
const LARGEST_DISTANCE: usize = 2;

/// Fewest letters of an id that is treated as a part of another one.
const LEAST_PART: usize = 4;

/// The error for an id that does not exist.
///
/// # Errors
/// When the database cannot be read.
pub(super) async fn unknown(store: &Store, id: &JobId) -> Result<anyhow::Error, StoreError> {
    let newest = store.newest_ids(COMPARED).await?;
    let newest = newest.iter().map(JobId::as_str);
    Ok(anyhow!(message(id.as_str(), newest)))
}

fn message<'a>(id: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.filter_map(|known| Some((distance(id, known)?, known)));
    let mut near: Vec<(usize, &str)> = near.collect();
    near.sort_by_key(|(distance, _)| *distance);
    let near: Vec<&str> = near.iter().map(|(_, id)| *id).take(MOST_PROPOSED).collect();
    match near.as_slice() {
        [] => format!(
            "there is no job {id}; list those there are with: jobtrackd list, or have it followed with: jobtrackd enqueue {id}"
        ),
        near => format!(
            "there is no job {id}; did you mean {}? List those there are with: jobtrackd list",
            near.join(" or ")
        ),
    }
}

/// The distance of an id from a known one, when that could be meant.
fn distance(id: &str, known: &str) -> Option<usize> {
    let (id, known) = (id.to_ascii_lowercase(), known.to_ascii_lowercase());
    if id.len() >= LEAST_PART && known.contains(&id) {
        return Some(1);
    }
    let distance = damerau_levenshtein(&id, &known);
    // In a short id most letters would be different.
    (distance <= LARGEST_DISTANCE && distance * 3 <= id.len()).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_could_be_meant_are_proposed_the_nearest_first() {
        let said = |id: &str, known: &[&str]| message(id, known.iter().copied());
        assert_eq!(
            said("61732", &["61700", "61723", "99999", "61732x"]),
            "there is no job 61732; did you mean 61723 or 61732x? List those there are with: jobtrackd list"
        );
        assert_eq!(
            said("0EDD-11", &["a0edd-11b"]),
            "there is no job 0EDD-11; did you mean a0edd-11b? List those there are with: jobtrackd list"
        );
        for known in [&["1", "2", "12"][..], &[]] {
            assert_eq!(
                said("3", known),
                "there is no job 3; list those there are with: jobtrackd list, or have it followed with: jobtrackd \
                 enqueue 3"
            );
        }
        let many = said("job-1", &["job-2", "job-3", "job-4", "job-5"]);
        assert!(many.contains("job-2 or job-3 or job-4? "), "{many}");
    }
}
