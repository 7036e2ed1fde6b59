//! The guard: how planned firings become rows of the ledger, and which of them are refused since their nominal
//! time has a record already; and how those that are left out become rows around such records.

use jiff::Timestamp;
use sqlx::query_builder::Separated;
use sqlx::{QueryBuilder, Row as _, Sqlite};

use super::write::{ROWS, Result, Writer};
use crate::ids::{Kind, Nominal};
use crate::ledger::{Intent, Progress, Reason, Skips, State};

/// A row that stands for several nominal times of an entry.
struct Condensed {
    entry: String,
    first: i64,
    last: i64,
}

impl Condensed {
    fn covers(&self, intent: &Intent) -> bool {
        self.entry == intent.entry.as_str() && (self.first..=self.last).contains(&intent.nominal.as_second())
    }
}

impl Writer<'_> {
    /// Writes intents, those that are over already with how they ended.
    pub(super) async fn plan(&mut self, intents: &[(&Intent, Option<&Progress>)]) -> Result<()> {
        let scheduled: Vec<&Intent> =
            intents.iter().map(|(intent, _)| *intent).filter(|it| it.kind == Kind::Scheduled).collect();
        let started = self.started(intents).await?;
        let mut intents = intents.to_vec();
        intents.retain(|(intent, _)| !started.contains(&intent.firing_id));
        self.written.refused.extend(started);
        if !scheduled.is_empty() {
            self.make_way(&scheduled).await?;
            let condensed = self.condensed_over(&scheduled).await?;
            intents.retain(|(intent, _)| {
                let free = intent.kind != Kind::Scheduled || !condensed.iter().any(|row| row.covers(intent));
                if !free {
                    self.written.refused.insert(intent.firing_id);
                }
                free
            });
        }
        if intents.is_empty() {
            return Ok(());
        }
        let mut query = insert_firings();
        query.push_values(&intents, |row, (intent, closed)| {
            let closed = closed.map_or_else(|| Closed::new(State::Planned, None), Closed::by);
            bind_firing(row, intent, &closed, intent.nominal.as_second(), 0);
        });
        let written = self.execute(query.push(" ON CONFLICT DO NOTHING")).await?;
        if written < intents.len() as u64 {
            self.find_refused(&intents).await?;
        }
        Ok(())
    }

    /// A firing that was skipped because its entry went away gives way when the entry comes back.
    async fn make_way(&mut self, scheduled: &[&Intent]) -> Result<()> {
        let mut gone: QueryBuilder<Sqlite> = QueryBuilder::new(
            "DELETE FROM firing WHERE reason = 'removed' AND attempts = 0 AND kind = 'scheduled' AND skipped <= 1 \
             AND (entry, nominal) IN (",
        );
        gone.push_values(scheduled, |mut row, intent| {
            row.push_bind(intent.entry.as_str());
            row.push_bind(intent.nominal.as_second());
        });
        self.execute(gone.push(")")).await.map(drop)
    }

    /// The rows that may cover one of these: there are few of them, and they lie in the past.
    async fn condensed_over(&mut self, scheduled: &[&Intent]) -> Result<Vec<Condensed>> {
        let seconds = scheduled.iter().map(|intent| intent.nominal.as_second());
        let (Some(least), Some(most)) = (seconds.clone().min(), seconds.max()) else { return Ok(Vec::new()) };
        let rows = sqlx::query(
            "SELECT entry, nominal, last_nominal FROM firing \
             WHERE skipped > 1 AND last_nominal >= ? AND nominal <= ?",
        )
        .bind(least)
        .bind(most)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter()
            .map(|row| {
                let (entry, first, last) =
                    (row.try_get("entry")?, row.try_get("nominal")?, row.try_get("last_nominal")?);
                Ok(Condensed { entry, first, last })
            })
            .collect()
    }

    /// Finds out which of the intents are not the ones that the ledger has.
    async fn find_refused(&mut self, intents: &[(&Intent, Option<&Progress>)]) -> Result<()> {
        for (intent, closed) in intents {
            let ours: Option<i64> = sqlx::query_scalar(
                "SELECT 1 FROM firing WHERE firing_id = ? AND planned_at = ? AND attempts = 0 AND state = ?",
            )
            .bind(intent.firing_id.to_string())
            .bind(intent.planned_at.as_millisecond())
            .bind(closed.map_or(State::Planned, |closed| closed.state).as_str())
            .fetch_optional(&mut *self.connection)
            .await?;
            if ours.is_none() {
                self.written.refused.insert(intent.firing_id);
            }
        }
        Ok(())
    }

    /// Writes nominal times that were left out, around those that have a record.
    pub(super) async fn skip(&mut self, batch: u64, skips: &Skips) -> Result<()> {
        let entry = skips.intent.entry.as_str();
        let (first, last) = (skips.intent.nominal.as_second(), skips.last.as_second());
        sqlx::query(
            "DELETE FROM firing WHERE reason = 'removed' AND attempts = 0 AND kind = 'scheduled' AND skipped <= 1 \
             AND entry = ? AND nominal BETWEEN ? AND ?",
        )
        .bind(entry)
        .bind(first)
        .bind(last)
        .execute(&mut *self.connection)
        .await?;
        let taken = self.taken(skips).await?;
        let rows = skips.around(&taken);
        for rows in rows.chunks(ROWS) {
            let mut query = insert_firings();
            query.push_values(rows, |row, skips| {
                let closed = Closed::new(State::Skipped, Some(skips.reason));
                bind_firing(row, &skips.intent, &closed, skips.last.as_second(), skips.count);
            });
            self.execute(query.push(" ON CONFLICT DO NOTHING")).await?;
        }
        self.written.left_out.entry(batch).or_default().extend(rows);
        Ok(())
    }

    /// The nominal times in its range that have a record, as ranges in order. Its own rows stand there if the last
    /// try to commit went through, and said that it had not.
    async fn taken(&mut self, skips: &Skips) -> Result<Vec<(Nominal, Nominal)>> {
        let entry = skips.intent.entry.as_str();
        let (first, last) = (skips.intent.nominal.as_second(), skips.last.as_second());
        let rows = sqlx::query(
            "SELECT nominal, last_nominal FROM firing WHERE kind = 'scheduled' AND entry = ? \
             AND nominal BETWEEN ? AND ? AND NOT (state = 'skipped' AND reason = ? AND planned_at = ?) \
             UNION ALL \
             SELECT nominal, last_nominal FROM firing WHERE skipped > 1 AND entry = ? AND last_nominal >= ? \
             AND nominal < ? ORDER BY nominal",
        )
        .bind(entry)
        .bind(first)
        .bind(last)
        .bind(skips.reason.as_str())
        .bind(skips.intent.planned_at.as_millisecond())
        .bind(entry)
        .bind(first)
        .bind(first)
        .fetch_all(&mut *self.connection)
        .await?;
        rows.iter()
            .map(|row| Ok((nominal(row.try_get("nominal")?)?, nominal(row.try_get("last_nominal")?)?)))
            .collect()
    }
}

