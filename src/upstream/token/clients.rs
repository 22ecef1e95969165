//! The tokens of users, as many as are worth keeping.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Kept;
use crate::core::resource::UserId;

/// Most users whose token is kept; whoever's was not wanted for longest is forgotten first.
const MAX_USERS: usize = 256;

/// One [`Kept`] per user.
#[derive(Default)]
pub(super) struct Clients(Mutex<Users>);

#[derive(Default)]
struct Users {
    /// With the number of the last use.
    kept: HashMap<UserId, (Arc<Kept>, u64)>,
    uses: u64,
}

impl Clients {
    /// The user's token, such as it is; everybody who asks for the same user meets there.
    pub(super) fn of(&self, user: &UserId) -> Arc<Kept> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        users.uses += 1;
        let use_number = users.uses;
        if !users.kept.contains_key(user) && users.kept.len() >= MAX_USERS {
            let unwanted = users.kept.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(unwanted) = unwanted.map(|(user, _)| user.clone()) {
                users.kept.remove(&unwanted);
            }
        }
        let (kept, used) = users.kept.entry(user.clone()).or_insert_with(|| {
            let fields = [("scope", "CLIENT_ACCESS"), ("userId", user.as_str())];
            (Arc::new(Kept::new(&fields)), 0)
        });
        *used = use_number;
        Arc::clone(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("u{number}")).unwrap()
    }

    #[test]
    fn a_user_meets_the_same_token_until_too_many_others_came_after() {
        let clients = Clients::default();
        let first = clients.of(&user(0));
        let second = clients.of(&user(1));
        assert_eq!(first.form, "scope=CLIENT_ACCESS&userId=u0");
        for number in 2..MAX_USERS {
            clients.of(&user(number));
        }
        assert!(Arc::ptr_eq(&first, &clients.of(&user(0))));
        clients.of(&user(MAX_USERS));
        assert!(
            Arc::ptr_eq(&first, &clients.of(&user(0))),
            "it was used again, so another one goes"
        );
        assert!(!Arc::ptr_eq(&second, &clients.of(&user(1))));
        assert_eq!(clients.0.lock().unwrap().kept.len(), MAX_USERS);
    }
}
