//! The best learning rate: by size and tokens, and whether it drifts.
//!
//! In each group of equal size and tokens a parabola in ln lr gives the best rate. Under muP it should not move with
//! width; whether it does is measured here and not assumed. Refuses to call the edge of a grid a minimum, and to know
//! what a recipe makes of it.

use serde::{Deserialize, Serialize};

use crate::fit::design::distinct;
use crate::fit::numeric::linear_algebra;
use crate::fit::numeric::statistics;
use crate::fit::rate::lr_edges;
pub use crate::fit::rate::lr_parabola::LrRun;
use crate::fit::rate::lr_parabola::{LrGroup, LrParabola, Noise};
use crate::fit::rate::over_tokens::Batch;
use crate::fit::rate::transfer::{self, Compared, Drifting, Transfer, drift};
use crate::fit::refusal::Refusal;
use crate::fit::{Estimate, Warning};

/// The law of the best learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrFit {
    /// `lr`.
    pub law: String,
    /// The groups, by size, then tokens.
    pub groups: Vec<LrGroup>,
    /// Groups with a minimum; only these enter what follows.
    pub bracketed: usize,
    /// Groups whose best point lies at the edge.
    pub at_edge: usize,
    /// The geometric mean of the best learning rates, with the interval of that mean.
    pub best: Estimate,
    /// Change of ln of the best learning rate for each factor e in N, at equal tokens.
    pub size_exponent: Option<Estimate>,
    /// The same for each factor e in D, at equal size.
    pub token_exponent: Option<Estimate>,
    /// What the batch does meanwhile: the runs of this law share one.
    #[serde(default)]
    pub tokens_at: Batch,
    /// The same for each factor e in width, at equal tokens.
    pub width_exponent: Option<Estimate>,
    /// `η = c·N^a·D^b` (the form of Step Law, arXiv 2503.04715, equation 1); none when sizes and tokens are too few
    /// to tell a from b.
    pub power: Option<LrPower>,
    /// Smallest and largest width with a minimum.
    pub widths: [f64; 2],
    /// Whether the best rate carries over from narrow to wide, as muP promises; none in fits of before.
    #[serde(default)]
    pub transfer: Option<Transfer>,
    /// The smallest learning rate that diverged anywhere.
    pub diverged_from: Option<f64>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// `η = c·N^a·D^b`, written about the centre of the data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrPower {
    /// The rate at one parameter and one token.
    pub c: f64,
    pub n_exponent: Estimate,
    pub d_exponent: Estimate,
    /// The means of ln(N) and ln(D), about which the errors of the three constants are independent of the first.
    centre: [f64; 2],
    ln_rate: f64,
    /// The covariance of ln(η) at the centre, a and b.
    covariance: [[f64; 3]; 3],
    /// The standard deviation of ln(η) of one group about the law.
    scatter: f64,
    dof: f64,
}

/// A best learning rate at a place, and what it rests on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LrPrediction {
    /// The rate, with the interval in which the best rate of one more group would lie.
    pub lr: Estimate,
    /// What it rests on.
    pub by: LrRule,
}

/// How the best rate moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrRule {
    /// It does not, as far as the groups show.
    Constant,
    /// By the power law: a 95 % interval of an exponent leaves zero out.
    Power,
}

impl LrFit {
    /// The best rate at a size and a number of tokens: by the power law if one of its exponents is told apart from
    /// zero, else the constant.
    pub fn predict(&self, params: f64, tokens: f64) -> LrPrediction {
        let drifts = |power: &&LrPower| power.n_exponent.excludes_zero() || power.d_exponent.excludes_zero();
        if let Some(power) = self.power.as_ref().filter(drifts) {
            return LrPrediction {
                lr: power.predict(params, tokens),
                by: LrRule::Power,
            };
        }
        let count = self.bracketed as f64;
        // The error of the mean and the scatter of one more group.
        let se = self.best.se.map(|se| se / self.best.value * (1.0 + count).sqrt());
        LrPrediction {
            lr: rate(self.best.value.ln(), se, count - 1.0),
            by: LrRule::Constant,
        }
    }
}

impl LrFit {
    /// An exponent that could be anything makes no law: one rate for all is what is known.
    fn drop_open_power(&mut self) {
        let Some(power) = &self.power else {
            return;
        };
        let exponents = [("of N", &power.n_exponent), ("of D", &power.d_exponent)];
        let open = exponents.iter().find_map(|(name, it)| it.open_exponent(name));
        if let Some(why) = open {
            let text = format!("{why}: no law of the best learning rate in N and D, one rate for all");
            self.warnings.push(Warning::new("not_identified", text));
            self.power = None;
        }
    }
}

