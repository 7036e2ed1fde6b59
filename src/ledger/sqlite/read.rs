//! What is read from the SQLite ledger: the snapshot for a starting daemon, the history, and requests.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::SqliteLedger;
use super::audit::rules;
use crate::ids::{
    EntryName, Factory, FactoryName, FiringId, Kind, Nominal, PipelineName, ResourceGroup, RunId,
    SubscriptionId,
};
use crate::ledger::{
    About, Answer, Asks, Body, Facts, HistoryFilter, HistoryRow, Intent, Known, LastSchedule, LedgerError,
    Pause, Reason, Request, Settlement, Snapshot, State,
};
use crate::schedule::Fingerprint;

/// A firing with all that [`known`] reads.
macro_rules! known_firing {
    () => {
        "SELECT *, EXISTS (SELECT 1 FROM attempt WHERE attempt.firing_id = firing.firing_id \
         AND outcome = 'unknown') AS ever_unknown FROM firing"
    };
}

/// What stands in a column, read by `parse`, or an error that names the column.
pub(super) fn column<T, E: std::fmt::Display>(
    row: &SqliteRow,
    what: &'static str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, LedgerError> {
    let text: &str =
        row.try_get(what).map_err(|e| LedgerError::Unreadable { what, detail: e.to_string() })?;
    parse(text).map_err(|e| LedgerError::Unreadable { what, detail: e.to_string() })
}

pub(super) fn get<'r, T: sqlx::Decode<'r, Sqlite> + sqlx::Type<Sqlite>>(
    row: &'r SqliteRow,
    what: &'static str,
) -> Result<T, LedgerError> {
    row.try_get(what).map_err(|e| LedgerError::Unreadable { what, detail: e.to_string() })
}

pub(super) fn time(row: &SqliteRow, what: &'static str) -> Result<Timestamp, LedgerError> {
    optional_time(row, what)?
        .ok_or(LedgerError::Unreadable { what, detail: "nothing where a time should stand".to_owned() })
}

pub(super) fn optional_time(row: &SqliteRow, what: &'static str) -> Result<Option<Timestamp>, LedgerError> {
    get::<Option<i64>>(row, what)?
        .map(|ms| {
            Timestamp::from_millisecond(ms)
                .map_err(|e| LedgerError::Unreadable { what, detail: e.to_string() })
        })
        .transpose()
}

pub(super) fn nominal(row: &SqliteRow, what: &'static str) -> Result<Nominal, LedgerError> {
    let second = get::<i64>(row, what)?;
    Nominal::from_second(second).ok_or_else(|| LedgerError::Unreadable { what, detail: second.to_string() })
}

pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, what: &'static str) -> Result<T, LedgerError> {
    let value = get::<i64>(row, what)?;
    T::try_from(value).map_err(|_| LedgerError::Unreadable { what, detail: value.to_string() })
}

pub(super) fn json<T: serde::de::DeserializeOwned>(
    row: &SqliteRow,
    what: &'static str,
) -> Result<T, LedgerError> {
    column(row, what, |text| serde_json::from_str(text))
}

pub(super) fn word<T>(
    row: &SqliteRow,
    what: &'static str,
    parse: fn(&str) -> Option<T>,
) -> Result<T, LedgerError> {
    column(row, what, |text| parse(text).ok_or_else(|| text.to_owned()))
}

pub(super) fn intent(row: &SqliteRow) -> Result<Intent, LedgerError> {
    Ok(Intent {
        firing_id: column(row, "firing_id", FiringId::parse)?,
        entry: column(row, "entry", EntryName::new)?,
        pipeline: column(row, "pipeline", PipelineName::new)?,
        factory: Factory {
            subscription: column(row, "subscription", SubscriptionId::new)?,
            resource_group: column(row, "resource_group", ResourceGroup::new)?,
            name: column(row, "factory", FactoryName::new)?,
        },
        kind: word(row, "kind", Kind::parse)?,
        nominal: nominal(row, "nominal")?,
        due: time(row, "due")?,
        body: Body::new(get(row, "body")?),
        policy: Arc::new(json(row, "policy")?),
        schedule_version: get::<&str>(row, "schedule_version")?.into(),
        planned_at: time(row, "planned_at")?,
        recovers: match get::<Option<&str>>(row, "recovers")? {
            Some(_) => Some(Arc::new(json(row, "recovers")?)),
            None => None,
        },
        backfill: get::<Option<&str>>(row, "backfill")?.map(Into::into),
    })
}

fn known(row: &SqliteRow) -> Result<Known, LedgerError> {
    Ok(Known {
        intent: Arc::new(intent(row)?),
        state: word(row, "state", State::parse)?,
        reason: get::<Option<&str>>(row, "reason")?.and_then(Reason::parse),
        attempts: number(row, "attempts")?,
        counted: number(row, "counted")?,
        next_at: optional_time(row, "next_at")?,
        first_sent_at: optional_time(row, "first_sent_at")?,
        reopened_at: optional_time(row, "reopened_at")?,
        ever_unknown: get(row, "ever_unknown")?,
    })
}

