//! The axes of a sweep: one row each says its path, what its values look like, when it is used, how it is read from and
//! written into the settings of a trial, what else people call it, and what it is.
//!
//! Refuses to know how values are combined, and what they are where none is given (`resolve`).

use serde::Serialize;

use crate::model::config::Precision;
use crate::model::mup::Parametrization;
use crate::model::schedule::Decay;
use crate::spec::kind::{Bounds, Kind, Setting};
use crate::spec::settings::{ScheduleName, Settings};
use crate::spec::syntax::mistakes::closest;
use crate::units::Tokens;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Axis {
    pub(crate) path: &'static str,
    /// What its values look like.
    pub(crate) kind: Kind,
    /// What the same thing is called elsewhere.
    also: &'static [&'static str],
    /// What it is, for help.
    doc: &'static str,
    /// Whether runs of these settings use it; where not, it keeps its default, so that equal runs are equal settings. It
    /// may look at axes that stand before it in the table.
    of: fn(&Settings) -> bool,
    /// Whether it is what laws vary; what they do not vary has to be equal for runs to compare.
    pub(crate) is_varied: bool,
    /// Its value in the settings of a trial; none where it is left to the plan.
    get: fn(&Settings) -> Option<Setting>,
    /// Puts a value there; none where the value is of another kind, or a word that stands for nothing.
    pub(crate) set: fn(&mut Settings, &Setting) -> Option<()>,
}

const fn axis(
    path: &'static str,
    kind: Kind,
    get: fn(&Settings) -> Option<Setting>,
    set: fn(&mut Settings, &Setting) -> Option<()>,
) -> Axis {
    Axis {
        path,
        kind,
        also: &[],
        doc: "",
        of: |_| true,
        is_varied: false,
        get,
        set,
    }
}

impl Axis {
    const fn also(self, also: &'static [&'static str]) -> Self {
        Self { also, ..self }
    }

    const fn doc(self, doc: &'static str) -> Self {
        Self { doc, ..self }
    }

    const fn of(self, of: fn(&Settings) -> bool) -> Self {
        Self { of, ..self }
    }

    const fn varied(self) -> Self {
        Self {
            is_varied: true,
            ..self
        }
    }

    /// Whether runs of these settings use it.
    pub(crate) fn is_used_by(&self, settings: &Settings) -> bool {
        (self.of)(settings)
    }

    /// Its value in the settings of a trial; none where the trial does not use it.
    pub(crate) fn value(&self, settings: &Settings) -> Option<Setting> {
        self.is_used_by(settings).then(|| (self.get)(settings))?
    }

    /// The last part of its path.
    fn last(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }
}

/// An axis that is one number of the settings.
macro_rules! number {
    ($path:literal, $bounds:expr, $($field:ident).+) => {
        axis($path, Kind::Number($bounds), |s| Some(Setting::Number(s.$($field).+)), |s, value| {
            s.$($field).+ = value.float()?;
            Some(())
        })
    };
}

/// An axis that is one word of the settings.
macro_rules! choice {
    ($path:literal, $words:ident, $($field:ident).+) => {
        axis($path, Kind::Word($words::WORDS), |s| Some(word(s.$($field).+.name())), |s, value| {
            s.$($field).+ = $words::parse(value.word()?)?;
            Some(())
        })
    };
}

fn word(word: &str) -> Setting {
    Setting::Word(word.to_owned())
}

/// A part of the shape. A rung and the parts make one shape, and are put into the settings together (`resolve`).
const fn part_of_shape(path: &'static str, kind: Kind, get: fn(&Settings) -> Option<Setting>) -> Axis {
    axis(path, kind, get, |_, _| Some(())).varied()
}

