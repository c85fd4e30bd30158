//! The live page as a browser shows it: through an empty home, a run, a killed orchestrator, a page whose server is
//! away for a while, and the run that goes on.

#[path = "../browser/find.rs"]
mod find;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde::Deserialize;

use crate::serve::{Page, signal_to, sweep, until};
use crate::skip::skip;
use crate::world::World;

/// What stands on the page at one width.
#[derive(Debug, Clone, Deserialize)]
struct Look {
    width: f64,
    ground: String,
    errors: Vec<String>,
    scrolls: f64,
    words: String,
    notice: String,
    empty: String,
    sweeps: String,
    running: String,
    sorted: String,
    speed: String,
    curves: u64,
    trouble: Vec<String>,
}

/// What was seen so far: the last looks, and everything that was ever wrong.
#[derive(Debug, Default)]
struct Seen {
    last: Vec<Look>,
    wrong: Vec<String>,
}

impl Seen {
    fn add(&mut self, looks: Vec<Look>) {
        for look in &looks {
            let place = |what: &str| format!("{} px: {what} ({})", look.width, look.words);
            self.wrong
                .extend(look.errors.iter().chain(&look.trouble).map(|it| place(it)));
            if look.scrolls > 0.0 {
                self.wrong.push(place("the page scrolls sideways"));
            }
        }
        self.last = looks;
    }
}

/// A browser with the live page in two frames, behind a listener that passes its requests on.
///
/// The page allows no frame and no foreign script, so what the test adds to it is added on the way.
struct Watcher {
    browser: Child,
    seen: Arc<Mutex<Seen>>,
    _profile: tempfile::TempDir,
}

impl Watcher {
    fn start(program: &PathBuf, authority: &str, dark: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (heard, authority) = (Arc::clone(&seen), authority.to_owned());
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, authority) = (Arc::clone(&heard), authority.clone());
                std::thread::spawn(move || answer(stream, &authority, &heard));
            }
        });
        let profile = tempfile::tempdir().expect("a folder");
        let browser = Command::new(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"])
            .args(["--window-size=1900,1000", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!dark)))
            .arg(format!("http://127.0.0.1:{port}/watch"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the browser starts");
        Self {
            browser,
            seen,
            _profile: profile,
        }
    }

    /// Waits until both frames show it.
    fn until(&self, what: &str, holds: impl Fn(&Look) -> bool) {
        until(what, || {
            let seen = self.seen.lock().expect("no panic");
            seen.last.len() == 2 && seen.last.iter().all(&holds)
        });
    }

    /// Nothing was wrong at any moment.
    fn check(&self, dark: bool) {
        let seen = self.seen.lock().expect("no panic");
        assert!(seen.wrong.is_empty(), "{:#?}", &seen.wrong[..seen.wrong.len().min(10)]);
        let widths: Vec<f64> = seen.last.iter().map(|look| look.width).collect();
        assert_eq!(widths, [1440.0, 390.0]);
        assert!(
            seen.last
                .iter()
                .all(|look| (look.ground != "rgb(255, 255, 255)") == dark)
        );
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.browser.kill());
        drop(self.browser.wait());
    }
}

/// Answers one request of the browser: with the frames, with nothing to what was seen, else as the page answers.
fn answer(mut stream: TcpStream, authority: &str, seen: &Mutex<Seen>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut head: Vec<String> = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let Some(first) = head.first().cloned() else { return };
    let path = first.split(' ').nth(1).unwrap_or("/");
    let said = match path {
        "/watch" => plain(&format!(
            "<!doctype html><meta charset=utf-8><meta name=\"color-scheme\" content=\"light dark\"><body>\
             <script>{}{}</script>",
            include_str!("../browser/boxes.js"),
            include_str!("../browser/watch.js")
        )),
        "/seen" => {
            let length = head.iter().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse().ok())?
            });
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).expect("a body");
            let looks = serde_json::from_slice(&body).expect("what was seen");
            seen.lock().expect("no panic").add(looks);
            plain("")
        }
        // Nobody behind: the connection is closed, as a server that is away does.
        _ => match pass_on(&head, path, authority) {
            Ok(said) => said,
            Err(_) => return,
        },
    };
    drop(stream.write_all(&said));
}

fn plain(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
        .into_bytes()
}

/// What the page answers; its HTML without what forbids frames, and with an ear for errors.
fn pass_on(head: &[String], path: &str, authority: &str) -> std::io::Result<Vec<u8>> {
    let mut behind = TcpStream::connect(authority)?;
    let kept = head
        .iter()
        .filter(|line| !line.starts_with("Host:") && !line.starts_with("Connection:"));
    let mut request: String = kept.map(|line| format!("{line}\r\n")).collect();
    request.push_str(&format!("Host: {authority}\r\nConnection: close\r\n\r\n"));
    behind.write_all(request.as_bytes())?;
    let mut said = Vec::new();
    behind.read_to_end(&mut said)?;
    if path != "/" {
        return Ok(said);
    }
    let said = String::from_utf8_lossy(&said);
    let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(plain(&body.replacen("<head>", &format!("<head>{}", find::WATCH), 1)))
}

#[test]
fn a_browser_sees_the_whole_life_of_a_sweep() {
    let Some(program) = find::find() else {
        skip("a_browser_sees_the_whole_life_of_a_sweep", "chromium is not installed");
        return;
    };
    let world = World::new();
    world.prepare_text();
    world.write("toy.yaml", &sweep("toy", 250));
    let page = Page::of(&world);
    let authority = page.authority.clone();
    let watcher = Watcher::start(&program, &authority, false);
    watcher.until("the empty home", |look| {
        look.words == "Waiting for the first sweep." && look.empty.contains("sandbox init")
    });
    let start = || {
        let mut command = world.command(&["run", "toy.yaml", "--toy", "--json"]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("starts")
    };
    let mut run = start();
    watcher.until("curves that grow", |look| {
        look.words.starts_with("Running since") && look.curves > 0 && look.running.contains("tokens/s")
    });
    signal_to(&run, Signal::KILL);
    run.wait().expect("killed");
    watcher.until("the orchestrator is gone", |look| {
        look.words.contains("Run the same sweep again") || look.words.starts_with("Nothing runs.")
    });
    page.end(Signal::TERM);
    watcher.until("the server is gone", |look| look.notice.contains("does not answer"));
    let port = authority.rsplit(':').next().expect("a port");
    let _page = Page::open(&mut world.command(&["serve", "--listen", port, "--json"]));
    watcher.until("it is there again", |look| look.notice.is_empty());
    let mut run = start();
    watcher.until("it goes on", |look| look.words.starts_with("Running since"));
    assert!(run.wait().expect("ends").success(), "nobody who looks is in the way");
    watcher.until("the end", |look| {
        look.words == "Nothing runs. 2,000 of 2,000 trials have a result." && look.sweeps.contains("done")
    });
    watcher.until("the best first, and the pace of the run that is over", |look| {
        look.sorted == "final loss" && look.speed.contains("the last run, which ended") && !look.sweeps.contains("left")
    });
    watcher.check(false);
    let dark = Watcher::start(&program, &authority, true);
    dark.until("the same in the dark", |look| {
        look.words.starts_with("Nothing runs. 2,000") && look.curves > 0
    });
    dark.check(true);
}
