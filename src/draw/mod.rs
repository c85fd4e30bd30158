//! Turns a view into SVG and PNG figures and one self-contained HTML page.
//!
//! Plotters' surfaces do the drawing. Nothing here reads or writes a file: the caller has the bytes. Refuses to know
//! where numbers come from and what they mean; it obeys the view.

mod audit_page;
mod canvas;
mod compose;
mod geometry;
mod page;
mod palette;
mod panel;
mod raster;
mod shapes;
mod svg;
mod ticks;
mod typeface;

use crate::report::ReportView;
use crate::report::audit::AuditView;
use crate::report::view::Content;
use crate::report::view::FigureView;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// The name of its files, without an ending.
    pub name: String,
    /// A complete SVG file on a white ground.
    pub svg: String,
    /// The same as a PNG file at twice the size.
    pub png: Vec<u8>,
    /// The SVG element of the page on a wide screen and on paper; coloured by the page's style sheet.
    pub wide: String,
    /// The SVG element of the page on a narrow screen.
    pub narrow: String,
}

/// Why a figure could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// A surface refused a shape.
    #[error("figure `{figure}` could not be drawn: {cause}")]
    Surface {
        /// Name of the figure.
        figure: &'static str,
        /// What the surface said.
        cause: String,
    },
    /// The picture could not be packed.
    #[error("figure `{figure}` could not be written as PNG")]
    Png {
        /// Name of the figure.
        figure: &'static str,
        /// What the encoder said.
        source: png::EncodingError,
    },
}

/// Draws every figure of a view that has something to show, in the view's order.
pub fn figures(view: &ReportView) -> Result<Vec<Figure>, DrawError> {
    figures_of(&view.figures, &view.sweep)
}

/// Draws every figure that has something to show, in order; each file says what it belongs to.
pub fn figures_of(figures: &[FigureView], of: &str) -> Result<Vec<Figure>, DrawError> {
    figures
        .iter()
        .filter(|figure| matches!(figure.content, Content::Panels(_)))
        .map(|figure| draw(figure, of))
        .collect()
}

fn draw(figure: &FigureView, sweep: &str) -> Result<Figure, DrawError> {
    Ok(Figure {
        name: figure.name.to_owned(),
        svg: svg::file(figure, sweep)?,
        png: raster::file(figure, sweep)?,
        wide: svg::inline(figure, compose::Layout::Wide)?,
        narrow: svg::inline(figure, compose::Layout::Narrow)?,
    })
}

/// The report as one HTML page that needs nothing beyond itself.
pub fn page(view: &ReportView, figures: &[Figure]) -> String {
    page::html(view, figures)
}

/// An audit as one HTML page that needs nothing beyond itself.
pub fn audit_page(view: &AuditView, figures: &[Figure]) -> String {
    audit_page::html(view, figures)
}

/// The page's type: the regular cut and the semi-bold one.
pub fn fonts() -> [&'static [u8]; 2] {
    [typeface::REGULAR, typeface::SEMIBOLD]
}

/// The page's style and the colours of its figures, light and dark.
pub fn style() -> String {
    page::style()
}
