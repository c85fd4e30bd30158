//! The law of learning rate and batch, as it is kept and shown.
//!
//! Refuses to know how its constants are found.

use serde::{Deserialize, Serialize};

use crate::fit::batch::equal_loss_curves;
use crate::fit::batch::optimal_batch::{self, BatchLaw};
use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOut, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::loss::loss_fit::Extrapolation;
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::rate::lr_batch::{self, LrBatchGroup, LrBatchLaw, PowerLaw, Regret};
use crate::fit::refusal::Refusal;
use crate::fit::view::{Rows, View, fact, with_interval};
use crate::fit::{Estimate, Warning};
use crate::units::printed;

/// lr = c·N^a·D^b and batch = c·D^b.
#[derive(Debug)]
pub struct LrBatch;

/// A fit of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "Form", from = "Form")]
pub struct LrBatchFit {
    /// Runs that were given.
    pub n: usize,
    pub law: LrBatchLaw,
    /// The batch by `MiniCPM`'s way, from curves of equal loss; none where they do not carry it.
    pub equal_loss: Option<BatchLaw>,
}

/// The form in which it is kept.
#[derive(Serialize, Deserialize)]
struct Form {
    n: usize,
    laws: Both,
    batch_size_exponent: Estimate,
    equal_loss: Option<BatchLaw>,
    hold_out: Option<Regret>,
    groups: Vec<LrBatchGroup>,
    warnings: Vec<Warning>,
}

#[derive(Serialize, Deserialize)]
struct Both {
    lr: PowerLaw,
    batch: PowerLaw,
}

impl From<LrBatchFit> for Form {
    fn from(fit: LrBatchFit) -> Self {
        let LrBatchFit { n, law, equal_loss } = fit;
        Self {
            n,
            laws: Both {
                lr: law.lr,
                batch: law.batch,
            },
            batch_size_exponent: law.batch_size_exponent,
            equal_loss,
            hold_out: law.hold_out,
            groups: law.groups,
            warnings: law.warnings,
        }
    }
}

impl From<Form> for LrBatchFit {
    fn from(form: Form) -> Self {
        Self {
            n: form.n,
            equal_loss: form.equal_loss,
            law: LrBatchLaw {
                lr: form.laws.lr,
                batch: form.laws.batch,
                batch_size_exponent: form.batch_size_exponent,
                groups: form.groups,
                // The envelope has them.
                left_out: Vec::new(),
                warnings: form.warnings,
                hold_out: form.hold_out,
            },
        }
    }
}

impl Law for LrBatch {
    type Fit = LrBatchFit;
    const ABOUT: About = About {
        name: "lr-batch",
        tells: "the best learning rate and batch together",
        formula: "lr = c · N^a · D^b, batch = c · D^b",
        source: "Li et al. 2025 (Step Law), arXiv 2503.04715, equation 1",
        limits: "grids over both, one schedule",
        needs: Needs::Grids,
        beside: None,
        compare: None,
        work_max: None,
        left_out: LeftOutForm::Pairs,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<LrBatchFit>, Refusal> {
        let draws = Draws {
            count: options.bootstrap,
            seed: 0,
        };
        let hold_out = options.hold_out;
        let law = lr_batch::fit(&data.runs, &lr_batch::Options { hold_out, draws })?;
        let mut left_out = data.left_out.clone();
        left_out.extend(law.left_out.iter().cloned().map(LeftOut::from));
        let identity = law.clone();
        let fit = LrBatchFit {
            n: data.runs.len(),
            law,
            equal_loss: optimal_batch::fit(&equal_loss_curves::of_budgets(&data.runs)).ok(),
        };
        Ok(Found::new(fit, &identity, left_out))
    }
}

impl Fitted for LrBatchFit {
    fn at(&self, place: Place) -> Option<Said> {
        let Place { params, tokens, .. } = place;
        let groups = self.law.groups.iter().map(|it| (it.params, it.tokens));
        Some(Said {
            lr: Some(self.law.lr.at(params, tokens)),
            batch_tokens: Some(self.law.batch.at(params, tokens)),
            extrapolation: Extrapolation::beyond(groups, params, tokens),
            ..Said::default()
        })
    }

    fn warnings(&self) -> &[Warning] {
        &self.law.warnings
    }

    fn view(&self) -> View {
        let law = &self.law;
        let used = law.groups.iter().filter(|group| group.left_out.is_none()).count();
        let shown = |it: Option<&Estimate>| it.map_or_else(|| "–".to_owned(), with_interval);
        let row = |name: &str, law: &PowerLaw| {
            let c = printed(law.c, 4);
            vec![
                name.to_owned(),
                c,
                shown(law.n_exponent.as_ref()),
                shown(Some(&law.d_exponent)),
            ]
        };
        let mut facts = Vec::new();
        facts.extend(self.equal_loss.as_ref().map(|law| {
            let (by_loss, by_tokens) = (&law.by_loss.exponent, &law.by_tokens.exponent);
            let (by_loss, by_tokens) = (with_interval(by_loss), with_interval(by_tokens));
            let levels = law.levels.len();
            fact(
                "at equal loss",
                format!("batch = c·L^{by_loss}, or c·D^{by_tokens}, from {levels} levels"),
            )
        }));
        facts.extend(law.hold_out.as_ref().map(|regret| {
            let percent = [regret.mean_regret, regret.max_regret, regret.constant_regret].map(|it| 100.0 * it);
            let [mean, worst, constant] = percent;
            fact(
                "hold-out",
                format!(
                    "{} groups; the prediction costs {mean:.3} % of the loss on average, {worst:.3} % at worst; a \
                     constant {constant:.3} %",
                    regret.n
                ),
            )
        }));
        View {
            formula: LrBatch::ABOUT.formula.to_owned(),
            rests_on: format!("{} runs, {used} of {} groups", self.n, law.groups.len()),
            tables: vec![Rows {
                columns: &["", "c", "N^", "D^"],
                rows: vec![row("lr", &law.lr), row("batch (tokens)", &law.batch)],
            }],
            facts,
            ..View::default()
        }
    }
}
