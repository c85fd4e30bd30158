//! What to show: from the plain rows of a study to a [`ReportView`] of sentences, tables and figures.
//!
//! A pure function, linear in the rows. Laws and recipes come in as plain inputs of their own, so that any law can
//! be shown. Refuses to know where rows come from, and how anything is drawn or marked up.

pub mod allocation;
pub mod axes;
pub mod batch;
pub mod bowls;
pub mod checked;
pub mod checklist;
pub mod curves;
pub mod laws;
pub mod rates;
pub mod runs;
pub mod sections;
pub mod settings;
pub mod text;
pub mod view;

use serde::Serialize;

use crate::record::TrialRow;
use crate::report::curves::Curves;
use crate::report::runs::Along;
use crate::report::view::{FigureView, Table};

/// Everything a report is made of.
#[derive(Clone, Copy)]
pub struct Study<'a> {
    /// Name of the sweep.
    pub sweep: &'a str,
    /// What the study asks, in the words of its file.
    pub question: Option<&'a str>,
    /// Every trial, whatever has become of it.
    pub trials: &'a [TrialRow],
    /// What was kept of their points.
    pub curves: &'a Curves,
    /// Loss against learning rate, one a size and budget. Without any, they are read off the trials.
    pub bowls: &'a [LrBowl],
    /// How the best learning rate moves.
    pub rates: Option<&'a RateLaw<'a>>,
    /// How the best batch moves.
    pub batch: Option<&'a BatchRule<'a>>,
    /// The fitted laws, and the refused ones with their reason; the first with a prediction is drawn.
    pub laws: &'a [LawInput<'a>],
    /// The recipe of the big run.
    pub recipe: Option<&'a RecipeInput>,
}

impl Study<'_> {
    /// Whether there is nothing but a law.
    pub(crate) fn is_law_alone(&self) -> bool {
        self.trials.is_empty() && self.laws.iter().any(|law| !law.points.is_empty())
    }
}

/// The losses of one size and budget over the learning rate.
#[derive(Debug, Clone, PartialEq)]
pub struct LrBowl {
    /// Name of the size.
    pub model: String,
    /// Its parameters without the embedding.
    pub params: u64,
    /// Tokens of every run.
    pub tokens: u64,
    /// The runs; the loss of a diverged one is none.
    pub points: Vec<LrPoint>,
    /// The best learning rate; none when it is not bracketed.
    pub best: Option<BestLr>,
}

/// One run of a bowl.
#[derive(Debug, Clone, PartialEq)]
pub struct LrPoint {
    /// Name of the trial.
    pub trial: String,
    /// Peak learning rate.
    pub lr: f64,
    /// Final loss, nats per token; none if it diverged.
    pub loss: Option<f64>,
}

/// A best learning rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BestLr {
    /// The learning rate.
    pub lr: f64,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The loss there, nats per token.
    pub loss: f64,
}

/// The law of the best learning rate.
#[derive(Clone)]
pub struct RateLaw<'a> {
    /// In words or letters: `a constant 0.0102`.
    pub formula: String,
    /// Whether it is the same everywhere.
    pub is_constant: bool,
    /// The best rate at N parameters and D tokens.
    pub at: &'a dyn Fn(f64, f64) -> f64,
    /// Whether the rate of narrow models serves wide ones.
    pub transfer: Option<Transfer>,
}

/// The verdict on transfer along the width.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// `verified`, `drifts` or `not_known`.
    pub verdict: String,
    /// The smallest and the largest width with a best rate.
    pub widths: [f64; 2],
    /// The largest width up to which it is verified.
    pub verified_to: Option<f64>,
    /// What else was equal: `at equal tokens`.
    pub compared: &'static str,
    /// By which factor the best rate changes between the widths.
    pub drift: Option<f64>,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The factor that is tolerated.
    pub tolerance: f64,
}

