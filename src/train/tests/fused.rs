//! The step against a plain float64 forward pass and its finite differences.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::fused::pool::Pool;
use crate::fused::spec::Layout;
use crate::fused::{AdamStep, Engine, GroupRange, ModelSpec, adamw_step};

fn spec(width: usize, layers: usize, heads: [usize; 2], d_ff: usize, vocab: usize, context: usize) -> ModelSpec {
    ModelSpec {
        width,
        layers,
        heads: heads[0],
        kv_heads: heads[1],
        d_ff,
        vocab,
        context,
        scale_emb: 3.0,
        residual: 1.4 / (layers as f32).sqrt(),
        logits_divisor: 0.25,
        norm_eps: 1e-5,
        rope_theta: 1e4,
    }
}

fn random_params(spec: &ModelSpec, seed: u64) -> Vec<f32> {
    let layout = Layout::new(spec);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let norms = layout.norms();
    let mut value = |i| rng.random_range(-0.5..0.5f32) * 0.8 + f32::from(u8::from(norms.contains(&i)));
    (0..layout.numel()).map(&mut value).collect()
}

fn random_tokens(spec: &ModelSpec, sequences: usize) -> Vec<i64> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let count = sequences * (spec.context + 1);
    let vocab = i64::try_from(spec.vocab).expect("small");
    (0..count).map(|_| rng.random_range(0..vocab)).collect()
}

/// `rows · weightsᵀ` of one row.
fn linear(x: &[f64], weights: &[f64]) -> Vec<f64> {
    weights
        .chunks(x.len())
        .map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum())
        .collect()
}

fn rms_norm(x: &[f64], gain: &[f64], eps: f32) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter()
        .zip(gain)
        .map(|(x, g)| x / (mean + f64::from(eps)).sqrt() * g)
        .collect()
}

fn rotate(spec: &ModelSpec, head: &mut [f64], position: usize) {
    let half = head.len() / 2;
    for i in 0..half {
        let exponent = (2 * i) as f32 / head.len() as f32;
        let frequency = 1.0 / (f64::from(spec.rope_theta).powf(f64::from(exponent)) as f32);
        let (sin, cos) = f64::from(position as f32 * frequency).sin_cos();
        let (a, b) = (head[i], head[i + half]);
        (head[i], head[i + half]) = (a * cos - b * sin, b * cos + a * sin);
    }
}

fn attend(spec: &ModelSpec, qkv: &[Vec<f64>], t: usize) -> Vec<f64> {
    let dim = spec.head_dim();
    let mut out = Vec::new();
    for head in 0..spec.heads {
        let kv = head / (spec.heads / spec.kv_heads);
        let (k, v) = ((spec.heads + kv) * dim, (spec.heads + spec.kv_heads + kv) * dim);
        let dot = |s: usize| (0..dim).map(|i| qkv[t][head * dim + i] * qkv[s][k + i]).sum::<f64>();
        let scores: Vec<f64> = (0..=t).map(|s| (dot(s) / (dim as f64).sqrt()).exp()).collect();
        let sum: f64 = scores.iter().sum();
        out.extend((0..dim).map(|i| (0..=t).map(|s| scores[s] / sum * qkv[s][v + i]).sum::<f64>()));
    }
    out
}

fn add_branch(spec: &ModelSpec, x: &mut [f64], branch: &[f64]) {
    for (x, b) in x.iter_mut().zip(branch) {
        *x += f64::from(spec.residual) * b;
    }
}

/// Summed loss, by the definition.
fn reference_loss(spec: &ModelSpec, params: &[f64], tokens: &[i64]) -> f64 {
    let layout = Layout::new(spec);
    let embedding = &params[layout.embedding()];
    let mut total = 0.0;
    for window in tokens.chunks(spec.context + 1) {
        let embed = |&t: &i64| embedding[t as usize * spec.width..][..spec.width].iter();
        let mut xs: Vec<Vec<f64>> = window[..spec.context]
            .iter()
            .map(|t| embed(t).map(|e| e * f64::from(spec.scale_emb)).collect())
            .collect();
        for layer in 0..spec.layers {
            let project = |x: &Vec<f64>| {
                linear(
                    &rms_norm(x, &params[layout.attention_norm(layer)], spec.norm_eps),
                    &params[layout.qkv(layer)],
                )
            };
            let mut qkv: Vec<Vec<f64>> = xs.iter().map(project).collect();
            for (t, row) in qkv.iter_mut().enumerate() {
                for head in row.chunks_mut(spec.head_dim()).take(spec.heads + spec.kv_heads) {
                    rotate(spec, head, t);
                }
            }
            for (t, x) in xs.iter_mut().enumerate() {
                add_branch(spec, x, &linear(&attend(spec, &qkv, t), &params[layout.out(layer)]));
                let y = rms_norm(x, &params[layout.feed_forward_norm(layer)], spec.norm_eps);
                let both = linear(&y, &params[layout.gate_up(layer)]);
                let (gate, up) = both.split_at(spec.d_ff);
                let inner: Vec<f64> = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                add_branch(spec, x, &linear(&inner, &params[layout.down(layer)]));
            }
        }
        for (x, &target) in xs.iter().zip(&window[1..]) {
            let y = rms_norm(x, &params[layout.last_norm()], spec.norm_eps);
            let logits: Vec<f64> = linear(&y, embedding)
                .iter()
                .map(|l| l / f64::from(spec.logits_divisor))
                .collect();
            total += logits.iter().map(|l| l.exp()).sum::<f64>().ln() - logits[target as usize];
        }
    }
    total
}

