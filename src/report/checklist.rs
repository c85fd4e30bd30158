//! What a reader asks before believing a law (after the check-list of Li et al. 2025, arXiv 2502.18969), answered.
//!
//! Every answer is a number of this study, or says that there is none. Refuses to judge.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::TrialRow;
use crate::report::axes::range;
use crate::report::figures::best_lr::verdict;
use crate::report::law_view::{HeldOut, LawInput, LawPoint, Predict};
use crate::report::recipe_view::recipe_tokens;
use crate::report::sections::span;
use crate::report::study::Study;
use crate::report::text::{self, number, plural};
use crate::setup::{Factor, Setup};

/// Questions with their answers.
type Answers = Vec<(String, String)>;

/// The check-list of a study.
pub(crate) fn checklist(study: &Study<'_>) -> Answers {
    let finished: Vec<&TrialRow> = study.trials.iter().filter(|trial| trial.final_loss.is_some()).collect();
    if finished.is_empty() && !study.is_law_alone() {
        return Vec::new();
    }
    let mut rows = of_law(study);
    if !finished.is_empty() {
        rows.extend(of_data(&finished));
        rows.extend(of_training(study, &finished));
    }
    rows
}

fn row(question: &str, answer: String) -> (String, String) {
    (question.to_owned(), answer)
}

/// What the first fitted law says of itself.
fn of_law(study: &Study<'_>) -> Answers {
    let fitted = study.laws.iter().find_map(|law| {
        let is_fitted = law.refused.is_none();
        law.predict.filter(|_| is_fitted).map(|predict| (law, predict))
    });
    let Some((law, predict)) = fitted else {
        return vec![row("Form of the law", "none fitted".to_owned())];
    };
    let mut rows = vec![
        row("Form of the law", law.formula.to_owned()),
        row("What N counts", law.params_are.replace('_', " ")),
        row(
            "Observations",
            format!(
                "{} fitted; the hold-out sets {} of them aside",
                law.points.len(),
                law.held.len()
            ),
        ),
        row("Error on runs it had not seen", held_out_error(law.held)),
        row("Intervals that held", coverage(law.held)),
    ];
    rows.extend(residuals(law.points, predict).map(|answer| row("Misfit of its runs", answer)));
    rows.extend(sizes(law.points, study).map(|answer| row("Distance to the recipe", answer)));
    rows.extend(limit(law).map(|answer| row("E, the loss that remains", answer)));
    rows.extend(share_of_limit(law, predict, study).map(|answer| row("How much rests on E", answer)));
    rows
}

/// The mean error of the hold-out.
fn held_out_error(held: &[HeldOut]) -> String {
    if held.is_empty() {
        return "not known: no run was held out".to_owned();
    }
    let errors = held.iter().map(|run| run.predicted / run.loss - 1.0);
    let mean = errors.clone().map(f64::abs).sum::<f64>() / held.len() as f64;
    let bias = errors.sum::<f64>() / held.len() as f64;
    format!(
        "{:.2} % in the mean of {}; predicted less measured {:+.2} %",
        100.0 * mean,
        plural(held.len(), "run"),
        100.0 * bias
    )
    .replace('-', "\u{2212}")
}

/// How many of the held-out runs lie in their intervals.
fn coverage(held: &[HeldOut]) -> String {
    let known: Vec<bool> = held
        .iter()
        .filter_map(|run| run.ci95.map(|[low, high]| (low..=high).contains(&run.loss)))
        .collect();
    if known.is_empty() {
        return "not known: no run was held out with an interval".to_owned();
    }
    let inside = known.iter().filter(|inside| **inside).count();
    format!(
        "{inside} of {} held-out runs lie inside their 95 % interval",
        known.len()
    )
}

/// The size of the residuals.
fn residuals(points: &[LawPoint], predict: Predict<'_>) -> Option<String> {
    let misfits: Vec<f64> = points
        .iter()
        .filter_map(|point| Some(point.loss / predict(point.params, point.tokens)? - 1.0))
        .filter(|misfit| misfit.is_finite())
        .collect();
    let worst = misfits.iter().map(|misfit| misfit.abs()).fold(0.0, f64::max);
    let square = misfits.iter().map(|misfit| misfit * misfit).sum::<f64>() / misfits.len() as f64;
    (!misfits.is_empty()).then(|| {
        format!(
            "{:.2} % (root mean square), at most {:.2} %",
            100.0 * square.sqrt(),
            100.0 * worst
        )
    })
}

