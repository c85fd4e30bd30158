//! A study whose law is known: rows as a real sweep would leave them.

use std::collections::BTreeMap;

use sandbox::fit::loss::loss_fit::Prediction;
use sandbox::fit::view::Constant;
use sandbox::fit::{Estimate, Warning};
use sandbox::model::mup::Parametrization;
use sandbox::protocol::Trainer;
use sandbox::recipe::forecast::Score;
use sandbox::recipe::{
    Alternative, Extrapolated, Gate, ImportedLaw, Item, Mup, OptimizerItem, PublishedItem, Recipe, ShapeItem, Source,
    Verdict,
};
use sandbox::record::{PointRow, TrialRow, TrialState};
use sandbox::report::curves::Curves;
use sandbox::report::figures::lr_sweeps::bowls_of;
use sandbox::report::law_view::{HeldOut, LawInput, LawPoint};
use sandbox::report::study::{BatchMinimum, BatchRule, BestLr, LrBowl, LrPoint, RateLaw, Study, Transfer};
use sandbox::report::{ReportView, build};
use sandbox::spec::ScheduleName;
use sandbox::study::select;
use serde_json::{Value, json};

const SIZES: [(&str, u64, u64, u64); 4] = [
    ("57k", 57_184, 64, 1),
    ("156k", 156_480, 96, 2),
    ("420k", 419_968, 128, 3),
    ("1.1M", 1_127_168, 192, 4),
];
const RATIOS: [u64; 3] = [5, 10, 20];
const RATES: [f64; 5] = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1];
const BATCH: u64 = 4096;
const BEST_RATE: f64 = 1.1e-2;

/// The planted law, nats per token.
fn chinchilla(params: f64, tokens: f64) -> f64 {
    0.9 + 18.0 / params.powf(0.28) + 150.0 / tokens.powf(0.37)
}

/// Rows of a planted study.
pub(crate) struct Planted {
    pub(crate) trials: Vec<TrialRow>,
    pub(crate) points: Vec<PointRow>,
}

impl Planted {
    pub(crate) fn new() -> Self {
        let mut study = Self {
            trials: Vec::new(),
            points: Vec::new(),
        };
        for (model, params, width, layers) in SIZES {
            for ratio in RATIOS {
                for schedule in ["wsd", "cosine"] {
                    for lr in RATES {
                        let trial = trial((model, params, width, layers), ratio, schedule, lr);
                        study.add_points(&trial);
                        study.trials.push(trial);
                    }
                }
            }
        }
        study
    }

    fn add_points(&mut self, trial: &TrialRow) {
        let steps = trial.tokens / BATCH;
        let every = (steps / 150).max(1);
        let end = trial.diverged_at_tokens.unwrap_or(trial.tokens);
        for step in (1..=steps).filter(|step| *step <= 24 || step % every == 0 || *step == steps) {
            let tokens = step * BATCH;
            if tokens > end {
                break;
            }
            let rate = rate_at(trial, tokens);
            let params = trial.params_non_embedding as f64;
            let warm = 4.2 * (-(tokens as f64) / 60_000.0).exp();
            let stable = 0.12 * rate / trial.lr * (trial.lr / BEST_RATE).powf(0.3);
            let excess = excess(trial.lr, params);
            let noise = 0.05 * wobble(&trial.trial, step);
            let mut loss = (chinchilla(params, tokens as f64).min(5.4) + excess + stable + warm).min(5.62) + noise;
            if trial.diverged_at_tokens.is_some() {
                loss += 3.0 * (tokens as f64 / end as f64).powi(6);
            }
            self.points.push(PointRow {
                trial: trial.trial.clone(),
                stage: "s".to_owned(),
                step,
                tokens,
                flops: 6.0 * params * tokens as f64,
                lr: Some(rate),
                split: "train".to_owned(),
                loss,
                grad_norm: Some(1.0),
                seconds: None,
                peak_lr: trial.lr,
            });
        }
    }

