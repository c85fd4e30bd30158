//! The live page: a server beside a running orchestrator, which shows a home while its sweeps are trained.
//!
//! It has no way to write: the database is opened to read, files are opened to read. Everything that it serves is in
//! the program. Refuses to know flags, how anything is trained, and how laws are fitted.

mod access;
mod api;
mod curves;
mod database;
mod tail;
mod throughput;
mod trials;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;

pub use access::{Access, TOKEN_MIN, is_good_token};

use crate::draw;
use crate::live::access::{Asked, HEADERS, Refusal};
use crate::live::database::Database;
use crate::run::context::Context;
use crate::run::failure::{Failure, exit};
use crate::run::signals::{Signals, Stop};

/// A port that was taken, and the signals that give it back.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    signals: Signals,
}

impl Port {
    /// Takes the port; whoever wants to look can connect from now on.
    pub async fn take(address: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Failure::environment(
                "port_taken",
                format!("another program listens at {address}"),
                "perhaps the page is served already: look there, or choose another port with `--listen`, 0 for any free one",
            ),
            std::io::ErrorKind::AddrNotAvailable => Failure::environment(
                "no_such_address",
                format!("this machine has no address {}", address.ip()),
                "`--listen 127.0.0.1:7878` listens to this machine alone, `--listen 0.0.0.0:7878` to every network",
            ),
            _ => error.into(),
        })?;
        Ok(Self {
            listener,
            signals: Signals::new()?,
        })
    }

    pub fn address(&self) -> Result<SocketAddr, Failure> {
        Ok(self.listener.local_addr()?)
    }

    /// Serves until a signal comes, and gives the exit code that it asks for.
    pub async fn serve(self, context: &Context, access: Access) -> Result<u8, Failure> {
        let Self { listener, mut signals } = self;
        // Nothing is written, so whatever is being answered can be dropped.
        tokio::select! {
            ended = axum::serve(listener, router(context, access)).into_future() => {
                ended.map(|()| 0).map_err(Failure::from)
            }
            asked = signals.next() => Ok(match asked {
                Stop::Interrupt => exit::SIGINT,
                Stop::Terminate => exit::SIGTERM,
            }),
        }
    }
}

/// A token that nobody guesses.
pub fn new_token() -> String {
    let random: [u8; 16] = rand::random();
    blake3::hash(&random).to_hex()[..32].to_owned()
}

fn router(context: &Context, access: Access) -> Router {
    let [regular, semibold] = draw::fonts();
    Router::new()
        .route("/", get(async || Html(include_str!("page.html"))))
        .route("/page.css", get(async || typed("text/css", style().into_bytes())))
        .route(
            "/page.js",
            get(async || typed("text/javascript", include_bytes!("page.js").to_vec())),
        )
        .route("/inter-400.ttf", get(async move || typed("font/ttf", regular.to_vec())))
        .route(
            "/inter-600.ttf",
            get(async move || typed("font/ttf", semibold.to_vec())),
        )
        .route("/api/status", get(api::status))
        .route("/api/pace", get(api::throughput))
        .route("/api/sweeps/{sweep}/trials", get(api::trials))
        .route("/api/sweeps/{sweep}/curves", get(api::sweep_curves))
        .route("/api/sweeps/{sweep}/rates", get(api::sweep_rates))
        .route("/api/trials/{trial}", get(api::trial))
        .route("/api/trials/{trial}/curve", get(api::trial_curve))
        .route("/api/trials/{trial}/logs", get(api::logs))
        .fallback(async || api::refusal(&Failure::invalid("not_found", "there is nothing here", "")))
        .with_state(Arc::new(Database::new(context.clone())))
        .layer(middleware::from_fn_with_state(Arc::new(access), watch))
}

/// The report's style and colours, and what only this page has.
fn style() -> String {
    format!("{}\n{}", draw::style(), include_str!("page.css"))
}

fn typed(kind: &'static str, bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, kind)], bytes).into_response()
}

/// Lets a request through, or says why not; every answer tells the browser what to keep away.
async fn watch(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let admitted = admit(&access, &request);
    let mut response = match admitted {
        Ok(_) => next.run(request).await,
        Err(Refusal::Host) => refuse(
            StatusCode::MISDIRECTED_REQUEST,
            "this page is only for names of this machine",
        ),
        Err(Refusal::Token) => refuse(
            StatusCode::UNAUTHORIZED,
            "open the address that `sandbox serve` printed, with its ?token=, or send `Authorization: Bearer`",
        ),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(Some(cookie)) = admitted
        && let Ok(cookie) = HeaderValue::from_str(&cookie)
    {
        headers.insert(header::SET_COOKIE, cookie);
    }
    response
}

fn admit(access: &Access, request: &Request) -> Result<Option<String>, Refusal> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    access.admit(Asked {
        host: text(header::HOST),
        query: request.uri().query(),
        cookies: text(header::COOKIE),
        authorization: text(header::AUTHORIZATION),
    })
}

fn refuse(status: StatusCode, words: &'static str) -> Response {
    (status, format!("{words}\n")).into_response()
}
