//! The figure of the best learning rates: where they lie at each size, and where a law puts them.
//!
//! Refuses to judge transfer: the verdict comes in.

use std::collections::BTreeSet;

use crate::report::axes::{Budgets, log_axis, positive_range};
use crate::report::figures::law_marks::{band_edges, curve, on_interval};
use crate::report::recipe_view::{item, recipe_tokens};
use crate::report::study::{BestLr, LrBowl, RateLaw, Study, Transfer};
use crate::report::text::{self, number};
use crate::report::view::{Content, FigureView, Ink, Mark, Numbers, Panel, Stroke};

/// How far budgets at one size stand apart, so that their intervals do not hide each other.
const APART: f64 = 1.035;

/// A recipe of so many times the parameters of the largest size is not drawn: the data would be a dot in a corner.
const FARTHEST: f64 = 1e3;

/// Best learning rates by size, with the law of them.
pub(crate) fn best_rates(study: &Study<'_>) -> FigureView {
    let bowls: Vec<&LrBowl> = study.bowls.iter().filter(|bowl| bowl.best.is_some()).collect();
    let sizes: BTreeSet<u64> = bowls.iter().map(|bowl| bowl.params).collect();
    let budgets = Budgets::of(bowls.iter().map(|bowl| (bowl.params, bowl.tokens)));
    let target = target(study, &bowls);
    let panel = if sizes.len() > 1 {
        panel(&bowls, &budgets, study.rates, target.as_ref())
    } else {
        None
    };
    let content = panel.map_or_else(
        || Content::Missing("Fewer than two sizes have a best learning rate inside their grid.".to_owned()),
        |panel| Content::Panels(vec![panel]),
    );
    FigureView {
        name: "best-lr",
        title: "Best learning rate by size".to_owned(),
        caption: caption(study, &bowls, target.as_ref()),
        key: (0..budgets.len())
            .map(|at| (Ink::Kind(at), budgets.title(at)))
            .collect(),
        content,
        omitted: Vec::new(),
    }
}

/// What is said of the intervals of best rates: a parabola through three of them leaves none.
pub(crate) fn intervals<'a>(mut best: impl Iterator<Item = &'a BestLr>) -> &'static str {
    if best.any(|best| best.ci95.is_some()) {
        "with their 95 % intervals"
    } else {
        "(too few rates for intervals)"
    }
}

fn caption(study: &Study<'_>, bowls: &[&LrBowl], target: Option<&Target>) -> String {
    let mut caption = format!(
        "Diamonds are the best learning rates of a size and budget {}; budgets of one size stand a little apart.",
        intervals(bowls.iter().filter_map(|bowl| bowl.best.as_ref()))
    );
    if let Some(law) = study.rates {
        caption.push_str(&format!(" Lines are the law: {}.", law.formula));
        if law.interval.is_some() {
            caption.push_str(" The band is the 95 % interval of the best rate of one more size, as `fit` gives it.");
        }
        if let Some(transfer) = &law.transfer {
            caption.push_str(&format!(" {}", verdict(transfer)));
        }
    }
    match (target, study.recipe) {
        (Some(target), _) => caption.push_str(&format!(
            " The uncoloured diamond is the recipe: {} at {} parameters{}.",
            number(target.lr, 3),
            text::count(target.params),
            target.ci95.map_or_else(String::new, within)
        )),
        (None, Some(recipe)) if study.rates.is_some() => caption.push_str(&format!(
            " The recipe's {} parameters lie too far beyond the data to be drawn.",
            text::count(recipe.params as f64)
        )),
        (None, Some(_) | None) => {}
    }
    caption
}

/// ` (95 % interval 0.01 to 0.02)`.
fn within([low, high]: [f64; 2]) -> String {
    format!(" (95 % interval {} to {})", number(low, 3), number(high, 3))
}

/// The best rate of the recipe.
struct Target {
    params: f64,
    tokens: f64,
    lr: f64,
    ci95: Option<[f64; 2]>,
    /// The largest size with a best rate, and its most tokens: from here the law is drawn on.
    from: [f64; 2],
}

