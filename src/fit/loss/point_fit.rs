//! One fit of one design: the constants, or why there are none.
//!
//! The printed fit, the hold-out's fit and every rolled one are this. Refuses to know which it is.

use crate::fit::design::Design;
use crate::fit::loss::bootstrap_intervals::{DrawOptions, ParameterDraws};
use crate::fit::loss::chinchilla::{EXPONENT_RANGE, Law, Objective};
use crate::fit::loss::loss_fit::{Predictor, Range, Widening};
use crate::fit::loss::objective::{ALPHA, BETA, E, ObjectiveTable};
use crate::fit::loss::solver::{self, Minimum};
use crate::fit::refusal::Refusal;

/// Below this share of the loss on every row a term is not there.
const TERM_SHARE_MIN: f64 = 1e-4;
/// Constants that are explained by the others to this degree cannot be told apart in double precision.
const DISTINCTNESS_MIN: f64 = 1e-11;

/// A design with its constants.
#[derive(Debug, Clone)]
pub(crate) struct FittedConstants {
    pub(crate) design: Design,
    /// The same for the solver.
    pub(crate) table: ObjectiveTable,
    /// What the solver found.
    pub(crate) minimum: Minimum,
    pub(crate) law: Law,
}

impl FittedConstants {
    /// Fits a design.
    ///
    /// # Errors
    /// Refuses designs that cannot carry the law, exponents at the end of their range, and constants that
    /// cannot be told apart.
    pub(crate) fn new(design: Design, objective: Objective) -> Result<Self, Refusal> {
        design.check()?;
        let rows: Vec<(f64, f64, f64)> = design
            .rows
            .iter()
            .map(|row| (row.params, row.tokens, row.loss))
            .collect();
        let table = ObjectiveTable::new(&rows, objective);
        let minimum = solver::minimise(&table).ok_or(Refusal::NotFinished { left_out: 0 })?;
        let core = Self {
            law: table.law(&minimum.theta),
            design,
            table,
            minimum,
        };
        core.check_trends()?;
        check_minimum(&core.table, &core.minimum)?;
        Ok(core)
    }

    /// Draws of the constants.
    pub(crate) fn spread(&self, options: DrawOptions) -> ParameterDraws {
        ParameterDraws::new(&self.design, &self.table, &self.minimum, options)
    }

    /// Whether the irreducible loss is at its limit of zero.
    pub(crate) fn without_irreducible_loss(&self) -> bool {
        self.minimum.theta[E] <= 0.0
    }

    /// What predicts from this fit and its draws.
    pub(crate) fn predictor<'a>(&self, spread: &'a ParameterDraws, widening: Option<Widening>) -> Predictor<'a> {
        Predictor {
            law: self.law,
            draws: &spread.draws,
            factors: spread.factors,
            noise: spread.noise,
            widening,
            range: Range::of(&self.design),
        }
    }

    /// The relative residual ln(loss) − ln(predicted) of row `i`.
    pub(crate) fn log_residual(&self, i: usize) -> f64 {
        (self.design.rows[i].loss / self.table.predicted(&self.minimum.theta, i)).ln()
    }

    /// Refuses a term whose whole effect over the data is below the noise of a single run: it can be anything.
    fn check_trends(&self) -> Result<(), Refusal> {
        let count = self.table.len();
        let squares: f64 = (0..count).map(|i| self.log_residual(i).powi(2)).sum();
        let noise = (squares / count as f64).sqrt();
        let range = Range::of(&self.design);
        let c = &self.law;
        let effect =
            |scale: f64, exponent: f64, [low, high]: [f64; 2]| scale * (low.powf(-exponent) - high.powf(-exponent));
        let least = c.loss(range.params[1], range.tokens[1]);
        for (what, effect) in [
            ("size", effect(c.a, c.alpha, range.params)),
            ("tokens", effect(c.b, c.beta, range.tokens)),
        ] {
            if effect < noise * least {
                return Err(Refusal::NotIdentified {
                    why: format!(
                        "over all the data {what} moves the loss by {effect:.2e}, less than the noise of one run; \
                         add runs further apart"
                    ),
                });
            }
        }
        Ok(())
    }
}

/// Refuses what the solver came back with when it is no minimum that the data mean.
fn check_minimum(table: &ObjectiveTable, minimum: &Minimum) -> Result<(), Refusal> {
    let (size, data) = table.largest_shares(&minimum.theta);
    for (what, share) in [("size", size), ("tokens", data)] {
        if share < TERM_SHARE_MIN {
            return Err(Refusal::NotIdentified {
                why: format!("the loss does not depend on {what}; add runs further apart"),
            });
        }
    }
    let (low, high) = EXPONENT_RANGE;
    for (name, place) in [("alpha", ALPHA), ("beta", BETA)] {
        let bound = minimum.theta[place];
        if bound <= low || bound >= high {
            return Err(Refusal::AtBound { name, bound });
        }
    }
    if minimum.distinctness < DISTINCTNESS_MIN {
        return Err(Refusal::NotIdentified {
            why: "the objective is flat: other constants fit as well; add sizes or budgets further apart".to_owned(),
        });
    }
    if !minimum.converged {
        return Err(Refusal::NotIdentified {
            why: "the solver did not come to rest; add sizes or budgets further apart".to_owned(),
        });
    }
    Ok(())
}
