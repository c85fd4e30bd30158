//! The best learning rate: by size and tokens, and whether it drifts.
//!
//! In each group of equal size and tokens a parabola in ln lr is laid through the best point and its neighbours. A best
//! point at the edge of the grid is no minimum and is marked as such; diverged runs mark the edge of stability.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fit::refusal::Refusal;
use crate::fit::statistics::{Line, deviation, line, mean, student_975};
use crate::fit::{Estimate, Warning};

/// One run at one learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrRun {
    /// Name of the model.
    pub model: String,
    /// Parameters.
    pub params: f64,
    /// Width of the residual stream.
    pub width: f64,
    /// Tokens.
    pub tokens: f64,
    /// Peak learning rate.
    pub lr: f64,
    /// Final loss; none: the run diverged.
    pub loss: Option<f64>,
}

/// The best learning rate of one size at one number of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrGroup {
    /// Name of the model.
    pub model: String,
    /// Parameters.
    pub params: f64,
    /// Width of the residual stream.
    pub width: f64,
    /// Tokens.
    pub tokens: f64,
    /// Mean loss at each learning rate, from small to large.
    pub points: Vec<(f64, f64)>,
    /// The smallest learning rate that diverged.
    pub diverged_from: Option<f64>,
    /// The best learning rate; none where the best point lies at the edge of the grid.
    pub best: Option<f64>,
    /// Loss at the parabola's minimum.
    pub loss: Option<f64>,
    /// Half of the parabola's second derivative: nats for a factor e off the best.
    pub curvature: Option<f64>,
    /// The learning rate of the best point, and whether smaller or larger ones are missing.
    pub edge: Option<Edge>,
}

/// Where the grid ends too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edge {
    /// Smaller learning rates are missing.
    Low,
    /// Larger learning rates are missing.
    High,
}

/// The law of the best learning rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LrFit {
    /// `lr`.
    pub law: String,
    /// The groups, by size, then tokens.
    pub groups: Vec<LrGroup>,
    /// Groups with a minimum.
    pub bracketed: usize,
    /// Groups whose best point lies at the edge.
    pub at_edge: usize,
    /// The best learning rate over all groups, with their scatter.
    pub best: Estimate,
    /// Change of ln of the best learning rate for each factor e in N, at equal tokens.
    pub size_exponent: Option<Estimate>,
    /// The same for each factor e in D, at equal size.
    pub token_exponent: Option<Estimate>,
    /// Smallest and largest width with a minimum.
    pub widths: [f64; 2],
    /// The smallest learning rate that diverged anywhere.
    pub diverged_from: Option<f64>,
    /// What a reader must know.
    pub warnings: Vec<Warning>,
}

/// Fits the best learning rate; refused where no group has a minimum between two worse points.
pub fn fit(runs: &[LrRun]) -> Result<LrFit, Refusal> {
    let groups = groups(runs);
    let bracketed: Vec<&LrGroup> = groups.iter().filter(|group| group.best.is_some()).collect();
    if groups.is_empty() {
        return Err(Refusal::NotFinished { left_out: runs.len() });
    }
    if bracketed.is_empty() {
        return Err(Refusal::OptimumAtEdge { groups: groups.len() });
    }
    let logs: Vec<f64> = bracketed.iter().filter_map(|group| group.best).map(f64::ln).collect();
    let widths = bracketed.iter().fold([f64::INFINITY, 0.0_f64], |[a, b], group| {
        [a.min(group.width), b.max(group.width)]
    });
    let at_edge = groups.iter().filter(|group| group.edge.is_some()).count();
    let mut fit = LrFit {
        law: "lr".to_owned(),
        bracketed: bracketed.len(),
        at_edge,
        best: centre(&logs),
        size_exponent: drift(&bracketed, |group| group.tokens, |group| group.params),
        token_exponent: drift(&bracketed, |group| group.params, |group| group.tokens),
        widths,
        diverged_from: groups
            .iter()
            .filter_map(|group| group.diverged_from)
            .min_by(f64::total_cmp),
        warnings: Vec::new(),
        groups,
    };
    fit.warnings = warnings(&fit);
    Ok(fit)
}

