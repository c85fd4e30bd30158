//! What is shown while a sweep runs: bars on a terminal, plain lines elsewhere, nothing where nobody looks.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::output::{NARROW, Output, terminal_width};
use crate::model::ladder::name_of;
use crate::plan::{Plan, StagePlan};
use crate::run::train::progress::Progress;
use crate::sched::Outcome;
use crate::stage::StageKind;
use crate::units::{StageId, human_count, human_seconds, significant, whole_count};

/// How often a plain line is printed where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Bars are for few stages; more would only flicker.
const MOST_BARS: usize = 8;

/// Divergences that have a line each; a grid with a cliff has many.
const DIVERGED_SHOWN: u64 = 8;

/// The display of one run.
pub(super) struct Display {
    output: Output,
    bars: MultiProgress,
    total: ProgressBar,
    running: BTreeMap<StageId, Running>,
    /// What each stage is, in a few words.
    labels: BTreeMap<StageId, String>,
    stages_done: u64,
    stages_all: u64,
    diverged: u64,
    flops_done: f64,
    flops_all: f64,
    began: Instant,
    printed: Instant,
}

struct Running {
    bar: Option<ProgressBar>,
    began: Instant,
    flops: f64,
    label: String,
}

impl Display {
    pub(super) fn new(output: Output) -> Self {
        let target = if output.is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bars = MultiProgress::with_draw_target(target);
        let now = Instant::now();
        Self {
            output,
            total: ProgressBar::hidden(),
            bars,
            running: BTreeMap::new(),
            labels: BTreeMap::new(),
            stages_done: 0,
            stages_all: 0,
            diverged: 0,
            flops_done: 0.0,
            flops_all: 0.0,
            began: now,
            printed: now,
        }
    }

    pub(super) fn show(&mut self, progress: &Progress<'_>) {
        match progress {
            Progress::Planned { planned, stages } => self.planned(planned, stages),
            Progress::Launched(stage) => self.launched(stage),
            Progress::Point(stage, point) => self.point(stage, point.step, point.loss),
            Progress::Ended(stage, outcome, message) => self.ended(stage, *outcome, *message),
            Progress::Stopping(words) | Progress::Word(words) => self.line(words),
        }
    }

    pub(super) fn close(&self) {
        self.total.finish_and_clear();
    }

    fn planned(&mut self, planned: &crate::run::planning::Planned, stages: &[StagePlan]) {
        for note in &planned.notes {
            self.line(note);
        }
        self.labels = stages
            .iter()
            .map(|stage| (stage.id.clone(), label(stage, &planned.plan)))
            .collect();
        self.stages_all = stages.len() as u64;
        self.flops_all = stages.iter().map(StagePlan::flops).sum();
        if stages.is_empty() {
            return;
        }
        let reasons: Vec<String> = planned
            .reasons()
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        self.line(&format!(
            "{}: {} trials ({}), {} stages to train",
            planned.plan.sweep,
            planned.plan.trials.len(),
            reasons.join(", "),
            stages.len()
        ));
        self.total = self.bars.add(ProgressBar::new(1000).with_style(style("20")));
        self.refresh();
    }

    fn launched(&mut self, stage: &StagePlan) {
        let label = self.label(stage);
        let bar = (self.output.is_terminal() && self.running.len() < MOST_BARS).then(|| {
            let steps = stage.to.0 - stage.from.0;
            let bar = ProgressBar::new(steps)
                .with_style(style("18"))
                .with_message(label.clone());
            self.bars.add(bar)
        });
        self.running.insert(
            stage.id.clone(),
            Running {
                bar,
                began: Instant::now(),
                flops: 0.0,
                label,
            },
        );
    }

    fn point(&mut self, stage: &StagePlan, step: u64, loss: f64) {
        if let Some(running) = self.running.get_mut(&stage.id) {
            let done = step.saturating_sub(stage.from.0);
            let tokens = done * stage.config.batch_tokens.0;
            running.flops = crate::plan::flops_per_token(&stage.config) * tokens as f64;
            if let Some(bar) = &running.bar {
                let rate = tokens as f64 / running.began.elapsed().as_secs_f64().max(1e-3);
                bar.set_position(done);
                // Where the terminal is narrow the end is cut.
                bar.set_message(format!(
                    "loss {loss:.3}  {}  {} tok/s",
                    running.label,
                    human_count(rate)
                ));
            }
        }
        self.refresh();
        if !self.output.is_terminal() && self.printed.elapsed() > PLAIN_EVERY {
            self.printed = Instant::now();
            let text = self.summary();
            self.line(&text);
        }
    }

