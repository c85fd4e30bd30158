//! Tests of preparing data from end to end, in folders of their own.

use tempfile::TempDir;

use super::*;
use crate::data::inspect;

/// A folder of inputs and one of prepared data.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs_err::create_dir(folder.path().join("in")).unwrap();
        Self { folder }
    }

    fn write(&self, name: &str, text: &str) {
        fs_err::write(self.folder.path().join("in").join(name), text).unwrap();
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn request(&self, held_out: &[&str]) -> Request {
        Request {
            name: "test".to_owned(),
            sources: vec![Source::Path(self.folder.path().join("in"))],
            tokenizer: TokenizerSpec::Byte,
            reading: Reading::default(),
            held_out: held_out.iter().map(|text| text.parse().unwrap()).collect(),
            bytes_max: None,
            force: false,
            cargo_home: self.folder.path().join("cargo"),
        }
    }

    fn prepare(&self, request: &Request) -> Result<Summary, DataError> {
        prepare(request, &self.root(), &mut |_| {})
    }

    /// The text of a split.
    fn text(&self, split: &str) -> String {
        let data = inspect::open(&self.root(), "test").unwrap();
        let split = data.split(split).unwrap();
        let mut tokens = Vec::new();
        split.read(0..split.tokens(), &mut tokens);
        let ids: Vec<u32> = tokens.iter().map(|&token| u32::try_from(token).unwrap()).collect();
        let tokenizer = data.tokenizer().unwrap().unwrap();
        tokenizer.decode(&ids).unwrap()
    }

    fn entries(&self) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(self.root()) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.collect()
    }
}

fn poems(world: &World, count: u32) {
    for n in 0..count {
        world.write(&format!("{n:03}.txt"), &format!("poem {n:03}: roses are red\n"));
    }
}

#[test]
fn text_becomes_tokens_and_no_document_is_in_two_splits() {
    let world = World::new();
    poems(&world, 50);
    world.write("again.txt", "poem 007: roses are red\n");
    let summary = world.prepare(&world.request(&["10%", "far=10%"])).unwrap();
    assert_eq!(summary.vocab, 256);
    assert_eq!(summary.documents, 50);
    assert_eq!(summary.duplicates_dropped, 1);
    // 24 bytes and the byte after each document.
    assert_eq!(summary.tokens["train"], 40 * 25);
    assert_eq!(summary.tokens["held_out"], 5 * 25);
    assert_eq!(summary.bytes_per_token, Some(24.0 / 25.0));
    let mut all: Vec<String> = Vec::new();
    for split in ["train", "held_out", "far"] {
        all.extend(world.text(split).split_terminator('\0').map(str::to_owned));
    }
    all.sort();
    let expected: Vec<String> = (0..50).map(|n| format!("poem {n:03}: roses are red\n")).collect();
    assert_eq!(all, expected);
    assert_eq!(world.entries(), ["test"], "nothing is left beside the data");
}

#[test]
fn records_that_cannot_be_read_stop_it_or_are_left_out_and_named() {
    let world = World::new();
    poems(&world, 20);
    let lines: Vec<String> = (0..15)
        .flat_map(|n| [format!("{{\"text\":\"line {n}\"}}"), format!("{{\"text\":{n}}}")])
        .collect();
    world.write("mixed.jsonl", &lines.join("\n"));
    let mut request = world.request(&["10%"]);
    let error = world.prepare(&request).unwrap_err();
    assert_eq!(error.code(), "bad_line");
    assert!(error.to_string().contains("line 2"), "{error}");
    request.reading.skips_bad = true;
    let summary = world.prepare(&request).unwrap();
    assert_eq!((summary.documents, summary.bad_records.count), (35, 15));
    assert_eq!(summary.bad_records.first.len(), 10);
    assert!(
        summary.bad_records.first[1].contains("line 4"),
        "{:?}",
        summary.bad_records
    );
    let again = world.prepare(&request).unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(again.bad_records, summary.bad_records);
}

