//! A plotters surface that writes SVG: in plain colours for a file, in the classes of the page for the page.
//!
//! Plotters' own SVG surface knows neither texts under the pointer nor style sheets. Refuses to know what it draws.

use std::convert::Infallible;
use std::fmt::Write;

use plotters_backend::text_anchor::HPos;
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
};

use crate::draw::DrawError;
use crate::draw::canvas::Surface;
use crate::draw::compose::{self, Layout};
use crate::draw::page::escape;
use crate::draw::palette::{Rgb, Role, hex, roles};
use crate::draw::typeface::FAMILY;
use crate::report::view::FigureView;

/// Units of the SVG to a unit of the figure: whole numbers are short, and an eighth of a pixel is fine enough.
const SCALE: f64 = 8.0;

/// How colours are written.
enum Paint {
    Plain,
    /// As classes of the page's style sheet, by colour on paper.
    Classes(Vec<(Rgb, String)>),
}

struct Svg {
    size: (u32, u32),
    paint: Paint,
    body: String,
}

/// A figure as a complete file.
pub(crate) fn file(figure: &FigureView, sweep: &str) -> Result<String, DrawError> {
    let layout = Layout::File { sweep };
    let (svg, [width, height]) = draw(figure, layout, Paint::Plain)?;
    let (w, h) = svg.size;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {w} {h}\" font-family=\"{FAMILY}\" role=\"img\">\n<title>{}</title>\n\
         <rect width=\"{w}\" height=\"{h}\" fill=\"{}\"/>\n{}</svg>\n",
        escape(&figure.title),
        hex(Role::Paper.light()),
        svg.body
    ))
}

/// A figure as an element of the page.
pub(crate) fn inline(figure: &FigureView, layout: Layout<'_>) -> Result<String, DrawError> {
    let classes = roles().into_iter().map(|role| (role.light(), role.class())).collect();
    let name = match layout {
        Layout::Narrow => "narrow",
        Layout::Wide | Layout::File { .. } => "wide",
    };
    let (svg, _) = draw(figure, layout, Paint::Classes(classes))?;
    let (w, h) = svg.size;
    Ok(format!(
        "<svg class=\"{name}\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n",
        escape(&figure.title),
        svg.body
    ))
}

fn draw(figure: &FigureView, layout: Layout<'_>, paint: Paint) -> Result<(Svg, [f64; 2]), DrawError> {
    let size = compose::size(figure, layout);
    let surface = Svg {
        size: ((size[0] * SCALE).round() as u32, (size[1] * SCALE).round() as u32),
        paint,
        body: String::new(),
    };
    let surface = compose::figure(figure, layout, surface, SCALE)?;
    Ok((surface, size))
}

impl Svg {
    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.body.write_fmt(text).expect("a string takes every write");
    }

    /// The attributes of a line or a filled shape.
    fn look(&self, colour: BackendColor, stroke: Option<u32>) -> String {
        let veil = if colour.alpha < 1.0 {
            format!(" fill-opacity=\"{}\"", colour.alpha)
        } else {
            String::new()
        };
        match (&self.paint, stroke) {
            (Paint::Plain, Some(width)) => format!(
                "fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"",
                hex(colour.rgb)
            ),
            (Paint::Plain, None) => format!("fill=\"{}\"{veil}", hex(colour.rgb)),
            (Paint::Classes(classes), Some(width)) => {
                format!("class=\"l {}\" stroke-width=\"{width}\"", class_of(classes, colour.rgb))
            }
            (Paint::Classes(classes), None) => {
                format!("class=\"f {}\"{veil}", class_of(classes, colour.rgb))
            }
        }
    }
}

fn class_of(classes: &[(Rgb, String)], colour: Rgb) -> &str {
    classes
        .iter()
        .find(|(rgb, _)| *rgb == colour)
        .map_or("t", |(_, class)| class)
}

/// `M10 20l3-4 5 0`: one absolute point, then steps.
fn path_data(points: impl IntoIterator<Item = BackendCoord>) -> String {
    let mut data = String::new();
    let mut last = None;
    for (x, y) in points {
        match last {
            None => write!(data, "M{x} {y}l"),
            Some((from_x, from_y)) => {
                let (dx, dy) = (x - from_x, y - from_y);
                let before = if dx < 0 || data.ends_with('l') { "" } else { " " };
                let between = if dy < 0 { "" } else { " " };
                write!(data, "{before}{dx}{between}{dy}")
            }
        }
        .expect("a string takes every write");
        last = Some((x, y));
    }
    data
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

impl DrawingBackend for Svg {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        let look = self.look(colour, None);
        self.write(format_args!("<path {look} d=\"M{x} {y}h1v1h-1z\"/>\n"));
        Ok(())
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        (left, top): BackendCoord,
        (right, bottom): BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let stroke = (!fill).then(|| style.stroke_width());
        let look = self.look(style.color(), stroke);
        let (width, height) = (right - left, bottom - top);
        self.write(format_args!(
            "<path {look} d=\"M{left} {top}h{width}v{height}h-{width}z\"/>\n"
        ));
        Ok(())
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let look = self.look(style.color(), Some(style.stroke_width()));
        let data = path_data(path);
        self.write(format_args!("<path {look} d=\"{data}\"/>\n"));
        Ok(())
    }

    fn draw_circle<S: BackendStyle>(&mut self, (x, y): BackendCoord, radius: u32, style: &S, fill: bool) -> Drawn {
        let stroke = (!fill).then(|| style.stroke_width());
        let look = self.look(style.color(), stroke);
        self.write(format_args!("<circle {look} cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/>\n"));
        Ok(())
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, corners: I, style: &S) -> Drawn {
        let look = self.look(style.color(), None);
        let data = path_data(corners);
        self.write(format_args!("<path {look} d=\"{data}z\"/>\n"));
        Ok(())
    }

    fn draw_text<TStyle: BackendTextStyle>(&mut self, text: &str, style: &TStyle, (x, y): BackendCoord) -> Drawn {
        let look = self.look(style.color(), None);
        let anchor = match style.anchor().h_pos {
            HPos::Left => "",
            HPos::Center => " text-anchor=\"middle\"",
            HPos::Right => " text-anchor=\"end\"",
        };
        let weight = match style.style() {
            FontStyle::Bold => " font-weight=\"600\"",
            FontStyle::Normal | FontStyle::Oblique | FontStyle::Italic => "",
        };
        let (size, text) = (style.size().round(), escape(text));
        self.write(format_args!(
            "<text {look} x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}{weight}>{text}</text>\n"
        ));
        Ok(())
    }
}

impl Surface for Svg {
    fn open(&mut self, hover: &str) {
        let hover = escape(hover);
        self.write(format_args!("<g><title>{hover}</title>"));
    }

    fn close(&mut self) {
        self.write(format_args!("</g>\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_one_point_and_short_steps() {
        assert_eq!(
            path_data([(10, 20), (13, 16), (18, 16), (10, 26)]),
            "M10 20l3-4 5 0-8 10"
        );
    }
}