    fn ended(&mut self, stage: &StagePlan, outcome: Outcome, message: Option<&str>) {
        let label = self.label(stage);
        if let Some(running) = self.running.remove(&stage.id)
            && let Some(bar) = running.bar
        {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        match outcome {
            Outcome::Completed | Outcome::Diverged => {
                self.stages_done += 1;
                self.flops_done += stage.flops();
            }
            Outcome::Faulted(cause) => {
                self.line(&format!("{label}: {} ({})", cause.name(), message.unwrap_or("no word")));
            }
        }
        if outcome == Outcome::Diverged {
            self.diverged += 1;
            match self.diverged.cmp(&DIVERGED_SHOWN) {
                Ordering::Less => self.line(&format!("{label}: diverged, which is a result")),
                Ordering::Equal => self.line(&format!("{label}: diverged; from here on they are counted")),
                Ordering::Greater => {}
            }
        }
        self.refresh();
    }

    fn label(&self, stage: &StagePlan) -> String {
        let known = self.labels.get(&stage.id).cloned();
        known.unwrap_or_else(|| stage.kind.name().to_owned())
    }

    fn refresh(&self) {
        let running: f64 = self.running.values().map(|running| running.flops).sum();
        let share = (self.flops_done + running) / self.flops_all.max(1.0);
        self.total.set_position((share * 1000.0) as u64);
        self.total.set_message(self.summary());
    }

    fn summary(&self) -> String {
        let running: f64 = self.running.values().map(|running| running.flops).sum();
        let done = self.flops_done + running;
        let spent = self.began.elapsed().as_secs_f64();
        let left = if done > 0.0 {
            human_seconds(spent * (self.flops_all - done).max(0.0) / done)
        } else {
            "?".to_owned()
        };
        let diverged = match self.diverged {
            0 => String::new(),
            many => format!(" ({many} diverged)"),
        };
        format!(
            "{left} left, {}/{} stages{diverged}, {} so far, {} GFLOP/s",
            self.stages_done,
            self.stages_all,
            human_seconds(spent),
            human_count(done / spent.max(1e-3) / 1e9)
        )
    }

    fn line(&self, text: &str) {
        if self.output.is_terminal() {
            if self.bars.println(text).is_err() {
                // The terminal went away; the run goes on.
            }
        } else {
            self.output.note(text);
        }
    }
}

/// What a stage is, in a few words: its model and rate, what else the sweep varies, and which part of the run it is.
fn label(stage: &StagePlan, plan: &Plan) -> String {
    let config = &stage.config;
    let model = name_of(config.shape).map_or_else(|| format!("w{}", config.shape.width), str::to_owned);
    let mut words = vec![model, format!("lr {}", significant(config.optimizer.lr, 3))];
    let of_stage = plan.trials.iter().find(|trial| trial.stages.contains(&stage.id));
    words.extend(
        of_stage
            .iter()
            .flat_map(|trial| &trial.spec.axes)
            .filter_map(|(path, value)| {
                let name = path.rsplit('.').next().unwrap_or(path);
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match path.as_str() {
                    "model" | "lr" | "tokens" => None,
                    "batch_tokens" => Some(format!("batch {}", whole_count(config.batch_tokens.0))),
                    // A trunk is that of many decays.
                    _ if path.starts_with("shape.")
                        || (path.starts_with("schedule.") && stage.kind == StageKind::Trunk) =>
                    {
                        None
                    }
                    "schedule.name" | "schedule.decay" => Some(text),
                    _ => Some(format!("{name} {text}")),
                }
            }),
    );
    if config.seed != 0 {
        words.push(format!("seed {}", config.seed));
    }
    words.push(format!(
        "{} {}..{}",
        stage.kind.name(),
        human_count(config.tokens_at(stage.from).as_f64()),
        human_count(config.tokens_at(stage.to).as_f64())
    ));
    words.join(" ")
}

/// A bar of this width where the terminal is wide, and a short one where it is narrow: words say more.
fn style(width: &str) -> ProgressStyle {
    let is_narrow = terminal_width(std::io::stderr()).is_some_and(|width| width < NARROW);
    let width = if is_narrow { "6" } else { width };
    ProgressStyle::with_template(&format!("{{bar:{width}}} {{wide_msg}}"))
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("━╸ "))
}
