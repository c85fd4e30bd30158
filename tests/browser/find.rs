//! Where this machine has Chromium.

use std::path::PathBuf;

/// The names under which it is installed.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Notes what goes wrong in a page; to stand first in its head.
pub(crate) const WATCH: &str = "<script>window.troubles=[];addEventListener('error',(e)=>troubles.push(e.message));\
    addEventListener('unhandledrejection',(e)=>troubles.push(String(e.reason)));\
    for(const say of ['error','warn'])console[say]=(...it)=>troubles.push(it.join(' '));</script>";

/// The program; none where there is none.
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name)))
        .find(|program| program.is_file())
}
