//! The law of learning rate and batch, as it is kept and shown.
//!
//! Refuses to know how its constants are found.

use serde::{Deserialize, Serialize};

use crate::fit::batch::equal_loss_curves;
use crate::fit::batch::optimal_batch::{self, BatchLaw};
use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOut, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::loss::loss_fit::Extrapolation;
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::rate::batch_form::{BatchForm, FormTried};
use crate::fit::rate::lr_batch::{self, LrBatchGroup, LrBatchLaw, PowerLaw, Regret};
use crate::fit::rate::over_tokens::OverTokens;
use crate::fit::refusal::Refusal;
use crate::fit::view::{Rows, View, fact, with_interval};
use crate::fit::{Estimate, Warning};
use crate::units::printed;

/// lr = c·N^a·D^b and batch = c·D^b.
#[derive(Debug)]
pub struct LrBatch;

/// A fit of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "Body", from = "Body")]
pub struct LrBatchFit {
    /// Runs that were given.
    pub n: usize,
    pub law: LrBatchLaw,
    /// The batch by `MiniCPM`'s way, from curves of equal loss; none where they do not carry it.
    pub equal_loss: Option<BatchLaw>,
}

/// The form in which it is kept.
#[derive(Serialize, Deserialize)]
struct Body {
    n: usize,
    laws: Both,
    #[serde(default)]
    batch_form: BatchForm,
    #[serde(default)]
    forms: Vec<FormTried>,
    batch_size_exponent: Estimate,
    #[serde(default)]
    over_tokens: Vec<OverTokens>,
    #[serde(default)]
    rate_over_batch: Option<Estimate>,
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

impl From<LrBatchFit> for Body {
    fn from(fit: LrBatchFit) -> Self {
        let LrBatchFit { n, law, equal_loss } = fit;
        Self {
            n,
            laws: Both {
                lr: law.lr,
                batch: law.batch,
            },
            batch_form: law.batch_form,
            forms: law.forms,
            batch_size_exponent: law.batch_size_exponent,
            over_tokens: law.over_tokens,
            rate_over_batch: law.rate_over_batch,
            equal_loss,
            hold_out: law.hold_out,
            groups: law.groups,
            warnings: law.warnings,
        }
    }
}

impl From<Body> for LrBatchFit {
    fn from(body: Body) -> Self {
        Self {
            n: body.n,
            equal_loss: body.equal_loss,
            law: LrBatchLaw {
                lr: body.laws.lr,
                batch: body.laws.batch,
                batch_form: body.batch_form,
                forms: body.forms,
                batch_size_exponent: body.batch_size_exponent,
                over_tokens: body.over_tokens,
                rate_over_batch: body.rate_over_batch,
                groups: body.groups,
                // The envelope has them.
                left_out: Vec::new(),
                warnings: body.warnings,
                hold_out: body.hold_out,
            },
        }
    }
}

impl Law for LrBatch {
    type Fit = LrBatchFit;
    const ABOUT: About = About {
        name: "lr-batch",
        tells: "the best learning rate and batch together",
        formula: "lr = c · N^a · D^b, batch = c · D^b or c · N^a · D^b",
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
        View {
            formula: format!("lr = c · N^a · D^b, {}", law.batch_form.formula()),
            rests_on: format!("{} runs, {used} of {} groups", self.n, law.groups.len()),
            tables: vec![Rows {
                columns: &["", "c", "N^", "D^"],
                rows: vec![row("lr at the best batch", &law.lr), row("batch (tokens)", &law.batch)],
            }],
            facts: self.facts(),
            ..View::default()
        }
    }
}

impl LrBatchFit {
    fn facts(&self) -> Vec<(String, String)> {
        let law = &self.law;
        let mut facts = Vec::new();
        facts.extend(law.over_tokens.iter().map(|it| {
            let text = format!("moves as D^{}", with_interval(&it.exponent));
            fact(&format!("lr {}", it.batch.words()), text)
        }));
        facts.extend(law.rate_over_batch.as_ref().map(|it| {
            let text = format!("moves as batch^{} at equal N and D", with_interval(it));
            fact("lr over the batch", text)
        }));
        facts.extend(form(law));
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
        facts
    }
}

/// The form of the law of the batch, and what decided.
fn form(law: &LrBatchLaw) -> Option<(String, String)> {
    let [tokens, both] = law.forms[..] else {
        return None;
    };
    let (percent, other) = (100.0 * tokens.miss, 100.0 * both.miss);
    let is_close = law.batch_form == BatchForm::Tokens && both.miss < tokens.miss;
    let text = format!(
        "{} by hold-out: {} groups, predicted from smaller ones, are missed by {percent:.3} % with D alone, by {other:.3} % \
         with N and D{}",
        law.batch_form.formula(),
        tokens.n,
        if is_close {
            ", a difference within its error"
        } else {
            ""
        }
    );
    Some(fact("form of the batch", text))
}
