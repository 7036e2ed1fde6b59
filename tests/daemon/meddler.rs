//! Another program at the ledger's file.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::runtime::Runtime;

/// Another program that has the ledger open.
pub(crate) struct Meddler {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Meddler {
    pub(crate) fn new(ledger: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(ledger);
        let connection = runtime.block_on(options.connect()).unwrap();
        Self { runtime, connection }
    }

    pub(crate) fn execute(&mut self, sql: &'static str) {
        assert!(self.tries(sql), "{sql}");
    }

    /// Whether this could be done.
    pub(crate) fn tries(&mut self, sql: &'static str) -> bool {
        match self.runtime.block_on(sqlx::query(sql).execute(&mut self.connection)) {
            Ok(_) => true,
            Err(error) => {
                println!("{sql}: {error}");
                false
            }
        }
    }

    /// The one number that this asks for.
    pub(crate) fn number(&mut self, sql: &'static str) -> i64 {
        self.runtime.block_on(sqlx::query_scalar(sql).fetch_one(&mut self.connection)).unwrap()
    }

    pub(crate) fn leave(self) {
        self.runtime.block_on(self.connection.close()).unwrap();
    }
}
