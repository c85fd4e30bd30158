//! The recipe of a study's target: by all of its sweeps that compare, as one study.
//!
//! Refuses to decide what a failing gate wants.

use crate::campaign::state::{Gates, Made};
use crate::recipe::Recipe;
use crate::recipe::evidence::{Ask, Size};
use crate::run::context::Context;
use crate::run::failure::{Failure, unless_refused};
use crate::run::fit::sweep::Laws;
use crate::run::recipe::advise::{self, Advice};
use crate::run::recipe::coordinates;
use crate::run::sweep_set::{self, SweepSet};
use crate::spec::study_file::StudyFile;
use crate::store::Store;

/// What a recipe of a study is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) params: f64,
    pub(super) tokens: f64,
    /// Whether numbers beyond reach are asked for all the same.
    pub(super) beyond: bool,
}

/// A recipe by the runs so far, with the laws that it rests on; refused where they carry none.
pub(super) async fn recipe(
    context: &Context,
    store: &mut Store,
    study: &StudyFile,
    made: &[Made],
    run: Run,
) -> Result<Result<(Laws, Recipe), Failure>, Failure> {
    if sweep_set::of_study(made).is_empty() {
        let why = "nothing was trained yet";
        return Ok(Err(Failure::refused("not_finished", why, "")));
    }
    let sweeps = SweepSet::find(store, Some(&study.name)).await?;
    let laws = match unless_refused(advise::laws(context, store, &sweeps).await)? {
        Ok(laws) => laws,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let ask = Ask {
        params: run.params,
        size: Size::Tokens(run.tokens),
        beyond: run.beyond,
    };
    let batch = advise::Batch::of(context, store, &laws).await?;
    let advice = unless_refused(advise::advise(context, store, &sweeps, &laws, &batch, &ask).await)?;
    Ok(advice.map(|Advice { recipe, .. }| (laws, recipe)))
}

/// The recipe of the target, and what its gates say.
pub(super) async fn of_target(
    context: &Context,
    store: &mut Store,
    study: &StudyFile,
    made: &[Made],
) -> Result<Option<(Recipe, Gates)>, Failure> {
    coordinates::ensure(context, store).await?;
    let run = Run {
        params: study.target.params as f64,
        tokens: study.target.tokens as f64,
        beyond: false,
    };
    let found = recipe(context, store, study, made, run).await?.ok();
    Ok(found.map(|(_, recipe)| {
        let failing = recipe.gates.iter().filter(|gate| !gate.passed);
        let gates = Gates {
            verdict: recipe.verdict,
            open: failing.map(|gate| gate.name.clone()).collect(),
        };
        (recipe, gates)
    }))
}