/// Every axis there is, but for the seed, which has a key of its own.
pub(crate) const AXES: &[Axis] = &[
    part_of_shape("model", Kind::Model, |s| Some(word(&s.model)))
        .also(&["size"])
        .doc("a rung of the ladder"),
    part_of_shape("shape.width", Kind::Count, |s| Some(Setting::Count(s.shape.width)))
        .also(&["d_model", "hidden_size"])
        .doc("width of the residual stream"),
    part_of_shape("shape.layers", Kind::Count, |s| Some(Setting::Count(s.shape.layers)))
        .also(&["n_layers", "num_layers"])
        .doc("transformer layers"),
    part_of_shape("shape.heads", Kind::Count, |s| Some(Setting::Count(s.shape.heads)))
        .also(&["n_heads"])
        .doc("query heads"),
    part_of_shape("shape.kv_heads", Kind::Count, |s| {
        Some(Setting::Count(s.shape.kv_heads))
    })
    .doc("key and value heads; as many as `heads` unless given"),
    part_of_shape("shape.d_ff", Kind::Count, |s| Some(Setting::Count(s.shape.d_ff)))
        .doc("width of the SwiGLU block; 2.5 times the width unless given"),
    choice!("parametrization", Parametrization, parametrization)
        .doc("how initialisation and learning rates follow the width"),
    axis(
        "base_width",
        Kind::Count,
        |s| Some(Setting::Count(s.multipliers.base_width)),
        |s, value| {
            s.multipliers.base_width = value.count()?;
            Some(())
        },
    )
    .also(&["dim_model_base", "mup_base_width"])
    .of(|s| s.parametrization == Parametrization::Mup)
    .doc("width at which muP changes nothing; hidden rates and logits are divided by width/base_width"),
    number!("lr", Bounds::Positive, lr)
        .varied()
        .also(&["learning_rate", "peak_lr"])
        .doc("peak learning rate of the embedding's group; muP divides it by width/base_width for hidden matrices"),
    axis(
        "batch_tokens",
        Kind::Count,
        |s| Some(Setting::Count(s.batch_tokens.0)),
        |s, value| {
            s.batch_tokens = Tokens(value.count()?);
            Some(())
        },
    )
    .varied()
    .also(&["batch_size", "bs"])
    .doc("tokens in a batch: whole sequences"),
    axis(
        "micro_batch",
        Kind::Count,
        |s| s.micro_batch.map(Setting::Count),
        |s, value| {
            s.micro_batch = Some(value.count()?);
            Some(())
        },
    )
    .varied()
    .doc("sequences in one forward pass; chosen by the plan unless given"),
    axis(
        "tokens",
        Kind::Tokens,
        |s| Some(Setting::Tokens(s.tokens)),
        |s, value| {
            s.tokens = value.tokens()?;
            Some(())
        },
    )
    .varied()
    .also(&["tokens_per_param", "steps", "max_steps"])
    .doc("tokens of the run, or tokens per non-embedding parameter (`20N`)"),
    axis(
        "context",
        Kind::Count,
        |s| Some(Setting::Count(s.context)),
        |s, value| {
            s.context = value.count()?;
            Some(())
        },
    )
    .also(&["seq_len", "sequence_length"])
    .doc("tokens in a sequence"),
    axis(
        "data",
        Kind::Data,
        |s| Some(word(&s.data)),
        |s, value| {
            value.word()?.clone_into(&mut s.data);
            Some(())
        },
    )
    .also(&["dataset"])
    .doc("name of prepared data"),
    choice!("schedule.name", ScheduleName, schedule.name)
        .also(&["scheduler"])
        .doc("how the learning rate goes"),
    axis(
        "schedule.warmup",
        Kind::Length,
        |s| Some(Setting::Length(s.schedule.warmup)),
        |s, value| {
            s.schedule.warmup = value.length()?;
            Some(())
        },
    )
    .also(&["warmup_steps", "warmup_tokens"])
    .doc("tokens of warm-up, or a share of the run (which forbids sharing trunks)"),
    number!("schedule.decay_fraction", Bounds::Part, schedule.decay_fraction)
        .also(&["decay_frac"])
        .of(|s| s.schedule.name == ScheduleName::Wsd)
        .doc("share of the run that decays"),
    choice!("schedule.decay", Decay, schedule.decay)
        .of(|s| s.schedule.name == ScheduleName::Wsd)
        .doc("form of the decay"),
    number!("schedule.final_fraction", Bounds::Share, schedule.final_fraction)
        .also(&["min_lr_ratio"])
        .of(|s| s.schedule.name != ScheduleName::Constant)
        .doc("share of the peak at the end"),
    number!("weight_decay", Bounds::NotNegative, weight_decay)
        .also(&["wd"])
        .doc("weight decay, coupled to the learning rate"),
    number!("beta1", Bounds::BelowOne, beta1).doc("decay of AdamW's first moment"),
    number!("beta2", Bounds::BelowOne, beta2).doc("decay of AdamW's second moment"),
    number!("clip", Bounds::Positive, clip)
        .also(&["grad_clip"])
        .doc("largest global norm of the gradient"),
    number!("scale_emb", Bounds::Positive, multipliers.scale_emb).doc("factor on the embedding's output"),
    number!("scale_depth", Bounds::Positive, multipliers.scale_depth)
        .doc("factor on each residual branch, divided by the root of the layers"),
    number!("init_std", Bounds::Positive, multipliers.init_std).doc("standard deviation of initial weights"),
    choice!("precision", Precision, precision)
        .also(&["dtype"])
        .doc("arithmetic of the forward and backward pass"),
    #[cfg(test)]
    number!("of_a_test", Bounds::Share, of_a_test)
        .also(&["test_axis"])
        .doc("a number that only tests set"),
];

