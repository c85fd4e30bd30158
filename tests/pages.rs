//! Pages opened in a real browser: no error, every figure visible, no words that meet or are cut off, on a wide and a
//! narrow screen, light and dark.

#[path = "browser/find.rs"]
mod find;
#[path = "it/skip.rs"]
mod skip;
mod study;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;
use sandbox::draw::{figures, page};
use sandbox::report::ReportView;
use serde::Deserialize;

/// What `browser/measure.js` says of a page at one width.
#[derive(Debug, Deserialize)]
struct Measured {
    width: f64,
    dark: bool,
    ground: String,
    errors: Vec<String>,
    scrolls: f64,
    clipped: Vec<String>,
    figures: Vec<Figure>,
    hover: String,
    keyed: String,
}

/// What it says of a figure.
#[derive(Debug, Deserialize)]
struct Figure {
    name: String,
    trouble: Vec<String>,
    texts: usize,
}

/// A browser with a folder of its own.
struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Browser {
    /// The browser of this machine; none, and the reason is printed, where there is none.
    fn find(test: &str) -> Option<Self> {
        let program = find::find();
        if program.is_none() {
            skip::skip(test, "chromium is not installed");
        }
        let folder = tempfile::tempdir().expect("a folder");
        program.map(|program| Self { program, folder })
    }

    /// Opens a page and measures it at every width; and what the browser itself says of it.
    fn open(&self, html: &str, dark: bool) -> (Vec<Measured>, Vec<String>) {
        let watched = html.replacen("<head>", &format!("<head>{}", find::WATCH), 1);
        let harness = format!(
            "<!doctype html><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><body>\
             <pre id=\"measured\"></pre><script type=\"text/plain\" id=\"page\">{}</script><script>{}{}</script>",
            percent(&watched),
            include_str!("browser/boxes.js"),
            include_str!("browser/measure.js")
        );
        let file = self.folder.path().join("harness.html");
        fs::write(&file, harness).expect("written");
        let output = Command::new(&self.program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .args([
                "--window-size=1500,1000",
                "--virtual-time-budget=20000",
                "--enable-logging=stderr",
            ])
            .arg(format!(
                "--user-data-dir={}",
                self.folder.path().join("profile").display()
            ))
            .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)))
            .arg("--dump-dom")
            .arg(format!("file://{}", file.display()))
            .stdin(Stdio::null())
            .output()
            .expect("the browser starts");
        let said = String::from_utf8_lossy(&output.stderr);
        let console = said.lines().filter(|line| line.contains("CONSOLE"));
        let dom = String::from_utf8_lossy(&output.stdout);
        let text = dom
            .split("<pre id=\"measured\">")
            .nth(1)
            .and_then(|rest| rest.split('<').next());
        let text = text.filter(|text| !text.is_empty());
        let text = text.unwrap_or_else(|| unreachable!("the page was not measured: {said}"));
        let measured = serde_json::from_str(&unpercent(text)).expect("what was measured");
        (measured, console.map(str::to_owned).collect())
    }
}

/// Every byte that is no letter and no digit as `%XX`.
fn percent(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}

