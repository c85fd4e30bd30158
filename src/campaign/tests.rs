//! Studies that are replayed without training: planted laws answer, with noise as of seeds.

use std::collections::BTreeMap;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::campaign::cost::{Cost, Costs, Planning};
use crate::campaign::decide::decide;
use crate::campaign::frame::{Frame, Setting};
use crate::campaign::gain::{Belief, Place};
use crate::campaign::grid::Grid;
use crate::campaign::questions;
use crate::campaign::state::{Chosen, Decision, Design, End, Made, State};
use crate::fit::law::{Data, Options};
use crate::fit::laws;
use crate::fit::loss::chinchilla::Objective;
use crate::fit::loss::loss_law::HoldOut;
use crate::fit::observation::{Observation, best_per_cell};
use crate::model::config::DeviceKind;
use crate::model::data_info::DataInfo;
use crate::plan::{Known, KnownStage, TrialPlan};
use crate::protocol::Trainer;
use crate::record::{TrialRow, TrialState};
use crate::spec::study_file::{self, StudyFile};
use crate::stage::{StageKind, StageState};
use crate::study::tests::trial;
use crate::units::Tokens;

/// The loss at the best rate and batch.
type Law = fn(f64, f64) -> f64;

fn chinchilla(n: f64, d: f64) -> f64 {
    1.8172 + 482.01 / n.powf(0.3478) + 2085.43 / d.powf(0.3658)
}

fn joint(n: f64, d: f64) -> f64 {
    1.7 + ((3.0e4 / n).powf(0.45) + (6.0e6 / d).powf(0.40)).powf(0.8) * 1.5
}

fn farseer(n: f64, d: f64) -> f64 {
    // Farseer, arXiv 2506.10972, section 1: its fit to its own runs, in bits per character.
    let e = (-0.021 * n.powf(0.169) - 0.091).exp();
    let (b, a) = (88.01 * n.powf(-0.1) - 5.287, -0.124 * n.powf(0.123) + 0.424);
    e + b.exp() * d.powf(-a.exp())
}

/// Rates and batches of the planted valley.
fn best_lr(n: f64, d: f64) -> f64 {
    0.009 * (d / 1e9).powf(-0.05) * (n / 1e8).powf(0.01)
}

fn best_batch(d: f64) -> f64 {
    2.6e5 * (d / 1e9).powf(0.5)
}

/// What rate and batch cost, as a share of the loss.
fn regret(n: f64, d: f64, lr: f64, batch: f64) -> f64 {
    0.006 * (lr / best_lr(n, d)).ln().powi(2) + 0.004 * (batch / best_batch(d)).ln().powi(2)
}

const STUDY: &str = "
name: replay
data: text
target: {params: 2.4B, tokens: 48B}
budget: {tokens: 1T}
questions: [noise, rates, batch, law]
ranges:
  model: [9M, 30M, 70M, 0.1B, 0.2B]
  lr: [2.5e-3, 5e-3, 1e-2, 2e-2, 4e-2]
  tokens: [500M, 1B, 2B]
  batch_tokens: [65536, 131072, 262144, 524288, 1048576]
parameters: {context: 512}
";

/// The relative scatter of seeds: that of small models of some million parameters.
const NOISE: f64 = 1.5e-3;

/// A study with what it has trained.
struct Replay {
    study: StudyFile,
    frame: Frame,
    data: BTreeMap<String, DataInfo>,
    law: Law,
    seed: u64,
    noise: f64,
    known: Known,
    rows: Vec<TrialRow>,
    made: Vec<Made>,
    tokens: u64,
}

impl Costs for Replay {
    fn of(&self, texts: &[&str]) -> Result<Cost, String> {
        self.planning().cost(texts)
    }
}

/// What came of one.
struct Outcome {
    end: End,
    tokens: f64,
    chosen: Chosen,
    runs: Vec<Observation>,
}

impl Replay {
    fn new(law: Law, seed: u64, limit: f64) -> Self {
        let (mut study, _) = study_file::read(STUDY, "replay.yaml").expect("a study");
        study.budget.limit = limit;
        let data = DataInfo {
            train_tokens: Tokens(100_000_000_000),
            ..DataInfo::of_test("text")
        };
        let setting = Setting {
            flops_per_second: 1e15,
            train_tokens: data.train_tokens.0,
        };
        Self {
            frame: Frame::all(&study, &setting).remove(0),
            study,
            data: BTreeMap::from([("text".to_owned(), data)]),
            law,
            seed,
            noise: NOISE,
            known: Known::default(),
            rows: Vec::new(),
            made: Vec::new(),
            tokens: 0,
        }
    }