#[test]
fn preparing_again_is_no_work_and_other_data_needs_force() {
    let world = World::new();
    poems(&world, 20);
    let mut request = world.request(&["10%"]);
    let first = world.prepare(&request).unwrap();
    assert_eq!(first.outcome, Outcome::Prepared);
    let again = world.prepare(&request).unwrap();
    assert_eq!(again.outcome, Outcome::Unchanged);
    assert_eq!(again.hash, first.hash);
    world.write("new.txt", "one more");
    assert_eq!(world.prepare(&request).unwrap_err().code(), "name_taken");
    request.force = true;
    let forced = world.prepare(&request).unwrap();
    assert_eq!(forced.outcome, Outcome::Replaced);
    assert_ne!(forced.hash, first.hash);
    assert_eq!(world.entries(), ["test"]);
}

#[test]
fn damaged_data_is_repaired_by_the_same_command() {
    let world = World::new();
    poems(&world, 20);
    let request = world.request(&[]);
    let first = world.prepare(&request).unwrap();
    let shard = world.root().join("test/train-00000.bin");
    fs_err::write(&shard, "gone").unwrap();
    assert!(inspect::inspect(&world.root(), "test").is_err());
    let again = world.prepare(&request).unwrap();
    assert_eq!((again.outcome, again.hash), (Outcome::Replaced, first.hash));
    inspect::inspect(&world.root(), "test").unwrap();
}

#[test]
fn the_hash_does_not_depend_on_the_name_and_the_place() {
    let (one, other) = (World::new(), World::new());
    poems(&one, 20);
    poems(&other, 20);
    let mut request = other.request(&[]);
    request.name = "elsewhere".to_owned();
    let one = one.prepare(&one.request(&[])).unwrap();
    assert_eq!(one.hash, other.prepare(&request).unwrap().hash);
}

#[test]
fn a_bpe_is_trained_kept_and_decodes() {
    let world = World::new();
    poems(&world, 60);
    let mut request = world.request(&["5%"]);
    request.tokenizer = TokenizerSpec::Bpe(300);
    let summary = world.prepare(&request).unwrap();
    assert_eq!(summary.tokenizer, "bpe:300");
    assert!(summary.bytes_per_token.unwrap() > 2.0);
    assert!(world.text("train").contains("poem 0"));
    assert!(world.text("train").contains("roses are red\n<|endoftext|>"));
    // The kept file loads as a tokenizer of its own and gives the same tokens.
    let mut loaded = request.clone();
    loaded.name = "loaded".to_owned();
    loaded.tokenizer = TokenizerSpec::File(world.root().join("test/tokenizer.json"));
    assert_eq!(world.prepare(&loaded).unwrap().hash, summary.hash);
}

#[test]
fn documents_of_a_held_out_path_are_held_out_alone() {
    let world = World::new();
    poems(&world, 20);
    let own = world.folder.path().join("own.jsonl");
    fs_err::write(&own, "{\"text\":\"poem 003: roses are red\\n\"}\n{\"text\":\"new\"}\n").unwrap();
    let set = format!("own={}", own.display());
    let summary = world.prepare(&world.request(&[&set])).unwrap();
    assert_eq!(summary.documents, 21);
    assert_eq!(summary.duplicates_dropped, 1);
    assert!(world.text("own").contains("poem 003"));
    assert!(!world.text("train").contains("poem 003"));
}

#[test]
fn one_long_text_is_cut_so_that_some_can_be_held_out() {
    let world = World::new();
    let text: String = (0..2000).map(|n| format!("Line {n} of a tale.\n\n")).collect();
    world.write("tale.txt", &text);
    let mut request = world.request(&[]);
    request.sources = vec![Source::Path(world.folder.path().join("in/tale.txt"))];
    let summary = world.prepare(&request).unwrap();
    let share = summary.tokens["held_out"] as f64 / text.len() as f64;
    assert!((0.01..0.03).contains(&share), "{share}");
    let bytes: usize = ["train", "held_out"]
        .iter()
        .map(|split| world.text(split).replace('\0', "").len())
        .sum();
    assert_eq!(bytes, text.len());
}

