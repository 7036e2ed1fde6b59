//! How the ledger follows a clock that was set.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::Row as _;

use super::guard::nominal;
use super::versions;
use super::write::{Result, Writer};
use crate::ids::{EntryName, FiringId, Nominal};
use crate::ledger::cut;
use crate::schedule::Calendar;

/// The note of up to when something may have been sent by a clock that was set back since.
const REACHED: &str = "reached";

impl Writer<'_> {
    /// The clock was set back to here: what was left out after it, and never sent, is still to come.
    pub(super) async fn set_back(
        &mut self,
        to: Nominal,
        calendars: &[(EntryName, Arc<Calendar>)],
    ) -> Result<()> {
        sqlx::query(
            "DELETE FROM firing WHERE kind = 'scheduled' AND state = 'skipped' AND attempts = 0 AND nominal > ?",
        )
        .bind(to.as_second())
        .execute(&mut *self.connection)
        .await?;
        self.cut_rows(to, calendars).await?;
        self.bring_pauses_back(to).await?;
        versions::set_back(self.connection, to).await
    }

    /// Lets the rows of skips that reach beyond `to` end there.
    async fn cut_rows(&mut self, to: Nominal, calendars: &[(EntryName, Arc<Calendar>)]) -> Result<()> {
        let rows = sqlx::query(
            "SELECT firing_id, entry, nominal, last_nominal, skipped FROM firing \
             WHERE skipped > 1 AND last_nominal > ?",
        )
        .bind(to.as_second())
        .fetch_all(&mut *self.connection)
        .await?;
        let mut of: HashMap<&str, Vec<&Arc<Calendar>>> = HashMap::new();
        for (entry, calendar) in calendars.iter().filter(|_| !rows.is_empty()) {
            of.entry(entry.as_str()).or_default().push(calendar);
        }
        for row in rows {
            let (entry, skipped): (&str, i64) = (row.try_get("entry")?, row.try_get("skipped")?);
            let (first, last) = (nominal(row.try_get("nominal")?)?, nominal(row.try_get("last_nominal")?)?);
            let count = u64::try_from(skipped).unwrap_or_default();
            let calendars = of.get(entry).into_iter().flatten().copied();
            let (last, count) = cut(calendars, (first, last, count), to);
            sqlx::query("UPDATE firing SET last_nominal = ?, skipped = ? WHERE firing_id = ?")
                .bind(last.as_second())
                .bind(i64::try_from(count).unwrap_or(i64::MAX))
                .bind(row.try_get::<&str, _>("firing_id")?)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(())
    }

    /// An open firing goes on, and was first sent, at these times by the clock as it is now.
    pub(super) async fn moved(
        &mut self,
        firing: FiringId,
        next_at: Option<Timestamp>,
        first_sent_at: Option<Timestamp>,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE firing SET next_at = COALESCE(?, next_at), first_sent_at = COALESCE(?, first_sent_at) \
             WHERE firing_id = ? AND state IN ('planned', 'waiting', 'unknown', 'held')",
        )
        .bind(next_at.map(Timestamp::as_millisecond))
        .bind(first_sent_at.map(Timestamp::as_millisecond))
        .bind(firing.to_string())
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    /// What was said of pauses by a clock that was ahead holds from `to` on.
    async fn bring_pauses_back(&mut self, to: Nominal) -> Result<()> {
        let to = to.timestamp().as_millisecond();
        for sql in [
            "DELETE FROM pause WHERE paused_at > ? AND resumed_at IS NOT NULL",
            "UPDATE pause SET resumed_at = ?1 WHERE resumed_at > ?1",
            "UPDATE pause SET paused_at = ?1 WHERE paused_at > ?1 AND NOT EXISTS \
             (SELECT 1 FROM pause other WHERE other.entry = pause.entry AND other.paused_at = ?1)",
        ] {
            sqlx::query(sql).bind(to).execute(&mut *self.connection).await?;
        }
        Ok(())
    }

    /// Remembers, or forgets, up to when something may have been sent by a clock that was set back since.
    pub(super) async fn reached(&mut self, reached: Option<Timestamp>) -> Result<()> {
        match reached {
            Some(reached) => self.note(REACHED, &reached.as_millisecond().to_string()).await,
            None => sqlx::query("DELETE FROM note WHERE name = ?")
                .bind(REACHED)
                .execute(&mut *self.connection)
                .await
                .map(drop),
        }
    }
}
