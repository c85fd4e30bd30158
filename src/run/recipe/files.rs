//! The files of a recipe: what a team types into its own trainer, and a sweep that trains the recipe here.
//!
//! Refuses to know how the recipe was found.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::hugging_face::{self, Architecture};
use crate::model::config::{Optimizer, Precision};
use crate::model::mup::Multipliers;
use crate::model::shape::Shape;
use crate::recipe::Recipe;
use crate::run::failure::{Failure, exit};
use crate::run::recipe::forecast::sweep_of;
use crate::spec::{self, ScheduleName, Settings};
use crate::workdir::write_atomic;

/// The tokens that begin and end a text in `MiniCPM`'s tokenizer.
const BOS_EOS: (u32, u32) = (1, 2);

/// Writes the files into a folder; `proxies`: the settings that the sweep takes over.
/// `seeds`: how many runs of it the sweep trains.
pub fn write(recipe: &Recipe, proxies: &Settings, seeds: u64, folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let internal = |error: String| Failure::new(exit::INTERNAL, "recipe_files", error, "please report this");
    let architecture = architecture(recipe).map_err(internal)?;
    let optimizer = optimizer(recipe)?;
    let pretty = |value: serde_json::Value| format!("{value:#}\n");
    let files = [
        (
            "recipe.yaml",
            serde_yaml::to_string(recipe).map_err(|error| internal(error.to_string()))?,
        ),
        (
            "config.json",
            pretty(hugging_face::minicpm_config(&architecture, Precision::Bfloat16)),
        ),
        (
            "parameter_groups.json",
            pretty(hugging_face::parameter_groups(&architecture, &optimizer)),
        ),
        (
            "sweep.yaml",
            serde_yaml::to_string(&sweep(recipe, proxies, seeds)?).map_err(|error| internal(error.to_string()))?,
        ),
    ];
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        write_atomic(&path, text.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

fn architecture(recipe: &Recipe) -> Result<Architecture, String> {
    let it = &recipe.shape;
    let shape = Shape::new(it.width, it.layers, it.heads, it.kv_heads, it.d_ff).map_err(|error| error.to_string())?;
    Ok(Architecture {
        shape,
        vocab: it.vocab,
        context: it.context,
        parametrization: recipe.parametrization,
        multipliers: Multipliers {
            scale_emb: recipe.mup.scale_emb,
            scale_depth: recipe.mup.scale_depth,
            init_std: recipe.mup.init_std,
            base_width: recipe.mup.base_width,
        },
        bos: Some(BOS_EOS.0),
        eos: Some(BOS_EOS.1),
    })
}

fn optimizer(recipe: &Recipe) -> Result<Optimizer, Failure> {
    let it = recipe.optimizer;
    Ok(Optimizer {
        lr: number(recipe, "lr")?,
        weight_decay: it.weight_decay,
        beta1: it.beta1,
        beta2: it.beta2,
        eps: it.eps,
        clip: it.clip,
    })
}

/// A number of the recipe; what has none cannot be written out.
fn number(recipe: &Recipe, item: &str) -> Result<f64, Failure> {
    let found = recipe.items.get(item).and_then(|item| item.value.as_f64());
    found.ok_or_else(|| {
        let message = format!("the recipe has no number for `{item}`, so no trainer can be told one");
        Failure::refused(
            "incomplete_recipe",
            message,
            "its warnings and gates say what to run next",
        )
    })
}

/// What a recipe says nothing of, as the proxies had it, by axis.
pub(crate) fn taken_over(proxies: &Settings) -> serde_json::Value {
    let own = |path: &str| path == "data" || path.starts_with("schedule.");
    spec::setup(proxies)
        .filter(|(path, _)| !own(path))
        .map(|(path, value)| (path.to_owned(), value))
        .collect()
}

/// A sweep of one trial: the recipe, and what it leaves as the proxies had it. Its vocabulary is that of the data here.
pub(in crate::run) fn sweep(recipe: &Recipe, proxies: &Settings, seeds: u64) -> Result<serde_json::Value, Failure> {
    let shape = &recipe.shape;
    let count = |item: &str| number(recipe, item).map(|value| value.round() as u64);
    let mut parameters = taken_over(proxies);
    parameters["lr"] = json!(number(recipe, "lr")?);
    parameters["batch_tokens"] = json!(count("batch_tokens")?);
    parameters["tokens"] = json!(count("tokens")?);
    parameters["context"] = json!(shape.context);
    parameters["schedule"] = json!({
        "name": recipe.items["schedule"].value,
        "warmup": count("warmup_tokens")?,
    });
    let is = |schedule: ScheduleName| recipe.items["schedule"].value == schedule.name();
    if is(ScheduleName::Wsd) || is(ScheduleName::Cosine) {
        parameters["schedule"]["final_fraction"] = json!(number(recipe, "final_fraction")?);
    }
    if is(ScheduleName::Wsd) {
        parameters["schedule"]["decay_fraction"] = json!(number(recipe, "decay_fraction")?);
        parameters["schedule"]["decay"] = recipe.items["decay"].value.clone();
    }
    if shape.model == "derived" {
        parameters["shape"] = json!({
            "width": shape.width,
            "layers": shape.layers,
            "heads": shape.heads,
            "kv_heads": shape.kv_heads,
            "d_ff": shape.d_ff,
        });
    } else {
        parameters["model"] = json!(shape.model);
    }
    Ok(json!({
        "name": sweep_of(&recipe.recipe),
        "description": format!("The recipe {} for {} parameters.", recipe.recipe, recipe.params),
        "data": proxies.data,
        "parameters": parameters,
        "seeds": (0..seeds).collect::<Vec<u64>>(),
    }))
}
