//! `sandbox serve`: a live page of a home.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Args;
use serde::Serialize;

use crate::cli::output::Output;
use crate::live;
use crate::run::context::Context;
use crate::run::failure::Failure;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Where to listen: a port of this machine, or an address with a port; 0 is any free port
    #[arg(long, value_name = "[ADDRESS:]PORT", default_value = "127.0.0.1:7878", value_parser = address)]
    listen: SocketAddr,
    /// What whoever looks must know; made up and printed where others could connect
    #[arg(long, env = "SANDBOX_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = token)]
    token: Option<String>,
}

/// What is printed before serving.
#[derive(Debug, Serialize)]
struct Serving {
    address: String,
    token: Option<String>,
    home: String,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let text = text.replace("localhost:", "127.0.0.1:");
    let address = text.parse();
    address.map_err(|_| "write PORT or ADDRESS:PORT, as in 7878, 127.0.0.1:7878, 0.0.0.0:7878 or [::]:7878".to_owned())
}

fn token(text: &str) -> Result<String, String> {
    if live::is_good_token(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "a token has {} or more letters, digits and `-._~`",
        live::TOKEN_MIN
    ))
}

pub(super) async fn serve(context: &Context, args: &ServeArgs, output: &Output) -> Result<u8, Failure> {
    let is_loopback = args.listen.ip().to_canonical().is_loopback();
    let token = args.token.clone().or_else(|| (!is_loopback).then(live::new_token));
    let port = live::Port::take(args.listen).await?;
    let address = port.address()?;
    // An address that stands for all is none that a browser can open.
    let host = if address.ip().is_unspecified() {
        format!("{}:{}", context.host, address.port())
    } else {
        address.to_string()
    };
    let query = token
        .as_ref()
        .map_or_else(String::new, |token| format!("?token={token}"));
    let serving = Serving {
        address: format!("http://{host}/{query}"),
        token: token.clone(),
        home: context.workdir.home().display().to_string(),
    };
    output.result(&serving, std::slice::from_ref(&serving.address), || {
        format!("{} shows {}; Ctrl-C ends it", serving.address, serving.home)
    })?;
    port.serve(context, live::Access::new(address, token.as_deref())).await
}
