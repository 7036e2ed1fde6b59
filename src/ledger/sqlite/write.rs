//! How batches become one SQLite transaction. Runs of like records become one statement each: in a
//! burst the cost of a row is then mostly its bytes.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;

use jiff::Timestamp;
use sqlx::query_builder::Separated;
use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection};

use crate::event::{Event, Level};
use crate::ids::{EntryName, FiringId, Kind, Nominal};
use crate::ledger::{Batch, Intent, Loaded, Mark, Progress, Reason, Record, State};

/// Rows of one statement: SQLite allows 32,766 bound values in one, PostgreSQL 65,535.
const ROWS: usize = 1_000;

/// Firings that one pruning removes at the most: a commit must not hold up those that arm firings.
pub(super) const PRUNED: usize = 5_000;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Writes the batches in one transaction; returns the planned firings that the ledger refused.
pub(super) async fn batches(
    connection: &mut SqliteConnection,
    batches: &[Batch],
    announced: Option<RangeInclusive<u64>>,
) -> Result<HashSet<FiringId>> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(announced) = announced {
        sqlx::query("DELETE FROM announcement WHERE batch BETWEEN ? AND ?")
            .bind(i64::try_from(*announced.start()).unwrap_or(i64::MAX))
            .bind(i64::try_from(*announced.end()).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
    }
    let mut writer = Writer { connection: &mut transaction, refused: HashSet::new() };
    let mut records: Vec<&Record> = Vec::new();
    for batch in batches {
        records.extend(&batch.records);
    }
    for like in records.chunk_by(|a, b| std::mem::discriminant(*a) == std::mem::discriminant(*b)) {
        for run in like.chunks(ROWS) {
            writer.run(run).await?;
        }
    }
    writer.announcements(batches).await?;
    let refused = writer.refused;
    transaction.commit().await?;
    Ok(refused)
}

/// Removes closed firings whose end was before `before`, a slice at a time. A firing is kept for as long as its
/// entry's mark could still be lowered to it, which a nominal time older than `before` cannot.
pub(super) async fn prune(connection: &mut SqliteConnection, before: Timestamp) -> Result<u64> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let milliseconds = before.as_millisecond();
    // The first condition follows from the second, and lets the index be used.
    let old: Vec<String> = sqlx::query_scalar(
        "SELECT firing_id FROM firing WHERE nominal < ? AND last_nominal < ? AND due < ? \
         AND COALESCE(finished_at, accepted_at, planned_at) < ? \
         AND state IN ('accepted', 'rejected', 'skipped', 'not_started') LIMIT ?",
    )
    .bind(milliseconds.div_euclid(1_000))
    .bind(milliseconds.div_euclid(1_000))
    .bind(milliseconds)
    .bind(milliseconds)
    .bind(i64::try_from(PRUNED).unwrap_or(i64::MAX))
    .fetch_all(&mut *transaction)
    .await?;
    for old in old.chunks(ROWS) {
        for table in ["attempt", "firing"] {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("DELETE FROM ");
            query.push(table).push(" WHERE firing_id IN ");
            query.push_tuples(old, |mut row, firing| {
                row.push_bind(firing);
            });
            query.build().execute(&mut *transaction).await?;
        }
    }
    sqlx::query("DELETE FROM request WHERE state <> 'waiting' AND asked_at < ?")
        .bind(milliseconds)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "DELETE FROM schedule_version WHERE loaded_at < ? \
         AND loaded_at < (SELECT MAX(loaded_at) FROM schedule_version)",
    )
    .bind(milliseconds)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(old.len() as u64)
}

struct Writer<'c> {
    connection: &'c mut SqliteConnection,
    refused: HashSet<FiringId>,
}