    fn planning(&self) -> Planning<'_> {
        Planning {
            data: &self.data,
            device: DeviceKind::Cpu,
            trainer: Trainer::Toy,
            known: &self.known,
            flops_per_second: 1e15,
        }
    }

    fn state(&self, design: Design) -> State<'_> {
        State {
            study: &self.study,
            frame: &self.frame,
            made: &self.made,
            rows: &self.rows,
            left: self.study.budget.limit - self.tokens as f64,
            design,
            workers: 2,
            recipe: None,
        }
    }

    /// Trains a sweep: every trial answers from the planted law, off by what its seed makes of it.
    fn train(&mut self, text: &str) -> u64 {
        let plan = self.planning().plan(&[text]).expect("planned").expect("a sweep");
        let missing: Vec<_> = plan.missing(&self.known).into_iter().cloned().collect();
        let tokens = missing.iter().map(|stage| stage.tokens().0).sum();
        for trial in &plan.trials {
            if self.rows.iter().all(|row| row.trial != trial.id.0) {
                let row = self.row(trial);
                self.rows.push(row);
            }
        }
        for stage in missing {
            let has_state = stage.kind == StageKind::Trunk;
            let known = KnownStage {
                plan: stage.clone(),
                state: StageState::Complete,
                has_state,
            };
            self.known.stages.insert(stage.id, known);
        }
        tokens
    }

    fn row(&self, it: &TrialPlan) -> TrialRow {
        let settings = &it.spec.settings;
        let (n, d) = (settings.shape.params_non_embedding().as_f64(), it.tokens().as_f64());
        let (lr, batch) = (settings.lr, settings.batch_tokens.as_f64());
        let off = 1.0 + regret(n, d, lr, batch) + self.noise * self.normal(&it.config_hash);
        trial(&it.id.0, |row| {
            row.model.clone_from(&settings.model);
            row.params_non_embedding = n as u64;
            row.width = settings.shape.width;
            row.lr = lr;
            row.batch_tokens = settings.batch_tokens.0;
            row.tokens = it.tokens().0;
            row.tokens_asked = it.tokens_asked().0;
            row.seed = settings.seed;
            row.context = settings.context;
            row.decay_fraction = Some(settings.schedule.decay_fraction);
            row.state = TrialState::Complete;
            row.final_loss = Some((self.law)(n, d) * off);
            row.setup = TrialRow::setup_of(settings);
        })
    }

    /// A draw that belongs to a run.
    fn normal(&self, run: &str) -> f64 {
        let hash = blake3::hash(format!("{} {run}", self.seed).as_bytes());
        let mut random = ChaCha8Rng::from_seed(*hash.as_bytes());
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * random.random::<f64>()).cos()
    }

    /// Decides and trains until it stops.
    fn play(mut self, design: Design) -> Outcome {
        loop {
            assert!(self.made.len() < 60, "a study ends");
            match decide(&self.state(design), &self) {
                Decision::Run { proposal, cost } => {
                    let tokens = self.train(&proposal.text);
                    assert_eq!(tokens, cost.tokens, "what was told is what it costs");
                    self.tokens += tokens;
                    self.record(proposal.question.name(), proposal.what, Some(proposal.sweep), cost);
                }
                Decision::Drop { question, what, .. } => self.record(question.name(), what, None, Cost::default()),
                Decision::Stop { end, .. } => return self.outcome(design, end),
                Decision::Forecast(_) => unreachable!("not asked"),
            }
            assert!(self.tokens as f64 <= self.study.budget.limit, "the budget is hard");
        }
    }

    fn record(&mut self, question: &str, what: String, sweep: Option<String>, cost: Cost) {
        self.made.push(Made {
            n: self.made.len() as u64 + 1,
            question: question.to_owned(),
            what,
            why: String::new(),
            sweep,
            text: None,
            cost,
            outcome: Some(String::new()),
        });
    }

    fn outcome(self, design: Design, end: End) -> Outcome {
        let state = self.state(design);
        let mut chosen = Chosen::of(&self.frame);
        for &question in &self.study.questions {
            questions::step(question, &state, &mut chosen, &self, 0.0);
        }
        let runs = questions::observations(&state, &chosen);
        Outcome {
            end,
            tokens: self.tokens as f64,
            chosen,
            runs,
        }
    }

    /// The tokens of the whole grid (every size, rate, batch and budget), and what it answers without the luck of single
    /// seeds: the lowest of 25 noisy runs is lower by chance.
    fn whole_grid(mut self) -> (f64, f64) {
        self.noise = 0.0;
        let frame = self.frame.clone();
        let grid = Grid::default()
            .with("model", frame.models.iter().map(String::as_str))
            .with("lr", frame.lrs.iter().copied())
            .with("batch_tokens", frame.batches.iter().copied())
            .with("tokens", frame.tokens.iter().copied());
        let text = grid.text(&self.study, &frame, "grid", "");
        let tokens = self.train(&text) as f64;
        let runs: Vec<Observation> = self.rows.iter().filter_map(questions::observation).collect();
        let belief = Belief::of(&runs, None).expect("a law");
        (tokens, belief.loss(TARGET).expect("a loss"))
    }
}

