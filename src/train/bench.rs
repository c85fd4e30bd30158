//! How fast this machine trains a shape, and how near that is to the peak of its matrix products.
//!
//! Refuses to know about jobs and data: the tokens are random, as frequent as words are (Zipf's law).

use std::time::{Duration, Instant};

use clap::Args;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand_chacha::ChaCha8Rng;
use sandbox::model::config::{ADAM_EPS, DeviceKind, Numerics, Optimizer, Precision, RunConfig};
use sandbox::model::mup::{Multipliers, Parametrization};
use sandbox::model::schedule::{Form, Schedule};
use sandbox::model::shape::Shape;
use sandbox::model::{flops, ladder};
use sandbox::units::{Steps, Tokens};
use serde::Serialize;
use tch::{Cuda, Device, Kind, Tensor};

use crate::failure::Failure;
use crate::system;
use crate::trainer::model::Batch;
use crate::trainer::step::{NotFinite, Trainer};

/// Shortest span whose rate is taken; the median over the spans is reported.
const WINDOW: Duration = Duration::from_millis(400);
/// Steps before measuring: the first ones allocate.
const WARM_UP: usize = 3;
/// Batches that are used in turn.
const BATCHES: u64 = 4;
/// Sides of the square products whose best rate is the peak.
const SIDES: [i64; 4] = [256, 512, 1024, 2048];

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// A shape of the ladder.
    #[arg(long, conflicts_with = "shape")]
    model: Option<String>,
    /// A shape: `width=64,layers=4,heads=4[,kv_heads=4][,d_ff=160]`.
    #[arg(long, required_unless_present = "model")]
    shape: Option<String>,
    /// Tokens in a sequence.
    #[arg(long, default_value_t = 256)]
    context: u64,
    /// Size of the vocabulary.
    #[arg(long, default_value_t = 512)]
    vocab: u64,
    /// Tokens in a batch.
    #[arg(long, default_value_t = 4096)]
    batch_tokens: u64,
    /// Sequences in one forward pass; the whole batch if not given.
    #[arg(long)]
    micro_batch: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: u64,
    /// Seconds of measuring.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Device by libtorch's name.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Products in bfloat16; needs CUDA.
    #[arg(long)]
    bfloat16: bool,
    /// As one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// One shape's measurement.
#[derive(Serialize)]
struct Row {
    model: String,
    context: u64,
    batch_tokens: u64,
    micro_batch: u64,
    precision: &'static str,
    tokens_per_second: f64,
    flops_per_token: f64,
    /// Share of the matrix peak.
    peak_fraction: f64,
    peak_bytes: Option<u64>,
}

/// All that `bench` says.
#[derive(Serialize)]
pub(crate) struct Report {
    device: String,
    threads: u64,
    libtorch: String,
    /// Floating-point operations a second of the best square product.
    peak_flops: f64,
    rows: Vec<Row>,
}

/// Measures.
pub(crate) fn measure(options: &Options) -> Result<Report, Failure> {
    let (name, shape) = shape(options)?;
    let device = system::device(&options.device).map_err(Failure::refused)?;
    let config = config(options, shape, device)?;
    tch::set_num_threads(i32::try_from(options.threads).unwrap_or(i32::MAX));
    let peak_flops = matrix_peak(device, config.precision);
    system::reset_peak();
    let tokens_per_second = training_rate(&config, device, options.seconds)?;
    let flops_per_token = flops::per_token(shape, options.vocab, options.context);
    let row = Row {
        model: name,
        context: options.context,
        batch_tokens: options.batch_tokens,
        micro_batch: config.numerics.micro_batch,
        precision: config.precision.name(),
        tokens_per_second,
        flops_per_token,
        peak_fraction: tokens_per_second * flops_per_token / peak_flops,
        peak_bytes: system::peak_bytes(device),
    };
    Ok(Report {
        device: system::describe(device),
        threads: options.threads,
        libtorch: system::libtorch_version(),
        peak_flops,
        rows: vec![row],
    })
}

/// The shape that was asked for, with its name.
fn shape(options: &Options) -> Result<(String, Shape), Failure> {
    if let Some(name) = &options.model {
        let rung =
            ladder::find(name).ok_or_else(|| Failure::refused(format!("`{name}` is not on the ladder; `9M` is")))?;
        return Ok((rung.name.to_owned(), rung.shape));
    }
    let text = options.shape.as_deref().unwrap_or_default();
    let value = |key: &str| {
        text.split(',').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            (name.trim() == key).then(|| value.trim().parse::<u64>())
        })
    };
    let number = |key: &str, default: Option<u64>| match (value(key), default) {
        (Some(Ok(number)), _) | (None, Some(number)) => Ok(number),
        (Some(Err(_)) | None, _) => Err(Failure::refused(format!(
            "`--shape {text}` has no number `{key}`: write `width=64,layers=4,heads=4`"
        ))),
    };
    let (width, heads) = (number("width", None)?, number("heads", None)?);
    let kv_heads = number("kv_heads", Some(heads))?;
    let d_ff = number("d_ff", Some(width * 5 / 2))?;
    let shape = Shape::new(width, number("layers", None)?, heads, kv_heads, d_ff)
        .map_err(|error| Failure::refused(error.to_string()))?;
    Ok((text.to_owned(), shape))
}

