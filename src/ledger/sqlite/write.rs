//! How batches become one SQLite transaction. Runs of like records become one statement each: in a
//! burst the cost of a row is then mostly its bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use sqlx::{Connection, QueryBuilder, Sqlite, SqliteConnection};

use super::status::SIGN;
use super::versions;
use crate::event::Event;
use crate::ids::{EntryName, FiringId};
use crate::ledger::{Batch, Intent, Loaded, Mark, Progress, Record, RunProgress, State, Written};

/// Rows of one statement: SQLite allows 32,766 bound values in one, PostgreSQL 65,535.
pub(super) const ROWS: usize = 1_000;

/// Firings that one pruning removes at the most: a commit must not hold up those that arm firings.
pub(super) const PRUNED: usize = 5_000;

pub(super) type Result<T> = std::result::Result<T, sqlx::Error>;

/// Writes the batches in one transaction; returns what came of it.
pub(super) async fn batches(
    connection: &mut SqliteConnection,
    batches: &[Batch],
    announced: Option<RangeInclusive<u64>>,
) -> Result<Written> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    if let Some(announced) = announced {
        sqlx::query("DELETE FROM announcement WHERE batch BETWEEN ? AND ?")
            .bind(i64::try_from(*announced.start()).unwrap_or(i64::MAX))
            .bind(i64::try_from(*announced.end()).unwrap_or(i64::MAX))
            .execute(&mut *transaction)
            .await?;
    }
    let mut writer = Writer { connection: &mut transaction, written: Written::default() };
    let mut records: Vec<(u64, &Record)> = Vec::new();
    for batch in batches {
        records.extend(batch.records.iter().map(|record| (batch.id, record)));
    }
    for like in records.chunk_by(|(_, a), (_, b)| std::mem::discriminant(*a) == std::mem::discriminant(*b)) {
        for run in like.chunks(ROWS) {
            writer.run(run).await?;
        }
    }
    writer.announcements(batches).await?;
    let written = writer.written;
    transaction.commit().await?;
    Ok(written)
}

/// Removes closed firings whose end was before `before`, a slice at a time. A firing is kept for as long as its
/// entry's mark could still be lowered to it, which a nominal time older than `before` cannot.
pub(super) async fn prune(connection: &mut SqliteConnection, before: Timestamp) -> Result<u64> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let milliseconds = before.as_millisecond();
    // The first condition follows from the second, and lets the index be used.
    let old: Vec<String> = sqlx::query_scalar(
        "SELECT firing_id FROM firing WHERE nominal < ? AND last_nominal < ? AND due < ? \
         AND COALESCE(finished_at, accepted_at, planned_at) < ? AND COALESCE(following, 0) = 0 \
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
    for statement in [
        "DELETE FROM request WHERE state <> 'waiting' AND asked_at < ?",
        "DELETE FROM pause WHERE resumed_at < ?",
        "DELETE FROM backfill WHERE ended_at < ?",
    ] {
        sqlx::query(statement).bind(milliseconds).execute(&mut *transaction).await?;
    }
    let forgotten = versions::prune(&mut transaction, milliseconds).await?;
    if forgotten || !old.is_empty() {
        versions::note_pruned(&mut transaction, milliseconds).await?;
    }
    transaction.commit().await?;
    Ok(old.len() as u64)
}

/// Writes into the transaction that is open.
pub(super) struct Writer<'c> {
    pub(super) connection: &'c mut SqliteConnection,
    /// What has come of it so far.
    pub(super) written: Written,
}

