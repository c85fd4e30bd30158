//! The live page: what it answers, whom it refuses, and that it outlives the runs that it shows.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::World;

/// Long enough for a slow machine; nothing waits for all of it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A toy sweep of many trials, so that it takes a while.
pub(crate) fn sweep(name: &str, seeds: u64) -> String {
    format!(
        "
name: {name}
data: text
seeds: {seeds}
parameters:
  model: [6K, 13K]
  lr: [3e-3, 1e-2, 3e-2, 0.5]
  tokens: 300k
  batch_tokens: 1000
  context: 100
  schedule: {{name: wsd, warmup: 8000}}
"
    )
}

/// A page that is served, and ends with the test.
pub(crate) struct Page {
    child: Child,
    first: Value,
    pub(crate) authority: String,
}

/// An answer over HTTP.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

impl Page {
    pub(crate) fn open(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let first: Value = serde_json::from_str(&line).expect("one JSON value on one line");
        let address = first["address"].as_str().expect("an address");
        let rest = address.strip_prefix("http://").expect("http");
        let port = rest.split(['/', '?']).next().and_then(|it| it.rsplit(':').next());
        let authority = format!("127.0.0.1:{}", port.expect("a port"));
        Self {
            child,
            first,
            authority,
        }
    }

    pub(crate) fn of(world: &World) -> Self {
        Self::open(&mut world.command(&["serve", "--listen", "0", "--json"]))
    }

    /// One request with these further header lines.
    fn ask(&self, method: &str, path: &str, host: &str, headers: &[String]) -> Answer {
        let mut stream = TcpStream::connect(&self.authority).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time");
        let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Answer {
            status: status.expect("a status"),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &self.authority, &[])
    }

