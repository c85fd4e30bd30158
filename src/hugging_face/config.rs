//! `config.json` and `generation_config.json` in the keys of three families: MiniCPM, Granite, Llama.
//!
//! Refuses to know weights.

use serde_json::{Map, Value, json};

use super::Architecture;
use crate::model::config::{Precision, RMS_EPS, ROPE_THETA};
use crate::model::mup::Parametrization;

/// Where the code of `MiniCPM` lies, because `transformers` has none of its own.
const MINICPM_CODE: &str = "openbmb/MiniCPM-2B-sft-bf16";

/// `config.json` in MiniCPM's keys, as `openbmb/MiniCPM-2B-sft-bf16` has it; what that file leaves to the defaults of
/// its class is written out.
///
/// `precision` is that of the weights that will lie beside it. The standard parametrisation has no factor of the width,
/// so its `dim_model_base` is the width.
pub fn minicpm_config(architecture: &Architecture, precision: Precision) -> Value {
    let multipliers = architecture.multipliers;
    let mut config = family(architecture, precision);
    let code = |class: &str| format!("{MINICPM_CODE}--{class}");
    config.extend(entries(json!({
        "architectures": ["MiniCPMForCausalLM"],
        "auto_map": {
            "AutoConfig": code("configuration_minicpm.MiniCPMConfig"),
            "AutoModel": code("modeling_minicpm.MiniCPMModel"),
            "AutoModelForCausalLM": code("modeling_minicpm.MiniCPMForCausalLM"),
            "AutoModelForSeq2SeqLM": code("modeling_minicpm.MiniCPMForCausalLM"),
            "AutoModelForSequenceClassification": code("modeling_minicpm.MiniCPMForSequenceClassification"),
        },
        "dim_model_base": match architecture.parametrization {
            Parametrization::Mup => multipliers.base_width,
            Parametrization::Standard => architecture.shape.width,
        },
        // The initial values of a tensor in training are those of its parameter group; this is muP's constant.
        "initializer_range": multipliers.init_std,
        "model_type": "minicpm",
        "rope_scaling": null,
        "scale_depth": multipliers.scale_depth,
        "scale_emb": multipliers.scale_emb,
        "tie_word_embeddings": true,
    })));
    Value::Object(config)
}

/// `config.json` as Granite: its multipliers are MiniCPM's under other names.
pub(super) fn granite(architecture: &Architecture, precision: Precision) -> Value {
    let scaling = architecture.scaling();
    let mut config = family(architecture, precision);
    config.extend(entries(json!({
        "architectures": ["GraniteForCausalLM"],
        "attention_multiplier": architecture.attention_multiplier(),
        "embedding_multiplier": scaling.embedding(),
        "head_dim": architecture.shape.head_dim,
        // Granite divides by it.
        "logits_scaling": scaling.logits_divisor(),
        "mlp_bias": false,
        "model_type": "granite",
        "residual_multiplier": scaling.residual(),
        "tie_word_embeddings": true,
    })));
    Value::Object(config)
}

/// `config.json` as Llama, for weights that the multipliers are folded into; so the head is not the embedding.
pub(super) fn llama(architecture: &Architecture, precision: Precision) -> Value {
    let mut config = family(architecture, precision);
    config.extend(entries(json!({
        "architectures": ["LlamaForCausalLM"],
        "head_dim": architecture.shape.head_dim,
        "mlp_bias": false,
        "model_type": "llama",
        "tie_word_embeddings": false,
    })));
    Value::Object(config)
}

/// `generation_config.json`: the tokens that begin and end a text, which readers would otherwise guess.
pub(super) fn generation(architecture: &Architecture) -> Value {
    json!({
        "_from_model_config": true,
        "bos_token_id": architecture.bos,
        "eos_token_id": architecture.eos,
    })
}

/// What the three families have in common. Keys are those that old and new versions of `transformers` read.
fn family(architecture: &Architecture, precision: Precision) -> Map<String, Value> {
    let shape = architecture.shape;
    entries(json!({
        "attention_bias": false,
        "attention_dropout": 0.0,
        "bos_token_id": architecture.bos,
        "eos_token_id": architecture.eos,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "intermediate_size": shape.d_ff,
        "max_position_embeddings": architecture.context,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "pad_token_id": null,
        "rms_norm_eps": RMS_EPS,
        "rope_theta": ROPE_THETA,
        // The names of precisions are PyTorch's.
        "torch_dtype": precision.name(),
        "use_cache": true,
        "vocab_size": architecture.vocab,
    }))
}

fn entries(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(entries) => entries,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hugging_face::fixture::{released, small};
    use crate::model::mup::Multipliers;

    /// The numbers of `config.json` in openbmb/MiniCPM-2B-sft-bf16.
    const RELEASED: &str = r#"{
        "architectures": ["MiniCPMForCausalLM"],
        "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 2304, "initializer_range": 0.1,
        "intermediate_size": 5760, "max_position_embeddings": 4096, "num_attention_heads": 36,
        "num_hidden_layers": 40, "num_key_value_heads": 36, "rms_norm_eps": 1e-05, "rope_scaling": null,
        "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 122753, "scale_emb": 12.0,
        "dim_model_base": 256, "scale_depth": 1.4
    }"#;

    #[test]
    fn the_released_model_has_its_published_configuration() {
        let config = minicpm_config(&released(), Precision::Bfloat16);
        let Value::Object(expected) = serde_json::from_str(RELEASED).unwrap() else {
            panic!("no object");
        };
        for (key, value) in expected {
            assert_eq!(config[&key], value, "{key}");
        }
        assert_eq!(config["model_type"], "minicpm");
    }

    #[test]
    fn the_width_over_the_base_is_what_the_logits_are_divided_by() {
        for parametrization in [Parametrization::Mup, Parametrization::Standard] {
            let architecture = Architecture {
                parametrization,
                ..small()
            };
            let config = minicpm_config(&architecture, Precision::Float32);
            let divisor = config["hidden_size"].as_f64().unwrap() / config["dim_model_base"].as_f64().unwrap();
            assert!((divisor - architecture.scaling().logits_divisor()).abs() < 1e-15);
        }
    }

    #[test]
    fn granite_has_every_multiplier_under_its_own_name() {
        let config = granite(&small(), Precision::Float32);
        let close = |key: &str, value: f64| assert!((config[key].as_f64().unwrap() - value).abs() < 1e-15, "{key}");
        close("embedding_multiplier", 7.0);
        close("residual_multiplier", 1.7 / 3f64.sqrt());
        close("logits_scaling", 48.0 / 256.0);
        close("attention_multiplier", 1.0 / 8f64.sqrt());
        assert_eq!(config["tie_word_embeddings"], true);
    }

    #[test]
    fn llama_knows_no_multiplier() {
        let one = llama(&small(), Precision::Float32);
        let other = Architecture {
            multipliers: Multipliers::default(),
            ..small()
        };
        assert_eq!(one, llama(&other, Precision::Float32));
        assert_eq!(one["tie_word_embeddings"], false);
    }

    #[test]
    fn a_tokenizer_without_special_tokens_gives_null_so_that_no_default_is_taken() {
        let bare = Architecture { eos: None, ..small() };
        for config in [llama(&bare, Precision::Float32), generation(&bare)] {
            assert!(config.get("eos_token_id").is_some_and(Value::is_null));
        }
        assert_eq!(generation(&small())["eos_token_id"], 2);
    }
}