/// The axes of the decay: what WSD uses, and a schedule that ends at its peak does not.
pub(crate) fn of_decay(defaults: &Settings) -> Vec<&'static str> {
    let mut constant = defaults.clone();
    constant.schedule.name = ScheduleName::Constant;
    let is_of_decay = |axis: &&Axis| axis.is_used_by(defaults) && !axis.is_used_by(&constant);
    AXES.iter().filter(is_of_decay).map(|axis| axis.path).collect()
}

/// The value of every axis that a trial uses, by path, but for what laws vary: runs in which these are equal are
/// trained alike.
pub fn setup(settings: &Settings) -> impl Iterator<Item = (&'static str, serde_json::Value)> {
    let axes = AXES.iter().filter(|axis| !axis.is_varied);
    axes.filter_map(|axis| Some((axis.path, axis.value(settings)?.json())))
}

/// What help says of an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AxisHelp {
    /// Its dotted path.
    pub path: &'static str,
    /// What its values look like.
    pub values: String,
    /// Its value where none is given; none where one has to be, or where it follows from the others.
    pub default: Option<serde_json::Value>,
    pub doc: &'static str,
}

/// Every axis in the order of the table. `defaults`: the settings of a trial for which nothing was chosen.
pub(crate) fn help(defaults: &Settings) -> Vec<AxisHelp> {
    let has_default = |axis: &Axis| {
        let follows = matches!(axis.path, "schedule.warmup" | "schedule.final_fraction");
        !follows && !matches!(axis.kind, Kind::Model | Kind::Data) && !axis.path.starts_with("shape.")
    };
    let help = |axis: &Axis| AxisHelp {
        path: axis.path,
        values: axis.kind.values(),
        default: has_default(axis)
            .then(|| axis.value(defaults))
            .flatten()
            .map(|it| it.json()),
        doc: axis.doc,
    };
    AXES.iter().map(help).collect()
}

/// The groups of axes: the first parts of dotted paths.
pub(crate) const GROUPS: &[&str] = &["shape", "schedule"];

/// The index of an axis in [`AXES`].
pub(crate) fn find(path: &str) -> Option<usize> {
    AXES.iter().position(|axis| axis.path == path)
}

/// The axis that other programs call so.
pub(crate) fn called_elsewhere(path: &str) -> Option<&'static str> {
    let last = path.rsplit('.').next().unwrap_or(path);
    let is_called = |axis: &&Axis| axis.also.iter().any(|&other| other == path || other == last);
    AXES.iter().find(is_called).map(|axis| axis.path)
}

/// The axis that a wrong path most probably means.
pub(crate) fn suggest(path: &str) -> Option<&'static str> {
    let last = path.rsplit('.').next().unwrap_or(path);
    let of = |holds: &dyn Fn(&Axis) -> bool| AXES.iter().find(|axis| holds(axis)).map(|axis| axis.path);
    called_elsewhere(path)
        .or_else(|| of(&|axis| axis.last() == last))
        .or_else(|| closest(path, AXES.iter().map(|axis| axis.path)))
        .or_else(|| {
            let near = closest(last, AXES.iter().map(Axis::last))?;
            of(&|axis| axis.last() == near)
        })
}
