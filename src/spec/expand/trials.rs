//! Trials in the making: overrides, conditions, exclusions, and each configuration once.
//!
//! Refuses to know where the combinations come from (`combinations`).

use std::collections::{BTreeMap, BTreeSet};

use crate::spec::axes::{AXES, find};
use crate::spec::expand::combinations::{Row, Unit, drawn, nth, product, unit};
use crate::spec::kind::Setting;
use crate::spec::read::parameters::Condition;
use crate::spec::read::{Draft, Method};
use crate::spec::resolve::{Assignment, Problem, check, resolve, setting, value};
use crate::spec::settings::Settings;
use crate::spec::sweep::TrialSpec;
use crate::spec::syntax::mistakes::{Findings, Wrong};
use crate::units::{Length, TokenBudget};

/// Trials in the making.
pub(crate) struct Trials<'d> {
    draft: &'d Draft,
    conditions: Vec<(usize, Vec<&'d Condition>)>,
    broken: BTreeSet<usize>,
    /// What has been asked for already.
    seen: BTreeSet<String>,
    /// How often each exclusion took something out.
    excluded: Vec<u64>,
    /// The rungs that were met.
    rungs: BTreeSet<String>,
    settings: Vec<Settings>,
}

impl<'d> Trials<'d> {
    /// No trials yet; nothing is said about axes that are `broken`.
    pub(crate) fn new(draft: &'d Draft, conditions: Vec<(usize, Vec<&'d Condition>)>, broken: BTreeSet<usize>) -> Self {
        Self {
            draft,
            conditions,
            broken,
            seen: BTreeSet::new(),
            excluded: vec![0; draft.exclude.len()],
            rungs: BTreeSet::new(),
            settings: Vec::new(),
        }
    }

    /// Adds the trials of one point: the overrides of its model, and every seed.
    pub(crate) fn point(&mut self, row: Row, index: u64, findings: &mut Findings) {
        let mut base = Assignment::new();
        // The first unit, a list of trials, comes last out of `nth` and wins.
        base.extend(row);
        let model = find("model").and_then(|axis| base.get(&axis));
        let rung = match model.map(|given| &given.setting) {
            Some(Setting::Word(rung)) => Some(rung.clone()),
            Some(_) | None => None,
        };
        self.rungs.extend(rung.clone());
        let replaced = self
            .draft
            .overrides
            .iter()
            .filter(|(name, _, _)| rung.as_deref() == Some(*name))
            .flat_map(|(_, _, parameters)| &parameters.asked);
        let method = self.draft.method;
        let units: Vec<Unit> = replaced.filter_map(|asked| unit(asked, method, findings)).collect();
        let rows: Vec<Row> = match method {
            Method::Random => vec![drawn(&units, self.draft.random_seed, index)],
            Method::Grid | Method::List => (0..product(&units)).map(|i| nth(&units, i)).collect(),
        };
        for row in rows {
            let mut values = base.clone();
            values.extend(row);
            for &seed in &self.draft.seeds {
                self.trial(values.clone(), seed, findings);
            }
        }
    }

    /// Adds one trial, unless it is excluded, impossible or there already.
    fn trial(&mut self, mut values: Assignment, seed: u64, findings: &mut Findings) {
        for (axis, conditions) in &self.conditions {
            if !values.contains_key(axis) {
                continue;
            }
            let settings = match resolve(&values, seed) {
                Ok(settings) => settings,
                Err(problem) => return self.report(&problem, &values, findings),
            };
            if !conditions.iter().all(|c| c.expr.holds(&|name| value(&settings, name))) {
                values.remove(axis);
            }
        }
        let settings = match resolve(&values, seed) {
            Ok(settings) => settings,
            Err(problem) => return self.report(&problem, &values, findings),
        };
        let mut out = false;
        for (condition, count) in self.draft.exclude.iter().zip(&mut self.excluded) {
            if condition.expr.holds(&|name| value(&settings, name)) {
                *count += 1;
                out = true;
            }
        }
        if out {
            return;
        }
        let problems = check(&settings);
        for problem in &problems {
            self.report(problem, &values, findings);
        }
        if problems.is_empty() && self.seen.insert(identity(&settings)) {
            self.settings.push(settings);
        }
    }

    /// Reports a problem at the first of its axes that was given, unless one of them could not be read.
    fn report(&self, problem: &Problem, values: &Assignment, findings: &mut Findings) {
        let axes = || problem.axes.iter().filter_map(|path| find(path));
        if axes().any(|axis| self.broken.contains(&axis)) {
            return;
        }
        if let Some(given) = axes().find_map(|axis| values.get(&axis)) {
            findings.mistake(given.place, &given.key, problem.wrong.clone());
        } else {
            let path = problem.axes.first().copied().unwrap_or_default();
            let key = format!("parameters.{path}");
            findings.mistake(self.draft.place, &key, problem.wrong.clone());
        }
    }

    /// The trials and the axes that vary, with notes on what had no effect.
    pub(crate) fn finish(self, findings: &mut Findings) -> (Vec<TrialSpec>, Vec<String>) {
        let draft = self.draft;
        for (condition, &count) in draft.exclude.iter().zip(&self.excluded) {
            if count == 0 {
                findings.note(condition.place, format!("`exclude` met nothing: {}", condition.text));
            }
        }
        if self.settings.is_empty() && self.excluded.iter().any(|&count| count > 0) {
            let place = draft.exclude.first().map_or(draft.place, |condition| condition.place);
            let wrong = Wrong::new("every trial is excluded");
            if findings.count() == 0 {
                findings.mistake(place, "exclude", wrong);
            }
        }
        for (rung, place, _) in &draft.overrides {
            if !self.rungs.contains(*rung) {
                findings.note(
                    *place,
                    format!("overrides of `{rung}` have no effect: it is not among the models"),
                );
            }
        }
        self.note_warmups(findings);
        let mut paths: Vec<&str> = Vec::new();
        for asked in draft.all_parameters().flat_map(|parameters| &parameters.asked) {
            let path = AXES[asked.axis].path;
            if self.settings.iter().all(|settings| setting(settings, path).is_none()) {
                findings.note(
                    asked.place,
                    format!(
                        "`{path}` has no effect: no trial uses it: its schedule, or its parametrization, does without"
                    ),
                );
            }
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths.push("seed");
        let varies = |path: &&str| {
            let json = |settings: &Settings| setting(settings, path).map(|s| s.json().to_string());
            let values: BTreeSet<String> = self.settings.iter().filter_map(json).collect();
            values.len() > 1
        };
        paths.retain(varies);
        let spec = |settings: Settings| {
            let value = |path: &&str| Some(((*path).to_owned(), setting(&settings, path)?.json()));
            let axes = paths.iter().filter_map(value).collect();
            TrialSpec { axes, settings }
        };
        let trials = self.settings.into_iter().map(spec).collect();
        (trials, paths.into_iter().map(str::to_owned).collect())
    }

    /// Says so when the default warm-up keeps budgets from sharing their beginning.
    fn note_warmups(&self, findings: &mut Findings) {
        let given = self
            .draft
            .all_parameters()
            .any(|parameters| parameters.asked.iter().any(|a| AXES[a.axis].path == "schedule.warmup"));
        let mut warmups: BTreeMap<(&str, u64), BTreeSet<u64>> = BTreeMap::new();
        for settings in &self.settings {
            if let Length::Count(tokens) = settings.schedule.warmup {
                warmups
                    .entry((settings.model.as_str(), settings.batch_tokens.0))
                    .or_default()
                    .insert(tokens.0);
            }
        }
        if !given && warmups.values().any(|lengths| lengths.len() > 1) {
            let text = "the default warm-up is shorter in short runs, so budgets cannot share a trunk; \
                        give `schedule.warmup` in tokens";
            findings.note(self.draft.place, text);
        }
    }
}

/// What makes two trials one: everything that is set, with amounts in tokens.
fn identity(settings: &Settings) -> String {
    let mut same = settings.clone();
    let tokens = same.tokens.resolve(same.shape.params_non_embedding());
    same.tokens = TokenBudget::Count(tokens);
    same.schedule.warmup = Length::Count(same.schedule.warmup.resolve(tokens));
    serde_json::to_string(&same).expect("settings are numbers and words")
}
