//! How far a law of loss has seen ahead: fits of the smaller runs are asked for the larger ones, with the last cut first.
//!
//! Refuses to say how far is far enough.

use crate::fit::design::{CONFIGURATIONS_MIN, Design, SAME_BUDGET, SAME_SIZE, VALUES_MIN};
use crate::fit::loss::checks::hold_out::{Axis, cuts};
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::model_selection::Compare;
use crate::fit::numeric::statistics;
use crate::fit::observation::Observation;

/// What a fit said of one larger size, budget or compute that it had not seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Foreseen {
    /// How many times the largest that it had seen.
    pub factor: f64,
    /// The mean of |predicted − loss| / loss.
    pub error: f64,
}

/// What each rolled fit said of the larger runs, the nearest of them first; of the fits the one of most runs first.
pub type Fits = Vec<Vec<Foreseen>>;

/// Fits that were rolled forward along each variable.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Foresight {
    pub params: Fits,
    pub tokens: Fits,
    /// Along 6ND.
    pub flops: Fits,
}

/// Rolls a law forward over some runs. Where these come in groups of equal compute, larger runs differ in size and tokens
/// at once, so the cuts lie along compute alone, and each says how far it went along every variable.
pub fn foresight(runs: &[Observation], compare: Compare, objective: Objective) -> Foresight {
    let design = Design::new(runs.to_vec());
    let is_by_compute = Axis::of_design(&design) == Axis::Flops;
    let along = |axis: Axis| {
        let cut_along = if is_by_compute { Axis::Flops } else { axis };
        let mut limits = cuts(&design, cut_along, [VALUES_MIN, CONFIGURATIONS_MIN]);
        limits.reverse();
        let fits = limits.into_iter().filter_map(|limit| {
            let (held, seen): (Vec<_>, Vec<_>) = runs.iter().cloned().partition(|run| cut_along.of(run) >= limit);
            ahead(&seen, held, compare, objective, axis)
        });
        fits.filter(|fit| !fit.is_empty()).collect()
    };
    Foresight {
        params: along(Axis::Params),
        tokens: along(Axis::Tokens),
        flops: along(Axis::Flops),
    }
}

/// What a fit of the seen runs says of the others; a law that they do not carry says nothing.
fn ahead(
    seen: &[Observation],
    mut held: Vec<Observation>,
    compare: Compare,
    objective: Objective,
    axis: Axis,
) -> Option<Vec<Foreseen>> {
    let loss_of = compare(seen, objective).ok()?;
    let most = seen.iter().map(|run| axis.of(run)).fold(0.0, f64::max);
    let same = match axis {
        Axis::Params => SAME_SIZE,
        Axis::Tokens | Axis::Flops => SAME_BUDGET,
    };
    held.retain(|run| axis.of(run) > most * (1.0 + same));
    held.sort_by(|a, b| axis.of(a).total_cmp(&axis.of(b)));
    let groups = held.chunk_by(|a, b| axis.of(b) <= axis.of(a) * (1.0 + same));
    let foreseen = |group: &[Observation]| {
        let errors: Option<Vec<f64>> = group
            .iter()
            .map(|run| Some((loss_of(run)? - run.loss).abs() / run.loss))
            .collect();
        Some(Foreseen {
            factor: axis.of(group.last()?) / most,
            error: statistics::mean(&errors?)?,
        })
    };
    Some(groups.filter_map(foreseen).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::laws;
    use crate::fit::loss::chinchilla::Law;
    use crate::fit::observation::tests::bare;

    fn runs(budgets: &[f64], off: impl Fn(f64) -> f64) -> Vec<Observation> {
        let law = Law {
            e: 1.8,
            a: 50.0,
            alpha: 0.4,
            b: 200.0,
            beta: 0.4,
        };
        let sizes = [6e3, 13e3, 24e3, 80e3, 189e3];
        let pairs = sizes.iter().flat_map(|&n| budgets.iter().map(move |&d| (n, d)));
        pairs.map(|(n, d)| bare("r", n, d, law.loss(n, d) * off(n))).collect()
    }

    fn of(runs: &[Observation]) -> Foresight {
        let compare = laws::named("chinchilla").and_then(|law| law.about.compare);
        foresight(runs, compare.expect("a law of loss"), Objective::default())
    }

    #[test]
    fn an_exact_law_sees_as_far_as_its_cuts_reach() {
        let seen = of(&runs(&[2e5, 4e5, 8e5, 16e5], |_| 1.0));
        let last = &seen.params[0][0];
        assert!(
            (last.factor - 189.0 / 80.0).abs() < 1e-9 && last.error < 1e-3,
            "{last:?}"
        );
        let first = seen
            .params
            .last()
            .and_then(|fit| fit.last())
            .expect("a fit of three sizes");
        assert!(
            (first.factor - 189.0 / 24.0).abs() < 1e-9 && first.error < 1e-2,
            "{first:?}"
        );
        assert!((seen.tokens[0][0].factor - 2.0).abs() < 1e-9, "{:?}", seen.tokens);
        assert!(!seen.flops.is_empty());
    }

    #[test]
    fn three_budgets_leave_none_to_foresee() {
        assert_eq!(of(&runs(&[2e5, 4e5, 8e5], |_| 1.0)).tokens, Fits::new());
    }

    #[test]
    fn a_size_off_the_law_is_seen_to_be() {
        let seen = of(&runs(&[2e5, 4e5, 8e5, 16e5], |n| if n > 1e5 { 1.1 } else { 1.0 }));
        assert!(seen.params[0][0].error > 0.05, "{:?}", seen.params);
    }
}
