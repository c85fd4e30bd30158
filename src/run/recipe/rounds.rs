//! A recipe that is asked for, and the round that comes before it: the sweeps that its failing gates name are trained
//! and join the study.
//!
//! Refuses to know how progress is displayed.

use crate::recipe::evidence::{Ask, Size};
use crate::run::context::Context;
use crate::run::failure::Failure;
use crate::run::fit::sweep::Laws;
use crate::run::recipe::advise::{self, Advice};
use crate::run::sweep_set::SweepSet;
use crate::run::train::orchestrate;
use crate::run::train::progress::Progress;
use crate::run::train::request::Request;
use crate::store::Store;

/// What a recipe is asked for, of any study.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Parameters without the embedding; none: the target of the study.
    pub params: Option<f64>,
    pub size: Size,
    /// Whether numbers beyond what the study vouches for are wanted, too.
    pub beyond: bool,
}

/// What happens while sweeps are trained.
#[derive(Debug)]
pub enum Told<'a> {
    /// The training of a sweep begins: this one of so many.
    Begins {
        place: usize,
        of: usize,
        file: &'a str,
    },
    Trains(Progress<'a>),
    Ends,
}

/// The recipe of a study, and the laws that it rests on.
pub async fn advised(
    context: &Context,
    store: &mut Store,
    asked: Asked,
    sweeps: &SweepSet,
) -> Result<(Laws, Advice), Failure> {
    let laws = advise::laws(context, store, sweeps).await?;
    let ask = Ask {
        params: asked.params.unwrap_or_else(|| sweeps.target_params()),
        size: asked.size,
        beyond: asked.beyond,
    };
    let batch = advise::Batch::of(context, store, &laws).await?;
    let advice = advise::advise(context, store, sweeps, &laws, &batch, &ask).await?;
    Ok((laws, advice))
}

/// Trains the sweeps that the recipe asks for, or that its refusal does, and gives the study that they make together.
pub async fn run_next(
    context: &Context,
    store: &mut Store,
    asked: Asked,
    sweeps: SweepSet,
    tell: &mut dyn FnMut(Told<'_>),
) -> Result<SweepSet, Failure> {
    let files: Vec<String> = match advised(context, store, asked, &sweeps).await {
        Ok((_, advice)) => advice.next.into_iter().map(|next| next.file).collect(),
        Err(failure) if failure.next.is_empty() => return Err(failure),
        Err(failure) => failure.next,
    };
    let mut name = sweeps.name().to_owned();
    for (place, file) in files.iter().enumerate() {
        tell(Told::Begins {
            place: place + 1,
            of: files.len(),
            file,
        });
        let request = Request::of_file(file.into());
        let summary = orchestrate::run(context, &request, &mut |progress| tell(Told::Trains(progress))).await;
        tell(Told::Ends);
        let summary = summary?;
        if summary.exit != 0 {
            let message = format!("`{file}` was not trained to its end");
            let again = "the same command goes on from here";
            return Err(Failure::new(summary.exit, "not_finished", message, again));
        }
        name = format!("{name}+{}", summary.sweep);
    }
    SweepSet::find(store, Some(&name)).await
}
