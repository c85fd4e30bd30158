//! The database: one log, the tables that follow from it, and the views that everybody reads.
//!
//! Refuses to know how stages are trained and what results mean. Time is passed in; SQL stands here and nowhere else.

mod fits;
mod imports;
mod live;
mod log;
mod points;
mod read;
mod replay;
mod rows;
mod stages;
mod studies;
mod write;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

pub use fits::{FitRow, ForecastRow};
pub use imports::ImportRow;
pub use live::{AttemptSpan, LeanTrial, PathStage};
pub use log::{Entry, StageDetail, TrialEntry};
pub use replay::Problem;
pub use rows::{RunningRow, StageAttempt, SweepRow, rate_key};
pub use studies::StudyRow;
pub use write::Said;

use crate::record::UnreadableColumn;
use crate::workdir::mount::shared_file_system_of;

/// How long a statement waits for another process's short transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The steps to the newest schema.
static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

#[derive(Debug)]
pub struct Store {
    connection: SqliteConnection,
}

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none.
    #[error("there is no database at `{}`", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// `SQLite`'s locks do not hold there.
    #[error("the database `{}` lies on a network file system, where its locks do not hold", path.display())]
    Network { path: PathBuf },
    /// The file is no database of this program, or damaged, or newer.
    #[error("the database `{}` cannot be opened: {message}", path.display())]
    Unreadable {
        path: PathBuf,
        /// What the driver says.
        message: String,
    },
    /// It is sound, and of another version of this program; who only reads cannot change that.
    #[error("the database `{}` has schema {found}, and this program reads {reads}", path.display())]
    OtherSchema {
        path: PathBuf,
        found: i64,
        /// The schema of this program.
        reads: i64,
    },
    #[error("the database refused: {0}")]
    Sql(#[from] sqlx::Error),
    /// The log holds what no program of this version writes.
    #[error("the log is damaged: {0}")]
    Damaged(String),
}

impl From<UnreadableColumn> for StoreError {
    fn from(error: UnreadableColumn) -> Self {
        Self::Damaged(error.to_string())
    }
}

impl StoreError {
    /// Whether the disk is full.
    pub fn is_disk_full(&self) -> bool {
        self.says("disk is full")
    }

    /// Whether another program holds the database, and held it for longer than is waited.
    pub fn is_locked(&self) -> bool {
        self.says("database is locked")
    }

    /// Whether the file, or its folder, may not be written.
    pub fn is_read_only(&self) -> bool {
        self.says("readonly database") || self.says("unable to open database file")
    }

    /// Whether what is in the file is no database, or not a whole one.
    pub fn is_malformed(&self) -> bool {
        self.says("disk image is malformed") || self.says("file is not a database")
    }

    fn says(&self, words: &str) -> bool {
        match self {
            Self::Sql(sqlx::Error::Database(error)) => error.message().contains(words),
            Self::Unreadable { message, .. } => message.contains(words),
            Self::Sql(_)
            | Self::Missing { .. }
            | Self::Network { .. }
            | Self::OtherSchema { .. }
            | Self::Damaged(_) => false,
        }
    }
}

impl Store {
    /// Opens the database for writing, creating and migrating it if need be.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        if is_network(path) {
            return Err(StoreError::Network {
                path: path.to_path_buf(),
            });
        }
        let unreadable = |message: String| StoreError::Unreadable {
            path: path.to_path_buf(),
            message,
        };
        let mut store = Self {
            connection: connect(path, true).await?,
        };
        let found = store.schema().await.map_err(|error| unreadable(error.to_string()))?;
        if found == Some(newest_schema()) {
            return Ok(store);
        }
        store.migrate().await.map_err(|error| unreadable(error.to_string()))?;
        Ok(store)
    }

    /// Brings the schema up to date. All steps are one transaction that keeps other writers out: of two programs that
    /// open a new database at once, the second finds it done.
    async fn migrate(&mut self) -> Result<(), sqlx::Error> {
        let mut transaction = self.connection.begin_with("begin immediate").await?;
        MIGRATOR.run(&mut *transaction).await?;
        transaction.commit().await
    }

    /// Opens a database that must exist, to read from it and to add fits.
    pub async fn open_existing(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing {
                path: path.to_path_buf(),
            });
        }
        Self::open(path).await
    }
}

impl Store {
    /// Opens a database that must exist and be of this schema, and cannot write to it: not even to bring it up to date.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let missing = || StoreError::Missing {
            path: path.to_path_buf(),
        };
        if !path.exists() {
            return Err(missing());
        }
        if is_network(path) {
            return Err(StoreError::Network {
                path: path.to_path_buf(),
            });
        }
        let unreadable = |message: String| StoreError::Unreadable {
            path: path.to_path_buf(),
            message,
        };
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let options = options.busy_timeout(BUSY_TIMEOUT).disable_statement_logging();
        let connection = options.connect();
        let mut store = Self {
            connection: connection.await.map_err(|error| unreadable(error.to_string()))?,
        };
        let newest = newest_schema();
        match store.schema().await.map_err(|error| unreadable(error.to_string()))? {
            // Whoever has just created it has not come further yet.
            None => Err(missing()),
            Some(version) if version == newest => Ok(store),
            Some(found) => Err(StoreError::OtherSchema {
                path: path.to_path_buf(),
                found,
                reads: newest,
            }),
        }
    }
}

/// The schema that this program writes.
fn newest_schema() -> i64 {
    MIGRATOR.iter().map(|step| step.version).max().unwrap_or_default()
}

async fn connect(path: &Path, create: bool) -> Result<SqliteConnection, StoreError> {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        // With WAL a crash of the program loses nothing; only one of the whole machine can lose the last moments.
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
        .connect()
        .await
        .map_err(|error| StoreError::Unreadable {
            path: path.to_path_buf(),
            message: error.to_string(),
        })
}

/// Whether a path lies on a file system whose locks `SQLite` must not trust.
fn is_network(path: &Path) -> bool {
    shared_file_system_of(path).is_ok_and(|name| name.is_some())
}

#[cfg(test)]
mod tests;
