//! The ledger in a SQLite file: WAL, `synchronous=FULL`, one writer. Reading and opening are here,
//! writing in `write`, what is refused in `guard`.

mod audit;
mod backfill;
mod clock;
mod guard;
mod read;
mod runs;
mod status;
mod versions;
mod write;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::lock::{has_log, in_use_by_this_name, without_links};
use super::{Batch, Facts, Ledger, LedgerError, Lock, Request, Snapshot, Written};
use crate::ids::{FiringId, RunId};

static MIGRATIONS: Migrator = sqlx::migrate!("src/ledger/migrations");

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The ledger in a SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    path: PathBuf,
    connection: SqliteConnection,
    /// Whether a transaction failed on this connection.
    worn: bool,
    /// The right to change it. It is given back after the connection is closed.
    lock: Option<Lock>,
}

impl SqliteLedger {
    /// Opens the ledger to change it, creating the file and bringing its schema up to date.
    ///
    /// # Errors
    /// [`LedgerError::Newer`] when a newer version has written it, [`LedgerError::Unopened`] when the file cannot be
    /// had, [`LedgerError::Database`] otherwise.
    pub async fn open(lock: &Lock) -> Result<Self, LedgerError> {
        let path = lock.ledger();
        lock.lock_file(true).map_err(|source| LedgerError::Unopened { path: path.to_owned(), source })?;
        let mut ledger = Self::connect_to_write(lock).await?;
        match MIGRATIONS.run(&mut ledger.connection).await {
            Ok(()) => Ok(ledger),
            Err(MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..)) => {
                Err(LedgerError::Newer { path: path.to_owned() })
            }
            Err(MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)) => {
                Err(ledger.failed(source))
            }
            Err(other) => Err(ledger.failed(sqlx::Error::Migrate(Box::new(other)))),
        }
    }

    /// Opens an existing ledger beside the daemon, to read it.
    ///
    /// # Errors
    /// [`LedgerError::Database`] when there is none, or it cannot be read, [`LedgerError::OtherName`] when what is
    /// newest lies beside another name.
    pub async fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        let path = &without_links(path);
        in_use_by_this_name(path)?;
        let options = Self::options(path).read_only(true);
        let mut ledger = Self::connect(path, &options).await?;
        match ledger.rows("SELECT 1 FROM entry LIMIT 1").await {
            // A reader who may not write beside the file cannot join its write-ahead log. After a clean stop
            // there is none, and the file alone is the whole truth.
            Err(error) if cannot_join(&error) && !has_log(path) => {
                Self::connect(path, &options.immutable(true)).await
            }
            Err(error) => Err(error),
            Ok(_) => Ok(ledger),
        }
    }

    /// Opens an existing ledger beside the daemon, to ask something of it.
    ///
    /// # Errors
    /// [`LedgerError::Database`] when there is none, or it cannot be written.
    pub async fn open_to_ask(path: &Path) -> Result<Self, LedgerError> {
        Self::connect(path, &Self::options(path).synchronous(SqliteSynchronous::Full)).await
    }

    fn options(path: &Path) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(path).busy_timeout(BUSY_TIMEOUT).disable_statement_logging()
    }

    fn options_to_write(path: &Path) -> SqliteConnectOptions {
        Self::options(path).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full)
    }

    /// Where the disk is full or fails, SQLite takes a transaction back by itself, and sqlx, which is not told,
    /// lets no other begin on that connection. So what failed is tried again on a fresh one.
    async fn connect_anew_if_worn(&mut self) -> Result<(), LedgerError> {
        if self.worn
            && let Some(lock) = &self.lock
        {
            let fresh = Self::connect_to_write(lock).await?;
            std::mem::replace(self, fresh).close().await;
        }
        Ok(())
    }

    /// What is written to a file that was moved away is lost to the next start.
    fn refuse_if_moved(&self) -> Result<(), LedgerError> {
        match &self.lock {
            Some(lock) if !lock.is_in_place() => Err(LedgerError::Moved { path: self.path.clone() }),
            _ => Ok(()),
        }
    }

    async fn connect_to_write(lock: &Lock) -> Result<Self, LedgerError> {
        let path = lock.ledger();
        let ledger = Self::connect(path, &Self::options_to_write(path)).await?;
        Ok(Self { lock: Some(lock.clone()), ..ledger })
    }

    async fn connect(path: &Path, options: &SqliteConnectOptions) -> Result<Self, LedgerError> {
        let connection = options
            .connect()
            .await
            .map_err(|source| LedgerError::Database { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), connection, worn: false, lock: None })
    }

    fn failed(&self, source: sqlx::Error) -> LedgerError {
        LedgerError::Database { path: self.path.clone(), source }
    }
}

