//! The runs of accepted firings in the SQLite ledger: how they go on, and which are followed.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use super::SqliteLedger;
use super::read::{column, get, intent, optional_time, time};
use super::write::{Result, Writer};
use crate::ids::{EntryName, FiringId, Nominal, RunId};
use crate::ledger::{FollowedRun, LedgerError, RunProgress};

impl Writer<'_> {
    /// Writes what is known of runs.
    pub(super) async fn went_on(&mut self, runs: &[&RunProgress]) -> Result<()> {
        let mut latest: HashMap<FiringId, RunProgress> = HashMap::new();
        for run in runs {
            let known = latest.remove(&run.firing_id);
            let run = known.map_or_else(|| (*run).clone(), |known| known.then((*run).clone()));
            latest.insert(run.firing_id, run);
        }
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "WITH new (firing_id, run_status, finished_at, error_message, overdue_at, following) AS (",
        );
        query.push_values(latest.values(), |mut row, run| {
            row.push_bind(run.firing_id.to_string());
            row.push_bind(run.status.as_deref());
            row.push_bind(run.finished_at.map(|at| at.as_millisecond()));
            row.push_bind(run.error_message.as_deref());
            row.push_bind(run.overdue_at.map(|at| at.as_millisecond()));
            row.push_bind(i64::from(run.followed));
        });
        query.push(
            ") UPDATE firing SET run_status = COALESCE(new.run_status, firing.run_status), \
             finished_at = COALESCE(CAST(new.finished_at AS BIGINT), firing.finished_at), \
             error_message = COALESCE(new.error_message, firing.error_message), \
             overdue_at = COALESCE(CAST(new.overdue_at AS BIGINT), firing.overdue_at), \
             following = CAST(new.following AS BIGINT) \
             FROM new WHERE firing.firing_id = new.firing_id AND firing.state = 'accepted'",
        );
        self.execute(&mut query).await.map(drop)
    }

    /// Writes how often in a row runs of an entry have failed.
    pub(super) async fn failures(&mut self, entry: &EntryName, count: u32) -> Result<()> {
        sqlx::query(
            "INSERT INTO failing (entry, failures) VALUES (?, ?) \
             ON CONFLICT (entry) DO UPDATE SET failures = excluded.failures",
        )
        .bind(entry.as_str())
        .bind(i64::from(count))
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }
}

impl SqliteLedger {
    /// How long the longest run of each entry took that ended by itself, of firings since `since`.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn longest_runs(
        &mut self,
        since: Timestamp,
    ) -> std::result::Result<HashMap<String, Duration>, LedgerError> {
        let rows = sqlx::query(
            "SELECT entry, MAX(finished_at - accepted_at) AS longest FROM firing WHERE nominal >= ? \
             AND state = 'accepted' AND run_status IN ('Succeeded', 'Failed') GROUP BY entry",
        )
        .bind(Nominal::at_or_before(since).as_second())
        .fetch_all(&mut self.connection)
        .await
        .map_err(|source| self.failed(source))?;
        let read = |row: &SqliteRow| {
            // By two clocks a short run may end before it began.
            let longest: i64 = get(row, "longest")?;
            Ok((get(row, "entry")?, Duration::from_millis(u64::try_from(longest).unwrap_or_default())))
        };
        rows.iter().map(read).collect()
    }

    /// The accepted firings whose runs are followed.
    pub(super) async fn followed(&mut self) -> std::result::Result<Vec<FollowedRun>, LedgerError> {
        // The words of the index, so that it is used.
        let rows = self.rows("SELECT * FROM firing WHERE following = 1 ORDER BY due").await?;
        // One that cannot be read must not keep the others from being started: it is not followed.
        Ok(rows.iter().filter_map(|row| followed(row).ok()).collect())
    }
}

fn followed(row: &SqliteRow) -> std::result::Result<FollowedRun, LedgerError> {
    let intent = intent(row)?;
    Ok(FollowedRun {
        run_id: column(row, "run_id", RunId::parse)?,
        status: get(row, "run_status")?,
        since: optional_time(row, "first_sent_at")?.unwrap_or_else(|| intent.sent_since()),
        accepted_at: time(row, "accepted_at")?,
        overdue: optional_time(row, "overdue_at")?.is_some(),
        intent: intent.into(),
    })
}