impl Writer<'_> {
    /// Writes records of one kind.
    async fn run(&mut self, run: &[&Record]) -> Result<()> {
        let intents: Vec<(&Intent, Option<&Progress>)> = run.iter().filter_map(|r| as_intent(r)).collect();
        if !intents.is_empty() {
            return self.plan(&intents).await;
        }
        let progress: Vec<&Progress> = run.iter().filter_map(|r| as_progress(r)).collect();
        if !progress.is_empty() {
            return self.progress(&progress).await;
        }
        let marks: Vec<&Mark> =
            run.iter().filter_map(|r| if let Record::Marked(mark) = r { Some(mark) } else { None }).collect();
        if !marks.is_empty() {
            return self.marks(&marks).await;
        }
        for record in run {
            self.one(record).await?;
        }
        Ok(())
    }

    /// Writes a record of a kind that does not come in crowds.
    async fn one(&mut self, record: &Record) -> Result<()> {
        match record {
            Record::Loaded(loaded) => self.loaded(loaded).await,
            Record::Skipped(skips) => {
                self.give_way(&skips.intent, skips.last).await?;
                let mut query = insert_firings();
                query.push_values([skips], |row, skips| {
                    let closed = Closed::new(State::Skipped, Some(skips.reason));
                    bind_firing(row, &skips.intent, &closed, skips.last.as_second(), skips.count);
                });
                self.execute(query.push(" ON CONFLICT DO NOTHING")).await.map(drop)
            }
            Record::Withdrawn(firing) => {
                // Only what was never sent may go; the state guards against a late answer.
                sqlx::query("DELETE FROM firing WHERE firing_id = ? AND state IN ('planned', 'waiting') AND attempts = 0")
                    .bind(firing.to_string())
                    .execute(&mut *self.connection)
                    .await
                    .map(drop)
            }
            Record::SetBack(to) => sqlx::query(
                "DELETE FROM firing WHERE kind = 'scheduled' AND state = 'skipped' AND reason = 'missed' \
                 AND nominal > ?",
            )
            .bind(to.as_second())
            .execute(&mut *self.connection)
            .await
            .map(drop),
            Record::Learned { factory, takes_our_id } => sqlx::query(
                "INSERT INTO factory (factory, takes_our_id) VALUES (?, ?) \
                 ON CONFLICT (factory) DO UPDATE SET takes_our_id = excluded.takes_our_id",
            )
            .bind(factory)
            .bind(i64::from(*takes_our_id))
            .execute(&mut *self.connection)
            .await
            .map(drop),
            Record::Answered { request, answer, at } => sqlx::query(
                "INSERT INTO request (request_id, asked_at, asks, state, answer) VALUES (?, ?, ?, 'done', ?) \
                 ON CONFLICT (request_id) DO UPDATE SET state = excluded.state, answer = excluded.answer",
            )
            .bind(&request.request_id)
            .bind(at.as_millisecond())
            .bind(to_json(&request.asks)?)
            .bind(to_json(answer)?)
            .execute(&mut *self.connection)
            .await
            .map(drop),
            Record::CleanStop(clean) => sqlx::query(
                "INSERT INTO note (name, value) VALUES ('clean_stop', ?) \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            )
            .bind(if *clean { "yes" } else { "no" })
            .execute(&mut *self.connection)
            .await
            .map(drop),
            Record::Planned(_) | Record::Stillborn(..) | Record::Marked(_) | Record::Progress(_) => Ok(()),
        }
    }

    async fn execute(&mut self, query: &mut QueryBuilder<Sqlite>) -> Result<u64> {
        Ok(query.build().execute(&mut *self.connection).await?.rows_affected())
    }

    async fn loaded(&mut self, loaded: &Loaded) -> Result<()> {
        sqlx::query(
            "INSERT INTO schedule_version (version, text, loaded_at) VALUES (?, ?, ?) \
             ON CONFLICT (version) DO UPDATE SET loaded_at = excluded.loaded_at",
        )
        .bind(&*loaded.version)
        .bind(&*loaded.text)
        .bind(loaded.at.as_millisecond())
        .execute(&mut *self.connection)
        .await?;
        for ended in loaded.ended.chunks(ROWS) {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("DELETE FROM entry WHERE name IN ");
            query.push_tuples(ended, |mut row, name: &EntryName| {
                row.push_bind(name.as_str());
            });
            self.execute(&mut query).await?;
        }
        for begun in loaded.begun.chunks(ROWS) {
            let mut query: QueryBuilder<Sqlite> =
                QueryBuilder::new("INSERT INTO entry (name, fingerprint, mark) ");
            query.push_values(begun, |mut row, (mark, fingerprint)| {
                row.push_bind(mark.entry.as_str());
                row.push_bind(&fingerprint.0);
                row.push_bind(mark.nominal.as_second());
            });
            query.push(
                " ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint, mark = excluded.mark",
            );
            self.execute(&mut query).await?;
        }
        Ok(())
    }

    async fn plan(&mut self, intents: &[(&Intent, Option<&Progress>)]) -> Result<()> {
        // A firing that was skipped because its entry went away gives way when the entry comes back.
        let scheduled: Vec<&Intent> =
            intents.iter().map(|(intent, _)| *intent).filter(|it| it.kind == Kind::Scheduled).collect();
        if !scheduled.is_empty() {
            let mut gone: QueryBuilder<Sqlite> = QueryBuilder::new(
                "DELETE FROM firing WHERE reason = 'removed' AND attempts = 0 AND kind = 'scheduled' \
                 AND (entry, nominal) IN (",
            );
            gone.push_values(&scheduled, |mut row, intent| {
                row.push_bind(intent.entry.as_str());
                row.push_bind(intent.nominal.as_second());
            });
            self.execute(gone.push(")")).await?;
        }

        let mut query = insert_firings();
        query.push_values(intents, |row, (intent, closed)| {
            let closed = closed.map_or_else(|| Closed::new(State::Planned, None), Closed::by);
            bind_firing(row, intent, &closed, intent.nominal.as_second(), 0);
        });
        let written = self.execute(query.push(" ON CONFLICT DO NOTHING")).await?;
        if written < intents.len() as u64 {
            self.find_refused(intents).await?;
        }
        Ok(())
    }

    /// The same for a row of nominal times that were missed meanwhile.
    async fn give_way(&mut self, first: &Intent, last: Nominal) -> Result<()> {
        sqlx::query(
            "DELETE FROM firing WHERE reason = 'removed' AND attempts = 0 AND kind = 'scheduled' \
             AND entry = ? AND nominal BETWEEN ? AND ?",
        )
        .bind(first.entry.as_str())
        .bind(first.nominal.as_second())
        .bind(last.as_second())
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    /// The guard held: finds out which of the intents are not the ones that the ledger has.
    async fn find_refused(&mut self, intents: &[(&Intent, Option<&Progress>)]) -> Result<()> {
        for (intent, _) in intents {
            let ours: Option<i64> = sqlx::query_scalar(
                "SELECT 1 FROM firing WHERE firing_id = ? AND planned_at = ? AND attempts = 0 AND state = 'planned'",
            )
            .bind(intent.firing_id.to_string())
            .bind(intent.planned_at.as_millisecond())
            .fetch_optional(&mut *self.connection)
            .await?;
            if ours.is_none() {
                self.refused.insert(intent.firing_id);
            }
        }
        Ok(())
    }

    async fn marks(&mut self, marks: &[&Mark]) -> Result<()> {
        // The last mark of an entry stands.
        let latest: HashMap<&EntryName, i64> =
            marks.iter().map(|mark| (&mark.entry, mark.nominal.as_second())).collect();
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("WITH new (name, mark) AS (");
        query.push_values(latest, |mut row, (name, mark)| {
            row.push_bind(name.as_str());
            row.push_bind(mark);
        });
        query.push(") UPDATE entry SET mark = CAST(new.mark AS BIGINT) FROM new WHERE entry.name = new.name");
        self.execute(&mut query).await.map(drop)
    }

    async fn progress(&mut self, progress: &[&Progress]) -> Result<()> {
        let attempts: Vec<_> = progress
            .iter()
            .filter_map(|p| p.attempt.as_ref().map(|attempt| (p.firing_id, attempt)))
            .collect();
        if !attempts.is_empty() {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
                "INSERT INTO attempt (firing_id, attempt, sent_at, answered_at, outcome, http_status, \
                 error_code, error_message, azure_request_id, azure_correlation_id) ",
            );
            query.push_values(attempts, |mut row, (firing, attempt)| {
                let refusal = attempt.refusal.as_ref();
                row.push_bind(firing.to_string());
                row.push_bind(i64::from(attempt.number));
                row.push_bind(attempt.sent_at.as_millisecond());
                row.push_bind(attempt.answered_at.as_millisecond());
                row.push_bind(attempt.outcome);
                row.push_bind(refusal.and_then(|r| r.http_status).map(i64::from));
                row.push_bind(refusal.and_then(|r| r.error_code.as_deref()));
                row.push_bind(refusal.map(|r| r.error_message.as_str()));
                row.push_bind(refusal.and_then(|r| r.azure_request_id.as_deref()));
                row.push_bind(refusal.and_then(|r| r.azure_correlation_id.as_deref()));
            });
            self.execute(query.push(" ON CONFLICT DO NOTHING")).await?;
        }
        // The last progress of a firing stands.
        let latest: HashMap<FiringId, &Progress> = progress.iter().map(|p| (p.firing_id, *p)).collect();
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "WITH new (firing_id, state, reason, attempts, counted, next_at, sent_at, run_id, error_message, accepted_at, finished_at) AS (",
        );
        query.push_values(latest.values(), |mut row, p| {
            let sent_at = p.attempt.as_ref().map(|attempt| attempt.sent_at.as_millisecond());
            let accepted = p.state == State::Accepted;
            let finished = matches!(p.state, State::Rejected | State::Skipped | State::NotStarted);
            row.push_bind(p.firing_id.to_string());
            row.push_bind(p.state.as_str());
            row.push_bind(p.reason.map(|reason| reason.as_str()));
            row.push_bind(i64::from(p.attempts));
            row.push_bind(i64::from(p.counted));
            row.push_bind(p.next_at.map(|at| at.as_millisecond()));
            row.push_bind(sent_at);
            row.push_bind(p.run_id.map(|run| run.to_string()));
            row.push_bind(p.error_message.as_deref());
            row.push_bind(accepted.then(|| p.at.as_millisecond()));
            row.push_bind(finished.then(|| p.at.as_millisecond()));
        });
        query.push(
            ") UPDATE firing SET state = new.state, reason = new.reason, \
             attempts = CAST(new.attempts AS BIGINT), counted = CAST(new.counted AS BIGINT), \
             next_at = CAST(new.next_at AS BIGINT), \
             first_sent_at = COALESCE(firing.first_sent_at, CAST(new.sent_at AS BIGINT)), \
             run_id = COALESCE(new.run_id, firing.run_id), \
             error_message = COALESCE(new.error_message, firing.error_message), \
             accepted_at = COALESCE(CAST(new.accepted_at AS BIGINT), firing.accepted_at), \
             finished_at = COALESCE(CAST(new.finished_at AS BIGINT), firing.finished_at) \
             FROM new WHERE firing.firing_id = new.firing_id",
        );
        self.execute(&mut query).await.map(drop)
    }

    async fn announcements(&mut self, batches: &[Batch]) -> Result<()> {
        let mut rows = Vec::new();
        for batch in batches {
            // Debug events tell of steps, not of ends: they are not worth a place in the ledger.
            let events: Vec<&Event> =
                batch.events.iter().filter(|event| event.level > Level::Debug).collect();
            if !events.is_empty() {
                rows.push((i64::try_from(batch.id).unwrap_or(i64::MAX), to_json(&events)?));
            }
        }
        for rows in rows.chunks(ROWS) {
            let mut query: QueryBuilder<Sqlite> =
                QueryBuilder::new("INSERT INTO announcement (batch, events) ");
            query.push_values(rows, |mut row, (batch, events)| {
                row.push_bind(batch);
                row.push_bind(events);
            });
            self.execute(&mut query).await?;
        }
        Ok(())
    }
}

fn as_intent(record: &Record) -> Option<(&Intent, Option<&Progress>)> {
    match record {
        Record::Planned(intent) => Some((intent, None)),
        Record::Stillborn(intent, progress) => Some((intent, Some(progress))),
        _ => None,
    }
}

fn as_progress(record: &Record) -> Option<&Progress> {
    if let Record::Progress(progress) = record { Some(progress) } else { None }
}

fn to_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|e| sqlx::Error::Encode(Box::new(e)))
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
         finished_at, error_message) ",
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
}
