//! What other programs read: folders that `transformers` loads, and event files that TensorBoard shows.
//!
//! Both need Python with the program in it (`SANDBOX_PYTHON`, else `python3`) and skip without.

#[path = "it/skip.rs"]
mod skip;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use sandbox::checkpoint::{self, About, State};
use sandbox::hugging_face::{self, Architecture, Form};
use sandbox::model::config::Precision;
use sandbox::model::mup::{Multipliers, Parametrization};
use sandbox::model::shape::Shape;
use sandbox::model::tensors;
use sandbox::tensorboard;
use sandbox::units::Steps;
use serde_json::Value;

use crate::skip::skip;

/// Runs a script with Python; `None` where that has no `module`.
#[expect(clippy::disallowed_methods, reason = "which Python is the environment's affair")]
fn python(module: &str, script: &str, arguments: &[PathBuf]) -> Option<Output> {
    let python = std::env::var("SANDBOX_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = format!("import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)");
    let there = Command::new(&python).args(["-c", &probe]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
    let output = Command::new(&python)
        .arg(script)
        .args(arguments)
        .env("HF_HUB_OFFLINE", "1")
        .output();
    Some(output.expect("Python starts"))
}

/// Even numbers in (−1, 1] that look random, the same every time (splitmix64).
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    (1u64..).map(move |index| {
        let mut z = (seed << 32 | index).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (1.0 - (z ^ (z >> 31)) as f64 / 9_223_372_036_854_775_808.0) as f32
    })
}

/// Weights of which none is special: matrices about 0, norms about 1.
fn random(architecture: &Architecture) -> Vec<f32> {
    let tensors = tensors::tensors(architecture.shape, architecture.vocab);
    let values = tensors.iter().enumerate().flat_map(|(stream, tensor)| {
        let (mean, spread) = if tensor.size.len() == 1 { (1.0, 0.5) } else { (0.0, 0.3) };
        noise(stream as u64)
            .take(tensor.numel())
            .map(move |value| mean + spread * value)
    });
    values.collect()
}

/// A training state with these weights, as the trainer writes it.
fn state(architecture: &Architecture, flat: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = flat.iter().flat_map(|value| value.to_le_bytes()).collect();
    let about = About {
        stage: "abc".to_owned(),
        config_hash: "hash".to_owned(),
        step: Steps(7),
    };
    let named = tensors::tensors(architecture.shape, architecture.vocab);
    let (mut tensors, mut rest) = (std::collections::BTreeMap::new(), &bytes[..]);
    for tensor in &named {
        let (data, after) = rest.split_at(4 * tensor.numel());
        let size = tensor.size.iter().map(|&size| size as usize).collect();
        tensors.insert(tensor.name.as_str(), (size, data));
        rest = after;
    }
    assert!(rest.is_empty());
    checkpoint::write(&about, &tensors).expect("a state")
}

fn architecture(shape: [u64; 5], parametrization: Parametrization) -> Architecture {
    let [width, layers, heads, kv_heads, d_ff] = shape;
    Architecture {
        shape: Shape::new(width, layers, heads, kv_heads, d_ff).expect("a shape"),
        vocab: 61,
        context: 64,
        parametrization,
        // Each differs from 1 and from the default, so that one left out shows.
        multipliers: Multipliers {
            scale_emb: 7.0,
            scale_depth: 1.7,
            init_std: 0.1,
            ..Multipliers::default()
        },
        bos: None,
        eos: Some(2),
    }
}

/// Writes the state, MiniCPM's configuration and both forms below `home`.
fn write_all(home: &Path, architecture: &Architecture) {
    let file = state(architecture, &random(architecture));
    let read = State::read(&file).expect("a state");
    let flat = tensors::gather(architecture.shape, architecture.vocab, |name, numel| {
        read.floats(name, numel)
    });
    let flat = flat.expect("its own state");
    let write = |path: PathBuf, bytes: &[u8]| fs::write(path, bytes).expect("a temporary folder");
    write(home.join("state.safetensors"), &file);
    let config = hugging_face::minicpm_config(architecture, Precision::Float32);
    write(home.join("minicpm.json"), config.to_string().as_bytes());
    for form in Form::ALL {
        let folder = home.join(form.name());
        fs::create_dir(&folder).expect("a temporary folder");
        for file in hugging_face::export(architecture, form, &flat).expect("it fits") {
            write(folder.join(file.name), &file.bytes);
        }
    }
}