    fn ok(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    fn complete(&self) -> u64 {
        let status = self.ok("/api/status");
        status["sweeps"][0]["counts"]["complete"].as_u64().unwrap_or(0)
    }

    /// Sends a signal and gives the exit code.
    pub(crate) fn end(mut self, signal: Signal) -> Option<i32> {
        signal_to(&self.child, signal);
        self.child.wait().expect("ends").code()
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn signal_to(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.expect("a process"), signal).expect("it is there");
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn trained(seeds: u64) -> World {
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", &sweep("toy", seeds));
    world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    world
}

#[test]
fn an_empty_home_is_served_and_stays_empty() {
    let world = World::new();
    let page = Page::of(&world);
    assert_eq!(page.first["token"], Value::Null, "nobody else can connect");
    let status = page.ok("/api/status");
    assert_eq!(status["sweeps"], serde_json::json!([]));
    assert_eq!(status["orchestrator"], Value::Null);
    assert!(page.ok("/api/pace")["beats"].is_array());
    assert_eq!(page.get("/api/sweeps/toy/curves").status, 404);
    let html = page.get("/");
    assert_eq!(html.status, 200);
    for asset in ["/page.css", "/page.js", "/inter-400.ttf", "/inter-600.ttf"] {
        let head = page.ask("HEAD", asset, &page.authority, &[]);
        assert_eq!(head.status, 200, "{asset}");
        assert!(
            head.header("content-length").is_some_and(|bytes| bytes != "0"),
            "{asset}"
        );
    }
    assert!(!world.home().exists(), "who only looks creates nothing");
    // A home that comes into being meanwhile is seen.
    world.prepare_text();
    world.write("toy.yaml", &sweep("toy", 1));
    world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    assert_eq!(page.complete(), 6);
}

#[test]
fn every_answer_tells_the_browser_to_stay_here() {
    let world = World::new();
    let page = Page::of(&world);
    for path in ["/", "/page.js", "/api/status", "/nowhere"] {
        let answer = page.get(path);
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.starts_with("default-src 'self'") && !policy.contains("unsafe"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
    assert_eq!(page.get("/nowhere").status, 404);
    assert_eq!(page.ask("POST", "/api/status", &page.authority, &[]).status, 405);
}

#[test]
fn a_foreign_name_is_refused_and_a_tunnel_is_not() {
    let world = World::new();
    let page = Page::of(&world);
    assert_eq!(page.ask("GET", "/api/status", "evil.example", &[]).status, 421);
    assert_eq!(page.ask("GET", "/", "evil.example:7878", &[]).status, 421);
    assert_eq!(page.ask("GET", "/api/status", "localhost:9000", &[]).status, 200);
}

#[test]
fn where_others_can_connect_a_token_is_made_up_and_asked_for() {
    let world = World::new();
    let mut command = world.command(&["serve", "--listen", "0.0.0.0:0", "--json"]);
    let page = Page::open(command.env_remove("SANDBOX_TOKEN"));
    let token = page.first["token"].as_str().expect("a token").to_owned();
    assert!(
        page.first["address"]
            .as_str()
            .is_some_and(|it| it.ends_with(&format!("?token={token}")))
    );
    for path in ["/", "/page.js", "/api/status", "/?token=", "/?token=0123456789abcdef"] {
        assert_eq!(page.get(path).status, 401, "{path}");
    }
    let opened = page.get(&format!("/?token={token}"));
    assert_eq!(opened.status, 200);
    let cookie = opened.header("set-cookie").expect("a cookie").to_owned();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().expect("a pair");
    let with = |line: String| page.ask("GET", "/api/status", &page.authority, &[line]).status;
    assert_eq!(with(format!("Cookie: {pair}")), 200);
    assert_eq!(with(format!("Authorization: Bearer {token}")), 200);
    assert_eq!(with(format!("Authorization: Bearer {token}x")), 401);
}

#[test]
fn a_token_that_can_be_guessed_and_a_port_that_is_taken_are_refused() {
    let world = World::new();
    let ran = world.run(&["serve", "--listen", "0", "--token", "secret", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "usage"));
    let ran = world.run(&["serve", "--listen", "everywhere", "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (2, "usage"));
    let page = Page::of(&world);
    let port = page.authority.rsplit(':').next().expect("a port");
    let ran = world.run(&["serve", "--listen", port, "--json"]);
    assert_eq!((ran.code, ran.error().as_str()), (6, "port_taken"));
}

#[test]
fn it_ends_at_a_signal_even_while_somebody_is_connected() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130), (Signal::HUP, 143)] {
        let world = World::new();
        let page = Page::of(&world);
        let mut idle = TcpStream::connect(&page.authority).expect("somebody listens");
        idle.write_all(b"GET /api/status HTTP/1.1\r\n").expect("half a request");
        let began = Instant::now();
        assert_eq!(page.end(signal), Some(code));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn the_answers_are_those_of_the_command_line() {
    let world = trained(2);
    let page = Page::of(&world);
    let left = &world.run(&["status", "--json"]).ok()["sweeps"][0]["seconds_left"];
    assert_eq!(left, &0.0, "what would follow after a divergence is not to be trained");
    let (mut said, status) = (world.run(&["status", "--json"]).ok(), page.ok("/api/status"));
    let said = said.as_object_mut().expect("an object");
    for (key, value) in said.iter().filter(|(key, _)| *key != "disk_bytes") {
        assert_eq!(&status[key], value, "{key}");
    }
    let trials = page.ok("/api/sweeps/toy/trials?limit=3&offset=2");
    assert_eq!((&trials["total"], &trials["matching"]), (&16.into(), &16.into()));
    let all = world.run(&["status", "--trials", "--json"]).ok();
    let listed = &all["trials"].as_array().expect("trials")[2..5];
    assert_eq!(trials["trials"].as_array().expect("trials"), listed);
    let name = listed[0]["trial"].as_str().expect("a name");
    let shown = world.run(&["show", name, "--json"]).ok();
    assert_eq!(page.ok(&format!("/api/trials/{name}?sweep=toy")), shown);
    let logs = world.run(&["logs", name, "--json"]).ok();
    let tails = page.ok(&format!("/api/trials/{name}/logs"));
    let (log, tail) = (&logs[0]["lines"], &tails[0]["lines"]);
    let (log, tail) = (log.as_array().expect("lines"), tail.as_array().expect("lines"));
    assert_eq!(tail[..], log[log.len() - tail.len()..], "the end of what was said");
    assert!(tail.len() > 100 && tail.len() < log.len());
    assert_eq!(page.get("/api/trials/nothing").status, 404);
}

#[test]
fn trials_are_chosen_and_sorted_before_they_are_counted() {
    let world = trained(2);
    let page = Page::of(&world);
    let best = page.ok("/api/sweeps/toy/trials?where=state+%3D%3D+complete&sort=final_loss&limit=5");
    assert_eq!((&best["total"], &best["matching"]), (&16.into(), &12.into()));
    let losses = |page: &Value| -> Vec<Option<f64>> {
        let trials = page["trials"].as_array().expect("trials");
        trials.iter().map(|row| row["final_loss"].as_f64()).collect()
    };
    assert_eq!(losses(&best).len(), 5);
    assert!(losses(&best).is_sorted(), "{:?}", losses(&best));
    let worst = page.ok("/api/sweeps/toy/trials?sort=final_loss&down=true");
    let worst = losses(&worst);
    assert!(worst[..12].is_sorted_by(|a, b| a >= b) && worst[12..].iter().all(Option::is_none));
    // As the page asks without a condition: the same order, all of it, with the rest behind.
    let first = page.ok("/api/sweeps/toy/trials?sort=final_loss&limit=5");
    assert_eq!(losses(&first), losses(&best));
    let rest = losses(&page.ok("/api/sweeps/toy/trials?sort=final_loss&offset=11"));
    assert_eq!(
        rest.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, false, false, false]
    );
    let mistake = page.get("/api/sweeps/toy/trials?where=learning_rate+%3E+1");
    assert_eq!(
        (mistake.status, &mistake.json()["error"]["code"]),
        (400, &"invalid_where".into())
    );
    let mistake = page.get("/api/sweeps/toy/trials?sort=beauty");
    assert_eq!(mistake.json()["error"]["code"], "unknown_column");
    assert_eq!(page.get("/api/sweeps/toys/trials").status, 404);
}

#[test]
fn curves_are_thinned_and_say_where_they_end() {
    let world = trained(2);
    let page = Page::of(&world);
    let view = page.ok("/api/sweeps/toy/curves");
    assert_eq!(view["drawable"], 16);
    let curves = view["curves"].as_array().expect("curves");
    assert_eq!(curves.len(), 12, "what diverged at once has no point");
    for curve in curves {
        let points = curve["points"].as_array().expect("points");
        assert!(
            points.len() > 60 && points.len() < 250,
            "{} of 300 points",
            points.len()
        );
        let last = points[points.len() - 1][0].as_u64().expect("tokens");
        assert!(
            (295_000..=300_000).contains(&last),
            "the mean of the last few of 300 steps: {last}"
        );
        let tokens: Vec<u64> = points.iter().filter_map(|point| point[0].as_u64()).collect();
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    }
    let some = page.ok("/api/sweeps/toy/curves?where=model+%3D%3D+6K&limit=4");
    assert_eq!(
        (&some["drawable"], some["curves"].as_array().map(Vec::len)),
        (&8.into(), Some(4))
    );
    let rates = page.ok("/api/sweeps/toy/rates");
    let rates = rates.as_array().expect("rates");
    assert_eq!(rates.len(), 8, "two sizes, four learning rates");
    let over: Vec<&Value> = rates.iter().filter(|rate| rate["loss"].is_null()).collect();
    assert!(
        over.len() == 2 && over.iter().all(|rate| rate["diverged"] == 2 && rate["lr"] == 0.5),
        "{over:?}"
    );
    for rate in rates.iter().filter(|rate| rate["lr"] != 0.5) {
        assert_eq!((&rate["seeds"], &rate["complete"]), (&2.into(), &2.into()), "{rate}");
        assert_eq!(rate["batch_tokens"], 1000);
    }
    // The condition holds for this figure, too, and so do the budget and the batch for the curves.
    let some = page.ok("/api/sweeps/toy/rates?where=model+%3D%3D+6K");
    assert_eq!(some.as_array().map(Vec::len), Some(4));
    let none = page.ok("/api/sweeps/toy/curves?batch=2000&budget=300000");
    assert_eq!(
        (&none["drawable"], none["sizes"].as_array().map(Vec::len)),
        (&0.into(), Some(2))
    );
    assert_eq!(
        page.ok("/api/sweeps/toy/curves?batch=1000&budget=300000")["drawable"],
        16
    );
    assert_eq!(page.ok("/api/sweeps/toy/trials?batch=2000")["matching"], 0);
    let pace = page.ok("/api/pace");
    let window = pace["window_seconds"].as_f64().expect("a number");
    assert!((60.0..300.0).contains(&window), "the run took seconds: {window}");
    assert!(
        pace["ended_seconds_ago"].is_number() && pace["last"].is_null(),
        "nothing runs: {pace}"
    );
}

#[test]
fn what_has_not_changed_is_not_sent_again() {
    let world = trained(1);
    let page = Page::of(&world);
    for (index, path) in [
        "/api/status",
        "/api/sweeps/toy/trials",
        "/api/sweeps/toy/curves",
        "/api/sweeps/toy/rates",
    ]
    .into_iter()
    .enumerate()
    {
        let tag = page.get(path).header("etag").expect("a tag").to_owned();
        let again = |page: &Page| {
            page.ask("GET", path, &page.authority, &[format!("If-None-Match: {tag}")])
                .status
        };
        assert_eq!(again(&page), 304, "{path}");
        world.write("more.yaml", &sweep(&format!("more-{index}"), 1));
        world.run(&["run", "more.yaml", "--toy", "--json"]).ok();
        assert_eq!(again(&page), 200, "{path}: something was written");
    }
}

#[test]
fn the_page_outlives_a_killed_orchestrator_and_counts_on_after_it() {
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", &sweep("toy", 250));
    let page = Page::of(&world);
    let start = || {
        let mut command = world.command(&["run", "toy.yaml", "--toy", "--json"]);
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts")
    };
    let mut run = start();
    until("some trials are complete", || page.complete() > 20);
    let status = page.ok("/api/status");
    assert_eq!(status["orchestrator"]["pid"], run.id());
    assert_eq!(page.get("/api/sweeps/toy/curves").status, 200);
    signal_to(&run, Signal::KILL);
    run.wait().expect("killed");
    until("the page sees that nothing runs", || {
        page.ok("/api/status")["orchestrator"].is_null()
    });
    let before = page.complete();
    assert!(before < 1500, "it was killed before its end: {before}");
    assert_eq!(page.ok("/api/status")["running"], serde_json::json!([]));
    let mut run = start();
    until("it goes on", || page.complete() > before + 20);
    assert!(run.wait().expect("ends").success(), "nobody who looks is in the way");
    assert_eq!(page.complete(), 1500);
    let beats = page.ok("/api/pace");
    let speeds = beats["beats"].as_array().expect("beats").iter();
    assert!(
        speeds
            .filter_map(|beat| beat["tokens_per_second"].as_f64())
            .sum::<f64>()
            > 0.0
    );
    assert_eq!(world.run(&["db", "check", "--json"]).code, 0);
}

#[test]
fn a_home_that_is_replaced_is_read_anew() {
    let world = trained(1);
    let page = Page::of(&world);
    assert_eq!(page.complete(), 6);
    fs_err::remove_dir_all(world.home()).expect("removed");
    assert_eq!(page.ok("/api/status")["sweeps"], serde_json::json!([]));
    world.prepare_text();
    world.write("toy.yaml", &sweep("other", 2));
    world.run(&["run", "toy.yaml", "--toy", "--json"]).ok();
    assert_eq!(page.complete(), 12);
    assert_eq!(page.ok("/api/status")["sweeps"][0]["sweep"], "other");
}

#[test]
fn a_file_that_is_no_database_is_named_and_the_page_goes_on() {
    let world = World::new();
    world.write("home/sandbox.db", &"this is no database. ".repeat(200));
    let page = Page::of(&world);
    let answer = page.get("/api/status");
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (503, &"damaged_database".into())
    );
    fs_err::remove_file(world.home().join("sandbox.db")).expect("removed");
    assert_eq!(page.get("/api/status").status, 200);
}
