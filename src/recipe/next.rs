//! The experiment to run next: a sweep's own file with one of its axes widened, so that only what is missing is trained.
//!
//! Refuses to know why it is wanted, and to edit what it does not understand: then there is no file.

use serde_yaml::{Mapping, Value};

use crate::model::ladder::LADDER;
use crate::units::significant;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Widening {
    /// The grid of learning rates, beyond the edges at which the lowest losses lie.
    LearningRates {
        below: bool,
        above: bool,
        /// Between those that there are: the best is the last before the cliff.
        between: bool,
    },
    Sizes,
    Tokens,
    /// The grid of batches, beyond the edges at which the lowest losses lie.
    Batches {
        below: bool,
        above: bool,
    },
    /// More seeds: what is known is too uncertain.
    Seeds,
}

impl Widening {
    /// A word for file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::LearningRates { .. } => "wider-lr",
            Self::Sizes => "larger",
            Self::Tokens => "longer",
            Self::Batches { .. } => "batches",
            Self::Seeds => "seeds",
        }
    }
}

/// What the sweep has tried.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tried {
    pub lrs: Vec<f64>,
    /// The largest size, parameters without the embedding.
    pub largest: u64,
    /// Tokens in a batch, rising.
    pub batches: Vec<u64>,
    /// Tokens of a run, rising.
    pub tokens: Vec<u64>,
    pub seeds: Vec<u64>,
    /// Tokens in a sequence: a batch is whole sequences.
    pub context: u64,
}

/// The sweep file `base` of the sweep `name` with some of its axes widened, under another name; none where its axes are
/// not plain lists.
///
/// What was overridden on the command line stands at the end of a recorded file, as `# --set PATH=VALUE`.
pub fn widened(name: &str, base: &str, tried: &Tried, widenings: &[Widening], why: &str) -> Option<String> {
    let mut root: Mapping = serde_yaml::from_str(base).ok()?;
    for line in base.lines() {
        if let Some((path, value)) = line.strip_prefix("# --set ").and_then(|set| set.split_once('=')) {
            put(&mut root, path, serde_yaml::from_str(value).ok()?)?;
        }
    }
    for widening in widenings {
        widen(&mut root, tried, *widening)?;
    }
    let suffix = widenings.first()?.name();
    put(&mut root, "name", Value::from(format!("{name}-{suffix}")))?;
    put(&mut root, "description", Value::from(why))?;
    let text = serde_yaml::to_string(&root).ok()?;
    Some(format!(
        "# {why}\n# The sweep `{name}`, widened: what it has trained already is not trained again.\n{text}"
    ))
}

fn widen(root: &mut Mapping, tried: &Tried, widening: Widening) -> Option<()> {
    match widening {
        Widening::LearningRates { below, above, between } => {
            let mut lrs = wider(&tried.lrs, below, above)?;
            if between {
                lrs = finer(&lrs);
            }
            set_axis(root, "lr", numbers(&lrs))
        }
        Widening::Sizes => {
            let models = larger(root, tried.largest)?;
            set_axis(root, "model", models)
        }
        Widening::Tokens => {
            let budgets = longer(root, tried.tokens.last().copied()?)?;
            set_axis(root, "tokens", budgets)
        }
        Widening::Batches { below, above } => {
            let batches = around(&tried.batches, tried.context, below, above)?;
            set_axis(root, "batch_tokens", counts(&batches))
        }
        Widening::Seeds => {
            let next = tried.seeds.last()? + 1;
            let seeds: Vec<u64> = tried.seeds.iter().copied().chain(next..next + 2).collect();
            put(root, "seeds", counts(&seeds))
        }
    }
}

/// Puts a value at a dotted path.
fn put(root: &mut Mapping, path: &str, value: Value) -> Option<()> {
    match path.split_once('.') {
        None => {
            root.insert(Value::from(path), value);
            Some(())
        }
        Some((first, rest)) => {
            let inner = root
                .entry(Value::from(first))
                .or_insert_with(|| Value::Mapping(Mapping::new()));
            // `lr: [..]` is short for `lr: {values: [..]}`.
            if !inner.is_mapping() {
                *inner = Value::Mapping(Mapping::new());
            }
            put(inner.as_mapping_mut()?, rest, value)
        }
    }
}

/// Sets the values of an axis that stands plainly among the parameters, and moves with no other.
fn set_axis(root: &mut Mapping, axis: &str, values: Value) -> Option<()> {
    let is_axis = |value: &Value| value.as_str() == Some(axis);
    let groups = root.get("zip").and_then(Value::as_sequence);
    if groups.is_some_and(|groups| {
        groups
            .iter()
            .any(|it| it.as_sequence().is_none_or(|it| it.iter().any(is_axis)))
    }) {
        return None;
    }
    let parameters = root.get_mut("parameters")?.as_mapping_mut()?;
    parameters.insert(Value::from(axis), values);
    Some(())
}

