//! Which database a home was trained into last: states lie in the home, and two databases would replace each other's.
//!
//! Refuses to decide which of them is right.

use std::path::PathBuf;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::store::Store;
use crate::workdir::write_atomic;

/// A database, as a home remembers it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    /// The home's name in the database, which moves and is copied with it; none: from before databases had one.
    #[serde(default)]
    id: Option<String>,
    path: PathBuf,
    host: String,
}

impl Used {
    fn is_same(&self, other: &Self) -> bool {
        match &self.id {
            Some(_) => self.id == other.id,
            None => (&self.path, &self.host) == (&other.path, &other.host),
        }
    }
}

/// Notes the database of this run; gives a warning where the home's last one was another that is still there.
///
/// Only the holder of the home's lock may come here.
pub(in crate::run) async fn note(context: &Context, store: &mut Store) -> Result<Option<String>, Failure> {
    let file = context.workdir.database_note();
    let now = Used {
        id: Some(store.home_id().await?),
        path: fs::canonicalize(context.workdir.database())?,
        host: context.host.clone(),
    };
    let before: Option<Used> = match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok(),
        Err(_) => None,
    };
    if before.as_ref() == Some(&now) {
        return Ok(None);
    }
    let text = serde_json::to_vec_pretty(&now).map_err(std::io::Error::other)?;
    write_atomic(&file, &text)?;
    // Of another machine's disk nothing is known; what was replaced where it lay is gone.
    let is_there = |other: &Used| other.host != now.host || (other.path != now.path && other.path.exists());
    let other = before.filter(|before| !before.is_same(&now) && is_there(before));
    Ok(other.map(|other| {
        format!(
            "this home was last trained into the database {} on {}: this one knows nothing of its trials and replaces \
             their states; give each database a home of its own, or copy that one",
            other.path.display(),
            other.host
        )
    }))
}