/// How far the recipe lies beyond the data.
fn sizes(points: &[LawPoint], study: &Study<'_>) -> Option<String> {
    let recipe = study.recipe?;
    let [_, largest] = range(points.iter().map(|point| point.params))?;
    let [_, longest] = range(points.iter().map(|point| point.tokens))?;
    let beyond = |target: f64, most: f64| format!("{}\u{d7}", number(target / most, 2));
    let tokens = recipe_tokens(recipe).map_or_else(String::new, |tokens| {
        format!(", {} the longest run", beyond(tokens, longest))
    });
    Some(format!(
        "{} the largest size{tokens}",
        beyond(recipe.params as f64, largest)
    ))
}

/// Where E lies between its limits: 0, and the lowest loss.
fn limit(law: &LawInput<'_>) -> Option<String> {
    let constant = law.constants.iter().find(|constant| constant.name == "E")?;
    let [lowest, _] = range(law.points.iter().map(|point| point.loss))?;
    let interval = constant.estimate.ci95.map_or_else(String::new, |[low, high]| {
        format!(" (95 % interval {} to {})", number(low, 3), number(high, 3))
    });
    let place = match constant.estimate.ci95 {
        _ if constant.estimate.value <= 1e-6 => "; it is at its limit of 0: the data do not show it",
        Some([low, _]) if low <= 1e-6 => "; its interval reaches its limit of 0: the data hardly show it",
        Some([_, high]) if high >= lowest => "; its interval reaches the lowest loss",
        Some(_) | None => "",
    };
    Some(format!(
        "{}{interval}, the lowest loss is {}{place}",
        number(constant.estimate.value, 3),
        text::loss(lowest)
    ))
}

/// The share of E in the loss that is predicted farthest out.
fn share_of_limit(law: &LawInput<'_>, predict: Predict<'_>, study: &Study<'_>) -> Option<String> {
    let constant = law.constants.iter().find(|constant| constant.name == "E")?;
    let recipe = study
        .recipe
        .and_then(|recipe| Some((recipe.params as f64, recipe_tokens(recipe)?, "the recipe")));
    let farthest = || {
        let compute = |point: &&LawPoint| point.params * point.tokens;
        let point = law.points.iter().max_by(|a, b| compute(a).total_cmp(&compute(b)))?;
        Some((point.params, point.tokens, "the run of most compute"))
    };
    let (params, tokens, place) = recipe.or_else(farthest)?;
    let loss = predict(params, tokens).filter(|loss| *loss > 0.0)?;
    let moved = constant.estimate.ci95.map_or_else(String::new, |[low, high]| {
        format!(
            "; its interval alone is {} of that loss wide",
            text::share((high - low) / loss)
        )
    });
    Some(format!(
        "{} of the loss predicted at {place}{moved}",
        text::share(constant.estimate.value / loss)
    ))
}

/// What was trained on what.
fn of_data(finished: &[&TrialRow]) -> Answers {
    let of = |read: fn(&TrialRow) -> f64| range(finished.iter().map(|trial| read(trial)));
    let sizes: BTreeSet<u64> = finished.iter().map(|t| t.params_non_embedding).collect();
    let mut rows = Vec::new();
    if let Some([low, high]) = of(|t| t.params_non_embedding as f64) {
        rows.push(row(
            "Sizes",
            format!("{}: {}", sizes.len(), span(low, high, text::count)),
        ));
    }
    if let Some([low, high]) = of(|t| t.tokens as f64 / t.params_non_embedding.max(1) as f64) {
        rows.push(row("Tokens per parameter", span(low, high, |x| number(x, 2))));
    }
    if let Some([low, high]) = of(|t| t.flops) {
        rows.push(row("Compute of a run (FLOP)", span(low, high, |x| format!("{x:.1e}"))));
    }
    let data: BTreeSet<&str> = finished.iter().map(|trial| trial.data_hash.as_str()).collect();
    let words: BTreeSet<(u64, u64)> = finished.iter().map(|trial| (trial.vocab, trial.context)).collect();
    let data = match (data.first(), data.len()) {
        (Some(hash), 1) => format!("one data set for all runs, hash {hash}"),
        (_, count) => format!("{count} data sets: their losses do not compare"),
    };
    let words = match (words.first(), words.len()) {
        (Some((vocab, context)), 1) => format!("a vocabulary of {vocab}, contexts of {context} tokens"),
        (_, count) => format!("{count} pairs of vocabulary and context: their losses do not compare"),
    };
    rows.push(row("Data and tokenizer", format!("{data}; {words}")));
    rows
}