fn unpercent(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte.expect("two digits")).to_digit(16).expect("a digit");
            let (high, low) = (digit(rest.next()), digit(rest.next()));
            bytes.push(u8::try_from(16 * high + low).expect("a byte"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("text")
}

/// What stands under the pointer at the first dot of the page of a study.
const OF_A_RUN: [&str; 2] = ["tokens", "loss"];

/// Opens a page in both themes at both widths; it must hold `names` and say `hover`, and nothing may be wrong.
fn check(browser: &Browser, html: &str, names: &[&str], hover: &[&str]) {
    for dark in [false, true] {
        let (all, console) = browser.open(html, dark);
        assert!(console.is_empty(), "{console:?}");
        assert_eq!(all.iter().map(|at| at.width).collect::<Vec<_>>(), [1440.0, 390.0]);
        for at in &all {
            let place = format!("at {} px, dark {dark}", at.width);
            assert_eq!(at.dark, dark, "{place}");
            assert_eq!(at.ground != "rgb(255, 255, 255)", dark, "{place}: {}", at.ground);
            assert!(at.errors.is_empty(), "{place}: {:?}", at.errors);
            assert!(
                at.scrolls <= 0.0,
                "{place}: the page scrolls sideways by {} px",
                at.scrolls
            );
            let found: Vec<&str> = at.figures.iter().map(|figure| figure.name.as_str()).collect();
            assert_eq!(found, names, "{place}");
            let trouble: Vec<String> = at
                .figures
                .iter()
                .flat_map(|figure| figure.trouble.iter().map(|it| format!("{}: {it}", figure.name)))
                .collect();
            assert!(trouble.is_empty(), "{place}:\n{}", trouble.join("\n"));
            assert!(
                at.figures.iter().all(|figure| figure.texts > 4),
                "{place}: {:?}",
                at.figures
            );
            assert!(
                hover.iter().all(|word| at.hover.contains(word)),
                "{place}: `{}`",
                at.hover
            );
            assert!(!at.keyed.is_empty(), "{place}: the arrow shows nothing");
            // On a phone the long table of trials may be pushed aside, nothing else.
            let aside: &[&str] = if at.width > 1000.0 { &[] } else { &["trial"] };
            let clipped = at.clipped.iter().find(|head| !aside.contains(&head.as_str()));
            assert!(clipped.is_none(), "{place}: a table scrolls: {clipped:?}");
        }
    }
}

/// Draws a view and checks its page.
fn check_view(browser: &Browser, view: &ReportView) {
    let drawn = figures(view).expect("figures");
    let names: Vec<&str> = drawn.iter().map(|figure| figure.name.as_str()).collect();
    check(browser, &page(view, &drawn), &names, &OF_A_RUN);
}

#[test]
fn what_is_wrong_with_a_page_is_seen() {
    let Some(browser) = Browser::find("what_is_wrong_with_a_page_is_seen") else {
        return;
    };
    let view = study::law_alone();
    let html = page(&view, &figures(&view).expect("figures"));
    let twice = |html: &str| {
        let (before, rest) = html.split_once("<text").expect("a text");
        let (text, after) = rest.split_once("</text>").expect("its end");
        format!("{before}<text{text}</text><text{text}</text>{after}")
    };
    let aside = html.replacen("<text ", "<text transform=\"translate(-900 0)\" ", 1);
    let broken = [
        ("meet", twice(&html)),
        ("is cut off", aside),
        (
            "0 drawings are visible",
            html.replace("<svg class=\"wide\"", "<svg hidden style=\"display:none\""),
        ),
    ];
    for (fault, html) in &broken {
        let (all, _) = browser.open(html, false);
        let trouble: Vec<&String> = all[0].figures.iter().flat_map(|figure| &figure.trouble).collect();
        assert!(trouble.iter().any(|it| it.contains(fault)), "{fault}: {trouble:?}");
    }
    let wide = html.replace(
        "<main>",
        "<main><div style=\"width:3000px\">wide</div><script>noSuchThing()</script>",
    );
    let (all, console) = browser.open(&wide, false);
    assert!(all[0].scrolls > 1000.0, "{}", all[0].scrolls);
    assert!(all[1].errors[0].contains("noSuchThing"), "{:?}", all[1].errors);
    assert!(console.iter().any(|line| line.contains("noSuchThing")), "{console:?}");
}

#[test]
fn a_whole_study_is_readable_on_every_screen() {
    if let Some(browser) = Browser::find("a_whole_study_is_readable_on_every_screen") {
        check_view(&browser, &study::whole());
    }
}

#[test]
fn a_refused_law_is_readable_on_every_screen() {
    if let Some(browser) = Browser::find("a_refused_law_is_readable_on_every_screen") {
        check_view(&browser, &study::refused());
    }
}

#[test]
fn a_law_of_a_table_is_readable_on_every_screen() {
    if let Some(browser) = Browser::find("a_law_of_a_table_is_readable_on_every_screen") {
        check_view(&browser, &study::law_alone());
    }
}

#[test]
fn a_study_of_batch_sizes_is_readable_on_every_screen() {
    if let Some(browser) = Browser::find("a_study_of_batch_sizes_is_readable_on_every_screen") {
        check_view(&browser, &study::batches());
    }
}

#[test]
fn a_report_of_ten_thousand_trials_is_readable_on_every_screen() {
    if let Some(browser) = Browser::find("a_report_of_ten_thousand_trials_is_readable_on_every_screen") {
        check_view(&browser, &study::many());
    }
}

const SWEEP: &str = "
name: toy
description: Does the planted law come back?
data: text
seeds: 2
parameters:
  model: [6K, 13K, 24K, 80K, 189K]
  lr: [3e-3, 1e-2, 3e-2, 0.5]
  tokens: [200k, 400k, 800k]
  batch_tokens: [4000, 8000, 16000]
  context: 100
  schedule:
    parameters:
      name: [wsd, cosine]
      warmup: 8000
";

/// The program in a folder, with its toy trainer.
fn sandbox(folder: &Path, arguments: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .current_dir(folder)
        .args(arguments)
        .args(["--home", "home", "--toy", "--json"])
        .env_remove("SANDBOX_HOME")
        .env_remove("SANDBOX_DB")
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[test]
fn the_report_of_a_sweep_is_readable_on_every_screen_and_the_same_twice() {
    let test = "the_report_of_a_sweep_is_readable_on_every_screen_and_the_same_twice";
    let world = tempfile::tempdir().expect("a folder");
    let folder = world.path();
    fs::create_dir(folder.join("corpus")).expect("a folder");
    for index in 0..20 {
        let text: String = (0..200)
            .map(|line| format!("line {line} of document {index}\n"))
            .collect();
        fs::write(folder.join(format!("corpus/{index}.txt")), text).expect("written");
    }
    fs::write(folder.join("toy.yaml"), SWEEP).expect("written");
    let prepare = [
        "data",
        "prepare",
        "corpus",
        "--name",
        "text",
        "--tokenizer",
        "byte",
        "--held-out",
        "10%",
    ];
    sandbox(folder, &prepare);
    sandbox(folder, &["run", "toy.yaml"]);
    for out in ["one", "two"] {
        sandbox(folder, &["report", "toy", "--out", out]);
    }
    let mut names: Vec<_> = fs::read_dir(folder.join("one"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    for name in &names {
        let read = |out: &str| fs::read(folder.join(out).join(name)).expect("a file");
        assert!(
            read("one") == read("two"),
            "{name:?} differs between two reports of one database"
        );
    }
    let Some(browser) = Browser::find(test) else { return };
    let html = fs::read_to_string(folder.join("one/index.html")).expect("a page");
    let ids: Vec<&str> = html
        .split("<figure id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    check(&browser, &html, &ids, &OF_A_RUN);
}

/// A table of runs of an additive law, off by a wave that looks like noise.
fn table(sizes: i32, phase: f64) -> String {
    let mut text = String::from("params,tokens,loss\n");
    for (row, (i, j)) in (0..sizes).flat_map(|i| (0..6).map(move |j| (i, j))).enumerate() {
        let (params, tokens) = (1e7 * 2f64.powi(i), 2e8 * 2f64.powi(j));
        let wave = 0.004 * (7.3 * row as f64 + phase).sin();
        let loss = 1.7 + 90.0 * params.powf(-0.25) + 20_000.0 * tokens.powf(-0.5);
        text.push_str(&format!("{params},{tokens},{}\n", loss * (1.0 + wave)));
    }
    text
}

#[test]
fn the_page_of_an_audit_is_readable_on_every_screen() {
    let test = "the_page_of_an_audit_is_readable_on_every_screen";
    let Some(browser) = Browser::find(test) else { return };
    let world = tempfile::tempdir().expect("a folder");
    let folder = world.path();
    let names = [
        "a.csv",
        "b.csv",
        "runs-of-somebody-with-a-name-that-is-longer-than-a-panel.csv",
        "few.csv",
    ];
    for (name, (sizes, phase)) in names.iter().zip([(8, 0.0), (7, 1.0), (6, 2.0), (2, 0.0)]) {
        fs::write(folder.join(name), table(sizes, phase)).expect("written");
    }
    let more = ["--law", "chinchilla", "--bootstrap", "100", "--out", "page"];
    sandbox(folder, &[&["audit"], &names[..], &more[..]].concat());
    let html = fs::read_to_string(folder.join("page/index.html")).expect("a page");
    check(&browser, &html, &["calibration", "errors"], &["a.csv", "intervals"]);
}
