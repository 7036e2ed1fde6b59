//! What `status` reads from the SQLite ledger.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};

use super::SqliteLedger;
use super::audit::in_force;
use super::read::{column, get, history_row, json, number, time};
use crate::ids::EntryName;
use crate::ledger::{HistoryRow, LedgerError, OpenPause, SignOfLife, Standing};

/// The note in which a daemon leaves its sign of life.
pub(super) const SIGN: &str = "daemon";

/// The words of the index, so that it is used.
const OPEN: &str = "state IN ('planned', 'waiting', 'unknown', 'held')";

impl SqliteLedger {
    /// How things stand at `now`; of the held firings and the pauses the first `most`.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn standing(&mut self, now: Timestamp, most: u32) -> Result<Standing, LedgerError> {
        let mut standing = Standing { sign: self.sign().await?, ..Standing::default() };
        for row in self.rows("SELECT * FROM in_force ORDER BY number DESC LIMIT 1").await? {
            standing.schedule = Some(in_force(&row)?);
        }
        for row in self.rows("SELECT COUNT(*) AS entries FROM entry").await? {
            standing.entries = number(&row, "entries")?;
        }
        let states = "SELECT state, COUNT(*) AS firings FROM firing \
             WHERE state IN ('planned', 'waiting', 'unknown', 'held') GROUP BY state";
        for row in self.rows(states).await? {
            let firings: u64 = number(&row, "firings")?;
            match get::<&str>(&row, "state")? {
                "held" => standing.held = firings,
                _ => standing.open += firings,
            }
        }
        let mut held: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT * FROM firing WHERE ");
        held.push(OPEN).push(" AND state = 'held' ORDER BY nominal LIMIT ").push_bind(i64::from(most));
        standing.oldest_held = self.histories(held).await?;
        let mut next: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT * FROM firing WHERE ");
        next.push(OPEN).push(" AND state = 'planned' AND due >= ").push_bind(now.as_millisecond());
        next.push(" ORDER BY due, entry LIMIT 1");
        standing.next = self.histories(next).await?.pop();
        let last = "SELECT * FROM firing WHERE run_id IS NOT NULL ORDER BY nominal DESC LIMIT 1";
        standing.last_run = self.histories(QueryBuilder::new(last)).await?.pop();
        standing.pauses = self.open_pauses().await?;
        standing.backfills = self.backfills_under_way().await?;
        Ok(standing)
    }

    /// The entries that are paused now.
    pub(super) async fn open_pauses(&mut self) -> Result<Vec<OpenPause>, LedgerError> {
        let sql = "SELECT entry, paused_at, note FROM pause WHERE resumed_at IS NULL ORDER BY entry";
        self.rows(sql).await?.iter().map(open_pause).collect()
    }

    /// Whether an entry is paused now.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn is_paused(&mut self, entry: &EntryName) -> Result<bool, LedgerError> {
        Ok(self.open_pauses().await?.iter().any(|pause| pause.entry == *entry))
    }

    /// What the last daemon left about itself. What cannot be read, as that of a newer program, is no sign.
    pub(super) async fn sign(&mut self) -> Result<Option<SignOfLife>, LedgerError> {
        let rows = self.rows("SELECT value FROM note WHERE name = 'daemon'").await?;
        Ok(rows.first().and_then(|row| json(row, "value").ok()))
    }

    async fn histories(&mut self, mut query: QueryBuilder<Sqlite>) -> Result<Vec<HistoryRow>, LedgerError> {
        let rows = query.build().fetch_all(&mut self.connection).await;
        rows.map_err(|source| self.failed(source))?.iter().map(history_row).collect()
    }
}

fn open_pause(row: &SqliteRow) -> Result<OpenPause, LedgerError> {
    Ok(OpenPause {
        entry: column(row, "entry", EntryName::new)?,
        since: time(row, "paused_at")?,
        note: get(row, "note")?,
    })
}