/// The state in which a firing's row begins.
struct Closed<'a> {
    state: State,
    reason: Option<&'a str>,
    at: Option<Timestamp>,
    error_message: Option<&'a str>,
}

impl<'a> Closed<'a> {
    fn new(state: State, reason: Option<Reason>) -> Self {
        Self { state, reason: reason.map(Reason::as_str), at: None, error_message: None }
    }

    fn by(progress: &'a Progress) -> Self {
        let error_message = progress.error_message.as_deref();
        Self { at: Some(progress.at), error_message, ..Self::new(progress.state, progress.reason) }
    }
}

fn insert_firings() -> QueryBuilder<Sqlite> {
    QueryBuilder::new(
        "INSERT INTO firing (firing_id, entry, pipeline, subscription, resource_group, factory, kind, nominal, \
         last_nominal, skipped, due, body, policy, schedule_version, planned_at, state, reason, attempts, counted, \
         finished_at, error_message, recovers, backfill) ",
    )
}

fn bind_firing<S>(
    mut row: Separated<'_, Sqlite, S>,
    intent: &Intent,
    closed: &Closed<'_>,
    last: i64,
    skipped: u64,
) where
    S: std::fmt::Display,
{
    let finished = closed.at.or((closed.state == State::Skipped).then_some(intent.planned_at));
    row.push_bind(intent.firing_id.to_string());
    row.push_bind(intent.entry.as_str().to_owned());
    row.push_bind(intent.pipeline.as_str().to_owned());
    row.push_bind(intent.factory.subscription.as_str().to_owned());
    row.push_bind(intent.factory.resource_group.as_str().to_owned());
    row.push_bind(intent.factory.name.as_str().to_owned());
    row.push_bind(intent.kind.as_str());
    row.push_bind(intent.nominal.as_second());
    row.push_bind(last);
    row.push_bind(i64::try_from(skipped).unwrap_or(i64::MAX));
    row.push_bind(intent.due.as_millisecond());
    row.push_bind(intent.body.expose().to_owned());
    row.push_bind(serde_json::to_string(&*intent.policy).unwrap_or_default());
    row.push_bind(intent.schedule_version.to_string());
    row.push_bind(intent.planned_at.as_millisecond());
    row.push_bind(closed.state.as_str());
    row.push_bind(closed.reason.map(str::to_owned));
    row.push_bind(0_i64);
    row.push_bind(0_i64);
    row.push_bind(finished.map(|at| at.as_millisecond()));
    row.push_bind(closed.error_message.map(str::to_owned));
    let recovers = intent.recovers.as_ref().and_then(|recovers| serde_json::to_string(&**recovers).ok());
    row.push_bind(recovers);
    row.push_bind(intent.backfill.as_deref().map(str::to_owned));
}

/// A nominal time as it is kept.
pub(super) fn nominal(second: i64) -> Result<Nominal> {
    Nominal::from_second(second).ok_or_else(|| sqlx::Error::Decode("no nominal time".into()))
}
