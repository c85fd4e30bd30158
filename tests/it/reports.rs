//! Pages beyond that of one sweep: of a law of learning rate and batch, and of two studies side by side.

use fs_err as fs;
use serde_json::Value;

use crate::recipes::Planted;

/// A grid of rates and batches whose best lies inside.
const GRID: &str = "
name: grid
data: text
parameters:
  model: [6K, 13K, 24K, 80K, 189K]
  lr: [5e-3, 7e-3, 1e-2, 1.4e-2, 2e-2]
  batch_tokens: [500, 1000, 2000, 4000, 8000, 20000]
  tokens: [200k, 400k, 800k]
  context: 100
  schedule: {name: wsd, warmup: 4000}
";

fn figures(written: &Value) -> Vec<&str> {
    let all = written["figures"].as_array().expect("figures").iter();
    all.filter_map(|it| it["name"].as_str()).collect()
}

#[test]
fn a_law_of_rate_and_batch_has_its_page() {
    let planted = Planted::new(r#"{"batch_cost":0.02,"by_size":-0.1,"noise":0.001}"#, GRID);
    let fit = planted
        .run(&["fit", "grid", "--law", "lr-batch", "--toy", "--json"])
        .ok();
    let name = fit["fit"].as_str().expect("a name");
    let grid = fit["groups"][0]["grid"].as_array().expect("the points of the grid");
    assert_eq!(grid.len(), 30);
    let written = planted.run(&["report", name, "--out", "page", "--json"]).ok();
    assert_eq!(figures(&written), ["rate-batch", "rate-batch-law", "rate-batch-regret"]);
    let page = fs::read_to_string(planted.world.path("page/index.html")).expect("written");
    let exponent = fit["laws"]["batch"]["d_exponent"]["value"].as_f64().expect("a number");
    assert!((exponent - 0.5).abs() < 0.1, "planted: {exponent}");
    for words in [
        format!("D^{exponent:.2}"),
        "by the law: lr".to_owned(),
        "95 % intervals".to_owned(),
        "one learning rate and batch for all would cost".to_owned(),
    ] {
        assert!(page.contains(&words), "{words}");
    }
    // A fit that was kept without the points of its grids says so.
    let panels = page.matches("<svg").count();
    assert!(panels >= 3, "{panels}");
}

#[test]
fn two_studies_stand_side_by_side_cell_by_cell() {
    let batch = |tokens: u64| {
        format!(
            "name: batch-{tokens}\ndata: text\nparameters:\n  model: [6K, 24K]\n  lr: [3e-3, 1e-2, 3e-2]\n  batch_tokens: \
             {tokens}\n  tokens: [200k, 400k]\n  context: 100\n  schedule: {{name: wsd, warmup: 8000}}\n"
        )
    };
    let planted = Planted::new(r#"{"batch_cost":0.02}"#, &batch(2000));
    planted.world.write("large.yaml", &batch(8000));
    planted.run(&["run", "large.yaml", "--toy", "--json"]).ok();
    let args = [
        "report",
        "batch-2000",
        "--beside",
        "batch-8000",
        "--out",
        "page",
        "--toy",
        "--json",
    ];
    let written = planted.run(&args).ok();
    assert!(figures(&written).contains(&"beside"), "{written}");
    let page = fs::read_to_string(planted.world.path("page/index.html")).expect("written");
    // What the larger batch costs at each budget is planted: 0.02 (ln(B / 4000) - ln(D / 1M) / 2)².
    let cost = |batch: f64, tokens: f64| 0.02 * ((batch / 4000.0).ln() - 0.5 * (tokens / 1e6).ln()).powi(2);
    let planted_mean = [200e3, 400e3]
        .map(|tokens| cost(8000.0, tokens) - cost(2000.0, tokens))
        .iter()
        .sum::<f64>()
        / 2.0;
    let words = format!("batch-8000 less batch-2000: {planted_mean:+.4}");
    assert!(page.contains(&words), "{words}");
    assert!(page.contains("over 12 cells"), "two sizes, three rates, two budgets");
    assert!(page.contains("They differ in batch_tokens 2000 against 8000"));
    let other = batch(2000)
        .replace("name: batch-2000", "name: other")
        .replace("[6K, 24K]", "[13K, 80K]");
    planted.world.write("other.yaml", &other);
    planted.run(&["run", "other.yaml", "--toy", "--json"]).ok();
    let refused = planted.run(&["report", "batch-2000", "--beside", "other", "--toy", "--json"]);
    assert_eq!((refused.code, refused.error().as_str()), (2, "nothing_compares"));
}