/// The recipe's best rate; none where it is farther out than is drawn.
fn target(study: &Study<'_>, bowls: &[&LrBowl]) -> Option<Target> {
    let recipe = study.recipe?;
    let (lr, ci95) = item(recipe, "lr")?;
    let last = bowls.iter().max_by_key(|bowl| (bowl.params, bowl.tokens))?;
    let params = recipe.params as f64;
    (params / last.params as f64 <= FARTHEST && params > 0.0).then_some(Target {
        params,
        tokens: recipe_tokens(recipe)?,
        lr,
        ci95,
        from: [last.params as f64, last.tokens as f64],
    })
}

/// The verdict on transfer as a sentence.
pub(crate) fn verdict(transfer: &Transfer) -> String {
    let factor = transfer.drift.map_or_else(String::new, |drift| {
        let interval = transfer.ci95.map_or_else(String::new, |[low, high]| {
            format!(" (95 % interval {} to {})", number(low, 3), number(high, 3))
        });
        format!(": the best rate changes by a factor of {}{interval}", number(drift, 3))
    });
    let widths = format!(
        "from width {} to {} {}",
        transfer.widths[0].round(),
        transfer.widths[1].round(),
        transfer.compared
    );
    let tolerance = number(transfer.tolerance, 2);
    match transfer.verdict.as_str() {
        "verified" => format!("Transfer is verified {widths}{factor}, within {tolerance}."),
        "drifts" => format!("The best rate drifts {widths}{factor}; transfer is not verified."),
        _ => {
            let upto = transfer.verified_to.map_or_else(String::new, |width| {
                format!("; it is verified up to width {}", width.round())
            });
            format!("Whether the rate transfers {widths} is not known within {tolerance}{factor}{upto}.")
        }
    }
}

fn panel(bowls: &[&LrBowl], budgets: &Budgets, law: Option<&RateLaw<'_>>, target: Option<&Target>) -> Option<Panel> {
    let [low, high] = positive_range(bowls.iter().map(|bowl| bowl.params as f64))?;
    let ends = [low / 1.3, high * 1.3];
    let mut marks = law.map_or_else(Vec::new, |law| law_marks(law, budgets, ends, target));
    marks.extend(bowls.iter().flat_map(|bowl| best_marks(bowl, budgets)));
    marks.extend(target.into_iter().flat_map(target_marks));
    let rates = positive_range(marks.iter().flat_map(|mark| mark.along(1)))?;
    let farthest = target.map_or(ends[1], |target| ends[1].max(target.params * 1.3));
    Some(Panel {
        title: String::new(),
        x: log_axis("parameters N", Numbers::Counts, [ends[0], farthest]),
        y: log_axis(
            "best peak learning rate",
            Numbers::Plain,
            [rates[0] / 1.2, rates[1] * 1.2],
        ),
        marks,
    })
}

/// The law of each budget over the sizes, its band, and its way from the largest run to the recipe.
fn law_marks(law: &RateLaw<'_>, budgets: &Budgets, ends: [f64; 2], target: Option<&Target>) -> Vec<Mark> {
    let mut marks = Vec::new();
    let hover = || Some(law.formula.clone());
    let lines = if law.is_constant { 1 } else { budgets.len() };
    for at in 0..lines {
        let ink = if law.is_constant { Ink::Plain } else { Ink::Kind(at) };
        let tokens = |params: f64| budgets.tokens(at, params);
        marks.extend(band(law, ends, tokens, ink));
        marks.push(Mark::Line {
            points: curve(ends[0], ends[1], |params| Some((law.at)(params, tokens(params)))),
            ink,
            stroke: Stroke::Law,
            label: law.is_constant.then(|| "constant".to_owned()),
            hover: hover(),
        });
    }
    if let Some(target) = target.filter(|target| target.params > ends[1]) {
        let slope = (target.tokens / target.from[1]).ln() / (target.params / target.from[0]).ln();
        let tokens = |params: f64| target.from[1] * (params / target.from[0]).powf(slope);
        let way = [ends[1], target.params];
        marks.extend(band(law, way, tokens, Ink::Plain));
        marks.push(Mark::Line {
            points: curve(way[0], way[1], |params| Some((law.at)(params, tokens(params)))),
            ink: Ink::Plain,
            stroke: Stroke::Beyond,
            label: None,
            hover: hover(),
        });
    }
    marks
}

