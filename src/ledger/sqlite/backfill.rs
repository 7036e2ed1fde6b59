//! Backfills in the SQLite ledger: how far each has come, and which nominal times need no start.

use std::collections::HashSet;

use sqlx::sqlite::SqliteRow;

use super::SqliteLedger;
use super::read::{column, get, nominal, number, optional_time, time, word};
use super::write::{Result, Writer};
use crate::ids::{EntryName, FiringId, Kind, Nominal};
use crate::ledger::{Asks, Backfill, BackfillProgress, Intent, LedgerError, Progress, Reason};
use crate::schedule::Fingerprint;

type Read<T> = std::result::Result<T, LedgerError>;

/// Backfills with the number of their nominal times that are not over.
macro_rules! with_progress {
    () => {
        "SELECT *, (SELECT COUNT(DISTINCT nominal) FROM firing WHERE firing.backfill = backfill.id \
         AND (state IN ('planned', 'waiting', 'unknown') OR following = 1)) AS open FROM backfill"
    };
}

impl Writer<'_> {
    /// Writes how a backfill stands.
    pub(super) async fn backfill(&mut self, backfill: &Backfill) -> Result<()> {
        sqlx::query(
            "INSERT INTO backfill (id, entry, fingerprint, first_nominal, last_nominal, times, max_active, again, \
             mark, passed, begun_at, ended_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET mark = excluded.mark, passed = excluded.passed, \
             ended_at = excluded.ended_at, reason = excluded.reason",
        )
        .bind(&*backfill.id)
        .bind(backfill.entry.as_str())
        .bind(&backfill.fingerprint.0)
        .bind(backfill.first.as_second())
        .bind(backfill.last.as_second())
        .bind(i64::try_from(backfill.count).unwrap_or(i64::MAX))
        .bind(i64::from(backfill.max_active))
        .bind(i64::from(backfill.again))
        .bind(backfill.mark.as_second())
        .bind(i64::try_from(backfill.passed).unwrap_or(i64::MAX))
        .bind(backfill.begun_at.as_millisecond())
        .bind(backfill.ended_at.map(|at| at.as_millisecond()))
        .bind(backfill.reason.map(Reason::as_str))
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    /// The firings of backfills whose nominal times need no start: others of them may have begun since that was looked
    /// at.
    pub(super) async fn started(
        &mut self,
        intents: &[(&Intent, Option<&Progress>)],
    ) -> Result<HashSet<FiringId>> {
        let mut started = HashSet::new();
        for (intent, _) in intents.iter().filter(|(intent, _)| intent.kind == Kind::Backfill) {
            let Some(backfill) = &intent.backfill else { continue };
            let again: Option<i64> = sqlx::query_scalar("SELECT again FROM backfill WHERE id = ?")
                .bind(&**backfill)
                .fetch_optional(&mut *self.connection)
                .await?;
            // One that is not over, or whose run is not; or that has had a run, unless that is wanted again. In two
            // parts, since each has an index.
            let taken: Option<i64> = sqlx::query_scalar(
                "WITH others AS (SELECT * FROM firing WHERE kind = 'scheduled' AND entry = ?1 AND nominal = ?2 \
                 UNION ALL SELECT * FROM firing WHERE kind <> 'scheduled' AND entry = ?1 AND nominal = ?2) \
                 SELECT 1 FROM others WHERE firing_id <> ?3 AND (state IN ('planned', 'waiting', 'unknown', 'held') \
                 OR (state = 'accepted' AND (?4 = 0 OR following = 1))) LIMIT 1",
            )
            .bind(intent.entry.as_str())
            .bind(intent.nominal.as_second())
            .bind(intent.firing_id.to_string())
            .bind(again.unwrap_or_default())
            .fetch_optional(&mut *self.connection)
            .await?;
            if taken.is_some() {
                started.insert(intent.firing_id);
            }
        }
        Ok(started)
    }
}