fn groups(runs: &[LrRun]) -> Vec<LrGroup> {
    let mut by_group: BTreeMap<(u64, u64, &str), Vec<&LrRun>> = BTreeMap::new();
    for run in runs {
        // Positive floats sort as their bits do.
        by_group
            .entry((run.params.to_bits(), run.tokens.to_bits(), &run.model))
            .or_default()
            .push(run);
    }
    by_group
        .into_values()
        .filter(|runs| runs.iter().any(|run| run.loss.is_some()))
        .map(|runs| group(&runs))
        .collect()
}

fn group(runs: &[&LrRun]) -> LrGroup {
    let mut losses: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for run in runs {
        if let Some(loss) = run.loss {
            losses.entry(run.lr.to_bits()).or_default().push(loss);
        }
    }
    let points: Vec<(f64, f64)> = losses
        .iter()
        .filter_map(|(bits, losses)| Some((f64::from_bits(*bits), mean(losses)?)))
        .collect();
    let diverged_from = runs
        .iter()
        .filter(|run| run.loss.is_none())
        .map(|run| run.lr)
        .min_by(f64::total_cmp);
    let at = (0..points.len())
        .min_by(|a, b| points[*a].1.total_cmp(&points[*b].1))
        .unwrap_or(0);
    let edge = if points.len() < 2 || at == 0 {
        Some(Edge::Low)
    } else if at + 1 == points.len() {
        // Also with a diverged run above: between the best and the cliff nothing was measured.
        Some(Edge::High)
    } else {
        None
    };
    let vertex = if edge.is_none() {
        parabola(&[points[at - 1], points[at], points[at + 1]])
    } else {
        None
    };
    let first = runs[0];
    LrGroup {
        model: first.model.clone(),
        params: first.params,
        width: first.width,
        tokens: first.tokens,
        points,
        diverged_from,
        best: vertex.map(|(lr, _, _)| lr),
        loss: vertex.map(|(_, loss, _)| loss),
        curvature: vertex.map(|(_, _, curvature)| curvature),
        edge,
    }
}

/// Vertex and curvature of the parabola in ln lr through three points whose middle one is the lowest.
fn parabola(points: &[(f64, f64); 3]) -> Option<(f64, f64, f64)> {
    let [(x0, y0), (x1, y1), (x2, y2)] = points.map(|(lr, loss)| (lr.ln(), loss));
    let (left, right) = ((y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1));
    let curvature = (right - left) / (x2 - x0);
    if curvature <= 0.0 {
        return None;
    }
    // y = y1 + s (x − x1) + c (x − x1)², with the slope s at x1.
    let slope = (left * (x2 - x1) + right * (x1 - x0)) / (x2 - x0);
    let offset = -slope / (2.0 * curvature);
    Some(((x1 + offset).exp(), y1 - curvature * offset * offset, curvature))
}

/// The centre of ln lr with Student's interval of its mean.
fn centre(logs: &[f64]) -> Estimate {
    let middle = mean(logs).unwrap_or(f64::NAN);
    let se = deviation(logs).map(|deviation| deviation / (logs.len() as f64).sqrt());
    let ci95 = se.map(|se| {
        let half = se * student_975(logs.len() - 1);
        [(middle - half).exp(), (middle + half).exp()]
    });
    Estimate {
        value: middle.exp(),
        se: se.map(|se| se * middle.exp()),
        ci95,
    }
}

