//! The accounts of a connection, the same at every request.

use fastrand::Rng;
use serde_json::{Value, json};

use super::format::IdStyle;
use super::wire::habits_of;
use jobtrackd_core::time::UnixMillis;

/// The accounts of a bank, by `class.type`, product and name.
const KINDS: [[&str; 3]; 4] = [
    ["transaction", "Everyday Account", "Everyday"],
    ["savings", "Bonus Saver", "Holidays"],
    ["credit-card", "Low Rate Card", "Credit card"],
    ["mortgage", "Home Loan", "Home loan"],
];

/// The connection that has the accounts.
pub(super) struct Owner<'a> {
    /// Its id, which decides how many accounts there are and their content.
    pub(super) connection: &'a str,
    pub(super) institution: &'a str,
    /// The URL of its user.
    pub(super) user: &'a str,
    /// When they were last fetched.
    pub(super) fetched: UnixMillis,
}

impl Owner<'_> {
    pub(super) fn accounts(&self) -> Vec<Value> {
        let mut rng = habits_of(self.connection);
        let count = rng.usize(1..=KINDS.len());
        let kinds = KINDS.into_iter().take(count);
        kinds.map(|kind| self.account(kind, &mut rng)).collect()
    }

    fn account(&self, [class, product, name]: [&str; 3], rng: &mut Rng) -> Value {
        let id = IdStyle::Uuid.draw(rng);
        let owes = matches!(class, "credit-card" | "mortgage");
        let (balance, limit) = (rng.u32(1_000..900_000), 1_000_000);
        let money = |cents: u32| format!("{}.{:02}", cents / 100, cents % 100);
        let sign = if owes { "-" } else { "" };
        let available = if owes { limit - balance } else { balance };
        json!({
            "type": "account", "id": id, "name": name, "status": "available",
            "accountNo": format!("{:012}", rng.u64(..1_000_000_000_000)),
            "class": {"type": class, "product": product},
            "currency": "AUD",
            "balance": format!("{sign}{}", money(balance)),
            "availableFunds": money(available),
            "creditLimit": owes.then(|| money(limit)),
            "connection": self.connection, "institution": self.institution,
            "lastUpdated": self.fetched.rfc3339(),
            "links": {
                "self": format!("{}/accounts/{id}", self.user),
                "transactions": format!("{}/transactions?filter=account.id.eq('{id}')", self.user),
            },
        })
    }
}