pub(super) fn history_row(row: &SqliteRow) -> Result<HistoryRow, LedgerError> {
    let (first, last) = (nominal(row, "nominal")?, nominal(row, "last_nominal")?);
    let skipped: u64 = number(row, "skipped")?;
    Ok(HistoryRow {
        entry: get(row, "entry")?,
        pipeline: get(row, "pipeline")?,
        factory: get(row, "factory")?,
        kind: get(row, "kind")?,
        firing_id: get(row, "firing_id")?,
        scheduled_time: first.timestamp(),
        last_scheduled_time: (skipped > 1).then(|| last.timestamp()),
        count: (skipped > 1).then_some(skipped),
        due_time: time(row, "due")?,
        state: get(row, "state")?,
        reason: get(row, "reason")?,
        attempts: number(row, "attempts")?,
        run_id: get(row, "run_id")?,
        run_status: get(row, "run_status")?,
        error_message: get(row, "error_message")?,
        planned_at: time(row, "planned_at")?,
        accepted_at: optional_time(row, "accepted_at")?,
        finished_at: optional_time(row, "finished_at")?,
    })
}

impl SqliteLedger {
    pub(super) async fn rows(&mut self, sql: &'static str) -> Result<Vec<SqliteRow>, LedgerError> {
        sqlx::query(sql).fetch_all(&mut self.connection).await.map_err(|source| self.failed(source))
    }

    pub(super) async fn snapshot(&mut self) -> Result<Snapshot, LedgerError> {
        let mut snapshot = Snapshot::default();
        for row in self.rows("SELECT name, mark, fingerprint FROM entry").await? {
            let mark = nominal(&row, "mark")?;
            let fingerprint = Fingerprint(get(&row, "fingerprint")?);
            snapshot.marks.insert(column(&row, "name", EntryName::new)?, (mark, fingerprint));
        }
        // The words of the index, so that it is used.
        let firings = concat!(
            known_firing!(),
            " WHERE state IN ('planned', 'waiting', 'unknown', 'held') ORDER BY due"
        );
        for row in self.rows(firings).await? {
            let known = known(&row)?;
            let list = if known.state == State::Held { &mut snapshot.held } else { &mut snapshot.open };
            list.push(known);
        }
        snapshot.followed = self.followed().await?;
        for row in self.rows("SELECT entry, paused_at, resumed_at FROM pause ORDER BY paused_at").await? {
            let pause = Pause { from: time(&row, "paused_at")?, until: optional_time(&row, "resumed_at")? };
            snapshot.pauses.entry(column(&row, "entry", EntryName::new)?).or_default().push(pause);
        }
        for row in self.rows("SELECT entry, failures FROM failing").await? {
            snapshot.failures.insert(column(&row, "entry", EntryName::new)?, number(&row, "failures")?);
        }
        snapshot.backfills = self.open_backfills().await?;
        for row in self.rows("SELECT factory, takes_our_id FROM factory").await? {
            snapshot.learned.insert(get(&row, "factory")?, get::<i64>(&row, "takes_our_id")? != 0);
        }
        let newest = "SELECT version, text, rules FROM schedule_version JOIN in_force USING (version) \
             ORDER BY number DESC LIMIT 1";
        for row in self.rows(newest).await? {
            snapshot.schedule = Some(LastSchedule {
                version: get::<&str>(&row, "version")?.into(),
                text: get::<&str>(&row, "text")?.into(),
                rules: rules(&row),
            });
        }
        for row in self.rows("SELECT value FROM note WHERE name = 'clean_stop'").await? {
            snapshot.clean_stop = get::<&str>(&row, "value")? == "yes";
        }
        if !snapshot.clean_stop {
            let reached = self.sign().await?.map(|sign| sign.heartbeat_at);
            snapshot.reached = self.noted_reach().await?.max(reached);
        }
        for row in self.rows("SELECT batch FROM announcement ORDER BY batch DESC LIMIT 1").await? {
            snapshot.next_batch = number::<u64>(&row, "batch")? + 1;
        }
        Ok(snapshot)
    }

    pub(super) async fn events_from(&mut self, first: u64, most: u32) -> Result<Vec<Facts>, LedgerError> {
        let rows =
            sqlx::query("SELECT batch, events FROM announcement WHERE batch >= ? ORDER BY batch LIMIT ?")
                .bind(i64::try_from(first).unwrap_or(i64::MAX))
                .bind(i64::from(most))
                .fetch_all(&mut self.connection)
                .await
                .map_err(|source| self.failed(source))?;
        rows.iter().map(|row| Ok((number(row, "batch")?, json(row, "events")?))).collect()
    }

    async fn noted_reach(&mut self) -> Result<Option<Timestamp>, LedgerError> {
        let rows =
            self.rows("SELECT CAST(value AS BIGINT) AS reached FROM note WHERE name = 'reached'").await?;
        rows.first().map(|row| time(row, "reached")).transpose()
    }

