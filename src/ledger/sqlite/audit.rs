//! What an audit reads from the SQLite ledger, all of it as it stood at one moment.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::SqliteLedger;
use super::read::{column, get, nominal, number, time, word};
use super::versions::PRUNED;
use crate::ids::{EntryName, Nominal};
use crate::ledger::{Evidence, InForce, Kept, LedgerError, State};
use crate::schedule::CronRules;

impl SqliteLedger {
    /// From now on everything is read as it stands now, whatever a daemon writes meanwhile.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn stand_still(&mut self) -> Result<(), LedgerError> {
        sqlx::query("BEGIN")
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// All that an audit needs but the records.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn evidence(&mut self) -> Result<Evidence, LedgerError> {
        let mut evidence = Evidence::default();
        for row in self.rows("SELECT * FROM in_force ORDER BY number").await? {
            evidence.in_force.push(in_force(&row)?);
        }
        evidence.kept_from = self.kept_from().await?;
        for row in self.rows("SELECT name, mark FROM entry").await? {
            evidence.marks.insert(column(&row, "name", EntryName::new)?, nominal(&row, "mark")?);
        }
        evidence.pauses = self.open_pauses().await?;
        for row in self.rows("SELECT DISTINCT entry FROM firing WHERE kind = 'scheduled'").await? {
            evidence.recorded.insert(column(&row, "entry", EntryName::new)?);
        }
        Ok(evidence)
    }

    /// Before this nominal time firings may have been removed.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn kept_from(&mut self) -> Result<Option<Nominal>, LedgerError> {
        let Some(before) = self.value(PRUNED).await? else { return Ok(None) };
        let unreadable = || LedgerError::Unreadable { what: "value", detail: before.clone() };
        let milliseconds: i64 = before.parse().map_err(|_| unreadable())?;
        Nominal::from_second(milliseconds.div_euclid(1_000)).ok_or_else(unreadable).map(Some)
    }

    /// The text of a version, if it is kept.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn version_text(&mut self, version: &str) -> Result<Option<String>, LedgerError> {
        let row = sqlx::query("SELECT text FROM schedule_version WHERE version = ?")
            .bind(version)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?;
        row.map(|row| get(&row, "text")).transpose()
    }

    /// Hands over the scheduled records of an entry that reach into [`from`, `until`), by nominal time. They are
    /// never all in memory.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn records_of(
        &mut self,
        entry: &EntryName,
        (from, until): (Nominal, Nominal),
        mut take: impl FnMut(Kept),
    ) -> Result<(), LedgerError> {
        let path = self.path.clone();
        let failed = |source| LedgerError::Database { path: path.clone(), source };
        let mut rows = sqlx::query(
            "SELECT nominal, last_nominal, skipped, state, reason, firing_id, schedule_version, planned_at FROM firing \
             WHERE kind = 'scheduled' AND entry = ? AND nominal < ? AND last_nominal >= ? ORDER BY nominal",
        )
        .bind(entry.as_str())
        .bind(until.as_second())
        .bind(from.as_second())
        .fetch(&mut self.connection);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            take(kept(&row)?);
        }
        Ok(())
    }

    /// A single value.
    pub(super) async fn value(&mut self, name: &str) -> Result<Option<String>, LedgerError> {
        sqlx::query_scalar("SELECT value FROM note WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))
    }
}

/// A version that came into force.
pub(super) fn in_force(row: &SqliteRow) -> Result<InForce, LedgerError> {
    let version: &str = get(row, "version")?;
    Ok(InForce { at: time(row, "at")?, version: version.into(), rules: rules(row) })
}

/// By which rules a version was read. A ledger that no daemon of this version has opened yet does not say so: then it
/// was by those of before.
pub(super) fn rules(row: &SqliteRow) -> Option<CronRules> {
    row.try_get("rules").map_or(Some(CronRules::Croner), CronRules::named)
}

fn kept(row: &SqliteRow) -> Result<Kept, LedgerError> {
    let version: &str = get(row, "schedule_version")?;
    Ok(Kept {
        first: nominal(row, "nominal")?,
        last: nominal(row, "last_nominal")?,
        count: number::<u64>(row, "skipped")?.max(1),
        state: word(row, "state", State::parse)?,
        reason: get(row, "reason")?,
        firing_id: get(row, "firing_id")?,
        version: Arc::from(version),
        planned_at: time(row, "planned_at")?,
    })
}
