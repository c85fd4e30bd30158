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
use crate::spec::axes::{AXES, Kind, Setting};
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
    /// The value.
    pub(crate) setting: Setting,
    /// Where it stands.
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
    /// What is wrong.
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

/// What a word is blamed on that stands for nothing.
const WORDS: &[&str] = &["schedule.name", "schedule.decay", "parametrization", "precision"];

/// Reads values out of an assignment.
struct Source<'a>(&'a Assignment);

impl Source<'_> {
    fn get(&self, path: &str) -> Option<&Setting> {
        let index = AXES.iter().position(|axis| axis.path == path)?;
        self.0.get(&index).map(|given| &given.setting)
    }

    fn count(&self, path: &str) -> Option<u64> {
        match self.get(path) {
            Some(Setting::Count(count)) => Some(*count),
            Some(_) | None => None,
        }
    }

    fn number(&self, path: &str, default: f64) -> f64 {
        match self.get(path) {
            Some(Setting::Number(number)) => *number,
            Some(_) | None => default,
        }
    }

    fn word(&self, path: &str) -> Option<&str> {
        match self.get(path) {
            Some(Setting::Word(word)) => Some(word),
            Some(_) | None => None,
        }
    }

    /// The value that the word of an axis stands for; a word that stands for none is an error, never the default.
    fn choice<T>(&self, path: &str, parse: fn(&str) -> Option<T>, default: T) -> Result<T, Problem> {
        let Some(word) = self.word(path) else {
            return Ok(default);
        };
        parse(word).ok_or_else(|| Problem::new(WORDS, Wrong::new(format!("`{path}` is never `{word}`"))))
    }
}

/// Everything that is set in a trial of these values, before it is checked.
pub(crate) fn resolve(values: &Assignment, seed: u64) -> Result<Settings, Problem> {
    let source = Source(values);
    let (model, shape) = shape_of(&source)?;
    let data = source.word("data").ok_or_else(|| {
        let wrong = Wrong::new("`data` must be given: the name of a prepared data set");
        Problem::new(&["data"], wrong.with("data: rust-sources"))
    })?;
    let batch_tokens = Tokens(source.count("batch_tokens").unwrap_or(BATCH_TOKENS));
    let tokens = match source.get("tokens") {
        Some(Setting::Tokens(tokens)) => *tokens,
        Some(_) | None => TokenBudget::PerParam(TOKENS_PER_PARAM),
    };
    let run = tokens.resolve(shape.params_non_embedding());
    let batches = batch_tokens.0.saturating_mul(WARMUP_BATCHES);
    let default_warmup = Tokens(batches.min(run.0 / WARMUP_PARTS));
    let multipliers = Multipliers::default();
    Ok(Settings {
        model,
        shape,
        parametrization: source.choice("parametrization", Parametrization::parse, Parametrization::Mup)?,
        lr: source.number("lr", LR),
        batch_tokens,
        micro_batch: source.count("micro_batch"),
        tokens,
        context: source.count("context").unwrap_or(CONTEXT),
        data: data.to_owned(),
        schedule: schedule_of(&source, default_warmup)?,
        weight_decay: source.number("weight_decay", WEIGHT_DECAY),
        beta1: source.number("beta1", BETA1),
        beta2: source.number("beta2", BETA2),
        clip: source.number("clip", CLIP),
        multipliers: Multipliers {
            scale_emb: source.number("scale_emb", multipliers.scale_emb),
            scale_depth: source.number("scale_depth", multipliers.scale_depth),
            init_std: source.number("init_std", multipliers.init_std),
        },
        precision: source.choice("precision", Precision::parse, Precision::Float32)?,
        seed,
    })
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

/// Whether a schedule uses an axis; what it does not use keeps its default, so that equal runs are equal settings.
pub(crate) fn applies(schedule: ScheduleName, path: &str) -> bool {
    match path {
        "schedule.decay_fraction" | "schedule.decay" => schedule == ScheduleName::Wsd,
        "schedule.final_fraction" => schedule != ScheduleName::Constant,
        _ => true,
    }
}

fn schedule_of(source: &Source, default_warmup: Tokens) -> Result<ScheduleSettings, Problem> {
    let name = source.choice("schedule.name", ScheduleName::parse, ScheduleName::Wsd)?;
    let number = |path: &str, default: f64| {
        if applies(name, path) {
            source.number(path, default)
        } else {
            default
        }
    };
    let decay = source.choice("schedule.decay", Decay::parse, Decay::Exponential)?;
    Ok(ScheduleSettings {
        name,
        warmup: match source.get("schedule.warmup") {
            Some(Setting::Length(length)) => *length,
            Some(_) | None => Length::Count(default_warmup),
        },
        decay_fraction: number("schedule.decay_fraction", DECAY_FRACTION),
        decay: if applies(name, "schedule.decay") {
            decay
        } else {
            Decay::Exponential
        },
        final_fraction: number(
            "schedule.final_fraction",
            match name {
                ScheduleName::Wsd | ScheduleName::Cosine => FINAL_FRACTION,
                ScheduleName::Linear | ScheduleName::Constant => 0.0,
            },
        ),
    })
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

/// The value of an axis, or of `seed`, in the settings of a trial; none where its schedule does not use it.
pub(crate) fn setting(settings: &Settings, path: &str) -> Option<Setting> {
    let schedule = settings.schedule;
    if !applies(schedule.name, path) {
        return None;
    }
    let word = |word: &str| Setting::Word(word.to_owned());
    Some(match path {
        "model" => word(&settings.model),
        "shape.width" => Setting::Count(settings.shape.width),
        "shape.layers" => Setting::Count(settings.shape.layers),
        "shape.heads" => Setting::Count(settings.shape.heads),
        "shape.kv_heads" => Setting::Count(settings.shape.kv_heads),
        "shape.d_ff" => Setting::Count(settings.shape.d_ff),
        "parametrization" => word(settings.parametrization.name()),
        "lr" => Setting::Number(settings.lr),
        "batch_tokens" => Setting::Count(settings.batch_tokens.0),
        "micro_batch" => Setting::Count(settings.micro_batch?),
        "tokens" => Setting::Tokens(settings.tokens),
        "context" => Setting::Count(settings.context),
        "data" => word(&settings.data),
        "schedule.name" => word(schedule.name.name()),
        "schedule.warmup" => Setting::Length(schedule.warmup),
        "schedule.decay_fraction" => Setting::Number(schedule.decay_fraction),
        "schedule.decay" => word(schedule.decay.name()),
        "schedule.final_fraction" => Setting::Number(schedule.final_fraction),
        "weight_decay" => Setting::Number(settings.weight_decay),
        "beta1" => Setting::Number(settings.beta1),
        "beta2" => Setting::Number(settings.beta2),
        "clip" => Setting::Number(settings.clip),
        "scale_emb" => Setting::Number(settings.multipliers.scale_emb),
        "scale_depth" => Setting::Number(settings.multipliers.scale_depth),
        "init_std" => Setting::Number(settings.multipliers.init_std),
        "precision" => word(settings.precision.name()),
        "seed" => Setting::Count(settings.seed),
        _ => return None,
    })
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