impl LrFit {
    /// Too few minima, or minima that are not like the others, say what they are, and nothing of others.
    fn drop_intervals(&mut self) {
        let against = lr_edges::contradicted(&self.groups, |params, tokens| self.predict(params, tokens).lr.ci95);
        let are_missing = against.is_some() || lr_edges::is_majority(self.at_edge, self.groups.len());
        let exponents = [("size", self.size_exponent), ("tokens", self.token_exponent)];
        let moves = || lr_edges::moves_without_law(&self.groups, exponents, self.power.is_some());
        let Some(why) = lr_edges::no_interval(&self.groups).or(against).or_else(moves) else {
            return;
        };
        self.warnings.push(Warning::new("no_interval", why));
        (self.best.se, self.best.ci95, self.power) = (None, None, None);
        if are_missing {
            for exponent in [
                &mut self.size_exponent,
                &mut self.token_exponent,
                &mut self.width_exponent,
            ] {
                *exponent = None;
            }
            self.transfer = self.transfer.map(Transfer::unknown);
        }
    }
}

impl LrPower {
    /// The best rate of one more group at a size and a number of tokens.
    fn predict(&self, params: f64, tokens: f64) -> Estimate {
        let x = [1.0, params.ln() - self.centre[0], tokens.ln() - self.centre[1]];
        let ln_rate = self.ln_rate + self.n_exponent.value * x[1] + self.d_exponent.value * x[2];
        let variance = self.scatter * self.scatter + linear_algebra::quadratic_form(&self.covariance, &x);
        rate(ln_rate, Some(variance.sqrt()), self.dof)
    }
}

/// Fits the best learning rate.
///
/// # Errors
/// `optimum_at_edge` where no group has a minimum between two worse points, `not_finished` where no run finished.
pub fn fit(runs: &[LrRun]) -> Result<LrFit, Refusal> {
    let bowls = bowls(runs);
    if bowls.is_empty() {
        return Err(Refusal::NotFinished { left_out: runs.len() });
    }
    let noise = pooled(&bowls);
    let groups: Vec<LrGroup> = bowls.into_iter().map(|bowl| bowl.group(noise)).collect();
    let points: Vec<Point> = groups.iter().filter_map(Point::of).collect();
    let Some(widths) = range(points.iter().map(|point| point.width.exp().round())) else {
        return Err(Refusal::OptimumAtEdge { groups: groups.len() });
    };
    let mut fit = LrFit {
        law: "lr".to_owned(),
        bracketed: points.len(),
        at_edge: groups.iter().filter(|group| group.edge.is_some()).count(),
        best: constant(&points),
        size_exponent: along(&points, |p| (p.tokens, p.params)),
        token_exponent: along(&points, |p| (p.params, p.tokens)),
        tokens_at: Batch::Fixed,
        width_exponent: along(&points, |p| (p.tokens, p.width)),
        transfer: transfer(&points),
        power: power(&points),
        widths,
        diverged_from: groups.iter().filter_map(|group| group.diverged_from).reduce(f64::min),
        warnings: Vec::new(),
        groups,
    };
    fit.warnings = warnings(&fit);
    fit.drop_open_power();
    fit.drop_intervals();
    Ok(fit)
}

/// The runs of each size and number of tokens, with their parabola.
fn bowls(runs: &[LrRun]) -> Vec<LrParabola> {
    let mut ordered: Vec<&LrRun> = runs.iter().collect();
    let order = |a: &LrRun, b: &LrRun| {
        a.params
            .total_cmp(&b.params)
            .then(a.tokens.total_cmp(&b.tokens))
            .then_with(|| a.model.cmp(&b.model))
    };
    ordered.sort_by(|a, b| order(a, b));
    ordered
        .chunk_by(|a, b| order(a, b).is_eq())
        .filter_map(LrParabola::new)
        .collect()
}

/// What a reader must know.
fn warnings(fit: &LrFit) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(hit) = lr_edges::hit(&fit.groups) {
        let text = format!(
            "in {} of {} groups the best learning rate lies at the edge of the grid and is left out: {hit}",
            fit.at_edge,
            fit.groups.len()
        );
        warnings.push(Warning::new("minima_at_edge", text));
    }
    for (code, exponent, what, other) in [
        ("lr_drifts_with_size", &fit.size_exponent, "size", "tokens"),
        ("lr_drifts_with_tokens", &fit.token_exponent, "tokens", "size and batch"),
    ] {
        if let Some(why) = exponent.and_then(|it| it.open_exponent(&format!("of {what} at equal {other}"))) {
            warnings.push(Warning::new("not_identified", why));
        }
        let known = exponent.filter(Estimate::excludes_zero);
        if let Some((value, [low, high])) = known.and_then(|it| Some((it.value, it.ci95?))) {
            let text = format!(
                "at equal {other} the best learning rate moves as {what}^{value:.2} (95 %: {low:.2} to {high:.2})"
            );
            warnings.push(Warning::new(code, text));
        }
    }
    warnings
}

/// A bracketed minimum; all in logarithms.
#[derive(Debug, Clone, Copy)]
struct Point {
    params: f64,
    tokens: f64,
    width: f64,
    lr: f64,
}

impl Point {
    fn of(group: &LrGroup) -> Option<Self> {
        Some(Self {
            params: group.params.ln(),
            tokens: group.tokens.ln(),
            width: group.width.ln(),
            lr: group.best?.ln(),
        })
    }
}