/// The law of the best batch.
#[derive(Clone)]
pub struct BatchRule<'a> {
    /// By tokens and by loss: `batch = 12·D^0.46`.
    pub formulas: [String; 2],
    /// The best batch of a run of D tokens, in tokens.
    pub at: &'a dyn Fn(f64) -> f64,
    /// What the minima are read from: `final losses`.
    pub read_from: &'static str,
    /// The minima that it rests on.
    pub minima: Vec<BatchMinimum>,
}

/// The batch that reaches a loss with fewest tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchMinimum {
    /// Parameters.
    pub params: f64,
    /// Loss, nats per token.
    pub loss: f64,
    /// The batch, tokens.
    pub batch_tokens: f64,
    /// Tokens that it takes.
    pub tokens: f64,
}

/// A law's loss at parameters and tokens; none where the law does not speak.
pub type Predict<'a> = &'a dyn Fn(f64, f64) -> Option<f64>;

/// A law, or why there is none.
#[derive(Clone, Copy)]
pub struct LawInput<'a> {
    /// Its name on the command line: `chinchilla`.
    pub law: &'a str,
    /// Id of the stored fit.
    pub fit: Option<&'a str>,
    /// Its formula in the letters of the paper.
    pub formula: &'a str,
    /// What its N counts: `params_non_embedding` or `params_total`.
    pub params_are: &'a str,
    /// Why it was refused; none if it was fitted.
    pub refused: Option<&'a str>,
    /// Its constants.
    pub constants: &'a [Constant],
    /// How it was fitted and how well, as pairs of a name and a sentence: hold-out error, method, bootstrap.
    pub facts: &'a [(String, String)],
    /// What to be careful about.
    pub warnings: &'a [String],
    /// The observations it saw and the ones held out.
    pub points: &'a [LawPoint],
    /// The ones held out, with what a second fit said of them.
    pub held: &'a [HeldOut],
    /// Its loss at N parameters and D tokens.
    pub predict: Option<Predict<'a>>,
}

/// One constant of a law.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Constant {
    /// Its letter.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// Its unit; empty if it has none.
    pub unit: String,
}

/// One observation of a law.
#[derive(Debug, Clone, PartialEq)]
pub struct LawPoint {
    /// Name of the trial.
    pub trial: String,
    /// Name of the size.
    pub model: String,
    /// N as the law counts it.
    pub params: f64,
    /// D, tokens.
    pub tokens: f64,
    /// Final loss, nats per token.
    pub loss: f64,
    /// Whether the fit did not see it.
    pub held_out: bool,
}

/// A run that a second fit had not seen.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Name of the trial.
    pub trial: String,
    /// Name of the size.
    pub model: String,
    /// N as the law counts it.
    pub params: f64,
    /// D, tokens.
    pub tokens: f64,
    /// Measured loss, nats per token.
    pub loss: f64,
    /// Predicted loss.
    pub predicted: f64,
    /// The 95 % interval of a new run.
    pub ci95: Option<[f64; 2]>,
}

/// The recipe of the big run, as `sandbox recipe` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeInput {
    /// Parameters of the big run without the embedding.
    pub params: u64,
    /// Its tokens, if the recipe names them.
    pub tokens: Option<f64>,
    /// `verified`, `partly` or `unverified`.
    pub verdict: String,
    /// Its numbers.
    pub items: Vec<RecipeItem>,
    /// What else the compute, or the loss, could buy; the run as it is asked comes first.
    pub alternatives: Vec<AlternativeRun>,
    /// What was checked.
    pub gates: Vec<Gate>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

/// A run beside the one of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlternativeRun {
    /// What is held equal, in words.
    pub name: String,
    /// Parameters.
    pub params: f64,
    /// Tokens.
    pub tokens: f64,
    /// FLOPs of training.
    pub flops: f64,
    /// Predicted loss, nats per token.
    pub loss: f64,
    /// FLOPs of inference for each token.
    pub inference: f64,
}

