//! The files of a page: the page itself, and every figure beside it.
//!
//! Refuses to know what they show.

use std::path::Path;

use serde::Serialize;

use crate::draw;
use crate::run::failure::Failure;
use crate::workdir::write_atomic;

/// The files of one figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FigureFiles {
    pub name: String,
    pub svg: String,
    pub png: String,
}

/// Writes a page and the figures beside it; gives where they are.
pub(in crate::run) fn write_page(
    folder: &Path,
    page: &str,
    figures: &[draw::Figure],
) -> Result<(String, Vec<FigureFiles>), Failure> {
    let mut files = Vec::new();
    for figure in figures {
        let svg = folder.join(format!("{}.svg", figure.name));
        let png = folder.join(format!("{}.png", figure.name));
        write_atomic(&svg, figure.svg.as_bytes())?;
        write_atomic(&png, &figure.png)?;
        files.push(FigureFiles {
            name: figure.name.clone(),
            svg: svg.display().to_string(),
            png: png.display().to_string(),
        });
    }
    let html = folder.join("index.html");
    write_atomic(&html, page.as_bytes())?;
    Ok((html.display().to_string(), files))
}
