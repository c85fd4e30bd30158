//! What is odd about the runs of a table: columns that were mistaken for each other, units, conventions, repeated rows.
//!
//! Refuses to mend anything: what is odd is named, and a fit says it.

use std::collections::BTreeMap;

use crate::fit::Warning;
use crate::fit::numeric::statistics;
use crate::fit::observation::Observation;
use crate::units::{printed, six_nd};

/// Compute may differ from 6ND by this factor before it is named: attention and the head are counted by some.
const FLOPS_FACTOR: f64 = 1.5;
/// Rows of one convention agree within this factor, and two conventions differ by more than the next.
const SAME_CONVENTION: f64 = 1.1;
const OTHER_CONVENTION: f64 = 1.2;
/// Nobody trains on so many tokens a parameter; whose table says so counts parameters in millions.
const TOKENS_PER_PARAM_MAX: f64 = 1e6;
/// The loss of a uniform guess among a million tokens, in nats: a column of more holds perplexities.
const UNIFORM: f64 = 13.8;
/// Some runs are trained on little; where more than this share has fewer tokens than parameters, something is wrong.
const TOKENS_BELOW_PARAMS: f64 = 0.25;
/// Why a row is left out that repeats another.
const REPEATED: &str = "it repeats another row to the last digit";
/// Rows that are named one by one.
const SHOWN: usize = 5;

/// Runs of a table after a look at them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Looked {
    /// Those that count.
    pub runs: Vec<Observation>,
    /// Those that repeat another, with the reason.
    pub left_out: Vec<(String, String)>,
    pub warnings: Vec<Warning>,
}

/// Leaves out what is there twice, and names what is odd.
pub fn look(all: Vec<Observation>) -> Looked {
    let Looked {
        runs,
        left_out,
        warnings: repeated,
    } = without_repeats(all);
    let odd = [
        tokens_below_params,
        tokens_above_all,
        lr_above_one,
        odd_batch,
        flops,
        perplexity,
    ];
    let odd = odd.iter().filter_map(|check| check(&runs));
    Looked {
        warnings: repeated.into_iter().chain(odd).collect(),
        left_out,
        runs,
    }
}

/// Keeps the first of rows that are the same to the last digit: two trainings never are, so they are no seeds.
fn without_repeats(all: Vec<Observation>) -> Looked {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Looked::default();
    let mut pairs = Vec::new();
    for run in all {
        let text = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        let numbers = [
            Some(run.params),
            Some(run.tokens),
            Some(run.loss),
            run.lr,
            run.batch_tokens,
            run.flops,
        ];
        let words = [run.schedule.clone(), run.seed.map(|seed| seed.to_string())];
        let key = format!("{:?} {words:?}", numbers.map(text));
        if let Some(of) = first.get(&key) {
            pairs.push(format!("{} = {of}", run.label));
            found.left_out.push((run.label, REPEATED.to_owned()));
        } else {
            first.insert(key, run.label.clone());
            found.runs.push(run);
        }
    }
    if !pairs.is_empty() {
        let text = format!(
            "{} of {} rows repeat another to the last digit ({}): each counts once, none as a seed",
            pairs.len(),
            pairs.len() + found.runs.len(),
            shown(&pairs)
        );
        found.warnings.push(Warning::new("repeated_rows", text));
    }
    found
}

/// The first few, and how many more.
fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let some = names[..names.len() - more].join(", ");
    if more > 0 {
        format!("{some} and {more} more")
    } else {
        some
    }
}

/// The runs for which something holds: `3 of 25 rows (a, b, c)`.
fn of_rows(runs: &[Observation], holds: impl Fn(&Observation) -> bool) -> Option<String> {
    let names: Vec<String> = runs
        .iter()
        .filter(|run| holds(run))
        .map(|run| run.label.clone())
        .collect();
    (!names.is_empty()).then(|| format!("{} of {} rows ({})", names.len(), runs.len(), shown(&names)))
}