const TARGET: Place = Place {
    params: 2.4e9,
    tokens: 48e9,
};

/// The loss at the target by the law that predicts best, with its 95 % interval.
fn answer(runs: &[Observation]) -> (f64, [f64; 2]) {
    let belief = Belief::of(runs, Some(NOISE)).expect("a law");
    let entry = laws::named(belief.law).expect("in the list");
    let data = Data {
        convention: "params_non_embedding",
        runs: runs.to_vec(),
        ..Data::default()
    };
    let options = Options {
        objective: Objective::LeastSquares,
        hold_out: HoldOut::Largest,
        bootstrap: 200,
        threads: 2,
        clock: &|| 0.0,
    };
    let fitted = (entry.fit)(&data, &options).expect("a fit");
    let said = fitted
        .kept
        .law
        .of_loss()
        .expect("of the loss")
        .predict(TARGET.params, TARGET.tokens);
    (said.mean, said.ci95_mean.expect("an interval"))
}

/// The standard error of the target's loss by one law for all, in units of the noise: what a design is worth.
fn spread(runs: &[Observation]) -> f64 {
    let entry = laws::named("chinchilla").and_then(|entry| Some((entry.about.name, entry.about.compare?)));
    let belief = entry.and_then(|(name, law)| Belief::by(name, law, &best_per_cell(runs).0, Some(NOISE)));
    let known = belief.as_ref().and_then(|belief| belief.covariance(&[TARGET]));
    let variance = known
        .zip(belief.as_ref())
        .map(|(known, belief)| known.variance(0) / belief.scatter.powi(2));
    variance.map_or(f64::INFINITY, f64::sqrt)
}

/// How one study did.
struct Played {
    told: String,
    is_good: bool,
    /// Whether random runs, and the cheapest first, say no more of the target at the same cost.
    beats: [bool; 2],
}

fn played(name: &str, law: Law, seed: u64) -> Played {
    let (grid_tokens, grid_answer) = Replay::new(law, seed, 1e15).whole_grid();
    let it = Replay::new(law, seed, 1e15).play(Design::Chosen);
    let share = it.tokens / grid_tokens;
    let (loss, [low, high]) = answer(&it.runs);
    let (n, d) = (241_214_464.0, 2e9);
    let of_best = regret(n, d, it.chosen.lr(n, 1e9), it.chosen.batch_tokens as f64);
    let batches = [65_536.0, 131_072.0, 262_144.0, 524_288.0, 1_048_576.0];
    let least = batches
        .map(|batch| regret(n, d, best_lr(n, d), batch))
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    let off = of_best - least;
    let holds = low <= grid_answer && grid_answer <= high;
    let others = [Design::Random, Design::Cheapest].map(|design| Replay::new(law, seed, it.tokens).play(design));
    assert!(others.iter().all(|other| other.tokens <= it.tokens), "at no more cost");
    let mine = spread(&it.runs);
    let [random, cheapest] = others.map(|other| spread(&other.runs));
    let told = format!(
        "{seed} {name}: {}, {:.1} % of the grid's tokens, {} runs; {loss:.4} in {low:.4} to {high:.4}, the grid \
         {grid_answer:.4}: {holds}; regret {:.3} %; errors {mine:.2}, random {random:.2}, cheapest {cheapest:.2}",
        it.end.name(),
        100.0 * share,
        it.runs.len(),
        100.0 * off
    );
    Played {
        told,
        is_good: share <= 0.25 && holds && off <= 1.5e-3,
        beats: [random, cheapest].map(|other| mine <= other * 1.000_1),
    }
}

#[test]
fn replayed_studies_find_the_answer_of_the_grid_for_a_quarter_of_its_tokens() {
    let laws: [(&str, Law); 3] = [("chinchilla", chinchilla), ("joint", joint), ("farseer", farseer)];
    let all: Vec<Played> = (0..20)
        .map(|seed| {
            let (name, law) = laws[seed as usize % laws.len()];
            played(name, law, seed)
        })
        .collect();
    let count = |of: fn(&Played) -> bool| all.iter().filter(|it| of(it)).count();
    let counts = [count(|it| it.is_good), count(|it| it.beats[0]), count(|it| it.beats[1])];
    let told: Vec<&str> = all.iter().map(|it| it.told.as_str()).collect();
    let told = told.join("\n");
    assert!(counts[0] >= 18, "{counts:?}\n{told}");
    assert!(counts[1] >= 16 && counts[2] >= 16, "{counts:?}\n{told}");
}
