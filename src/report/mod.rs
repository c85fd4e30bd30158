//! What to show: from the plain rows of a study to a [`ReportView`] of sentences, tables and figures.
//!
//! A pure function, linear in the rows. Laws and recipes come in as plain inputs of their own, so that any law can
//! be shown. Refuses to know where rows come from, and how anything is drawn or marked up.

pub mod audit;
pub mod axes;
pub mod checklist;
pub mod curves;
pub mod figures;
pub mod law_view;
pub mod recipe_view;
pub mod sections;
pub mod story;
pub mod study;
pub mod text;
pub mod view;

use serde::Serialize;

use crate::report::law_view::LawView;
use crate::report::recipe_view::RecipeView;
use crate::report::sections::LeftOut;
use crate::report::study::Study;
use crate::report::view::{FigureView, Table};

/// What a report shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportView {
    /// Whether the page is that of a law of somebody's table: no trials, no curves, no recipe.
    pub is_law_alone: bool,
    /// Name of the sweep.
    pub sweep: String,
    /// What the study asks.
    pub question: Option<String>,
    /// What the study is in numbers: a name, a value.
    pub summary: Vec<(String, String)>,
    /// What a reader must know before anything else.
    pub notices: Vec<String>,
    /// What a study that chose its own sweeps has decided; none: a person chose them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub story: Option<Table>,
    pub recipe: Option<RecipeView>,
    pub laws: Vec<LawView>,
    /// The figures, also those with nothing to show.
    pub figures: Vec<FigureView>,
    /// The check-list of what a law needs to be believed: a question, an answer.
    pub checklist: Vec<(String, String)>,
    /// Trials, at most [`sections::TRIALS_SHOWN_MAX`].
    pub trials: Table,
    /// How many trials the table does not list.
    pub trials_unlisted: usize,
    /// Trials without a final loss.
    pub left_out: Vec<LeftOut>,
    /// Where the numbers come from: a name, a value.
    pub provenance: Vec<(String, String)>,
    /// Points that are drawn.
    pub points_shown: u64,
    /// Points that are recorded.
    pub points_total: u64,
    /// How the curves were thinned.
    pub thinning: String,
}

/// Whether a warning of the recipe stands below a law already, with or without its key before it.
fn is_told(warning: &str, laws: &[LawView]) -> bool {
    let text = warning.split_once(": ").map_or(warning, |(_, text)| text);
    let mut told = laws.iter().flat_map(|law| &law.warnings);
    told.any(|of_law| of_law == warning || of_law.starts_with(text))
}

/// Decides what to show of a study.
pub fn build(study: &Study<'_>) -> ReportView {
    let (figures, points_shown) = figures::all(study);
    let (trials, trials_unlisted) = sections::trials(study.trials);
    let laws: Vec<LawView> = study.laws.iter().map(law_view::law).collect();
    let mut recipe = study.recipe.map(RecipeView::new);
    if let Some(recipe) = &mut recipe {
        recipe.warnings.retain(|warning| !is_told(warning, &laws));
    }
    ReportView {
        is_law_alone: study.is_law_alone(),
        sweep: study.sweep.to_owned(),
        question: study.question.map(str::to_owned),
        summary: sections::summary(study.trials),
        notices: sections::notices(study),
        story: None,
        recipe,
        laws,
        figures,
        checklist: checklist::checklist(study),
        trials,
        trials_unlisted,
        left_out: sections::left_out(study.trials),
        provenance: sections::provenance(study.trials),
        points_shown,
        points_total: study.curves.points_total(),
        thinning: figures::loss_curves::THINNING.to_owned(),
    }
}
