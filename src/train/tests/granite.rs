//! Logits equal `transformers`' Granite with mapped multipliers (`scripts/fixtures/granite.py`).

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use sandbox::model::shape::Shape;
use tch::{Device, Kind, Tensor, no_grad};

use super::{config, largest};
use crate::trainer::layout::{Layout, dim};
use crate::trainer::model::Model;

/// The largest difference of the logits, relative to the largest logit, after a change of the multipliers.
fn difference(name: &str, change: impl Fn(&mut sandbox::model::config::RunConfig)) -> f64 {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/granite_{name}.safetensors"));
    let file = fs_err::read(path).expect("the fixture is in the repository");
    let (_, header) = SafeTensors::read_metadata(&file).expect("a header");
    let settings = header.metadata().clone().expect("settings");
    let count = |key: &str| settings[key].parse::<u64>().expect(key);
    let number = |key: &str| settings[key].parse::<f64>().expect(key);
    let tensors = SafeTensors::deserialize(&file).expect("safetensors");
    let read = |name: &str| {
        let view = tensors.tensor(name).expect(name);
        let size: Vec<i64> = view.shape().iter().map(|&size| dim(size as u64)).collect();
        let kind = match view.dtype() {
            Dtype::I64 => Kind::Int64,
            dtype => {
                assert_eq!(dtype, Dtype::F32);
                Kind::Float
            }
        };
        Tensor::from_data_size(view.data(), &size, kind)
    };

    let mut run = config(64, 1, 1);
    run.shape = Shape::new(
        count("width"),
        count("layers"),
        count("heads"),
        count("kv_heads"),
        count("d_ff"),
    )
    .expect("a shape");
    run.vocab = count("vocab");
    run.context = 64;
    run.multipliers.scale_emb = number("scale_emb");
    run.multipliers.scale_depth = number("scale_depth");
    change(&mut run);
    let layout = Layout::new(run.shape, run.vocab);
    let parts: Vec<Tensor> = layout.entries.iter().map(|entry| read(&entry.name).view(-1)).collect();
    let model = Model::from_weights(&run, &Tensor::cat(&parts, 0), Device::Cpu);
    let expected = read("logits");
    let logits = no_grad(|| model.logits(&read("tokens")));
    largest(&(logits - &expected)) / largest(&expected)
}

#[test]
fn logits_equal_granites_with_as_many_key_heads_as_query_heads() {
    let difference = difference("mha", |_| {});
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn logits_equal_granites_with_shared_key_heads() {
    let difference = difference("gqa", |_| {});
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn a_changed_multiplier_would_be_noticed() {
    for name in ["mha", "gqa"] {
        let emb = difference(name, |run| run.multipliers.scale_emb *= 1.001);
        let depth = difference(name, |run| run.multipliers.scale_depth *= 1.001);
        let width = difference(name, |run| {
            run.parametrization = sandbox::model::mup::Parametrization::Standard;
        });
        assert!(emb.min(depth).min(width) > 1e-5, "{name}: {emb} {depth} {width}");
    }
}