    pub(crate) fn law_points(&self) -> Vec<LawPoint> {
        let mut best: BTreeMap<(u64, u64), &TrialRow> = BTreeMap::new();
        for trial in self.trials.iter().filter(|t| t.schedule == ScheduleName::Wsd) {
            let Some(loss) = trial.final_loss else {
                continue;
            };
            let slot = best.entry((trial.params_non_embedding, trial.tokens)).or_insert(trial);
            if slot.final_loss.is_none_or(|held| loss < held) {
                *slot = trial;
            }
        }
        best.into_values()
            .map(|trial| LawPoint {
                trial: trial.trial.clone(),
                model: trial.model.clone(),
                params: trial.params_non_embedding as f64,
                tokens: trial.tokens as f64,
                loss: trial.final_loss.expect("finished"),
                held_out: trial.model == "1.1M",
            })
            .collect()
    }

    pub(crate) fn bowls(&self) -> Vec<LrBowl> {
        let mut bowls = bowls_of(&select::of_most_frequent_kind(&self.trials), &[]);
        for bowl in &mut bowls {
            let best = bowl
                .points
                .iter()
                .filter_map(|point: &LrPoint| point.loss)
                .fold(f64::INFINITY, f64::min);
            bowl.best = Some(BestLr {
                lr: BEST_RATE,
                ci95: Some([BEST_RATE / 1.5, BEST_RATE * 1.6]),
                loss: best - 0.004,
                curvature: Some(0.04),
            });
        }
        bowls
    }

