//! Bringing a file's schema up to date: all that is missing in one transaction, or nothing.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection, Row};

use crate::{Result, StoreError};

#[cfg(test)]
mod tests;

/// The migrations of this program. A released one never changes: a file knows the checksum of each that it has seen.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/sqlite");

/// A row that refers to one that does not exist, after tables were rebuilt.
const ORPHAN: &str = r#"SELECT "table", rowid, parent FROM pragma_foreign_key_check LIMIT 1"#;

/// The number of the newest migration.
pub(super) fn newest(migrations: &Migrator) -> i64 {
    migrations
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// Applies what is missing. The lock is taken first, so of two programs the second finds nothing left to do; sqlx turns
/// the transaction of each migration into a savepoint of this one.
pub(super) async fn run(options: &SqliteConnectOptions, migrations: &Migrator) -> Result<()> {
    // A table is rebuilt by dropping the old one, which enforcement would treat as the deletion of its rows. It can be
    // switched outside transactions only; the check at the end replaces it.
    let options = options.clone().foreign_keys(false);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let migrated = in_one_transaction(&mut connection, migrations).await;
    // Only what was not committed could be lost with it.
    drop(connection.close().await);
    migrated
}

async fn in_one_transaction(
    connection: &mut SqliteConnection,
    migrations: &Migrator,
) -> Result<()> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    migrations
        .run(&mut *transaction)
        .await
        .map_err(not_migrated)?;
    if let Some(orphan) = sqlx::query(ORPHAN)
        .fetch_optional(&mut *transaction)
        .await?
    {
        let (table, parent): (String, String) = (orphan.try_get(0)?, orphan.try_get(2)?);
        return Err(StoreError::Other(format!(
            "the schema was not brought up to date: a row of {table} refers to one of {parent} that is not there"
        )));
    }
    Ok(transaction.commit().await?)
}

fn not_migrated(error: MigrateError) -> StoreError {
    let text = format!("the schema was not brought up to date: {error}");
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            Some(StoreError::from(error)).filter(StoreError::is_temporary)
        }
        _ => None,
    }
    .unwrap_or(StoreError::Other(text))
}