fn median(values: &[f64]) -> Option<f64> {
    let mut ascending = values.to_vec();
    ascending.sort_by(f64::total_cmp);
    statistics::quantile(&ascending, 0.5)
}

fn ratios(runs: &[Observation]) -> Vec<f64> {
    runs.iter().map(|run| run.tokens / run.params).collect()
}

fn tokens_below_params(runs: &[Observation]) -> Option<Warning> {
    let ratios = ratios(runs);
    let below = ratios.iter().filter(|ratio| **ratio < 1.0).count();
    if below as f64 <= TOKENS_BELOW_PARAMS * runs.len() as f64 {
        return None;
    }
    let rows = of_rows(runs, |run| run.tokens < run.params)?;
    let text = format!(
        "{rows} have fewer tokens than parameters (the median is {} tokens per parameter): are `params` and `tokens` \
         exchanged, or in other units (`--scale`)?",
        printed(median(&ratios)?, 2)
    );
    Some(Warning::new("tokens_below_params", text))
}

fn tokens_above_all(runs: &[Observation]) -> Option<Warning> {
    let median = median(&ratios(runs)).filter(|median| *median > TOKENS_PER_PARAM_MAX)?;
    let text = format!(
        "tokens per parameter have a median of {}: are `params` in millions (`--scale params=1e6`)?",
        printed(median, 2)
    );
    Some(Warning::new("tokens_per_param", text))
}

fn lr_above_one(runs: &[Observation]) -> Option<Warning> {
    let rows = of_rows(runs, |run| run.lr.is_some_and(|lr| lr > 1.0))?;
    let text = format!("{rows} have a learning rate above 1: is `lr` that column, and in what unit?");
    Some(Warning::new("lr_above_one", text))
}

fn odd_batch(runs: &[Observation]) -> Option<Warning> {
    let is = |holds: fn(&Observation, f64) -> bool| {
        of_rows(runs, |run| run.batch_tokens.is_some_and(|batch| holds(run, batch)))
    };
    let text = match (is(|_, batch| batch < 1.0), is(|run, batch| batch > run.tokens)) {
        (Some(rows), _) => format!("{rows} have a batch below one token: `--scale batch=…` turns it into tokens"),
        (None, Some(rows)) => format!("{rows} have a batch of more tokens than the run: is `batch` counted in tokens?"),
        (None, None) => return None,
    };
    Some(Warning::new("odd_batch", text))
}

fn perplexity(runs: &[Observation]) -> Option<Warning> {
    let losses: Vec<f64> = runs.iter().map(|run| run.loss).collect();
    let median = median(&losses).filter(|median| *median > UNIFORM)?;
    let text = format!(
        "the loss has a median of {}, worse than a uniform guess among a million tokens: is it a perplexity?",
        printed(median, 3)
    );
    Some(Warning::new("loss_above_uniform", text))
}

/// Compute that was told, against 6ND.
fn flops(runs: &[Observation]) -> Option<Warning> {
    let factor = |run: &Observation| Some(run.flops? / six_nd(run.params, run.tokens));
    let mut factors: Vec<f64> = runs.iter().filter_map(factor).collect();
    factors.sort_by(f64::total_cmp);
    if let Some([low, high]) = two_conventions(&factors) {
        let told = |group: &[f64]| {
            let median = median(group).unwrap_or_default();
            format!("{} times 6ND in {} rows", printed(median, 3), group.len())
        };
        let text = format!("`flops` mixes two conventions: {}, {}", told(low), told(high));
        return Some(Warning::new("flops_mixed", text));
    }
    let median = median(&factors)?;
    if (1.0 / FLOPS_FACTOR..=FLOPS_FACTOR).contains(&median) {
        return None;
    }
    let text = format!(
        "`flops` is {} times 6ND (the median of {} rows): another convention of compute or of parameters, or another column",
        printed(median, 3),
        factors.len()
    );
    Some(Warning::new("flops_not_6nd", text))
}

