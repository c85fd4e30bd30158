//! The open database behind the page: two connections that can only read, opened again whenever it is another file.
//!
//! Refuses to know what is asked.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use fs_err as fs;
use tokio::sync::{Mutex, MutexGuard};

use crate::live::curves::Thinned;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::{Store, StoreError};

/// How often a database that is older than this program is looked at again, and how long after.
const GROWING_TRIES: u32 = 10;
const GROWING: Duration = Duration::from_millis(100);

/// What every answer starts from.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) context: Context,
    /// Told apart from every other start of the page.
    born: String,
    /// For what is asked every second.
    quick: Mutex<Reader>,
    /// For what may take a while.
    slow: Mutex<Reader>,
}

#[derive(Debug, Default)]
pub(super) struct Reader {
    opened: Option<Opened>,
    /// How often a database was opened.
    serial: u64,
}

/// An open database, and what is kept of it.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) thinned: Thinned,
    /// Device and number of the file: another one has taken its place when they differ.
    file: (u64, u64),
}

impl Database {
    pub(super) fn new(context: Context) -> Self {
        Self {
            born: context.now(),
            context,
            quick: Mutex::default(),
            slow: Mutex::default(),
        }
    }

    /// The connection for what is asked every second.
    pub(super) async fn quick(&self) -> MutexGuard<'_, Reader> {
        self.quick.lock().await
    }

    /// The connection for what may take a while.
    pub(super) async fn slow(&self) -> MutexGuard<'_, Reader> {
        self.slow.lock().await
    }

    /// What an answer about the database holds for: as long as this does not change, nor does the answer.
    pub(super) async fn version(&self) -> Result<String, Failure> {
        let holder = self.context.workdir.holder()?.map(|holder| holder.since);
        let mut reader = self.quick().await;
        let version = match reader.open(self.context.workdir.database()).await? {
            Some(opened) => Some(opened.store.data_version().await),
            None => None,
        };
        if let Some(Err(_)) = version {
            reader.close();
        }
        let version = version.transpose()?.unwrap_or(-1);
        let parts = (&self.born, reader.serial, version, holder);
        Ok(blake3::hash(format!("{parts:?}").as_bytes()).to_hex()[..16].to_owned())
    }
}

/// Opens a database, which somebody may just be creating: that goes through every schema.
async fn open(path: &Path) -> Result<Store, StoreError> {
    for _ in 0..GROWING_TRIES {
        match Store::open_to_read(path).await {
            Err(StoreError::OtherSchema { found, reads, .. }) if found < reads => tokio::time::sleep(GROWING).await,
            opened => return opened,
        }
    }
    Store::open_to_read(path).await
}

impl Reader {
    /// The database at `path`; none: there is none yet.
    pub(super) async fn open(&mut self, path: &Path) -> Result<Option<&mut Opened>, Failure> {
        let Ok(meta) = fs::metadata(path) else {
            self.opened = None;
            return Ok(None);
        };
        let file = (meta.dev(), meta.ino());
        if self.opened.as_ref().is_none_or(|opened| opened.file != file) {
            self.opened = None;
            let store = match open(path).await {
                Ok(store) => store,
                Err(StoreError::Missing { .. }) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            self.serial += 1;
            self.opened = Some(Opened {
                store,
                thinned: Thinned::default(),
                file,
            });
        }
        Ok(self.opened.as_mut())
    }

    /// Forgets a connection that refused, so that the next question opens another.
    pub(super) fn close(&mut self) {
        self.opened = None;
    }
}

/// The database, which must be there by now.
pub(super) fn opened(opened: Option<&mut Opened>) -> Result<&mut Opened, Failure> {
    opened.ok_or_else(|| Failure::invalid("no_database", "nothing was run here yet", "`sandbox run sweep.yaml`"))
}

pub(super) async fn known(store: &mut Store, sweep: &str) -> Result<(), Failure> {
    let names: Vec<String> = store.sweeps().await?.into_iter().map(|row| row.sweep).collect();
    if names.iter().any(|name| name == sweep) {
        return Ok(());
    }
    Err(Failure::unknown_sweep(sweep, &names))
}