#[test]
fn a_synthetic_source_tells_its_entropy_rate() {
    let world = World::new();
    let mut request = world.request(&["10%"]);
    request.sources = vec![Source::parse("synthetic:markov?vocab=32&tokens=20k&seed=5").unwrap()];
    let summary = world.prepare(&request).unwrap();
    assert_eq!(summary.tokens["train"], 18_000);
    assert_eq!(summary.tokens["held_out"], 2000);
    assert_eq!(summary.bytes_per_token, None);
    let Source::Markov(spec) = &request.sources[0] else {
        unreachable!("parsed above")
    };
    let chain = Markov::new(spec);
    assert_eq!(summary.entropy_rate_nats, Some(chain.entropy_rate_nats()));
    // What is on the disk is the chain: the true model loses the rate on the training windows of any context.
    let data = inspect::open(&world.root(), "test").unwrap();
    let (mut rows, context) = (Vec::new(), 8);
    let order = data.train_order(context, 1).unwrap();
    data.train()
        .unwrap()
        .batch(&order, 0..order.windows(), context, &mut rows);
    let pairs = rows.chunks(9).flat_map(|row| row.windows(2));
    let losses: Vec<f64> = pairs
        .map(|pair| {
            -chain
                .probability(&[u32::try_from(pair[0]).unwrap()], u32::try_from(pair[1]).unwrap())
                .ln()
        })
        .collect();
    let loss = losses.iter().sum::<f64>() / losses.len() as f64;
    assert!((loss - chain.entropy_rate_nats()).abs() < 0.04, "{loss}");
    assert_eq!(world.prepare(&request).unwrap().outcome, Outcome::Unchanged);
}

#[test]
fn bad_input_is_told_and_changes_nothing() {
    let world = World::new();
    let code = |request: &Request| world.prepare(request).unwrap_err().code();
    assert_eq!(code(&world.request(&[])), "empty_corpus");
    world.write("empty.txt", "");
    assert_eq!(code(&world.request(&[])), "empty_corpus");
    world.write("one.txt", "one document");
    assert_eq!(code(&world.request(&[])), "split_empty");
    poems(&world, 5);
    let mut request = world.request(&[]);
    request.name = "../up".to_owned();
    assert_eq!(code(&request), "bad_name");
    request.name = "test".to_owned();
    request.sources.push(Source::Path(PathBuf::from("/no/such")));
    assert_eq!(code(&request), "missing_corpus");
    request.sources[1] = Source::parse("synthetic:markov").unwrap();
    assert_eq!(code(&request), "bad_synthetic");
    request.sources.pop();
    request.tokenizer = TokenizerSpec::File(PathBuf::from("no.json"));
    assert_eq!(code(&request), "bad_tokenizer");
    world.write("bad.jsonl", "{\"text\":\"a\"}\nnonsense\n");
    request.tokenizer = TokenizerSpec::Byte;
    assert_eq!(code(&request), "bad_line");
    assert_eq!(world.entries(), Vec::<String>::new());
}

#[test]
fn what_is_there_is_listed_and_shown() {
    let world = World::new();
    assert!(inspect::list(&world.root()).unwrap().is_empty());
    poems(&world, 20);
    world.prepare(&world.request(&[])).unwrap();
    let listed = inspect::list(&world.root()).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].1.as_ref().unwrap().name, "test");
    let shown = inspect::inspect(&world.root(), "test").unwrap();
    assert!(shown.samples[0].text.as_ref().unwrap().starts_with("poem 0"));
    let unknown = inspect::open(&world.root(), "tset").unwrap_err();
    assert_eq!(unknown.hint().as_deref(), Some("did you mean `test`?"));
}

#[test]
fn rust_sources_are_the_same_data_everywhere() {
    let world = World::new();
    let mut request = world.request(&[]);
    request.sources = vec![Source::RustSources];
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    request.cargo_home = cargo_home
        .or_else(|| Some(std::env::home_dir()?.join(".cargo")))
        .expect("a home");
    let summary = world.prepare(&request).unwrap();
    // Recorded runs are named by this hash: a change of the list, of what is taken or of its order is a new corpus.
    assert_eq!(summary.hash, "6f99bb596fef057578d7779525cec599");
    assert_eq!((summary.documents, summary.duplicates_dropped), (5049, 37));
}