/// The values of an axis as the file writes them; none where it has none.
fn written(root: &Mapping, axis: &str) -> Option<Vec<Value>> {
    let node = root.get("parameters")?.as_mapping()?.get(axis)?;
    let node = match node {
        Value::Mapping(inner) => inner.get("values").or_else(|| inner.get("value"))?,
        plain => plain,
    };
    Some(match node {
        Value::Sequence(values) => values.clone(),
        one => vec![one.clone()],
    })
}

/// How far a grid is widened beyond its edge: the best rates of neighbouring sizes lie within less.
const REACH: f64 = 10.0;

/// More learning rates beyond an edge, at about the grid's own step and out to [`REACH`]: the minimum needs a worse value
/// on each side.
fn wider(lrs: &[f64], below: bool, above: bool) -> Option<Vec<f64>> {
    let (first, last) = (*lrs.first()?, *lrs.last()?);
    let step = match lrs.len() {
        1 => 3.0,
        many => (last / first).powf(1.0 / (many - 1) as f64).clamp(2.0, 4.0),
    };
    let mut wide = lrs.to_vec();
    let more = (REACH.ln() / step.ln()).ceil() as i32;
    for k in 1..=more {
        if below {
            wide.insert(0, significant(first / step.powi(k), 3));
        }
        if above {
            wide.push(significant(last * step.powi(k), 3));
        }
    }
    Some(wide)
}

/// A learning rate more between each two.
fn finer(lrs: &[f64]) -> Vec<f64> {
    let middles = lrs.windows(2).map(|pair| significant((pair[0] * pair[1]).sqrt(), 3));
    let mut all: Vec<f64> = lrs.iter().copied().chain(middles).collect();
    all.sort_by(f64::total_cmp);
    all
}

/// The models of the file and the next rungs, of three and of nine times the largest's size.
fn larger(root: &Mapping, largest: u64) -> Option<Value> {
    let mut models = written(root, "model")?;
    let mut last = largest as f64;
    for _ in 0..2 {
        let next = LADDER
            .iter()
            .find(|rung| rung.shape.params_non_embedding().as_f64() >= 2.5 * last);
        let Some(next) = next else { break };
        models.push(Value::from(next.name));
        last = next.shape.params_non_embedding().as_f64();
    }
    (last > largest as f64).then_some(Value::Sequence(models))
}

/// The budgets of the file with twice and four times the longest, in the file's own unit: `20N` or tokens.
fn longer(root: &Mapping, longest: u64) -> Option<Value> {
    let mut budgets = written(root, "tokens")?;
    let ratio = |value: &Value| value.as_str()?.strip_suffix('N')?.parse::<f64>().ok();
    let ratios: Vec<f64> = budgets.iter().filter_map(ratio).collect();
    let largest = ratios.iter().copied().fold(0.0, f64::max);
    for factor in [2.0, 4.0] {
        budgets.push(if largest > 0.0 {
            Value::from(format!("{}N", largest * factor))
        } else {
            Value::from(longest * factor as u64)
        });
    }
    Some(Value::Sequence(budgets))
}

/// A power of two apart beyond the edges of the batches that were tried: five at least, where a batch is still whole
/// sequences; none where there is nothing to add.
fn around(batches: &[u64], context: u64, below: bool, above: bool) -> Option<Vec<u64>> {
    let mut all = batches.to_vec();
    while all.len() < 5 || all.len() < batches.len() + 2 {
        let (first, last, count) = (*all.first()?, *all.last()?, all.len());
        if above {
            all.push(last * 2);
        }
        if below && first % (2 * context.max(1)) == 0 {
            all.insert(0, first / 2);
        }
        if all.len() == count {
            break;
        }
    }
    (all.len() > batches.len()).then_some(all)
}

fn numbers(values: &[f64]) -> Value {
    Value::Sequence(values.iter().map(|value| Value::from(*value)).collect())
}

fn counts(values: &[u64]) -> Value {
    Value::Sequence(values.iter().map(|value| Value::from(*value)).collect())
}

