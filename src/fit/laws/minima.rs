//! The law of the lowest loss of each compute budget, as it is kept and shown.
//!
//! Refuses to know how its constants are found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::kept::hash_of;
use crate::fit::law::{About, Data, Fitted, Found, Law, LeftOut, LeftOutForm, Needs, Options, Place, Said};
use crate::fit::loss::isoflop::{BudgetRun, ComputeMinimum};
use crate::fit::loss::minima::{self, MinimaFound};
use crate::fit::numeric::bootstrap::Draws;
use crate::fit::numeric::power_law::Power;
use crate::fit::observation::{Observation, best_per_cell};
use crate::fit::refusal::Refusal;
use crate::fit::view::{Constant, Rows, View, fact};
use crate::fit::{Estimate, Warning};
use crate::units::human_count;

/// L_opt(C) = E + k·C^-c.
#[derive(Debug)]
pub struct Minima;

/// A fit of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MinimaFit {
    /// Runs that were given.
    pub n: usize,
    pub convention: String,
    /// E, k and c, for C in FLOP.
    pub parameters: BTreeMap<String, Estimate>,
    pub optimum: Optimum,
    /// The law itself, for predictions.
    pub found: MinimaFound,
    pub warnings: Vec<Warning>,
}

/// Where the minima lie.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Optimum {
    /// `N_opt = coefficient · C^exponent`.
    pub params: OptimumPower,
    /// The same of tokens.
    pub tokens: OptimumPower,
    pub minima: Vec<Minimum>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct OptimumPower {
    /// The value at one FLOP.
    pub coefficient: Estimate,
    pub exponent: Estimate,
}

/// The lowest point of one budget.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Minimum {
    pub flops: f64,
    pub params: f64,
    pub tokens: f64,
    pub loss: f64,
}

impl Law for Minima {
    type Fit = MinimaFit;
    const ABOUT: About = About {
        name: "minima",
        tells: "the lowest loss of each compute budget, and the size and tokens that reach it",
        formula: "L_opt(C) = E + k · C^-c",
        source: "Hoffmann et al. 2022, arXiv 2203.15556, approach 2; Henighan et al. 2020, arXiv 2010.14701",
        limits: "designs of equal compute: three sizes a budget, four budgets whose best size lies between two others",
        needs: Needs::Runs,
        beside: None,
        compare: None,
        work_max: None,
        left_out: LeftOutForm::Objects,
    };

    fn fit(data: &Data, options: &Options<'_>) -> Result<Found<MinimaFit>, Refusal> {
        data.runs.iter().try_for_each(Observation::check)?;
        let (best, others) = best_per_cell(&data.runs);
        let runs: Vec<BudgetRun> = best.iter().map(budget_run).collect();
        let draws = Draws {
            count: options.bootstrap,
            seed: 0,
        };
        let found = minima::fit(&runs, draws)?;
        let mut left_out = data.left_out.clone();
        left_out.extend(others.into_iter().map(LeftOut::from));
        let fit = MinimaFit {
            n: best.len(),
            convention: data.convention.to_owned(),
            parameters: parameters(&found),
            optimum: optimum(&found),
            warnings: warnings(&found),
            found,
        };
        let identity = fit.clone();
        let mut found = Found::new(fit, &identity, left_out);
        found.data_hash = Some(hash_of(&best));
        Ok(found)
    }
}

fn budget_run(run: &Observation) -> BudgetRun {
    BudgetRun {
        label: run.label.clone(),
        flops: run.compute(),
        params: run.params,
        tokens: run.tokens,
        loss: run.loss,
    }
}

fn parameters(found: &MinimaFound) -> BTreeMap<String, Estimate> {
    let each = [
        ("E", found.estimate(|law| law.e)),
        ("k", found.estimate(|law| law.k)),
        ("c", found.estimate(|law| law.c)),
    ];
    each.map(|(name, estimate)| (name.to_owned(), estimate)).into()
}

fn optimum(found: &MinimaFound) -> Optimum {
    let power = |power: &Power| OptimumPower {
        coefficient: power.at(1.0),
        exponent: power.exponent,
    };
    let minimum = |(flops, at): (f64, ComputeMinimum)| Minimum {
        flops,
        params: at.params,
        tokens: at.tokens,
        loss: at.loss,
    };
    Optimum {
        params: power(&found.optimum.params),
        tokens: power(&found.optimum.tokens),
        minima: found.optimum.minima().into_iter().map(minimum).collect(),
    }
}

fn warnings(found: &MinimaFound) -> Vec<Warning> {
    let mut warnings = found.optimum.warnings.clone();
    if found.law.e <= 0.0 {
        let text = "the irreducible loss E is zero, its limit: the minima are far from it, and losses far beyond them \
                    are predicted too low";
        warnings.push(Warning::new("irreducible_loss_at_zero", text));
    }
    if found.widening.is_none() {
        let text = "intervals beyond the budgets come from the draws alone; with seven budgets or more they are checked \
                    against budgets held out";
        warnings.push(Warning::new("extrapolation_not_calibrated", text));
    }
    warnings
}

impl Fitted for MinimaFit {
    /// The lowest loss of the compute 6ND of a place.
    fn at(&self, place: Place) -> Option<Said> {
        Some(Said {
            loss: Some(self.found.predict(place.params, place.tokens)),
            extrapolation: Some(self.found.extrapolation(place.params, place.tokens)),
            ..Said::default()
        })
    }

    fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn view(&self) -> View {
        let powers = [
            ("N_opt = C^", &self.optimum.params),
            ("D_opt = C^", &self.optimum.tokens),
        ];
        let constants = ["E", "k", "c"].map(|name| Constant::new(name, self.parameters[name]));
        let exponents = powers.map(|(name, power)| Constant::new(name, power.exponent));
        let row = |at: &Minimum| {
            vec![
                format!("{:.2e}", at.flops),
                human_count(at.params),
                human_count(at.tokens),
                format!("{:.4}", at.loss),
            ]
        };
        View {
            formula: Minima::ABOUT.formula.to_owned(),
            rests_on: format!("{} minima of {} runs", self.optimum.minima.len(), self.n),
            constants: constants.into_iter().chain(exponents).collect(),
            tables: vec![Rows {
                columns: &["budget in FLOP", "best N", "best D", "loss"],
                rows: self.optimum.minima.iter().map(row).collect(),
            }],
            facts: vec![fact(
                "speaks of",
                "the lowest loss of a budget: a place is asked by its compute 6ND alone",
            )],
            ..View::default()
        }
    }
}
