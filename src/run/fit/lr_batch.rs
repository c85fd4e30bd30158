//! The law of learning rate and batch, from a sweep, an import or a table to a result that is kept.
//!
//! Refuses to know how it is printed.

use serde::{Deserialize, Serialize};

use crate::fit::Estimate;
use crate::fit::Warning;
use crate::fit::batch::equal_loss_curves;
use crate::fit::batch::optimal_batch::{self, BatchLaw};
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::rate::lr_batch::{self, LrBatchGroup, LrBatchLaw, Options, PowerLaw, Regret};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::loss::{self, Request};
use crate::run::sources::{self, Source};
use crate::store::Store;
use crate::study::select;

/// The name of the law in the database and on the command line.
pub const LAW: &str = "lr-batch";

/// The law, as it is kept.
#[derive(Debug, Clone, Serialize)]
pub struct KeptLrBatch {
    /// Its name.
    pub fit: String,
    /// `lr-batch`.
    pub law: &'static str,
    /// The sweep, import or file.
    pub source: String,
    /// Runs that were given.
    pub n: usize,
    /// Both laws.
    pub laws: Both,
    /// The size exponent of the batch where one is allowed.
    pub batch_size_exponent: Estimate,
    /// The batch by `MiniCPM`'s way, from curves of equal loss; none where they do not carry it.
    pub equal_loss: Option<BatchLaw>,
    /// What predictions cost in groups that a second fit had not seen.
    pub hold_out: Option<Regret>,
    /// Groups of equal size and tokens.
    pub groups: Vec<LrBatchGroup>,
    /// Runs that did not enter.
    pub left_out: Vec<(String, String)>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// The two laws.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Both {
    /// The best peak learning rate.
    pub lr: PowerLaw,
    /// The best batch in tokens.
    pub batch: PowerLaw,
}

/// Fits the law and keeps it; also gives it as it was fitted.
pub async fn fit(
    context: &Context,
    store: &mut Store,
    source: Source<'_>,
    request: &Request,
) -> Result<(KeptLrBatch, LrBatchLaw), Failure> {
    let sources::Runs {
        name,
        observations,
        mut left_out,
        ..
    } = sources::runs(context, store, source, request).await?;
    let (runs, others) = select::lr_and_batch(observations);
    left_out.extend(others.into_iter().map(|it| (it.trial, it.reason)));
    let options = Options {
        hold_out: request.hold_out,
        draws: Draws {
            count: request.bootstrap,
            seed: 0,
        },
    };
    let law = lr_batch::fit(&runs, &options).map_err(|refusal| loss::refused(&refusal))?;
    let id = loss::name(&law);
    let fitted = law.clone();
    let LrBatchLaw {
        lr,
        batch,
        batch_size_exponent,
        groups,
        left_out: others,
        warnings,
        hold_out,
    } = law;
    left_out.extend(others);
    let kept = KeptLrBatch {
        fit: id,
        law: LAW,
        source: name,
        n: runs.len(),
        laws: Both { lr, batch },
        batch_size_exponent,
        equal_loss: optimal_batch::fit(&equal_loss_curves::of_budgets(&runs)).ok(),
        hold_out,
        groups,
        left_out,
        warnings,
    };
    loss::keep(context, store, None, &kept.fit, LAW, &kept).await?;
    Ok((kept, fitted))
}
