//! The law that predicts best is chosen, and who has no answer says why.

use super::*;

/// A grid over size, tokens and batch, by a law that knows the batch or not.
fn grid(batch_matters: bool) -> Vec<Observation> {
    let mut runs = Vec::new();
    for params in [1e6_f64, 2e6, 4e6, 8e6, 1.6e7] {
        for tokens in [2e7_f64, 6e7, 2e8, 6e8] {
            for batch in [2e4_f64, 4e4, 8e4, 1.6e5, 3.2e5] {
                let of_tokens = if batch_matters {
                    30.0 * (tokens / batch).powf(-0.5) + 300.0 * batch.powf(-0.5)
                } else {
                    2000.0 * tokens.powf(-0.37)
                };
                let loss = 1.5 + 300.0 * params.powf(-0.35) + of_tokens;
                runs.push(Observation {
                    label: format!("{params} {tokens} {batch}"),
                    params,
                    tokens,
                    loss,
                    lr: None,
                    batch_tokens: Some(batch),
                    schedule: None,
                    seed: None,
                    flops: None,
                    setup: None,
                });
            }
        }
    }
    runs
}

fn compare(name: &str) -> Compare {
    let law = crate::fit::laws::named(name).expect("a law");
    law.about.compare.expect("a law of loss")
}

fn ask(runs: &[Observation], law: &str, hold_out: HoldOut) -> Result<Option<HeldOut>, Refusal> {
    held_out_error(runs, compare(law), Objective::LeastSquares, hold_out)
}

#[test]
fn both_laws_are_asked_for_the_same_runs() {
    let runs = grid(true);
    let ask = |law| ask(&runs, law, HoldOut::Largest).expect("fits").expect("held out");
    let (two, three) = (ask("chinchilla"), ask("three-term"));
    assert_eq!((two.n, three.n), (4, 4));
    assert!(three.mean_abs_rel_error < two.mean_abs_rel_error, "{three:?} {two:?}");
    assert!(three.mean_abs_rel_error < 1e-6, "{three:?}");
    let laws = ["chinchilla", "three-term"].map(|law| (law, compare(law)));
    let tried = try_all(&laws, &runs, Objective::Huber, HoldOut::Largest).expect("an answer");
    assert_eq!(tried[0].law, "three-term");
    assert!(
        try_all(&laws, &runs, Objective::Huber, HoldOut::None).is_err(),
        "nothing is held out"
    );
}

#[test]
fn a_law_that_the_other_runs_refuse_says_so() {
    let mut runs = grid(false);
    for run in &mut runs {
        run.batch_tokens = None;
    }
    assert!(ask(&runs, "three-term", HoldOut::Largest).is_err(), "no batch is known");
    let found = ask(&runs, "chinchilla", HoldOut::Largest)
        .expect("fits")
        .expect("held out");
    assert!(found.max_abs_rel_error < 1e-6, "{found:?}");
    assert_eq!(ask(&runs, "chinchilla", HoldOut::None), Ok(None));
}
