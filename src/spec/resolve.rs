//! From the values that one trial is given to everything that is set: defaults, and what must fit together.
//!
//! Refuses to know how the values were combined.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::model::config::Precision;
use crate::model::ladder;
use crate::model::mup::{Multipliers, Parametrization};
use crate::model::schedule::Decay;
use crate::model::shape::{Shape, ShapeError};
use crate::spec::axes::{AXES, Axis, find};
use crate::spec::kind::{Kind, Setting};
use crate::spec::settings::{ScheduleName, ScheduleSettings, Settings};
use crate::spec::syntax::expressions::{self, Name, Value};
use crate::spec::syntax::mistakes::{Place, Wrong};
use crate::units::{Length, TokenBudget, Tokens, human_count};

/// Peak learning rate of the embedding's group (`MiniCPM`, section 3.3).
pub const LR: f64 = 1e-2;
/// Tokens in a sequence: short, because proxies are trained on processors.
pub const CONTEXT: u64 = 256;
/// Tokens in a batch: 32 sequences of the default context.
pub const BATCH_TOKENS: u64 = 8192;
/// Tokens for each non-embedding parameter (Hoffmann et al., 2203.15556; `MiniCPM` tuned at 10 and 20).
pub const TOKENS_PER_PARAM: f64 = 20.0;
/// Warm-up in batches, so that it does not move with the end of the run and trunks can be shared. Adam needs about
/// 2/(1 − β₂) = 40 steps (Ma & Yarats, 1910.04209); "as long as it is enough, it affects little" (`MiniCPM`, section 4).
pub const WARMUP_BATCHES: u64 = 32;
/// The default warm-up takes at most one part in so many of a run: short runs have shorter ones.
pub const WARMUP_PARTS: u64 = 10;
/// Share of the run that decays (`MiniCPM`, figure 5: 10% is enough).
pub const DECAY_FRACTION: f64 = 0.1;
/// Share of the peak at the end of WSD and cosine (`MiniCPM`'s code); a straight line goes to 0.
pub const FINAL_FRACTION: f64 = 0.1;
/// Weight decay, coupled to the learning rate (`MiniCPM`'s code).
pub const WEIGHT_DECAY: f64 = 0.1;
/// Decay of the first moment (`MiniCPM`'s code).
pub const BETA1: f64 = 0.9;
/// Decay of the second moment (`MiniCPM`'s code).
pub const BETA2: f64 = 0.95;
/// Largest global norm of the gradient (`MiniCPM`'s code).
pub const CLIP: f64 = 1.0;

/// Longer runs than any: above it neighbouring whole numbers can no longer be told apart as `f64`.
const TOKENS_MAX: f64 = 9_007_199_254_740_992.0;

/// A value and where it was given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    pub(crate) setting: Setting,
    pub(crate) place: Place,
    /// The dotted key it stands under.
    pub(crate) key: String,
}

/// The values of one trial, by index of the axis.
pub(crate) type Assignment = BTreeMap<usize, Rc<Given>>;

/// What does not fit together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Problem {
    /// The axes that take part; the first of them that was given is to blame.
    pub(crate) axes: &'static [&'static str],
    pub(crate) wrong: Wrong,
}

impl Problem {
    fn new(axes: &'static [&'static str], wrong: Wrong) -> Self {
        Self { axes, wrong }
    }
}

const SHAPE: &[&str] = &[
    "shape.width",
    "shape.layers",
    "shape.heads",
    "shape.kv_heads",
    "shape.d_ff",
];

/// Reads values out of an assignment.
struct Source<'a>(&'a Assignment);

impl Source<'_> {
    fn get(&self, path: &str) -> Option<&Setting> {
        self.0.get(&find(path)?).map(|given| &given.setting)
    }

    fn count(&self, path: &str) -> Option<u64> {
        self.get(path)?.count()
    }

    fn word(&self, path: &str) -> Option<&str> {
        self.get(path)?.word()
    }

    /// Puts the given values of some axes into the settings, where they are used. A value that is none of its axis is an error, never the
    /// default.
    fn put(&self, settings: &mut Settings, which: impl Fn(&Axis) -> bool) -> Result<(), Problem> {
        for (&index, given) in self.0 {
            let axis = &AXES[index];
            if which(axis) && axis.is_used_by(settings) && (axis.set)(settings, &given.setting).is_none() {
                let wrong = Wrong::new(format!("`{}` is never `{}`", axis.path, given.setting.json()));
                return Err(Problem::new(&ALL_PATHS, wrong));
            }
        }
        Ok(())
    }
}

/// What a value is blamed on that no axis takes: whatever was given.
static ALL_PATHS: [&str; AXES.len()] = {
    let mut paths = [""; AXES.len()];
    let mut index = 0;
    while index < AXES.len() {
        paths[index] = AXES[index].path;
        index += 1;
    }
    paths
};