fn band(law: &RateLaw<'_>, [from, to]: [f64; 2], tokens: impl Fn(f64) -> f64, ink: Ink) -> Option<Mark> {
    let interval = law.interval?;
    let edges = band_edges(from, to, |params| interval(params, tokens(params)));
    (edges.len() > 1).then(|| Mark::band(&edges, ink, None))
}

/// A best rate as a diamond on its interval.
fn best_marks(bowl: &LrBowl, budgets: &Budgets) -> Vec<Mark> {
    let (Some(best), Some(at)) = (bowl.best, budgets.index(bowl.params, bowl.tokens)) else {
        return Vec::new();
    };
    let middle = (budgets.len() as f64 - 1.0) / 2.0;
    let x = bowl.params as f64 * APART.powf(at as f64 - middle);
    let hover = format!(
        "{}, {} tokens\nbest learning rate {}{}\nloss there {}",
        text::size_label(&bowl.model, bowl.params),
        text::count(bowl.tokens as f64),
        number(best.lr, 3),
        best.ci95.map_or_else(String::new, within),
        text::loss(best.loss)
    );
    on_interval([x, best.lr], best.ci95, Ink::Kind(at), &hover)
}

fn target_marks(target: &Target) -> Vec<Mark> {
    let hover = format!(
        "the recipe, {} parameters\nbest learning rate {}{}",
        text::count(target.params),
        number(target.lr, 3),
        target.ci95.map_or_else(String::new, within)
    );
    on_interval([target.params, target.lr], target.ci95, Ink::Plain, &hover)
}

/// Where the law puts the best rates of a budget, at the losses of its bowls: a line through the bowls.
pub(crate) fn along(law: Option<&RateLaw<'_>>, bowls: &[&LrBowl], budget: usize, budgets: &Budgets) -> Option<Mark> {
    let law = law?;
    let mut of_budget: Vec<&LrBowl> = bowls
        .iter()
        .copied()
        .filter(|bowl| budgets.index(bowl.params, bowl.tokens) == Some(budget))
        .collect();
    of_budget.sort_by_key(|bowl| bowl.params);
    let points: Vec<[f64; 2]> = of_budget
        .iter()
        .filter_map(|bowl| {
            let rate = (law.at)(bowl.params as f64, bowl.tokens as f64);
            Some([rate, bowl.best?.loss])
        })
        .collect();
    (points.len() > 1).then(|| Mark::Line {
        points,
        ink: Ink::Plain,
        stroke: Stroke::Law,
        label: None,
        hover: Some(law.formula.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_names_widths_and_factor() {
        let mut transfer = Transfer {
            verdict: "verified".to_owned(),
            widths: [64.0, 256.0],
            verified_to: Some(256.0),
            compared: "at equal tokens",
            drift: Some(1.04),
            ci95: Some([0.91, 1.18]),
            tolerance: 1.5,
        };
        assert_eq!(
            verdict(&transfer),
            "Transfer is verified from width 64 to 256 at equal tokens: the best rate changes by a factor of 1.04 (95 % \
             interval 0.91 to 1.18), within 1.5."
        );
        transfer.verdict = "not_known".to_owned();
        transfer.verified_to = Some(128.0);
        assert!(
            verdict(&transfer).contains("not known within 1.5"),
            "{}",
            verdict(&transfer)
        );
        assert!(verdict(&transfer).ends_with("verified up to width 128."));
    }
}