/// Named parts of the parameters.
fn parts(spec: &ModelSpec) -> Vec<(String, std::ops::Range<usize>)> {
    let layout = Layout::new(spec);
    let mut parts = vec![
        ("embedding".to_owned(), layout.embedding()),
        ("last norm".to_owned(), layout.last_norm()),
    ];
    for layer in 0..spec.layers {
        for (name, range) in [
            ("attention norm", layout.attention_norm(layer)),
            ("loader-forward norm", layout.feed_forward_norm(layer)),
            ("qkv", layout.qkv(layer)),
            ("out", layout.out(layer)),
            ("gate and up", layout.gate_up(layer)),
            ("down", layout.down(layer)),
        ] {
            parts.push((format!("{name} {layer}"), range));
        }
    }
    assert_eq!(
        parts.iter().map(|(_, range)| range.len()).sum::<usize>(),
        layout.numel()
    );
    parts
}

fn check_gradient(spec: ModelSpec, sequences: usize, threads: usize) {
    let (params, tokens) = (random_params(&spec, 1), random_tokens(&spec, sequences));
    let mut grad = vec![0.0; params.len()];
    let mut engine = Engine::new(&spec, sequences, threads);
    let loss = engine.accumulate(&params, &mut grad, &tokens, 1.0);
    let mut exact: Vec<f64> = params.iter().map(|&p| f64::from(p)).collect();
    let expected = reference_loss(&spec, &exact, &tokens);
    assert!((loss / expected - 1.0).abs() < 1e-6, "{loss} {expected}");
    assert!((engine.loss(&params, &tokens) / expected - 1.0).abs() < 1e-6);
    for (name, range) in parts(&spec) {
        // Some elements of every part, the first and the last among them.
        let stride = (range.len() / 40).max(1);
        let picked: Vec<usize> = range.clone().step_by(stride).chain([range.end - 1]).collect();
        let largest = grad[range].iter().fold(0.0f32, |a, g| a.max(g.abs()));
        for i in picked {
            let (value, h) = (exact[i], 1e-5);
            exact[i] = value + h;
            let up = reference_loss(&spec, &exact, &tokens);
            exact[i] = value - h;
            let down = reference_loss(&spec, &exact, &tokens);
            exact[i] = value;
            let difference = (up - down) / (2.0 * h);
            let error = (f64::from(grad[i]) - difference).abs() / f64::from(largest);
            assert!(error < 1e-5, "{name} {i}: {} {difference} {error}", grad[i]);
        }
    }
}

#[test]
fn gradients_are_finite_differences_of_a_small_model() {
    check_gradient(spec(16, 2, [4, 4], 40, 37, 9), 3, 1);
}

#[test]
fn gradients_are_finite_differences_with_shared_keys_and_odd_lengths() {
    check_gradient(spec(24, 1, [4, 2], 17, 29, 45), 3, 2);
}

#[test]
fn gradients_are_finite_differences_with_one_key_head_over_many_blocks() {
    check_gradient(spec(12, 2, [2, 1], 50, 70, 71), 1, 1);
}

#[test]
fn gradients_are_finite_differences_of_wide_heads() {
    check_gradient(spec(64, 1, [1, 1], 33, 11, 33), 2, 2);
}

/// Cosine-free distance: largest difference over the largest element.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let largest = a.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn bits_are_the_same_again_and_do_not_depend_on_earlier_calls() {
    let spec = spec(32, 2, [4, 2], 80, 100, 40);
    let (params, tokens) = (random_params(&spec, 1), random_tokens(&spec, 9));
    let window = spec.context + 1;
    for threads in [1, 2, 3] {
        let run = |before: usize| {
            let mut engine = Engine::new(&spec, 9, threads);
            let mut grad = vec![0.0; params.len()];
            for _ in 0..before {
                let mut other = vec![0.0; params.len()];
                engine.accumulate(&random_params(&spec, 5), &mut other, &tokens[..7 * window], 3.0);
                engine.loss(&params, &tokens[..window]);
            }
            let loss = engine.accumulate(&params, &mut grad, &tokens, 0.5);
            (loss.to_bits(), grad.iter().map(|g| g.to_bits()).collect::<Vec<_>>())
        };
        let first = run(0);
        assert!(first == run(0) && first == run(2), "{threads} threads");
    }
}