/// The two groups of ascending factors that each agree among themselves and not with each other, if there are two.
fn two_conventions(ascending: &[f64]) -> Option<[&[f64]; 2]> {
    let (at, jump) = (1..ascending.len())
        .map(|at| (at, ascending[at] / ascending[at - 1]))
        .max_by(|a, b| a.1.total_cmp(&b.1))?;
    let (low, high) = ascending.split_at(at);
    let agrees = |group: &[f64]| group.len() > 1 && group[group.len() - 1] / group[0] < SAME_CONVENTION;
    (jump > OTHER_CONVENTION && agrees(low) && agrees(high)).then_some([low, high])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::observation::tests::bare;

    fn sound() -> Vec<Observation> {
        let row = |i: u32| bare(&format!("line {i}"), 1e7, 1e9 + f64::from(i), 3.0);
        (2..12).map(row).collect()
    }

    fn codes(runs: Vec<Observation>) -> Vec<String> {
        look(runs).warnings.into_iter().map(|warning| warning.code).collect()
    }

    fn changed(change: impl Fn(usize, &mut Observation)) -> Vec<String> {
        let mut runs = sound();
        runs.iter_mut().enumerate().for_each(|(i, run)| change(i, run));
        codes(runs)
    }

    #[test]
    fn what_is_odd_is_named_and_nothing_else() {
        assert_eq!(changed(|_, _| ()), [] as [&str; 0]);
        assert_eq!(
            changed(|_, run| std::mem::swap(&mut run.params, &mut run.tokens)),
            ["tokens_below_params"]
        );
        assert_eq!(changed(|_, run| run.params = 10.0), ["tokens_per_param"]);
        assert_eq!(changed(|_, run| run.lr = Some(1e-3)), [] as [&str; 0]);
        assert_eq!(changed(|i, run| run.lr = Some(i as f64 + 0.5)), ["lr_above_one"]);
        assert_eq!(changed(|_, run| run.batch_tokens = Some(0.5)), ["odd_batch"]);
        assert_eq!(changed(|_, run| run.batch_tokens = Some(1e10)), ["odd_batch"]);
        assert_eq!(changed(|_, run| run.loss = 20.0), ["loss_above_uniform"]);
    }

    #[test]
    fn compute_is_compared_with_6nd() {
        let with = |factor: fn(usize) -> f64| {
            let mut runs = sound();
            for (i, run) in runs.iter_mut().enumerate() {
                run.flops = Some(six_nd(run.params, run.tokens) * factor(i));
            }
            look(runs).warnings
        };
        assert_eq!(with(|_| 1.3), []);
        // Attention and the head weigh less and less: no convention of its own.
        assert_eq!(with(|i| 1.0 + 0.4 / (i + 1) as f64), []);
        let [twice] = &with(|_| 2.0)[..] else {
            unreachable!("one warning")
        };
        assert!(
            twice.code == "flops_not_6nd" && twice.text.contains("2 times 6ND"),
            "{twice:?}"
        );
        let [mixed] = &with(|i| if i < 4 { 3.0 } else { 1.0 })[..] else {
            unreachable!("one warning")
        };
        assert!(
            mixed.code == "flops_mixed" && mixed.text.contains("3 times 6ND in 4 rows"),
            "{mixed:?}"
        );
    }

    #[test]
    fn a_row_that_is_there_twice_counts_once_unless_its_seed_differs() {
        let mut runs = sound();
        let again = Observation {
            label: "line 12".to_owned(),
            ..runs[0].clone()
        };
        runs.push(again);
        let found = look(runs.clone());
        assert_eq!(found.runs.len(), 10);
        assert_eq!(found.left_out, [("line 12".to_owned(), REPEATED.to_owned())]);
        assert!(
            found.warnings[0].text.contains("line 12 = line 2"),
            "{:?}",
            found.warnings
        );
        assert_eq!(look(found.runs.clone()).left_out, [], "a second look finds nothing");
        runs[10].seed = Some(1);
        assert_eq!(codes(runs), [] as [&str; 0]);
    }
}