/// SQLITE_READONLY (8) and SQLITE_CANTOPEN (14), in their plain and extended forms.
fn cannot_join(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Database { source, .. } if matches!(code(source), Some(8 | 14)))
}

/// SQLite's primary result code.
pub(super) fn code(error: &sqlx::Error) -> Option<u32> {
    let code = error.as_database_error()?.code()?;
    code.parse::<u32>().ok().map(|code| code & 0xff)
}

impl Ledger for SqliteLedger {
    async fn write(
        &mut self,
        batches: &[Batch],
        announced: Option<RangeInclusive<u64>>,
    ) -> Result<Written, LedgerError> {
        self.refuse_if_moved()?;
        self.connect_anew_if_worn().await?;
        let written = write::batches(&mut self.connection, batches, announced).await;
        self.worn = written.is_err();
        written.map_err(|source| self.failed(source))
    }

    async fn load(&mut self) -> Result<Snapshot, LedgerError> {
        self.snapshot().await
    }

    async fn owners(
        &mut self,
        runs: &[RunId],
        but: FiringId,
    ) -> Result<HashMap<RunId, FiringId>, LedgerError> {
        self.owners_of(runs, but).await
    }

    async fn unannounced(&mut self, first: u64, most: u32) -> Result<Vec<Facts>, LedgerError> {
        self.events_from(first, most).await
    }

    async fn requests(&mut self) -> Result<Vec<Request>, LedgerError> {
        // What is asked now is left in another file.
        self.refuse_if_moved()?;
        self.waiting_requests().await
    }

    async fn prune(&mut self, before: Timestamp) -> Result<u64, LedgerError> {
        self.refuse_if_moved()?;
        self.connect_anew_if_worn().await?;
        let pruned = write::prune(&mut self.connection, before).await;
        self.worn = pruned.is_err();
        pruned.map_err(|source| self.failed(source))
    }

    async fn close(self) {
        // A failure leaves the file as a crash would, which the next start copes with.
        let _ = self.connection.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Loaded, Record};
    use crate::schedule::CronRules;