#[test]
fn threads_and_micro_batches_agree_within_rounding() {
    let spec = spec(32, 2, [4, 2], 80, 100, 40);
    let (params, tokens) = (random_params(&spec, 1), random_tokens(&spec, 8));
    let run = |micro_batch: usize, threads| {
        let mut engine = Engine::new(&spec, micro_batch, threads);
        let mut grad = vec![0.0; params.len()];
        let chunks = tokens.chunks(micro_batch * (spec.context + 1));
        let loss: f64 = chunks
            .map(|part| engine.accumulate(&params, &mut grad, part, 1.0))
            .sum();
        (loss, grad)
    };
    let (loss, grad) = run(8, 1);
    for (micro_batch, threads) in [(8, 2), (8, 3), (3, 1), (1, 2), (5, 2)] {
        let (other_loss, other) = run(micro_batch, threads);
        assert!((loss / other_loss - 1.0).abs() < 1e-6);
        assert!(distance(&grad, &other) < 2e-6, "{}", distance(&grad, &other));
    }
}

fn update(spec: &ModelSpec, lr: f64, step: u64) -> AdamStep {
    let layout = Layout::new(spec);
    let norms = layout.norms();
    let group = |range, lr| GroupRange {
        range,
        lr,
        weight_decay: 0.1,
    };
    AdamStep {
        groups: vec![
            group(layout.embedding(), lr),
            group(norms.clone(), lr),
            group(norms.end..layout.numel(), lr * 4.0),
        ],
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        clip: 1.0,
        step,
    }
}

#[test]
fn the_loss_falls_on_a_repeated_batch() {
    let spec = spec(32, 2, [4, 4], 80, 64, 32);
    let (mut params, tokens) = (random_params(&spec, 1), random_tokens(&spec, 4));
    let (mut m, mut v) = (vec![0.0; params.len()], vec![0.0; params.len()]);
    let mut engine = Engine::new(&spec, 4, 2);
    let mut losses = Vec::new();
    for step in 1..=60 {
        let mut grad = vec![0.0; params.len()];
        losses.push(engine.accumulate(&params, &mut grad, &tokens, 1.0 / 128.0) / 128.0);
        adamw_step(
            engine.pool(),
            &mut params,
            &grad,
            (&mut m, &mut v),
            &update(&spec, 3e-3, step),
        );
    }
    assert!(losses[59] < 0.4 * losses[0], "{losses:?}");
}

#[test]
fn the_update_is_that_of_adamw_with_clipping() {
    let spec = spec(32, 2, [4, 4], 80, 64, 32);
    let mut params = random_params(&spec, 1);
    let mut expected: Vec<f64> = params.iter().map(|&p| f64::from(p)).collect();
    let (mut m, mut v) = (vec![0.0f32; params.len()], vec![0.0f32; params.len()]);
    let (mut em, mut ev) = (vec![0.0f64; params.len()], vec![0.0f64; params.len()]);
    for step in 1..=5 {
        let grad: Vec<f32> = random_params(&spec, 10 + step)
            .iter()
            .map(|g| g * 0.1 / step as f32)
            .collect();
        let now = update(&spec, 1e-2, step);
        let norm = adamw_step(&Pool::new(2), &mut params, &grad, (&mut m, &mut v), &now);
        let exact = grad.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        assert!((norm / exact - 1.0).abs() < 1e-9);
        let clip = if exact > 1.0 { 1.0 / (exact + 1e-6) } else { 1.0 };
        for group in &now.groups {
            for i in group.range.clone() {
                let g = f64::from(grad[i]) * clip;
                em[i] += 0.1 * (g - em[i]);
                ev[i] += 0.05 * (g * g - ev[i]);
                let (c1, c2) = (1.0 - 0.9f64.powf(step as f64), 1.0 - 0.95f64.powf(step as f64));
                expected[i] *= 1.0 - group.lr * 0.1;
                expected[i] -= group.lr / c1 * em[i] / (ev[i].sqrt() / c2.sqrt() + 1e-8);
            }
        }
        let worst = params
            .iter()
            .zip(&expected)
            .fold(0.0, |w: f64, (&p, e)| w.max((f64::from(p) - e).abs()));
        assert!(worst < 1e-6, "{worst}");
    }
}

#[test]
fn what_is_not_finite_shows_in_the_loss_or_the_norm() {
    let spec = spec(16, 1, [2, 2], 20, 20, 8);
    let layout = Layout::new(&spec);
    let tokens = random_tokens(&spec, 2);
    for (at, bad) in [
        (layout.qkv(0).start, f32::NAN),
        (layout.down(0).start, f32::INFINITY),
        (3, f32::NAN),
    ] {
        let mut params = random_params(&spec, 1);
        params[at] = bad;
        let mut grad = vec![0.0; params.len()];
        let mut engine = Engine::new(&spec, 2, 1);
        assert!(!engine.accumulate(&params, &mut grad, &tokens, 1.0).is_finite());
        let (before, mut m, mut v) = (params.clone(), grad.clone(), grad.clone());
        let norm = adamw_step(
            engine.pool(),
            &mut params,
            &grad,
            (&mut m, &mut v),
            &update(&spec, 1e-2, 1),
        );
        assert!(!norm.is_finite());
        assert!(params.iter().zip(&before).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