/// The noise of one run's loss: of seeds where there are any, else of the grids about their parabolas.
fn pooled(bowls: &[LrParabola]) -> Option<Noise> {
    let total = |pick: &dyn Fn(&LrParabola) -> Noise| {
        bowls
            .iter()
            .map(pick)
            .fold((0.0, 0.0), |sum, noise| (sum.0 + noise.squares, sum.1 + noise.dof))
    };
    let seeds = total(&|bowl| bowl.noise().0);
    let (squares, dof) = if seeds.1 > 0.0 {
        seeds
    } else {
        total(&|bowl| bowl.noise().1)
    };
    (dof > 0.0).then_some(Noise { squares, dof })
}

/// A rate with its interval, from its logarithm and that one's standard error.
fn rate(ln_rate: f64, se: Option<f64>, dof: f64) -> Estimate {
    Estimate {
        value: ln_rate.exp(),
        se: se.map(|se| se * ln_rate.exp()),
        ci95: se.map(|se| {
            let half = se * statistics::t_975(dof);
            [(ln_rate - half).exp(), (ln_rate + half).exp()]
        }),
    }
}

/// The geometric mean of the best rates: what to use if they do not drift.
fn constant(points: &[Point]) -> Estimate {
    let logarithms: Vec<f64> = points.iter().map(|p| p.lr).collect();
    let count = logarithms.len() as f64;
    let mean = logarithms.iter().sum::<f64>() / count;
    let se = statistics::standard_deviation(&logarithms).map(|sd| sd / count.sqrt());
    rate(mean, se, count - 1.0)
}

fn along(points: &[Point], place: impl Fn(&Point) -> (f64, f64)) -> Option<Estimate> {
    drift(drifting(points, place))
}

/// Over the width at equal tokens; where no two widths share them, at equal tokens a parameter.
fn transfer(points: &[Point]) -> Option<Transfer> {
    let of = |compared: Compared, place: fn(&Point) -> (f64, f64)| transfer::judge(&drifting(points, place), compared);
    let at_equal_tokens = of(Compared::EqualTokens, |p| (p.tokens, p.width))?;
    if at_equal_tokens.drift.is_some() {
        return Some(at_equal_tokens);
    }
    of(Compared::EqualTokensPerParameter, |p| (p.tokens - p.params, p.width))
        .filter(|it| it.drift.is_some())
        .or(Some(at_equal_tokens))
}

/// The best rates by block and variable, which `place` picks.
fn drifting(points: &[Point], place: impl Fn(&Point) -> (f64, f64)) -> Vec<Drifting> {
    let drifting = |point: &Point| {
        let (block, x) = place(point);
        Drifting { block, x, y: point.lr }
    };
    points.iter().map(drifting).collect()
}

/// The power law in size and tokens by least squares on logarithms. `None` with fewer than three sizes or three
/// budgets, or when tokens follow size too closely to tell the two apart.
fn power(points: &[Point]) -> Option<LrPower> {
    const VALUES_MIN: usize = 3;
    /// 1 − R² of one variable on the other.
    const DISTINCTNESS_MIN: f64 = 0.02;
    let count = points.len() as f64;
    if distinct(points.iter().map(|p| p.params.exp())).len() < VALUES_MIN
        || distinct(points.iter().map(|p| p.tokens.exp())).len() < VALUES_MIN
        || points.len() < 4
    {
        return None;
    }
    let centre = [
        points.iter().map(|p| p.params).sum::<f64>() / count,
        points.iter().map(|p| p.tokens).sum::<f64>() / count,
    ];
    let row = |p: &Point| [1.0, p.params - centre[0], p.tokens - centre[1]];
    let mut gram = [[0.0; 3]; 3];
    let mut rhs = [0.0; 3];
    for point in points {
        let x = row(point);
        for i in 0..3 {
            rhs[i] += x[i] * point.lr;
            for j in 0..3 {
                gram[i][j] += x[i] * x[j];
            }
        }
    }
    if linear_algebra::distinctness(&gram) < DISTINCTNESS_MIN {
        return None;
    }
    let [ln_rate, a, b] = linear_algebra::solve(&gram, &rhs)?;
    let squares: f64 = points
        .iter()
        .map(|p| {
            let x = row(p);
            (p.lr - ln_rate - a * x[1] - b * x[2]).powi(2)
        })
        .sum();
    let dof = count - 3.0;
    let covariance = linear_algebra::inverse(&gram)?.map(|row| row.map(|entry| entry * squares / dof));
    let exponent = |value: f64, variance: f64| {
        let se = variance.sqrt();
        let half = se * statistics::t_975(dof);
        Estimate {
            value,
            se: Some(se),
            ci95: Some([value - half, value + half]),
        }
    };
    Some(LrPower {
        c: (ln_rate - a * centre[0] - b * centre[1]).exp(),
        n_exponent: exponent(a, covariance[1][1]),
        d_exponent: exponent(b, covariance[2][2]),
        centre,
        ln_rate,
        covariance,
        scatter: (squares / dof).sqrt(),
        dof,
    })
}

/// The smallest and the largest value; `None` of none.
fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |ends: Option<[f64; 2]>, value| {
        Some(ends.map_or([value, value], |[low, high]| [low.min(value), high.max(value)]))
    })
}

#[cfg(test)]
mod tests;
