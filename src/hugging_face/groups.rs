//! Initial values, learning rate and weight decay of every parameter group, to be typed into another trainer.
//!
//! It says what this program's training does. Refuses to know any trainer's own keys.

use serde_json::{Value, json};

use super::Architecture;
use crate::model::config::Optimizer;
use crate::model::mup::Group;
use crate::model::tensors::{EMBEDDING, LAST_NORM, LAYER_NORMS, in_layer, matrices};

/// How the decay is meant: trainers differ, and it follows the width only if this is kept.
const DECAY: &str = "as torch.optim.AdamW: each step p -= lr_now * weight_decay * p, with lr_now the scheduled \
                     learning rate of the tensor's own group; it applies to every tensor, to norms and the embedding \
                     too, which many trainers leave out; where decay is not multiplied by the learning rate, \
                     lr_times_weight_decay is its peak";
/// How the learning rates are meant.
const RATE: &str = "the peak; the schedule multiplies the learning rates of all groups alike";
/// How Adam's eps is meant.
const EPS: &str = "as torch.optim.AdamW: added to the root of the second moment, after the correction of its bias";
/// How the initial values are meant.
const INIT: &str = "normal is not truncated; the tied head has no values of its own";

/// A JSON object of the parameter groups of `architecture` under `optimizer`, whose `lr` is that of the embedding.
///
/// `groups` lists name, tensors, initial values, peak learning rate, decay, betas and eps; each tensor has its pattern
/// (`*` stands for every layer), shape, count, and what its output is multiplied by. `forward` has the multipliers
/// that belong to no tensor, too.
pub fn parameter_groups(architecture: &Architecture, optimizer: &Optimizer) -> Value {
    let scaling = architecture.scaling();
    json!({
        "format": 1,
        "parametrization": architecture.parametrization.name(),
        "width_multiplier": scaling.logits_divisor(),
        "optimizer": "AdamW",
        "clip_grad_norm": optimizer.clip,
        "notes": {
            "clip_grad_norm": "of the L2 norm over all gradients together",
            "eps": EPS,
            "init": INIT,
            "lr": RATE,
            "weight_decay": DECAY,
        },
        "forward": {
            "embedding_output": scaling.embedding(),
            "residual_branch_output": scaling.residual(),
            "attention_scores": architecture.attention_multiplier(),
            "logits": 1.0 / scaling.logits_divisor(),
            "tied_head": true,
        },
        "groups": [
            group(architecture, optimizer, Group::Embedding),
            group(architecture, optimizer, Group::Matrix),
            group(architecture, optimizer, Group::Norm),
        ],
    })
}

fn group(architecture: &Architecture, optimizer: &Optimizer, group: Group) -> Value {
    let scaling = architecture.scaling();
    let tensors = tensors(architecture, group);
    let parameters: u64 = tensors.iter().map(Tensors::parameters).sum();
    let lr = optimizer.lr * scaling.lr_factor(group);
    json!({
        "name": match group {
            Group::Embedding => "embedding",
            Group::Matrix => "matrices",
            Group::Norm => "norms",
        },
        "tensors": tensors.iter().map(Tensors::json).collect::<Vec<_>>(),
        "parameters": parameters,
        "init": match scaling.init_std(group) {
            Some(std) => json!({ "distribution": "normal", "mean": 0.0, "std": std }),
            None => json!({ "distribution": "ones" }),
        },
        "lr": lr,
        "lr_factor": scaling.lr_factor(group),
        "weight_decay": optimizer.weight_decay,
        "lr_times_weight_decay": lr * optimizer.weight_decay,
        "betas": [optimizer.beta1, optimizer.beta2],
        "eps": optimizer.eps,
    })
}

/// Tensors of one name in all layers.
struct Tensors {
    pattern: String,
    shape: Vec<u64>,
    count: u64,
    output_multiplier: f64,
}

impl Tensors {
    fn parameters(&self) -> u64 {
        self.count * self.shape.iter().product::<u64>()
    }

    fn json(&self) -> Value {
        json!({
            "pattern": self.pattern,
            "shape": self.shape,
            "count": self.count,
            "output_multiplier": self.output_multiplier,
        })
    }
}