/// One number of a recipe with its origin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeItem {
    /// Its key in JSON: `batch_tokens`.
    pub name: String,
    /// Its value.
    pub value: ItemValue,
    /// Its 95 % interval.
    pub ci95: Option<[f64; 2]>,
    /// The interval of the loss of one new run, where it differs.
    pub ci95_new_run: Option<[f64; 2]>,
    /// Its unit; empty if it has none.
    pub unit: String,
    /// `fitted`, `measured`, `published` or `default`.
    pub source: String,
    /// The law it is read off.
    pub law: Option<String>,
    /// Id of the stored fit.
    pub fit: Option<String>,
    /// How many trials it rests on.
    pub trials: Option<u64>,
    /// How many times beyond the data in parameters and in tokens.
    pub extrapolation: Option<[f64; 2]>,
    /// What `MiniCPM-2.4B` was trained with, to compare.
    pub published: Option<ItemValue>,
}

/// A value of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemValue {
    /// A number.
    Number(f64),
    /// A word, such as the name of a schedule.
    Word(String),
}

/// One check of a recipe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gate {
    /// Its name.
    pub name: String,
    /// Whether it holds.
    pub passed: bool,
    /// Why.
    pub why: String,
    /// The sweep file to run next.
    pub next: Option<String>,
}

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
    /// The recipe.
    pub recipe: Option<RecipeView>,
    /// The laws.
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

/// A recipe as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecipeView {
    /// `Recipe for 2.44B parameters`.
    pub title: String,
    /// `verified`, `partly` or `unverified`.
    pub verdict: String,
    /// Its numbers.
    pub items: Table,
    /// What else the compute, or the loss, could buy.
    pub alternatives: Table,
    /// What was checked.
    pub gates: Vec<Gate>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

/// A law as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LawView {
    /// Its name.
    pub law: String,
    /// Id of the stored fit.
    pub fit: Option<String>,
    /// Its formula.
    pub formula: String,
    /// Why it was refused.
    pub refused: Option<String>,
    /// Its constants.
    pub constants: Table,
    /// How it was fitted and how well.
    pub facts: Vec<(String, String)>,
    /// What to be careful about.
    pub warnings: Vec<String>,
}

/// A trial without a final loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub trial: String,
    /// Its readable name.
    pub slug: String,
    /// Why.
    pub reason: String,
}

/// Decides what to show of a study.
pub fn build(study: &Study<'_>) -> ReportView {
    let (loss_curves, points_shown) = runs::loss_curves(study, Along::Tokens);
    let of_law = [
        laws::law(study),
        checked::hold_out(study),
        laws::residuals(study),
        allocation::allocation(study),
    ];
    // Somebody's table has no trials here: there is a law to show, and nothing else.
    let figures = if study.is_law_alone() {
        of_law.into()
    } else {
        let (loss_steps, _) = runs::loss_curves(study, Along::Steps);
        let (loss_compute, _) = runs::loss_curves(study, Along::Compute);
        let mut figures = vec![
            loss_curves,
            loss_steps,
            loss_compute,
            bowls::lr_bowls(study),
            rates::best_rates(study),
            batch::equal_loss(study),
        ];
        figures.extend(of_law);
        figures.extend([runs::schedules(study), bowls::wsd_vs_cosine(study)]);
        figures
    };
    let (trials, trials_unlisted) = sections::trials(study.trials);
    ReportView {
        is_law_alone: study.is_law_alone(),
        sweep: study.sweep.to_owned(),
        question: study.question.map(str::to_owned),
        summary: sections::summary(study.trials),
        notices: sections::notices(study),
        recipe: study.recipe.map(sections::recipe),
        laws: study.laws.iter().map(sections::law).collect(),
        figures,
        checklist: checklist::checklist(study),
        trials,
        trials_unlisted,
        left_out: sections::left_out(study.trials),
        provenance: sections::provenance(study.trials),
        points_shown,
        points_total: study.curves.points_total(),
        thinning: runs::THINNING.to_owned(),
    }
}