    pub(super) async fn owners_of(
        &mut self,
        runs: &[RunId],
        but: FiringId,
    ) -> Result<HashMap<RunId, FiringId>, LedgerError> {
        let mut owners = HashMap::new();
        for run in runs {
            let id = run.to_string();
            let owner = sqlx::query(
                "SELECT firing_id FROM firing WHERE (run_id = ? OR firing_id = ?) AND firing_id <> ? LIMIT 1",
            )
            .bind(&id)
            .bind(&id)
            .bind(but.to_string())
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?;
            if let Some(row) = owner {
                owners.insert(*run, column(&row, "firing_id", FiringId::parse)?);
            }
        }
        Ok(owners)
    }

    pub(super) async fn waiting_requests(&mut self) -> Result<Vec<Request>, LedgerError> {
        let sql =
            "SELECT request_id, asks FROM request WHERE state = 'waiting' ORDER BY asked_at, request_id";
        let mut requests = Vec::new();
        for row in self.rows(sql).await? {
            let request_id: String = get(&row, "request_id")?;
            match json(&row, "asks") {
                Ok(asks) => {
                    let about = self.about(&asks).await?.map(Box::new);
                    let taken = self.taken_of(&asks).await?;
                    requests.push(Request { request_id, asks, about, taken });
                }
                // One that a newer program left must not keep all others waiting.
                Err(error) => self.refuse(&request_id, error.to_string()).await?,
            }
        }
        Ok(requests)
    }

    /// What is known of the firing that is spoken of.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn about(&mut self, asks: &Asks) -> Result<Option<About>, LedgerError> {
        let Some(firing) = asks.firing() else { return Ok(None) };
        let row = sqlx::query(concat!(known_firing!(), " WHERE firing_id = ?"))
            .bind(firing.to_string())
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?;
        let Some(row) = row else { return Ok(None) };
        let owner = match asks {
            Asks::Settle { how: Settlement::Run(run), .. } => {
                self.owners_of(&[*run], firing).await?.remove(run)
            }
            _ => None,
        };
        Ok(Some(About { firing: known(&row)?, owner }))
    }

    async fn refuse(&mut self, request_id: &str, why: String) -> Result<(), LedgerError> {
        let answer = serde_json::to_string(&Answer::Refused(why))
            .map_err(|e| LedgerError::Unreadable { what: "answer", detail: e.to_string() })?;
        sqlx::query("UPDATE request SET state = 'done', answer = ? WHERE request_id = ?")
            .bind(answer)
            .bind(request_id)
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// Leaves a request for the daemon.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    pub async fn ask(&mut self, request: &Request, at: Timestamp) -> Result<(), LedgerError> {
        let asks = serde_json::to_string(&request.asks)
            .map_err(|e| LedgerError::Unreadable { what: "asks", detail: e.to_string() })?;
        sqlx::query("INSERT INTO request (request_id, asked_at, asks, state) VALUES (?, ?, ?, 'waiting')")
            .bind(&request.request_id)
            .bind(at.as_millisecond())
            .bind(asks)
            .execute(&mut self.connection)
            .await
            .map(drop)
            .map_err(|source| self.failed(source))
    }

    /// What became of a request so far.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn answer(&mut self, request_id: &str) -> Result<Option<Answer>, LedgerError> {
        sqlx::query("SELECT answer FROM request WHERE request_id = ? AND answer IS NOT NULL")
            .bind(request_id)
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?
            .map(|row| json(&row, "answer"))
            .transpose()
    }

    /// One firing, as the history shows it.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn firing(&mut self, firing: FiringId) -> Result<Option<HistoryRow>, LedgerError> {
        sqlx::query("SELECT * FROM firing WHERE firing_id = ?")
            .bind(firing.to_string())
            .fetch_optional(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?
            .map(|row| history_row(&row))
            .transpose()
    }

    /// The history, newest nominal time first.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    pub async fn history(&mut self, filter: &HistoryFilter) -> Result<Vec<HistoryRow>, LedgerError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new("SELECT * FROM firing WHERE 1 = 1");
        if let Some(entry) = &filter.entry {
            query.push(" AND entry = ").push_bind(entry);
        }
        if let Some(since) = filter.since {
            query.push(" AND last_nominal >= ").push_bind(Nominal::at_or_before(since).as_second());
        }
        if let Some(state) = filter.state {
            query.push(" AND state = ").push_bind(state.as_str());
        }
        if let Some(backfill) = &filter.backfill {
            query.push(" AND backfill = ").push_bind(backfill);
        }
        query.push(" ORDER BY nominal DESC, due DESC, entry LIMIT ").push_bind(i64::from(filter.limit));
        query
            .build()
            .fetch_all(&mut self.connection)
            .await
            .map_err(|source| self.failed(source))?
            .iter()
            .map(history_row)
            .collect()
    }
}