    #[tokio::test(flavor = "current_thread")]
    async fn a_ledger_of_an_earlier_version_is_brought_up_to_date_with_all_that_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let lock = Lock::take(&path).unwrap();
        lock.lock_file(true).unwrap();
        let mut earlier = SqliteLedger::connect_to_write(&lock).await.unwrap();
        let first = MIGRATIONS.iter().take(1).cloned().collect();
        Migrator::with_migrations(first).run(&mut earlier.connection).await.unwrap();
        sqlx::query(
            "INSERT INTO firing VALUES ('7744d5c7-7785-5eca-ba42-47806c7a543a', 'a', 'P', \
             '00000000-0000-0000-0000-000000000000', 'rg', 'adf', 'scheduled', 0, 0, 0, 0, '{}', '{}', 'v', 0, \
             'accepted', NULL, 1, 1, NULL, 0, NULL, '7744d5c7-7785-5eca-ba42-47806c7a543a', NULL, NULL, 0, NULL)",
        )
        .execute(&mut earlier.connection)
        .await
        .unwrap();
        Ledger::close(earlier).await;
        let mut ledger = SqliteLedger::open(&lock).await.unwrap();
        assert!(
            ledger.load().await.unwrap().followed.is_empty(),
            "its runs were not followed, and are not now"
        );
        let filter = crate::ledger::HistoryFilter { limit: 9, ..Default::default() };
        assert_eq!(ledger.history(&filter).await.unwrap()[0].state, "accepted");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_ledger_whose_disk_was_full_can_be_written_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(&folder.path().join("ledger.db")).unwrap();
        let mut ledger = SqliteLedger::open(&lock).await.unwrap();
        // No page more than there are: the same as a full disk.
        sqlx::query("PRAGMA max_page_count = 1").execute(&mut ledger.connection).await.unwrap();
        let learned = |factory: String| Record::Learned { factory, takes_our_id: true };
        let records = (0..1_000).map(|number| learned(format!("a factory with a long name, {number}")));
        let batch = Batch { id: 1, records: records.collect(), events: Vec::new() };
        let full = ledger.write(std::slice::from_ref(&batch), None).await.unwrap_err();
        assert!(crate::event::chain(&full).contains("full"), "{full:?}");
        ledger.write(&[batch], None).await.unwrap();
        assert_eq!(ledger.load().await.unwrap().learned.len(), 1_000, "all of it, and once");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_version_comes_into_force_anew_when_it_is_read_by_other_rules_and_versions_of_before_were_croners()
     {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let options = SqliteLedger::options_to_write(&path).create_if_missing(true);
        let mut earlier = SqliteLedger::connect(&path, &options).await.unwrap();
        let first = MIGRATIONS.iter().take(4).cloned().collect();
        Migrator::with_migrations(first).run(&mut earlier.connection).await.unwrap();
        sqlx::raw_sql(
            "INSERT INTO schedule_version VALUES ('v', 't'); INSERT INTO in_force VALUES (1, 1000, 'v')",
        )
        .execute(&mut earlier.connection)
        .await
        .unwrap();
        Ledger::close(earlier).await;
        let shown = |evidence: &crate::ledger::Evidence| {
            let shown = evidence.in_force.iter().map(|it| (it.at.as_millisecond(), it.rules.unwrap()));
            shown.collect::<Vec<_>>()
        };
        // Who only reads may be the first with the new program.
        let mut reader = SqliteLedger::open_to_read(&path).await.unwrap();
        assert_eq!(shown(&reader.evidence().await.unwrap()), [(1_000, CronRules::Croner)]);
        Ledger::close(reader).await;

        let mut ledger = SqliteLedger::open(&Lock::take(&path).unwrap()).await.unwrap();
        assert_eq!(ledger.load().await.unwrap().schedule.unwrap().rules, Some(CronRules::Croner));
        for (id, at, rules) in
            [(1, 2_000, CronRules::Croner), (2, 3_000, CronRules::Vixie), (3, 4_000, CronRules::Vixie)]
        {
            let loaded = Loaded {
                version: "v".into(),
                text: "t".into(),
                rules,
                at: Timestamp::from_millisecond(at).unwrap(),
                begun: Vec::new(),
                ended: Vec::new(),
            };
            let batch = Batch { id, records: vec![Record::Loaded(Box::new(loaded))], events: Vec::new() };
            ledger.write(&[batch], None).await.unwrap();
        }
        let once = [(1_000, CronRules::Croner), (3_000, CronRules::Vixie)];
        assert_eq!(shown(&ledger.evidence().await.unwrap()), once, "a restart is none");
        let to = crate::ids::Nominal::from_second(2).unwrap();
        let set_back = Record::SetBack { to, calendars: Vec::new() };
        ledger.write(&[Batch { id: 4, records: vec![set_back], events: Vec::new() }], None).await.unwrap();
        let last = shown(&ledger.evidence().await.unwrap()).pop().unwrap();
        assert_eq!(
            last,
            (2_000, CronRules::Vixie),
            "the same rules are in force where the clock is set back to"
        );
        assert_eq!(ledger.load().await.unwrap().schedule.unwrap().rules, Some(CronRules::Vixie));
    }
}
