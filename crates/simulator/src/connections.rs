//! Users' bank connections.

use std::collections::BTreeMap;

use jobtrackd_core::time::UnixMillis;

/// User and id of a connection.
pub(super) type Key = (String, String);

#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) institution: String,
    pub(super) login: String,
    pub(super) created: UnixMillis,
    /// The job that last worked on it.
    pub(super) job: Option<String>,
}

impl Connection {
    pub(super) fn new(institution: &str, login: &str, created: UnixMillis) -> Self {
        Self {
            institution: institution.to_owned(),
            login: login.to_owned(),
            created,
            job: None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Connections {
    map: BTreeMap<Key, Connection>,
    limit: usize,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            map: BTreeMap::new(),
            limit,
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Connection> {
        self.map.get(key)
    }

    /// The ids of the user's `limit` oldest ones, oldest first.
    pub(super) fn oldest_of(&self, user: &str, limit: usize) -> Vec<String> {
        let own = self.map.iter().filter(|((owner, _), _)| owner == user);
        let mut own: Vec<_> = own.map(|((_, id), each)| (each.created, id)).collect();
        own.sort();
        own.into_iter()
            .take(limit)
            .map(|(_, id)| id.clone())
            .collect()
    }

    /// The oldest one is dropped when the limit is reached.
    pub(super) fn insert(&mut self, key: Key, connection: Connection) {
        if self.map.len() >= self.limit {
            let oldest = self.map.iter().min_by_key(|(_, each)| each.created);
            let oldest = oldest.map(|(key, _)| key.clone());
            oldest.map(|key| self.map.remove(&key));
        }
        self.map.insert(key, connection);
    }
}