impl Writer<'_> {
    /// Writes records of one kind.
    async fn run(&mut self, run: &[(u64, &Record)]) -> Result<()> {
        let records = run.iter().map(|(_, record)| *record);
        let intents: Vec<(&Intent, Option<&Progress>)> = records.clone().filter_map(as_intent).collect();
        if !intents.is_empty() {
            return self.plan(&intents).await;
        }
        let progress: Vec<&Progress> = records.clone().filter_map(as_progress).collect();
        if !progress.is_empty() {
            return self.progress(&progress).await;
        }
        let runs: Vec<&RunProgress> =
            records.clone().filter_map(|r| if let Record::Run(run) = r { Some(run) } else { None }).collect();
        if !runs.is_empty() {
            return self.went_on(&runs).await;
        }
        let marks: Vec<&Mark> =
            records.filter_map(|r| if let Record::Marked(mark) = r { Some(mark) } else { None }).collect();
        if !marks.is_empty() {
            return self.marks(&marks).await;
        }
        for (batch, record) in run {
            self.one(*batch, record).await?;
        }
        Ok(())
    }

    /// Writes a record of a kind that does not come in crowds.
    async fn one(&mut self, batch: u64, record: &Record) -> Result<()> {
        match record {
            Record::Loaded(loaded) => self.loaded(loaded).await,
            Record::Skipped(skips) => self.skip(batch, skips).await,
            Record::Withdrawn(firing) => {
                // Only what was never sent may go; the state guards against a late answer.
                sqlx::query("DELETE FROM firing WHERE firing_id = ? AND state IN ('planned', 'waiting') AND attempts = 0")
                    .bind(firing.to_string())
                    .execute(&mut *self.connection)
                    .await
                    .map(drop)
            }
            Record::SetBack { to, calendars } => self.set_back(*to, calendars).await,
            Record::Moved { firing_id, next_at, first_sent_at } => {
                self.moved(*firing_id, *next_at, *first_sent_at).await
            }
            Record::Reached(reached) => self.reached(*reached).await,
            Record::Learned { factory, takes_our_id } => sqlx::query(
                "INSERT INTO factory (factory, takes_our_id) VALUES (?, ?) \
                 ON CONFLICT (factory) DO UPDATE SET takes_our_id = excluded.takes_our_id",
            )
            .bind(factory)
            .bind(i64::from(*takes_our_id))
            .execute(&mut *self.connection)
            .await
            .map(drop),
            Record::Backfill(backfill) => self.backfill(backfill).await,
            Record::Failures { entry, count } => self.failures(entry, *count).await,
            Record::Reopened { firing_id, at } => self.reopen(*firing_id, *at).await,
            Record::Paused { entry, at, note } => self.paused(entry, *at, note.as_deref()).await,
            Record::Resumed { entry, at } => self.resumed(entry, *at).await,
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
            Record::CleanStop(clean) => {
                if *clean {
                    self.reached(None).await?;
                }
                self.note("clean_stop", if *clean { "yes" } else { "no" }).await
            }
            Record::Sign(sign) => self.note(SIGN, &to_json(sign)?).await,
            Record::Planned(_)
            | Record::Stillborn(..)
            | Record::Marked(_)
            | Record::Progress(_)
            | Record::Run(_) => Ok(()),
        }
    }

    pub(super) async fn execute(&mut self, query: &mut QueryBuilder<Sqlite>) -> Result<u64> {
        Ok(query.build().execute(&mut *self.connection).await?.rows_affected())
    }

    pub(super) async fn note(&mut self, name: &str, value: &str) -> Result<()> {
        sqlx::query(
            "INSERT INTO note (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&mut *self.connection)
        .await
        .map(drop)
    }

    async fn loaded(&mut self, loaded: &Loaded) -> Result<()> {
        versions::put_in_force(self.connection, loaded).await?;
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

    /// Makes a firing that is over one that goes on; an attempt of it may be sent once that is durable.
    async fn reopen(&mut self, firing: FiringId, at: Timestamp) -> Result<()> {
        let reopened = sqlx::query(
            "UPDATE firing SET state = 'waiting', reason = NULL, counted = 0, next_at = NULL, finished_at = NULL, \
             error_message = NULL, \
             reopened_at = ?1 WHERE firing_id = ?2 AND (state IN ('rejected', 'held', 'not_started') OR reopened_at = ?1)",
        )
        .bind(at.as_millisecond())
        .bind(firing.to_string())
        .execute(&mut *self.connection)
        .await?
        .rows_affected();
        if reopened == 0 {
            self.written.refused.insert(firing);
        }
        Ok(())
    }

    async fn paused(&mut self, entry: &EntryName, at: Timestamp, note: Option<&str>) -> Result<()> {
        sqlx::query("INSERT INTO pause (entry, paused_at, note) VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
            .bind(entry.as_str())
            .bind(at.as_millisecond())
            .bind(note)
            .execute(&mut *self.connection)
            .await
            .map(drop)
    }

    async fn resumed(&mut self, entry: &EntryName, at: Timestamp) -> Result<()> {
        sqlx::query("UPDATE pause SET resumed_at = ? WHERE entry = ? AND resumed_at IS NULL")
            .bind(at.as_millisecond())
            .bind(entry.as_str())
            .execute(&mut *self.connection)
            .await
            .map(drop)
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
        self.attempts(progress).await?;
        // The last progress of a firing stands, but its first attempt is the first of all of them.
        let latest: HashMap<FiringId, &Progress> = progress.iter().map(|p| (p.firing_id, *p)).collect();
        let sent = progress.iter().rev().filter_map(|p| Some((p.firing_id, p.attempt.as_ref()?.sent_at)));
        let first_sent: HashMap<FiringId, Timestamp> = sent.collect();
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(
            "WITH new (firing_id, state, reason, attempts, counted, next_at, sent_at, run_id, error_message, accepted_at, finished_at, follow) AS (",
        );
        query.push_values(latest.values(), |mut row, p| {
            let sent_at = first_sent.get(&p.firing_id).map(|at| at.as_millisecond());
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
            row.push_bind(i64::from(p.follow));
        });
        query.push(
            ") UPDATE firing SET state = new.state, reason = new.reason, \
             attempts = CAST(new.attempts AS BIGINT), counted = CAST(new.counted AS BIGINT), \
             next_at = CAST(new.next_at AS BIGINT), \
             first_sent_at = COALESCE(firing.first_sent_at, CAST(new.sent_at AS BIGINT)), \
             run_id = COALESCE(new.run_id, firing.run_id), \
             error_message = CASE WHEN new.state = 'accepted' THEN NULL \
             ELSE COALESCE(new.error_message, firing.error_message) END, \
             accepted_at = COALESCE(CAST(new.accepted_at AS BIGINT), firing.accepted_at), \
             finished_at = COALESCE(CAST(new.finished_at AS BIGINT), firing.finished_at), \
             following = CASE WHEN CAST(new.follow AS BIGINT) = 1 AND firing.state <> 'accepted' THEN 1 \
             ELSE firing.following END \
             FROM new WHERE firing.firing_id = new.firing_id \
             AND (firing.state NOT IN ('accepted', 'rejected', 'skipped', 'not_started') OR firing.state = new.state) \
             AND (new.state <> 'skipped' OR (firing.state <> 'held' AND firing.attempts = 0))",
        );
        self.execute(&mut query).await.map(drop)
    }

    /// Writes the attempts that brought firings to where they stand.
    async fn attempts(&mut self, progress: &[&Progress]) -> Result<()> {
        let attempts: Vec<_> = progress
            .iter()
            .filter_map(|p| p.attempt.as_ref().map(|attempt| (p.firing_id, attempt)))
            .collect();
        if attempts.is_empty() {
            return Ok(());
        }
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
        self.execute(query.push(" ON CONFLICT DO NOTHING")).await.map(drop)
    }

    async fn announcements(&mut self, batches: &[Batch]) -> Result<()> {
        let mut rows = Vec::new();
        for batch in batches {
            let events: Vec<Cow<'_, Event>> =
                batch.announced(&self.written).filter(|event| event.is_kept()).collect();
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
            // They stand there if the last try to commit went through, and said that it had not.
            query.push(" ON CONFLICT (batch) DO UPDATE SET events = excluded.events");
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