fn tensors(architecture: &Architecture, group: Group) -> Vec<Tensors> {
    let (shape, scaling) = (architecture.shape, architecture.scaling());
    let norm = |pattern, count| Tensors {
        pattern,
        shape: vec![shape.width],
        count,
        output_multiplier: 1.0,
    };
    match group {
        Group::Embedding => vec![Tensors {
            pattern: EMBEDDING.to_owned(),
            shape: vec![architecture.vocab, shape.width],
            count: 1,
            output_multiplier: scaling.embedding(),
        }],
        Group::Norm => LAYER_NORMS
            .into_iter()
            .map(|name| norm(in_layer('*', name), shape.layers))
            .chain([norm(LAST_NORM.to_owned(), 1)])
            .collect(),
        Group::Matrix => matrices(shape)
            .into_iter()
            .map(|matrix| Tensors {
                pattern: in_layer('*', matrix.name),
                shape: matrix.size.to_vec(),
                count: shape.layers,
                output_multiplier: if matrix.ends_branch { scaling.residual() } else { 1.0 },
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hugging_face::fixture::{released, small};
    use crate::model::mup::Parametrization;

    const OPTIMIZER: Optimizer = Optimizer {
        lr: 0.01,
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        clip: 1.0,
    };

    fn close(value: &Value, expected: f64) {
        let value = value.as_f64().unwrap();
        assert!((value / expected - 1.0).abs() < 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn the_released_model_has_the_numbers_of_its_table() {
        let json = parameter_groups(&released(), &OPTIMIZER);
        let [embedding, matrices, norms] = [0, 1, 2].map(|index| &json["groups"][index]);
        close(&embedding["init"]["std"], 0.1);
        close(&matrices["init"]["std"], 0.1 / 3.0);
        assert_eq!(norms["init"], json!({ "distribution": "ones" }));
        close(&embedding["lr"], 0.01);
        close(&matrices["lr"], 0.01 / 9.0);
        close(&norms["lr"], 0.01);
        for group in [embedding, matrices, norms] {
            close(&group["weight_decay"], 0.1);
            assert_eq!(group["betas"], json!([0.9, 0.95]));
        }
        close(&matrices["lr_times_weight_decay"], 0.001 / 9.0);
        close(&json["forward"]["embedding_output"], 12.0);
        close(&json["forward"]["residual_branch_output"], 1.4 / 40f64.sqrt());
        close(&json["forward"]["logits"], 1.0 / 9.0);
        close(&json["forward"]["attention_scores"], 0.125);
    }

    #[test]
    fn the_patterns_name_every_tensor_once_with_its_group_and_shape() {
        let architecture = small();
        let json = parameter_groups(&architecture, &OPTIMIZER);
        let mut listed = Vec::new();
        for (group, kind) in [Group::Embedding, Group::Matrix, Group::Norm].into_iter().enumerate() {
            for tensor in json["groups"][group]["tensors"].as_array().unwrap() {
                let pattern = tensor["pattern"].as_str().unwrap();
                let names: Vec<String> = if pattern.contains('*') {
                    (0..3).map(|layer| pattern.replace('*', &layer.to_string())).collect()
                } else {
                    vec![pattern.to_owned()]
                };
                assert_eq!(tensor["count"], names.len());
                listed.extend(names.into_iter().map(|name| (name, kind, tensor["shape"].clone())));
            }
        }
        let all = crate::model::tensors::tensors(architecture.shape, architecture.vocab);
        let mut expected: Vec<_> = all.into_iter().map(|t| (t.name, t.group, json!(t.size))).collect();
        listed.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(listed, expected);
        let total: u64 = (0..3)
            .map(|index| json["groups"][index]["parameters"].as_u64().unwrap())
            .sum();
        assert_eq!(total, architecture.shape.params_total(architecture.vocab).0);
    }

    #[test]
    fn only_the_ends_of_branches_and_the_embedding_are_multiplied() {
        let json = parameter_groups(&small(), &OPTIMIZER);
        let groups = json["groups"].as_array().unwrap().iter();
        for tensor in groups.flat_map(|group| group["tensors"].as_array().unwrap()) {
            let pattern = tensor["pattern"].as_str().unwrap();
            let expected = match pattern.rsplit('.').nth(1).unwrap() {
                "embed_tokens" => 7.0,
                "o_proj" | "down_proj" => 1.7 / 3f64.sqrt(),
                _ => 1.0,
            };
            close(&tensor["output_multiplier"], expected);
        }
    }

    #[test]
    fn the_standard_parametrisation_has_one_learning_rate_and_one_spread() {
        let architecture = Architecture {
            parametrization: Parametrization::Standard,
            ..small()
        };
        let json = parameter_groups(&architecture, &OPTIMIZER);
        for index in 0..3 {
            close(&json["groups"][index]["lr"], 0.01);
        }
        close(&json["groups"][1]["init"]["std"], 0.1);
        close(&json["forward"]["logits"], 1.0);
    }
}