/// The slope of ln of the best learning rate along `along`, at equal `fixed`: each line's own level is taken out.
fn drift(groups: &[&LrGroup], fixed: impl Fn(&LrGroup) -> f64, along: impl Fn(&LrGroup) -> f64) -> Option<Estimate> {
    let mut lines: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for group in groups {
        if let Some(best) = group.best {
            lines
                .entry(fixed(group).to_bits())
                .or_default()
                .push((along(group).ln(), best.ln()));
        }
    }
    let mut centred = Vec::new();
    let mut levels = 0;
    for points in lines.values().filter(|points| points.len() > 1) {
        let n = points.len() as f64;
        let (mx, my) = (
            points.iter().map(|p| p.0).sum::<f64>() / n,
            points.iter().map(|p| p.1).sum::<f64>() / n,
        );
        centred.extend(points.iter().map(|p| (p.0 - mx, p.1 - my)));
        levels += 1;
    }
    let Line { slope, slope_se, n, .. } = line(&centred)?;
    // `line` paid for one level and one slope; each further level costs a degree of freedom.
    let freedom = (n + 1).checked_sub(levels + 2).filter(|freedom| *freedom > 0);
    let se = slope_se
        .zip(freedom)
        .map(|(se, freedom)| se * ((n - 2) as f64 / freedom as f64).sqrt());
    let ci95 = se.zip(freedom).map(|(se, freedom)| {
        let half = se * student_975(freedom);
        [slope - half, slope + half]
    });
    Some(Estimate { value: slope, se, ci95 })
}

fn warnings(fit: &LrFit) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if fit.at_edge > 0 {
        let text = format!(
            "in {} of {} groups the best learning rate lies at the edge of the grid and is left out",
            fit.at_edge,
            fit.groups.len()
        );
        warnings.push(Warning::new("minima_at_edge", text));
    }
    for (code, exponent, what) in [
        ("lr_drifts_with_size", &fit.size_exponent, "size"),
        ("lr_drifts_with_tokens", &fit.token_exponent, "tokens"),
    ] {
        if let Some(Estimate {
            value,
            ci95: Some([low, high]),
            ..
        }) = exponent
            && (*low > 0.0 || *high < 0.0)
        {
            let text = format!("the best learning rate moves as {what}^{value:.2} (95 %: {low:.2} to {high:.2})");
            warnings.push(Warning::new(code, text));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(best: impl Fn(f64, f64) -> f64) -> Vec<LrRun> {
        let mut runs = Vec::new();
        for params in [1e4, 1e5, 1e6] {
            for tokens in [1e6, 2e6] {
                for lr in [1e-3, 3e-3, 1e-2, 3e-2, 1e-1] {
                    let off = (lr / best(params, tokens)).ln();
                    let loss = (lr < 0.09).then_some(2.0 + 0.05 * off * off);
                    runs.push(LrRun {
                        model: format!("{params}"),
                        params,
                        width: params.sqrt(),
                        tokens,
                        lr,
                        loss,
                    });
                }
            }
        }
        runs
    }

    #[test]
    fn the_minimum_of_a_parabola_is_found_exactly() {
        let fit = fit(&grid(|_, _| 0.008)).expect("a law");
        assert_eq!((fit.bracketed, fit.at_edge), (6, 0));
        assert!((fit.best.value / 0.008 - 1.0).abs() < 1e-9);
        assert!(
            fit.groups
                .iter()
                .all(|group| (group.curvature.expect("a minimum") - 0.05).abs() < 1e-9)
        );
        assert_eq!(fit.diverged_from, Some(0.1));
        assert!(fit.size_exponent.expect("three sizes").value.abs() < 1e-9);
    }

    #[test]
    fn a_drift_is_measured_along_each_axis_alone() {
        let fit = fit(&grid(|params, tokens| {
            0.01 * (params / 1e5).powf(-0.1) * (tokens / 1e6).powf(0.2)
        }))
        .expect("a law");
        assert!((fit.size_exponent.expect("sizes").value + 0.1).abs() < 1e-9);
        assert!((fit.token_exponent.expect("budgets").value - 0.2).abs() < 1e-9);
        assert!(fit.warnings.iter().any(|warning| warning.code == "lr_drifts_with_size"));
    }

    #[test]
    fn a_best_point_at_the_edge_is_no_minimum() {
        match fit(&grid(|_, _| 1e-4)) {
            Err(Refusal::OptimumAtEdge { groups }) => assert_eq!(groups, 6),
            other => panic!("must be refused: {other:?}"),
        }
    }

    #[test]
    fn a_run_that_diverged_never_becomes_a_loss() {
        let runs = grid(|_, _| 0.008);
        let fit = fit(&runs).expect("a law");
        assert!(fit.groups.iter().all(|group| group.points.len() == 4));
    }
}