/// Everything that is set in a trial of these values, before it is checked.
pub(crate) fn resolve(values: &Assignment, seed: u64) -> Result<Settings, Problem> {
    let source = Source(values);
    let (model, shape) = shape_of(&source)?;
    let data = source.word("data").ok_or_else(|| {
        let wrong = Wrong::new("`data` must be given: the name of a prepared data set");
        Problem::new(&["data"], wrong.with("data: rust-sources"))
    })?;
    let mut settings = defaults(model, shape, data, seed);
    // What a schedule does not use, and the default warm-up, follow from the rest.
    let is_schedule = |axis: &Axis| axis.path.starts_with("schedule.");
    source.put(&mut settings, |axis| !is_schedule(axis) || axis.path == "schedule.name")?;
    settings.schedule = default_schedule(&settings);
    source.put(&mut settings, is_schedule)?;
    Ok(settings)
}

/// What is set where nothing is given.
fn defaults(model: String, shape: Shape, data: &str, seed: u64) -> Settings {
    Settings {
        model,
        shape,
        parametrization: Parametrization::Mup,
        lr: LR,
        batch_tokens: Tokens(BATCH_TOKENS),
        micro_batch: None,
        tokens: TokenBudget::PerParam(TOKENS_PER_PARAM),
        context: CONTEXT,
        data: data.to_owned(),
        schedule: ScheduleSettings {
            name: ScheduleName::Wsd,
            warmup: Length::Count(Tokens(0)),
            decay_fraction: DECAY_FRACTION,
            decay: Decay::Exponential,
            final_fraction: FINAL_FRACTION,
        },
        weight_decay: WEIGHT_DECAY,
        beta1: BETA1,
        beta2: BETA2,
        clip: CLIP,
        multipliers: Multipliers::default(),
        precision: Precision::Float32,
        seed,
        #[cfg(test)]
        of_a_test: 0.0,
    }
}

/// The settings of a trial for which nothing was chosen.
pub(crate) fn of_template() -> Settings {
    let rung = &ladder::LADDER[0];
    defaults(rung.name.to_owned(), rung.shape, "", 0)
}

/// The schedule of that name where nothing else of it is given.
fn default_schedule(settings: &Settings) -> ScheduleSettings {
    let run = settings.tokens.resolve(settings.shape.params_non_embedding());
    let batches = settings.batch_tokens.0.saturating_mul(WARMUP_BATCHES);
    ScheduleSettings {
        warmup: Length::Count(Tokens(batches.min(run.0 / WARMUP_PARTS))),
        final_fraction: match settings.schedule.name {
            ScheduleName::Wsd | ScheduleName::Cosine => FINAL_FRACTION,
            ScheduleName::Linear | ScheduleName::Constant => 0.0,
        },
        ..settings.schedule
    }
}

/// The shape and its name.
fn shape_of(source: &Source) -> Result<(String, Shape), Problem> {
    let given = SHAPE.iter().any(|path| source.get(path).is_some());
    if let Some(rung) = source.word("model").and_then(ladder::find) {
        if given {
            let wrong = Wrong::new("give either `model` or `shape`, not both: a rung is a shape");
            return Err(Problem::new(SHAPE, wrong.with("remove `model`")));
        }
        return Ok((rung.name.to_owned(), rung.shape));
    }
    if !given {
        let wrong = Wrong::new("`model` must be given: a rung of the ladder, or a `shape`");
        return Err(Problem::new(&["model"], wrong.with("model: 9M")));
    }
    let part = |path: &'static str| {
        source.count(path).ok_or_else(|| {
            let wrong = Wrong::new(format!("a shape needs `{path}` too"));
            Problem::new(SHAPE, wrong.with("shape: {width: 64, layers: 4, heads: 4}"))
        })
    };
    let (width, layers, heads) = (part("shape.width")?, part("shape.layers")?, part("shape.heads")?);
    let kv_heads = source.count("shape.kv_heads").unwrap_or(heads);
    let ladder_d_ff = width.saturating_mul(5) / 2;
    let d_ff = source.count("shape.d_ff").unwrap_or(ladder_d_ff);
    let shape = Shape::new(width, layers, heads, kv_heads, d_ff)
        .map_err(|error| Problem::new(axes_of(&error), Wrong::new(error.to_string())))?;
    let name = ladder::name_of(shape).map_or_else(|| spell(shape), str::to_owned);
    Ok((name, shape))
}

/// The axes that a mistake in a shape is to be blamed on.
fn axes_of(error: &ShapeError) -> &'static [&'static str] {
    match error {
        ShapeError::Zero("layers") | ShapeError::TooLarge("layers") => &["shape.layers"],
        ShapeError::Zero("d_ff") | ShapeError::TooLarge("d_ff") => &["shape.d_ff", "shape.width"],
        ShapeError::Heads { .. }
        | ShapeError::OddHead(_)
        | ShapeError::Zero("heads")
        | ShapeError::TooLarge("heads") => &["shape.heads"],
        ShapeError::KvHeads { .. } | ShapeError::Zero("kv_heads") | ShapeError::TooLarge("kv_heads") => {
            &["shape.kv_heads", "shape.heads"]
        }
        ShapeError::Zero(_) | ShapeError::TooLarge(_) => &["shape.width"],
    }
}