/// Whether an axis stands in the file: only then can it be widened.
pub fn has_axis(base: &str, axis: &str) -> bool {
    serde_yaml::from_str::<Mapping>(base).is_ok_and(|root| written(&root, axis).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    const BASE: &str = "name: first\ndata: text\nparameters:\n  model: [6K, 13K, 24K]\n  lr: {values: [1e-3, 3e-3]}\n  \
        tokens: [10N, 20N]\n  batch_tokens: 2048\n  context: 128\n  schedule: {name: wsd, warmup: 2k}\nseeds: [0]\n";

    const EITHER_SIDE: Widening = Widening::Batches {
        below: true,
        above: true,
    };

    fn tried() -> Tried {
        Tried {
            lrs: vec![1e-3, 3e-3],
            largest: 23_712,
            batches: vec![2048],
            tokens: vec![59_680, 474_240],
            seeds: vec![0],
            context: 128,
        }
    }

    fn sweep(base: &str, widening: Widening) -> spec::Sweep {
        let text = widened("first", base, &tried(), &[widening], "The best lies at the edge.").expect("a file");
        let (sweep, _) = spec::read(&text, "next.yaml", &[]).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{text}"));
        sweep
    }

    #[test]
    fn every_widening_is_a_sweep_that_holds_the_first() {
        let both = Widening::LearningRates {
            below: true,
            above: true,
            between: true,
        };
        for (widening, trials) in [
            (both, 3 * 15 * 2),
            (Widening::Sizes, 5 * 2 * 2),
            (Widening::Tokens, 3 * 2 * 4),
            (EITHER_SIDE, 3 * 2 * 2 * 5),
            (Widening::Seeds, 3 * 2 * 2 * 3),
        ] {
            let sweep = sweep(BASE, widening);
            assert_eq!(sweep.trials.len(), trials, "{widening:?}");
            assert_eq!(sweep.name, format!("first-{}", widening.name()));
        }
    }

    #[test]
    fn what_was_set_on_the_command_line_is_kept() {
        let base = format!("{BASE}# --set parameters.tokens=[30N]\n# --set parameters.schedule.warmup=4k");
        let sweep = sweep(&base, Widening::Sizes);
        assert_eq!(sweep.trials.len(), 5 * 2);
    }

    #[test]
    fn several_axes_are_widened_at_once() {
        let both = [Widening::Tokens, Widening::Sizes];
        let text = widened("first", BASE, &tried(), &both, "why").expect("a file");
        let (sweep, _) = spec::read(&text, "next.yaml", &[]).expect("a sweep");
        assert_eq!((sweep.name.as_str(), sweep.trials.len()), ("first-longer", 5 * 2 * 4));
    }

    #[test]
    fn a_list_that_was_set_by_its_values_is_widened() {
        let base = format!("{BASE}# --set parameters.model.values=[6K, 24K]");
        assert_eq!(sweep(&base, Widening::Seeds).trials.len(), 2 * 2 * 2 * 3);
    }

    #[test]
    fn an_axis_that_moves_with_no_other_is_widened_beside_a_zip() {
        let zipped = format!("{BASE}zip: [[lr, tokens]]\n");
        assert_eq!(sweep(&zipped, EITHER_SIDE).trials.len(), 3 * 2 * 5);
        assert_eq!(widened("first", &zipped, &tried(), &[Widening::Tokens], "why"), None);
    }

    #[test]
    fn a_file_that_is_not_understood_gives_none() {
        for base in ["name: x\n", "- 1\n"] {
            assert_eq!(widened("x", base, &tried(), &[Widening::Sizes], "why"), None, "{base}");
        }
        assert!(has_axis(BASE, "lr") && !has_axis(BASE, "seeds"));
    }

    #[test]
    fn a_batch_stays_whole_sequences() {
        let of = |batches: &[u64], below, above| around(batches, 128, below, above);
        assert_eq!(of(&[384], true, true), Some(vec![384, 768, 1536, 3072, 6144]));
        assert_eq!(of(&[512], true, true), Some(vec![128, 256, 512, 1024, 2048]));
        assert_eq!(
            of(&[512, 1024, 2048], true, false),
            Some(vec![128, 256, 512, 1024, 2048])
        );
        assert_eq!(
            of(&[512, 1024, 2048], false, true),
            Some(vec![512, 1024, 2048, 4096, 8192])
        );
        assert_eq!(
            of(&[128, 256], true, false),
            None,
            "no batch is smaller than a sequence"
        );
    }

    #[test]
    fn new_rates_keep_the_step_of_the_grid() {
        let wide = wider(&[1e-3, 3e-3, 9e-3], false, true);
        assert_eq!(wide, Some(vec![1e-3, 3e-3, 9e-3, 0.027, 0.081, 0.243]));
        assert_eq!(wider(&[], true, true), None);
    }
}
