//! Coordinate checks, as they are kept for the gate of recipes.
//!
//! Refuses to measure, and to judge.

use serde::{Deserialize, Serialize};

use crate::fit::law::name_of;
use crate::plan::identity::EPOCH;
use crate::protocol::Trainer;
use crate::recipe::Coordinates;
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::kept;
use crate::run::worker::ask_worker;
use crate::store::{FitRow, Store};

/// The name under which a coordinate check is kept.
const COORDINATES: &str = "coordinates";

/// Keeps what a coordinate check has found.
pub async fn keep(context: &Context, store: &mut Store, found: &Coordinates) -> Result<(), Failure> {
    let kept = KeptCoordinates {
        found: *found,
        code_epoch: EPOCH,
    };
    let row = FitRow {
        fit: name_of(&kept),
        sweep: None,
        law: COORDINATES.to_owned(),
        body: serde_json::to_value(&kept).map_err(std::io::Error::other)?,
    };
    Ok(store.add_fit(&context.now(), &row).await?)
}

/// A coordinate check, and whose arithmetic it checked.
#[derive(Serialize, Deserialize)]
struct KeptCoordinates {
    #[serde(flatten)]
    found: Coordinates,
    /// None: it is older than such a number.
    #[serde(default)]
    code_epoch: u64,
}

/// Measures the coordinate check of this build, unless that was done; where the worker cannot, its gate stays open.
pub(in crate::run) async fn ensure(context: &Context, store: &mut Store) -> Result<(), Failure> {
    if context.trainer != Trainer::Proxy || newest(store).await?.is_some() {
        return Ok(());
    }
    let found = ask_worker(context, &["coordinates".to_owned()]).ok();
    match found.map(serde_json::from_value::<Coordinates>) {
        Some(Ok(found)) => keep(context, store, &found).await,
        Some(Err(_)) | None => Ok(()),
    }
}

/// The newest coordinate check of this home, if it checked the arithmetic of this program.
pub(super) async fn newest(store: &mut Store) -> Result<Option<Coordinates>, Failure> {
    let Some(row) = store.newest_fit(&[COORDINATES]).await? else {
        return Ok(None);
    };
    let kept: KeptCoordinates = kept::read(&row)?;
    Ok((kept.code_epoch == EPOCH).then_some(kept.found))
}