/// What the script says about folders below `home`, and whether it was content; `None` without `transformers`.
fn compared(home: &Path, folders: &[&str]) -> Option<(Value, bool)> {
    let mut arguments = vec![PathBuf::from("--reference")];
    arguments.extend(
        ["state.safetensors", "minicpm.json"]
            .iter()
            .chain(folders)
            .map(|name| home.join(name)),
    );
    let output = python("transformers", "check_hugging_face.py", &arguments)?;
    Some((json(&output), output.status.success()))
}

/// What a script printed.
#[expect(clippy::panic, reason = "a failing test panics")]
fn json(output: &Output) -> Value {
    let answer = serde_json::from_slice(&output.stdout);
    answer.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn transformers_gives_the_same_logits_for_granite_for_llama_and_for_the_training_state() {
    for (shape, parametrization) in [
        ([32, 2, 4, 4, 80], Parametrization::Mup),
        ([48, 3, 6, 2, 96], Parametrization::Mup),
        ([64, 5, 4, 1, 160], Parametrization::Standard),
        ([320, 2, 5, 5, 800], Parametrization::Mup),
    ] {
        let home = tempfile::tempdir().unwrap();
        write_all(home.path(), &architecture(shape, parametrization));
        let Some((answer, content)) = compared(home.path(), &["granite", "llama"]) else {
            skip(
                "transformers_gives_the_same_logits_for_granite_for_llama_and_for_the_training_state",
                "no Python with transformers",
            );
            return;
        };
        assert!(content, "{shape:?}: {}", answer["difference"]);
        assert_eq!(answer["folders"][0]["model"], "GraniteForCausalLM");
        assert_eq!(answer["folders"][1]["model"], "LlamaForCausalLM");
    }
}

#[test]
fn a_multiplier_that_is_slightly_off_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    write_all(home.path(), &architecture([48, 3, 6, 2, 96], Parametrization::Mup));
    let keys = [
        "residual_multiplier",
        "embedding_multiplier",
        "logits_scaling",
        "attention_multiplier",
    ];
    for key in keys {
        fs::create_dir(at(key)).unwrap();
        fs::copy(at("granite/model.safetensors"), at(key).join("model.safetensors")).unwrap();
        let mut config: Value = serde_json::from_slice(&fs::read(at("granite/config.json")).unwrap()).unwrap();
        config[key] = (config[key].as_f64().unwrap() * 1.001).into();
        fs::write(at(key).join("config.json"), config.to_string()).unwrap();
    }
    let Some((answer, content)) = compared(home.path(), &keys) else {
        skip(
            "a_multiplier_that_is_slightly_off_is_noticed",
            "no Python with transformers",
        );
        return;
    };
    assert!(!content);
    for (key, folder) in keys.iter().zip(answer["folders"].as_array().unwrap()) {
        assert!(
            folder["difference"].as_f64().unwrap() > 1e-5,
            "{key}: {}",
            folder["difference"]
        );
    }
}

#[test]
fn tensorboard_reads_every_tag_step_time_and_value_back() {
    let home = tempfile::tempdir().unwrap();
    let mut file = tensorboard::header(1_700_000_000.0);
    for step in [0, 1, 127, 128, 300, 1 << 40] {
        let time = 1_700_000_000.5 + step as f64;
        tensorboard::scalar(&mut file, "loss/train", step, time, 3.274 - 1e-13 * step as f64);
        tensorboard::scalar(&mut file, "lr", step, time, 1e-30);
    }
    let long = "trial/".repeat(50);
    tensorboard::scalar(&mut file, &long, 5, 1_700_000_007.0, -2.5);
    fs::write(home.path().join(tensorboard::file_name(1_700_000_000)), file).unwrap();
    let Some(output) = python("tensorboard", "check_tensorboard.py", &[home.path().to_owned()]) else {
        skip(
            "tensorboard_reads_every_tag_step_time_and_value_back",
            "no Python with tensorboard",
        );
        return;
    };
    let answer = json(&output);
    assert_eq!(answer.as_object().unwrap().len(), 3);
    assert_eq!(answer[&long], serde_json::json!([[5, 1_700_000_007.0, -2.5]]));
    let rows = |tag: &str| answer[tag].as_array().unwrap().clone();
    let steps: Vec<_> = rows("loss/train").iter().map(|row| row[0].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 1, 127, 128, 300, 1 << 40]);
    for row in rows("loss/train") {
        let step = row[0].as_f64().unwrap();
        assert_eq!(row[1], 1_700_000_000.5 + step);
        let value = f64::from((3.274 - 1e-13 * step) as f32);
        assert_eq!(row[2], value);
    }
    assert_eq!(rows("lr")[3][2], f64::from(1e-30f32));
}