/// How it was trained.
fn of_training(study: &Study<'_>, finished: &[&TrialRow]) -> Answers {
    let mut rows = vec![row("Learning rates", learning_rates(finished))];
    if !study.bowls.is_empty() {
        let inside = study.bowls.iter().filter(|bowl| bowl.best.is_some()).count();
        let answer = format!("in {inside} of {} groups of size and tokens", study.bowls.len());
        rows.push(row("Best learning rate inside the grid", answer));
    }
    let transfer = study.rates.and_then(|law| law.transfer.as_ref());
    rows.extend(transfer.map(|transfer| row("Transfer along the width", verdict(transfer))));
    rows.push(row("Settings of the optimizer", varied(finished)));
    let seeds: BTreeSet<u64> = finished.iter().map(|trial| trial.seed).collect();
    rows.push(row("Seeds", seeds.len().to_string()));
    rows.push(row("Noise between seeds", noise(finished)));
    let schedules: BTreeSet<&str> = finished.iter().map(|t| t.schedule.name()).collect();
    let schedules = schedules.into_iter().collect::<Vec<_>>().join(", ");
    let answer = format!("{schedules}; losses only from finished schedules");
    rows.push(row("Schedules", answer));
    let without = plural(study.trials.len() - finished.len(), "run");
    rows.push(row("Runs without a number", without));
    rows
}

/// How many learning rates each size was tried at, and over what range.
fn learning_rates(finished: &[&TrialRow]) -> String {
    let mut by_size: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
    for trial in finished {
        by_size
            .entry(trial.params_non_embedding)
            .or_default()
            .insert(trial.lr.to_bits());
    }
    let fewest = by_size.values().map(BTreeSet::len).min().unwrap_or(0);
    let values = range(finished.iter().map(|trial| trial.lr))
        .map(|[low, high]| span(low, high, |x| number(x, 3)))
        .unwrap_or_default();
    format!("at least {fewest} a size: {values}")
}

/// What the runs differ in; whatever is not named is the same in all of them.
fn varied(finished: &[&TrialRow]) -> String {
    let mut values: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for trial in finished {
        for (path, value) in &trial.axes {
            values.entry(path).or_default().insert(value.to_string());
        }
    }
    let varied: Vec<&str> = values
        .iter()
        .filter(|(_, values)| values.len() > 1)
        .map(|(path, _)| *path)
        .collect();
    if varied.is_empty() {
        return "the same in all runs".to_owned();
    }
    format!("runs differ in {}; all else is the same", varied.join(", "))
}

/// The standard deviation of final losses between seeds, pooled over runs that differ in nothing else.
fn noise(finished: &[&TrialRow]) -> String {
    let mut groups: BTreeMap<_, BTreeMap<u64, f64>> = BTreeMap::new();
    for trial in finished {
        let Some(loss) = trial.final_loss else { continue };
        let key = Setup::from(*trial).without([Factor::Seed]);
        groups.entry(key).or_default().insert(trial.seed, loss);
    }
    let (mut squares, mut freedom, mut count) = (0.0, 0, 0);
    for losses in groups.values().filter(|losses| losses.len() > 1) {
        let mean = losses.values().sum::<f64>() / losses.len() as f64;
        squares += losses.values().map(|loss| ((loss - mean) / mean).powi(2)).sum::<f64>();
        freedom += losses.len() - 1;
        count += 1;
    }
    if freedom == 0 {
        return "not measured: no configuration was run with two seeds".to_owned();
    }
    format!(
        "{:.2} % of the loss (one standard deviation, from {} of two seeds or more)",
        100.0 * (squares / freedom as f64).sqrt(),
        plural(count, "configuration")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(loss: f64) -> HeldOut {
        HeldOut {
            trial: String::new(),
            model: "9M".to_owned(),
            params: 9e6,
            tokens: 1e8,
            loss,
            predicted: 2.0,
            ci95: Some([1.9, 2.1]),
        }
    }

    #[test]
    fn the_hold_out_is_told_with_its_error_and_its_coverage() {
        let runs = [held(2.02), held(2.2)];
        assert_eq!(
            held_out_error(&runs),
            "5.04 % in the mean of 2 runs; predicted less measured −5.04 %"
        );
        assert_eq!(coverage(&runs), "1 of 2 held-out runs lie inside their 95 % interval");
        assert!(held_out_error(&[]).starts_with("not known"));
        assert!(coverage(&[]).starts_with("not known"));
    }
}
