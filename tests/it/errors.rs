//! Bad input: one clear error, its exit code, and nothing changed.

use fs_err as fs;

use crate::world::World;

const GOOD: &str = "
name: good
parameters:
  data: text
  model: 6K
  lr: 1e-2
  tokens: 200k
  batch_tokens: 4000
  context: 100
  schedule.warmup: 8000
";

/// A world with data in it, and how it looked before.
fn prepared() -> World {
    let world = World::new();
    world.prepare_text();
    world
}

fn refused(world: &World, sweep: &str, code: i32, error: &str) -> serde_json::Value {
    let before = world.files();
    world.write("bad.yaml", sweep);
    let ran = world.run(&["run", "bad.yaml", "--json"]);
    let value = ran.json();
    assert_eq!(
        (ran.code, value["error"]["code"].as_str()),
        (code, Some(error)),
        "{}",
        ran.stderr
    );
    assert_eq!(world.files(), before, "nothing may change");
    value
}

#[test]
fn every_mistake_of_a_sweep_is_named_with_its_place() {
    let world = prepared();
    let bad = GOOD
        .replace("lr: 1e-2", "lr: [1e-2, .nan]\n  learning_rate: 1")
        .replace("tokens: 200k", "tokens: []");
    let value = refused(&world, &bad, 2, "invalid_sweep");
    let at = value["error"]["at"].as_array().expect("mistakes");
    assert!(at.len() >= 3, "{value}");
    for mistake in at {
        assert!(
            mistake["line"].as_u64() > Some(0) && mistake["column"].as_u64() > Some(0),
            "{mistake}"
        );
        assert!(mistake["key"].is_string() && mistake["file"].is_string());
    }
    assert!(
        at.iter()
            .any(|mistake| mistake["suggestion"].as_str().is_some_and(|text| text.contains("lr"))),
        "{value}"
    );
}

#[test]
fn what_is_missing_or_does_not_fit_is_said() {
    let world = prepared();
    refused(&world, &GOOD.replace("data: text", "data: nowhere"), 2, "no_data");
    refused(&world, "name: [", 2, "invalid_sweep");
    refused(
        &world,
        &GOOD.replace("batch_tokens: 4000", "batch_tokens: 4001"),
        2,
        "invalid_sweep",
    );
    refused(&world, &GOOD.replace("tokens: 200k", "tokens: 1k"), 2, "invalid_sweep");
    let ran = world.run(&["run", "no-such-file.yaml", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "no_sweep_file"));
    let ran = world.run(&["run", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "usage"));
    let ran = world.run(&["fit", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "no_database"));
}

#[test]
fn a_damaged_shard_is_refused_with_six_until_it_is_prepared_again() {
    let world = prepared();
    let data = world.home().join("data/text");
    let mut shards = fs::read_dir(data).expect("data").flatten().map(|entry| entry.path());
    let shard = shards
        .find(|path| path.to_string_lossy().contains("train"))
        .expect("a training shard");
    let whole = fs::read(&shard).expect("readable");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&shard, &flipped).expect("written");
    refused(&world, GOOD, 6, "damaged_data");
    fs::write(&shard, &whole[..whole.len() - 2]).expect("written");
    let refusal = refused(&world, GOOD, 6, "damaged_data");
    let message = refusal["error"]["message"].as_str().expect("a message");
    assert!(message.contains(shard.to_str().expect("a path is text")), "{message}");
    world.prepare_text();
    world.run(&["run", "bad.yaml", "--toy", "--json"]).ok();
}

#[test]
fn a_held_home_is_refused_with_five() {
    let world = prepared();
    world.write("good.yaml", GOOD);
    let lock = fs::File::create(world.home().join("sandbox.lock")).expect("a lock");
    lock.file().lock().expect("free");
    let ran = world.run(&["run", "good.yaml", "--toy", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (5, "home_held"));
    drop(lock);
    world.run(&["run", "good.yaml", "--toy", "--json"]).ok();
}

#[test]
fn a_home_that_cannot_be_written_is_refused_with_six() {
    let world = prepared();
    world.write("good.yaml", GOOD);
    let blocked = world.write("blocked", "a file, not a folder");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sandbox"));
    let path = blocked.join("home");
    let args = ["data", "prepare", "corpus", "--name", "text", "--json", "--home"];
    let output = command
        .current_dir(world.path(""))
        .args(args)
        .arg(&path)
        .output()
        .expect("the program starts");
    let ran = crate::world::ran(&output);
    assert_eq!(ran.code, 6, "{} {}", ran.stdout, ran.stderr);
}

#[test]
fn a_database_that_is_none_is_refused_with_six() {
    let world = prepared();
    world.write("good.yaml", GOOD);
    fs::write(
        world.home().join("sandbox.db"),
        "not a database, but long enough to look like a file",
    )
    .expect("written");
    let ran = world.run(&["run", "good.yaml", "--toy", "--json"]);
    assert_eq!(
        (ran.code, ran.error().as_str()),
        (6, "damaged_database"),
        "{}",
        ran.stderr
    );
}

#[test]
fn unknown_names_come_with_what_was_meant() {
    let world = prepared();
    world.write("good.yaml", GOOD);
    world.run(&["run", "good.yaml", "--toy", "--json"]).ok();
    let ran = world.run(&["export", "goood", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "unknown_sweep"));
    assert_eq!(ran.json()["error"]["hints"][0], "did you mean `good`?");
    let few = world.run(&["fit", "good", "--toy", "--json"]);
    assert_eq!((few.code, few.error().as_str()), (4, "too_few_sizes"));
}