/// A shape spelt out: `w64-l4-h4`, with `-kv2` and `-ff160` where they are not the defaults.
fn spell(shape: Shape) -> String {
    let part = |name: &str, value: u64, default: u64| {
        if value == default {
            String::new()
        } else {
            format!("-{name}{value}")
        }
    };
    format!(
        "w{}-l{}-h{}{}{}",
        shape.width,
        shape.layers,
        shape.heads,
        part("kv", shape.kv_heads, shape.heads),
        part("ff", shape.d_ff, shape.width * 5 / 2),
    )
}

/// What does not fit together in the settings of one trial.
pub(crate) fn check(settings: &Settings) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (batch, context) = (settings.batch_tokens.0, settings.context);
    if batch % context != 0 {
        let whole = (batch as f64 / context as f64).round().max(1.0) as u64;
        let message = format!("a batch of {batch} tokens is not a whole number of sequences of {context}");
        let wrong = Wrong::new(message).maybe(context.checked_mul(whole).map(|near| format!("batch_tokens: {near}")));
        problems.push(Problem::new(&["batch_tokens", "context"], wrong));
    }
    let params = settings.shape.params_non_embedding();
    if let TokenBudget::PerParam(ratio) = settings.tokens
        && ratio * params.as_f64() > TOKENS_MAX
    {
        let wrong = Wrong::new("more tokens than can be counted").with("20N");
        problems.push(Problem::new(&["tokens"], wrong));
        return problems;
    }
    let tokens = settings.tokens.resolve(params);
    if tokens.0 < batch {
        let message = format!(
            "a run of {tokens} of {} is shorter than one batch of {batch}",
            settings.model
        );
        problems.push(Problem::new(&["tokens", "batch_tokens"], Wrong::new(message)));
    } else if let Some(wrong) = check_schedule(settings, tokens) {
        const AXES: &[&str] = &["schedule.warmup", "tokens", "schedule.decay_fraction", "batch_tokens"];
        problems.push(Problem::new(AXES, wrong));
    }
    let schedule = settings.schedule;
    if schedule.name == ScheduleName::Wsd && schedule.decay == Decay::Exponential && schedule.final_fraction <= 0.0 {
        let wrong = Wrong::new("an exponential decay never reaches 0").with("final_fraction: 0.1, or decay: linear");
        problems.push(Problem::new(&["schedule.final_fraction", "schedule.decay"], wrong));
    }
    problems
}

/// Warm-up and decay must fit into the run.
fn check_schedule(settings: &Settings, tokens: Tokens) -> Option<Wrong> {
    let schedule = settings.schedule;
    let warmup = schedule.warmup.resolve(tokens);
    let decay = match schedule.name {
        ScheduleName::Wsd => Length::Share(schedule.decay_fraction).resolve(tokens).0,
        ScheduleName::Cosine | ScheduleName::Linear | ScheduleName::Constant => 0,
    };
    // A run that decays from its first step needs no warm-up at all.
    let fits = warmup.0 == 0 || warmup.0.saturating_add(decay) < tokens.0;
    let tail = if decay > 0 { " and its decay" } else { "" };
    let message = format!("a warm-up of {warmup}{tail} does not fit into a run of {tokens}");
    let tenth = human_count((tokens.0 / 10) as f64).to_lowercase();
    (!fits).then(|| Wrong::new(message).with(format!("schedule.warmup: {tenth}")))
}

/// The value of an axis, or of `seed`, in the settings of a trial; none where the trial does not use it.
pub(crate) fn setting(settings: &Settings, path: &str) -> Option<Setting> {
    if path == "seed" {
        return Some(Setting::Count(settings.seed));
    }
    AXES[find(path)?].value(settings)
}

/// The names that conditions in a sweep may use: the axes, `seed`, and `params` (without the embedding).
pub(crate) fn names() -> Vec<Name<'static>> {
    let kind = |kind: Kind| match kind {
        Kind::Count | Kind::Number(_) | Kind::Tokens | Kind::Length => expressions::Kind::Number,
        Kind::Model | Kind::Data => expressions::Kind::Text,
        Kind::Word(words) => expressions::Kind::Word(words),
    };
    let axes = AXES.iter().map(|axis| Name {
        name: axis.path,
        kind: kind(axis.kind),
    });
    let others = ["params", "seed"].map(|name| Name {
        name,
        kind: expressions::Kind::Number,
    });
    axes.chain(others).collect()
}

/// The value of a name in a condition; amounts are in tokens.
pub(crate) fn value(settings: &Settings, name: &str) -> Option<Value> {
    let params = settings.shape.params_non_embedding();
    if name == "params" {
        return Some(Value::Number(params.as_f64()));
    }
    let tokens = settings.tokens.resolve(params);
    Some(match setting(settings, name)? {
        Setting::Count(count) => Value::Number(count as f64),
        Setting::Number(number) => Value::Number(number),
        Setting::Word(word) => Value::Text(word),
        Setting::Tokens(_) => Value::Number(tokens.as_f64()),
        Setting::Length(length) => Value::Number(length.resolve(tokens).as_f64()),
    })
}