/// A run of the shape with a small constant learning rate.
fn config(options: &Options, shape: Shape, device: Device) -> Result<RunConfig, Failure> {
    let sequences = options.batch_tokens / options.context.max(1);
    if options.context == 0 || sequences * options.context != options.batch_tokens || sequences == 0 {
        return Err(Failure::refused("`--batch-tokens` must be a multiple of `--context`"));
    }
    if options.vocab < 2 {
        return Err(Failure::refused("`--vocab` must be 2 or more"));
    }
    if options.bfloat16 && !device.is_cuda() {
        return Err(Failure::refused("`--bfloat16` needs a CUDA device"));
    }
    Ok(RunConfig {
        shape,
        vocab: options.vocab,
        context: options.context,
        parametrization: Parametrization::Mup,
        multipliers: Multipliers::default(),
        optimizer: Optimizer {
            lr: 1e-3,
            weight_decay: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            eps: ADAM_EPS,
            clip: 1.0,
        },
        batch_tokens: Tokens(options.batch_tokens),
        schedule: Schedule {
            warmup: Steps(0),
            form: Form::Constant,
        },
        seed: 1,
        data_hash: String::new(),
        precision: if options.bfloat16 {
            Precision::Bfloat16
        } else {
            Precision::Float32
        },
        numerics: Numerics {
            device: if device.is_cuda() {
                DeviceKind::Cuda
            } else {
                DeviceKind::Cpu
            },
            threads: options.threads,
            micro_batch: options.micro_batch.unwrap_or(sequences).clamp(1, sequences),
        },
    })
}

/// Best rate over square products, in floating-point operations a second.
fn matrix_peak(device: Device, precision: Precision) -> f64 {
    let kind = match precision {
        Precision::Float32 => Kind::Float,
        Precision::Bfloat16 => Kind::BFloat16,
    };
    let rate = |side: i64| {
        let a = Tensor::ones([side, side], (kind, device));
        let out = a.zeros_like();
        let flops = 2.0 * (side as f64).powi(3);
        // Some 20 ms of products, the best of ten such bursts.
        let repeats = (2e9 / flops).ceil() as usize;
        let burst = || {
            let start = Instant::now();
            for _ in 0..repeats {
                drop(a.mm_out(&out, &a));
            }
            synchronize(device);
            flops * repeats as f64 / start.elapsed().as_secs_f64()
        };
        burst();
        (0..10).map(|_| burst()).fold(0.0, f64::max)
    };
    SIDES.into_iter().map(rate).fold(0.0, f64::max)
}

/// Median rate of whole optimiser steps, in tokens a second.
fn training_rate(config: &RunConfig, device: Device, seconds: f64) -> Result<f64, Failure> {
    let batches: Vec<Batch> = (0..BATCHES).map(|seed| zipf_batch(config, seed, device)).collect();
    let mut trainer = Trainer::new(config, device);
    let mut turn = batches.iter().cycle();
    let mut step = || {
        let batch = turn.next().expect("there are batches");
        trainer
            .step(batch)
            .map_err(|NotFinite| Failure::from_message("the loss of the benchmark is not finite"))
    };
    for _ in 0..WARM_UP {
        step()?;
    }
    synchronize(device);
    let mut rates = Vec::new();
    let begin = Instant::now();
    while rates.is_empty() || begin.elapsed().as_secs_f64() < seconds {
        let (start, mut steps) = (Instant::now(), 0);
        while steps == 0 || start.elapsed() < WINDOW {
            step()?;
            steps += 1;
        }
        synchronize(device);
        rates.push(config.batch_tokens.as_f64() * f64::from(steps) / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    Ok(rates[rates.len() / 2])
}

/// A batch of random tokens, the k-th as frequent as `1/k`.
fn zipf_batch(config: &RunConfig, seed: u64, device: Device) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let frequencies = (1..=config.vocab).map(|rank| 1.0 / rank as f64);
    let zipf = WeightedIndex::new(frequencies).expect("frequencies are positive");
    let count = config.sequences() * (config.context + 1);
    let tokens: Vec<i64> = (0..count)
        .map(|_| i64::try_from(zipf.sample(&mut rng)).expect("a token"))
        .collect();
    Batch::from_windows(&tokens, config.context, device)
}

fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        Cuda::synchronize(i64::try_from(index).unwrap_or(0));
    }
}
