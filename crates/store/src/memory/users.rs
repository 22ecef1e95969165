//! The remote jobs of one user.

use super::rows::Job;
use super::store::Store;
use crate::{PAGE_BYTES, Result, UserFilter, UserPage, Users};

/// Most jobs of a user that one request for those of a connection goes through.
const SEARCHED: u32 = 500;

impl Users for Store {
    async fn jobs_of_user(&self, filter: &UserFilter) -> Result<UserPage> {
        let searched = match filter.connection {
            Some(_) => SEARCHED,
            None => filter.limit,
        };
        let (searched, limit) = (searched as usize, filter.limit as usize);
        self.read(|tables| {
            let is_after = |job: &Job| {
                let after = filter.after.as_ref();
                after.is_none_or(|(at, id)| (job.row.created_at, &job.row.id) < (*at, id))
            };
            let mut found = tables.jobs_of(&filter.user);
            found.retain(|(job, _)| is_after(job));
            let mut more = found.len() > searched;
            let (mut resources, mut last, mut bytes) = (Vec::new(), None, 0);
            for (job, connections) in found.into_iter().take(searched) {
                if bytes >= PAGE_BYTES as usize {
                    break;
                }
                if resources.len() >= limit {
                    more = true;
                    break;
                }
                last = Some((job.row.created_at, job.row.id.clone()));
                let wanted = filter.connection.as_ref();
                if wanted.is_none_or(|wanted| connections.contains(wanted)) {
                    let resource = job.resource().unwrap_or_default();
                    bytes += resource.len();
                    resources.push(resource);
                }
            }
            let more = more || bytes >= PAGE_BYTES as usize;
            Ok(UserPage {
                resources,
                next: last.filter(|_| more),
            })
        })
    }
}