    pub(crate) fn facts() -> Vec<(String, String)> {
        [
            (
                "method",
                "variable projection, Huber 1e-3 on log loss, 1000 bootstrap draws",
            ),
            (
                "hold-out",
                "1.1M predicted from the smaller sizes: mean error 0.004 nats",
            ),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    pub(crate) fn constants() -> Vec<Constant> {
        [
            ("E", 0.9, [0.61, 1.12], "nats per token"),
            ("A", 18.0, [12.4, 27.9], ""),
            ("α", 0.28, [0.231, 0.324], ""),
            ("B", 150.0, [88.1, 260.3], ""),
            ("β", 0.37, [0.331, 0.412], ""),
        ]
        .map(|(name, value, ci95, unit)| {
            let (se, ci95) = (None, Some(ci95));
            Constant {
                unit,
                ..Constant::new(name, Estimate { value, se, ci95 })
            }
        })
        .to_vec()
    }

    /// The numbers of a recipe for so many tokens and that loss.
    fn items(tokens: f64, loss: f64) -> BTreeMap<String, Item> {
        let item = |value: Value, unit: &str, source: Source| {
            let is_fitted = source == Source::Fitted;
            Item {
                value,
                ci95: None,
                ci95_new_run: None,
                unit: unit.to_owned(),
                source,
                law: if is_fitted { "chinchilla" } else { "" }.to_owned(),
                fit: is_fitted.then(|| "f3c9a1d2".to_owned()),
                trials: if is_fitted { 12 } else { 0 },
                extrapolation: is_fitted.then_some(Extrapolated {
                    params: 2166.0,
                    tokens: 2200.0,
                }),
                undetermined: None,
                withheld: None,
                beyond: false,
            }
        };
        let within = |ci95: [f64; 2], item: Item| Item {
            ci95: Some(ci95),
            ..item
        };
        let of_loss = item(json!(loss), "nats per token", Source::Fitted);
        let items = [
            (
                "lr",
                within([0.0071, 0.0179], item(json!(0.0112), "", Source::Measured)),
            ),
            (
                "lr_hidden",
                within([0.0008, 0.0020], item(json!(0.00124), "", Source::Measured)),
            ),
            ("batch_tokens", item(json!(3_932_160), "tokens", Source::Published)),
            ("schedule", item(json!("wsd"), "", Source::Default)),
            ("tokens", item(json!(tokens), "tokens", Source::Default)),
            (
                "loss",
                Item {
                    ci95_new_run: Some([loss - 0.31, loss + 0.24]),
                    ..within([loss - 0.3, loss + 0.22], of_loss)
                },
            ),
            ("flops", item(json!(7.15e20), "FLOP", Source::Fitted)),
        ];
        items.map(|(name, item)| (name.to_owned(), item)).into()
    }

    fn gates() -> Vec<Gate> {
        vec![
            Gate {
                name: "sizes_spanned".to_owned(),
                passed: false,
                why: "the target is 2166\u{d7} the largest size; at most 30\u{d7} is trusted".to_owned(),
                next: Some("sweeps/next-sizes.yaml".to_owned()),
            },
            Gate {
                name: "minima_bracketed".to_owned(),
                passed: true,
                why: "the best learning rate lies inside the grid in 12 of 12 groups".to_owned(),
                next: None,
            },
        ]
    }

    pub(crate) fn recipe() -> Recipe {
        let (params, tokens) = (2_442_057_984, 4.88e10);
        let loss = chinchilla(params as f64, tokens);
        Recipe {
            recipe: "0a1b2c3d4e5f".to_owned(),
            params,
            verdict: Verdict::Unverified,
            fits: Vec::new(),
            shape: ShapeItem {
                model: "2.4B".to_owned(),
                width: 2304,
                layers: 40,
                heads: 36,
                kv_heads: 36,
                d_ff: 5760,
                vocab: 122_753,
                context: 4096,
            },
            parametrization: Parametrization::Mup,
            mup: Mup {
                base_width: 256,
                scale_emb: 12.0,
                scale_depth: 1.4,
                init_std: 0.1,
            },
            optimizer: OptimizerItem {
                beta1: 0.9,
                beta2: 0.95,
                eps: 1e-8,
                weight_decay: 0.1,
                clip: 1.0,
            },
            items: Self::items(tokens, loss),
            reach: None,
            to_reach: None,
            imported: vec![ImportedLaw {
                law: "DeepSeek LLM".to_owned(),
                item: "batch_tokens".to_owned(),
                value: 1.99e6,
                formula: "0.292 C^0.3271".to_owned(),
                source: "arXiv 2401.02954".to_owned(),
                convention: "C without the head".to_owned(),
            }],
            published: vec![PublishedItem {
                item: "lr".to_owned(),
                value: json!(0.01),
                source: "MiniCPM".to_owned(),
            }],
            alternatives: vec![
                alternative("as_asked", 2.44e9, 4e11, 2.31),
                alternative("optimal_for_this_loss", 4.1e9, 1.9e11, 2.31),
            ],
            gates: Self::gates(),
            warnings: vec![Warning::new("no_batch_law", "the batch is MiniCPM's")],
        }
    }

    /// A forecast for 4.5M parameters, and three runs that came out a little worse.
    pub(crate) fn score(predicted: f64) -> Score {
        let losses: Vec<f64> = [0.01, 0.016, 0.022].map(|worse| predicted + worse).into();
        let actual = losses.iter().sum::<f64>() / 3.0;
        Score {
            forecast: "0f0e0d0c".to_owned(),
            registered_at: "2026-11-20T10:00:00Z".to_owned(),
            hash: "4be1".to_owned(),
            recipe: "0a1b2c3d4e5f".to_owned(),
            trained_at: Some("2026-11-21T10:00:00Z".to_owned()),
            registered_first: Some(true),
            params: 4_500_000,
            tokens: Some(9e7),
            params_ratio: Some(4.0),
            compute_ratio: Some(16.0),
            predicted,
            ci95: Some([predicted - 0.06, predicted + 0.05]),
            ci95_new_run: Some([predicted - 0.07, predicted + 0.06]),
            actual,
            runs: 3,
            losses,
            trials: Vec::new(),
            error: actual - predicted,
            relative_error: (actual - predicted) / actual,
            covered: Some(true),
            inside: Some(true),
            seconds: None,
        }
    }
}

fn around(mean: f64, share: f64) -> [f64; 2] {
    [mean * (1.0 - share), mean * (1.0 + share)]
}

/// The planted law with intervals that open away from a million tokens.
fn spread(params: f64, tokens: f64) -> Prediction {
    let mean = chinchilla(params, tokens);
    let share = 0.01 + 0.01 * (tokens / 1e6).ln().abs();
    Prediction {
        ci50: Some(around(mean, 0.35 * share)),
        ci95_new_run: Some(around(mean, share)),
        ..Prediction::bare(mean)
    }
}

/// What a second fit said of the runs that are held out.
fn held_of(points: &[LawPoint]) -> Vec<HeldOut> {
    let held = points.iter().filter(|point| point.held_out).map(|point| HeldOut {
        trial: point.trial.clone(),
        model: point.model.clone(),
        params: point.params,
        tokens: point.tokens,
        loss: point.loss,
        predicted: point.loss + 0.01,
        ci95: Some([point.loss - 0.05, point.loss + 0.07]),
    });
    held.collect()
}

/// The whole study with its law and recipe.
pub(crate) fn whole() -> ReportView {
    let planted = Planted::new();
    let curves = Curves::collect(&planted.trials, &planted.points);
    let law_points = planted.law_points();
    let facts = Planted::facts();
    let warnings = vec!["the target lies 2.1e4\u{d7} beyond the data in compute".to_owned()];
    let constants = Planted::constants();
    let predict = |params: f64, tokens: f64| Some(chinchilla(params, tokens));
    let held = held_of(&law_points);
    let law = LawInput {
        law: "chinchilla",
        fit: Some("f3c9a1d2"),
        formula: "L = E + A/N^α + B/D^β",
        params_are: "params_non_embedding",
        refused: None,
        constants: &constants,
        facts: &facts,
        warnings: &warnings,
        points: &law_points,
        held: &held,
        predict: Some(&predict),
        spread: Some(&|params, tokens| Some(spread(params, tokens))),
        size_exponent: Some(Estimate {
            value: 0.57,
            se: Some(0.1),
            ci95: Some([0.37, 0.77]),
        }),
    };
    let bowls = planted.bowls();
    let best_rate = |_: f64, _: f64| BEST_RATE;
    let rate_interval = |params: f64, _: f64| Some(around(BEST_RATE, 0.1 + 0.02 * (params / 5e4).ln()));
    let rates = RateLaw {
        formula: format!("a constant {BEST_RATE} (95 % interval 0.0101 to 0.012)"),
        is_constant: true,
        at: &best_rate,
        interval: Some(&rate_interval),
        transfer: Some(Transfer {
            verdict: "verified".to_owned(),
            widths: [64.0, 192.0],
            verified_to: Some(192.0),
            compared: "at equal tokens",
            drift: Some(1.03),
            ci95: Some([0.9, 1.2]),
            tolerance: 1.5,
        }),
    };
    let recipe = Planted::recipe();
    let score = Planted::score(chinchilla(4.5e6, 9e7));
    build(&Study {
        sweep: "quickstart",
        question: Some("Does the best learning rate stay where it is when the model grows?"),
        trials: &planted.trials,
        curves: &curves,
        bowls: &bowls,
        rates: Some(&rates),
        batch: None,
        laws: &[law],
        recipe: Some(&recipe),
        forecast: Some(&score),
        beside: None,
    })
}

/// The study with a law that was refused.
pub(crate) fn refused() -> ReportView {
    let planted = Planted::new();
    let curves = Curves::collect(&planted.trials, &planted.points);
    let refused = LawInput {
        law: "chinchilla",
        fit: None,
        formula: "L = E + A/N^α + B/D^β",
        params_are: "params_non_embedding",
        refused: Some("too_few_sizes: a law in N needs three sizes at least; 2 differ here"),
        constants: &[],
        facts: &[],
        warnings: &[],
        points: &[],
        held: &[],
        predict: None,
        spread: None,
        size_exponent: None,
    };
    build(&Study {
        sweep: "quickstart",
        question: None,
        trials: &planted.trials,
        curves: &curves,
        bowls: &[],
        rates: None,
        batch: None,
        laws: &[refused],
        recipe: None,
        forecast: None,
        beside: None,
    })
}

/// Ten thousand trials with a law over all of their losses.
pub(crate) fn many() -> ReportView {
    let planted = Planted::new();
    let mut trials = Vec::new();
    for copy in 0..84_u64 {
        for trial in &planted.trials {
            let mut trial = trial.clone();
            trial.trial = format!("{}-{copy}", trial.trial);
            trial.slug = format!("{}-seed{copy}", trial.slug);
            trial.seed = copy;
            trials.push(trial);
        }
    }
    assert!(trials.len() > 10_000);
    let mut curves = Curves::new(&trials);
    assert!(curves.wanted().len() < 450, "{}", curves.wanted().len());
    for trial in curves.wanted() {
        let original = trial.split('-').next().unwrap_or_default();
        for point in planted.points.iter().filter(|point| point.trial == original) {
            let trial = trial.clone();
            curves.add(&PointRow { trial, ..point.clone() });
        }
    }
    curves.set_total(10_000_000);
    let law_points: Vec<LawPoint> = trials
        .iter()
        .filter_map(|trial| {
            Some(LawPoint {
                trial: trial.trial.clone(),
                model: trial.model.clone(),
                params: trial.params_non_embedding as f64,
                tokens: trial.tokens as f64,
                loss: trial.final_loss?,
                held_out: false,
            })
        })
        .collect();
    let predict = |params: f64, tokens: f64| Some(chinchilla(params, tokens));
    let law = LawInput {
        law: "chinchilla",
        fit: Some("f3c9a1d2"),
        formula: "L = E + A/N^α + B/D^β",
        params_are: "params_non_embedding",
        refused: None,
        constants: &[],
        facts: &[],
        warnings: &[],
        points: &law_points,
        held: &[],
        predict: Some(&predict),
        spread: None,
        size_exponent: None,
    };
    build(&Study {
        sweep: "many",
        question: None,
        trials: &trials,
        curves: &curves,
        bowls: &[],
        rates: None,
        batch: None,
        laws: &[law],
        recipe: None,
        forecast: None,
        beside: None,
    })
}

/// The study with four batch sizes and a law of them.
pub(crate) fn batches() -> ReportView {
    let mut planted = Planted::new();
    let sizes = [4096, 8192, 16_384, 32_768];
    for (trial, batch) in planted.trials.iter_mut().zip(sizes.into_iter().cycle()) {
        trial.batch_tokens = batch;
    }
    let curves = Curves::collect(&planted.trials, &planted.points);
    let at = |tokens: f64| 3.0 * tokens.powf(0.6);
    let minimum = |params: u64, tokens: f64| BatchMinimum {
        params: params as f64,
        loss: chinchilla(params as f64, tokens),
        batch_tokens: at(tokens) * 1.1,
        tokens,
    };
    let minima = SIZES.iter().flat_map(|&(_, params, _, _)| {
        let params_of_run = params as f64;
        [6.0, 12.0].map(|ratio| minimum(params, ratio * params_of_run))
    });
    let rule = BatchRule {
        formulas: [
            "batch = 3\u{b7}D^k with k = 0.6",
            "batch = 1e5\u{b7}L^k with k = \u{2212}2",
        ]
        .map(str::to_owned),
        at: &at,
        read_from: "final losses",
        minima: minima.collect(),
    };
    build(&Study {
        sweep: "quickstart",
        question: None,
        trials: &planted.trials,
        curves: &curves,
        bowls: &[],
        rates: None,
        batch: Some(&rule),
        laws: &[],
        recipe: None,
        forecast: None,
        beside: None,
    })
}

/// A law of runs of a table.
pub(crate) fn law_alone() -> ReportView {
    let planted = Planted::new();
    let points = planted.law_points();
    let predict = |params: f64, tokens: f64| Some(chinchilla(params, tokens));
    let law = LawInput {
        law: "chinchilla",
        fit: Some("f3c9a1d2"),
        formula: "L = E + A/N^α + B/D^β",
        params_are: "as-given",
        refused: None,
        constants: &[],
        facts: &[],
        warnings: &[],
        points: &points,
        held: &[],
        predict: Some(&predict),
        spread: None,
        size_exponent: None,
    };
    build(&Study {
        sweep: "theirs.csv",
        question: None,
        trials: &[],
        curves: &Curves::new(&[]),
        bowls: &[],
        rates: None,
        batch: None,
        laws: &[law],
        recipe: None,
        forecast: None,
        beside: None,
    })
}

fn trial((model, params, width, layers): (&str, u64, u64, u64), ratio: u64, schedule: &str, lr: f64) -> TrialRow {
    let tokens = (params * ratio).div_ceil(BATCH) * BATCH;
    let slug = format!("{model}-{ratio}N-{schedule}-lr{lr}");
    let diverged = lr > 0.05 && (model != "57k" || schedule == "cosine");
    let worse = if schedule == "cosine" { 0.008 } else { 0.0 };
    let loss =
        chinchilla(params as f64, tokens as f64) + excess(lr, params as f64) + worse + 0.006 * wobble(&slug, tokens);
    TrialRow {
        trial: format!("t{:016x}", hash(&slug)),
        sweep: "quickstart".to_owned(),
        slug,
        state: if diverged {
            TrialState::Diverged
        } else {
            TrialState::Complete
        },
        trainer: Trainer::Proxy,
        model: model.to_owned(),
        params_non_embedding: params,
        params_total: params + 256 * width,
        width,
        layers,
        heads: width / 32,
        vocab: 256,
        context: 128,
        parametrization: Parametrization::Mup,
        lr,
        batch_tokens: BATCH,
        schedule: ScheduleName::parse(schedule).expect("a schedule"),
        warmup_tokens: 40_960,
        decay_fraction: (schedule == "wsd").then_some(0.1),
        tokens,
        tokens_asked: params * ratio,
        steps: tokens / BATCH,
        seed: 0,
        flops: 6.0 * params as f64 * tokens as f64,
        final_loss: (!diverged).then_some(loss),
        bits_per_byte: (!diverged).then_some(loss / std::f64::consts::LN_2),
        diverged_at_tokens: diverged.then_some(tokens / 5),
        device: Some("cpu (2 threads)".to_owned()),
        numerics: "f32 threads=1".to_owned(),
        code_epoch: 1,
        code_version: Some("0.1.0".to_owned()),
        data_hash: "b3:6d1f0c52".to_owned(),
        config_hash: format!("c{:016x}", hash(model) ^ tokens ^ lr.to_bits()),
        seconds: Some(tokens as f64 * params as f64 / 4e9),
        axes: BTreeMap::from([
            ("model".to_owned(), model.into()),
            ("lr".to_owned(), lr.into()),
            ("schedule.name".to_owned(), schedule.into()),
        ]),
        setup: BTreeMap::new(),
    }
}

/// What a learning rate away from the best costs.
fn excess(lr: f64, params: f64) -> f64 {
    let away = (lr / BEST_RATE).ln();
    let steep = if away > 0.0 { 0.085 } else { 0.05 };
    steep * away * away * (params / 57_184.0).powf(0.06)
}

fn rate_at(trial: &TrialRow, tokens: u64) -> f64 {
    let (at, warm, end) = (tokens as f64, trial.warmup_tokens as f64, trial.tokens as f64);
    let rise = (at / warm).min(1.0);
    let shape = if trial.schedule == ScheduleName::Cosine {
        let share = ((at - warm) / (end - warm)).clamp(0.0, 1.0);
        0.1 + 0.45 * (1.0 + (std::f64::consts::PI * share).cos())
    } else {
        let decay = 0.1 * end;
        let late = (at - (end - decay)).max(0.0) / decay;
        0.1f64.powf(late)
    };
    trial.lr * rise * shape
}

/// A number in -1..1 that looks random and is always the same.
fn wobble(name: &str, step: u64) -> f64 {
    let mixed = hash(&format!("{name}/{step}"));
    (mixed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// FNV-1a, then a finisher.
fn hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 33;
    hash.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (hash >> 29)
}

fn alternative(name: &str, params: f64, tokens: f64, loss: f64) -> Alternative {
    Alternative {
        name: name.to_owned(),
        params,
        tokens,
        flops: 6.0 * params * tokens,
        loss,
        ci95: None,
        inference_flops_per_token: 2.0 * params,
    }
}