impl SqliteLedger {
    /// The backfills that are not over, oldest first, each with the nominal times that it need not start.
    pub(super) async fn open_backfills(&mut self) -> Read<Vec<(Backfill, Vec<Nominal>)>> {
        let mut backfills = Vec::new();
        for row in self.rows("SELECT * FROM backfill WHERE ended_at IS NULL ORDER BY begun_at, id").await? {
            let backfill = backfill(&row)?;
            let range = (backfill.mark, backfill.last);
            let taken = self.taken(&backfill.entry, range, backfill.again).await?;
            backfills.push((backfill, taken));
        }
        Ok(backfills)
    }

    /// The nominal times of an entry from one to another that have had a run, in order; none where those are wanted
    /// `again`. What is not over yet is refused when its turn comes.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn taken(
        &mut self,
        entry: &EntryName,
        (first, last): (Nominal, Nominal),
        again: bool,
    ) -> Read<Vec<Nominal>> {
        if again {
            return Ok(Vec::new());
        }
        self.nominals(
            "SELECT nominal FROM firing WHERE kind = 'scheduled' AND entry = ?1 AND nominal BETWEEN ?2 AND ?3 \
             AND state = 'accepted' UNION \
             SELECT nominal FROM firing WHERE kind <> 'scheduled' AND entry = ?1 AND nominal BETWEEN ?2 AND ?3 \
             AND state = 'accepted' ORDER BY nominal",
            entry,
            (first, last),
        )
        .await
    }

    async fn nominals(
        &mut self,
        sql: &'static str,
        entry: &EntryName,
        (first, last): (Nominal, Nominal),
    ) -> Read<Vec<Nominal>> {
        let rows = sqlx::query(sql)
            .bind(entry.as_str())
            .bind(first.as_second())
            .bind(last.as_second())
            .fetch_all(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?;
        rows.iter().map(|row| nominal(row, "nominal")).collect()
    }

    /// The nominal times of an entry from one to another of which a firing or a run is not over.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn under_way(
        &mut self,
        entry: &EntryName,
        (first, last): (Nominal, Nominal),
    ) -> Read<Vec<Nominal>> {
        self.nominals(
            "SELECT nominal FROM firing WHERE state IN ('planned', 'waiting', 'unknown', 'held') \
             AND entry = ?1 AND nominal BETWEEN ?2 AND ?3 UNION \
             SELECT nominal FROM firing WHERE following = 1 AND entry = ?1 AND nominal BETWEEN ?2 AND ?3",
            entry,
            (first, last),
        )
        .await
    }

    /// The nominal times that what is asked for need not start.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn taken_of(&mut self, asks: &Asks) -> Read<Vec<Nominal>> {
        match asks {
            Asks::Backfill(wanted) => {
                self.taken(&wanted.entry, (wanted.from, wanted.until), wanted.again).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// How far a backfill has come, by the id of the request for it.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn backfill(&mut self, id: &str) -> Read<Option<BackfillProgress>> {
        let row = sqlx::query(concat!(with_progress!(), " WHERE id = ?"))
            .bind(id)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?;
        row.as_ref().map(progress).transpose()
    }

    /// The backfills that are not over, and how far each has come.
    pub(super) async fn backfills_under_way(&mut self) -> Read<Vec<BackfillProgress>> {
        let sql = concat!(with_progress!(), " WHERE ended_at IS NULL ORDER BY begun_at, id");
        self.rows(sql).await?.iter().map(progress).collect()
    }
}

fn progress(row: &SqliteRow) -> Read<BackfillProgress> {
    Ok(BackfillProgress { backfill: backfill(row)?, open: number(row, "open")? })
}

fn backfill(row: &SqliteRow) -> Read<Backfill> {
    let reason = match get::<Option<&str>>(row, "reason")? {
        Some(_) => Some(word(row, "reason", Reason::parse)?),
        None => None,
    };
    Ok(Backfill {
        id: get::<&str>(row, "id")?.into(),
        entry: column(row, "entry", EntryName::new)?,
        fingerprint: Fingerprint(get(row, "fingerprint")?),
        first: nominal(row, "first_nominal")?,
        last: nominal(row, "last_nominal")?,
        count: number(row, "times")?,
        max_active: number(row, "max_active")?,
        again: get::<i64>(row, "again")? != 0,
        mark: nominal(row, "mark")?,
        passed: number(row, "passed")?,
        begun_at: time(row, "begun_at")?,
        ended_at: optional_time(row, "ended_at")?,
        reason,
    })
}
