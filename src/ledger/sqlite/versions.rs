//! Which version of the schedule was in force when, for as long as it matters.

use sqlx::SqliteConnection;

use crate::ids::Nominal;
use crate::ledger::Loaded;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// The note that says, in milliseconds, what was older than what when firings were last removed.
pub(super) const PRUNED: &str = "pruned_before";

/// A version, read by these rules, is in force from now on; nothing is added where it was before, as at a restart.
pub(super) async fn put_in_force(connection: &mut SqliteConnection, loaded: &Loaded) -> Result<()> {
    sqlx::query(
        "INSERT INTO schedule_version (version, text) VALUES (?, ?) ON CONFLICT (version) DO NOTHING",
    )
    .bind(&*loaded.version)
    .bind(&*loaded.text)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO in_force (number, at, version, rules) \
         SELECT (SELECT COALESCE(MAX(number), 0) + 1 FROM in_force), ?, ?, ? WHERE NOT EXISTS \
         (SELECT 1 FROM in_force WHERE version = ? AND rules = ? \
         AND number = (SELECT MAX(number) FROM in_force))",
    )
    .bind(loaded.at.as_millisecond())
    .bind(&*loaded.version)
    .bind(loaded.rules.as_str())
    .bind(&*loaded.version)
    .bind(loaded.rules.as_str())
    .execute(connection)
    .await
    .map(drop)
}

/// The clock was set back to `to`: the version in force is so for the nominal times after that as well, though
/// another was when they came first.
pub(super) async fn set_back(connection: &mut SqliteConnection, to: Nominal) -> Result<()> {
    let milliseconds = to.as_second().saturating_mul(1_000);
    sqlx::query(
        "INSERT INTO in_force (number, at, version, rules) SELECT number + 1, ?, version, rules FROM in_force \
         WHERE number = (SELECT MAX(number) FROM in_force) AND at > ?",
    )
    .bind(milliseconds)
    .bind(milliseconds)
    .execute(connection)
    .await
    .map(drop)
}

/// Removes the versions that were no longer in force at `before`; returns whether there were any.
pub(super) async fn prune(connection: &mut SqliteConnection, before: i64) -> Result<bool> {
    let removed = sqlx::query(
        "DELETE FROM in_force WHERE number < (SELECT MAX(later.number) FROM in_force later WHERE later.at < ?)",
    )
    .bind(before)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    sqlx::query("DELETE FROM schedule_version WHERE version NOT IN (SELECT version FROM in_force)")
        .execute(connection)
        .await?;
    Ok(removed > 0)
}

/// Remembers that what is older than `before` may be gone.
pub(super) async fn note_pruned(connection: &mut SqliteConnection, before: i64) -> Result<()> {
    let known: Option<String> = sqlx::query_scalar("SELECT value FROM note WHERE name = ?")
        .bind(PRUNED)
        .fetch_optional(&mut *connection)
        .await?;
    // A longer retention, or a clock that was set back, brings nothing back.
    let latest = known.and_then(|known| known.parse().ok()).map_or(before, |known: i64| known.max(before));
    sqlx::query(
        "INSERT INTO note (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(PRUNED)
    .bind(latest.to_string())
    .execute(connection)
    .await
    .map(drop)
}
