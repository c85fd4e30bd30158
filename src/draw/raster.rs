//! A plotters bitmap that draws smooth lines, and the PNG files it makes.
//!
//! Pictures are drawn at four pixels a unit and averaged down to two. Refuses to know what it draws.

use plotters::backend::BitMapBackend;
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, DrawingBackend, DrawingErrorKind};

use crate::draw::DrawError;
use crate::draw::canvas::Surface;
use crate::draw::compose::{self, Layout};
use crate::draw::palette::Role;
use crate::report::view::FigureView;

/// Pixels of the file to a unit of the figure.
const PIXELS: f64 = 2.0;
/// Drawn pixels to a pixel of the file, in each direction.
const SAMPLES: usize = 2;
/// Pixels to a metre at 96 units to an inch.
const PIXELS_PER_METRE: f64 = PIXELS * 96.0 / 0.0254;

struct Raster<'a>(BitMapBackend<'a>);

/// A figure as a PNG file.
pub(crate) fn file(figure: &FigureView, sweep: &str) -> Result<Vec<u8>, DrawError> {
    let layout = Layout::File { sweep };
    let [width, height] = compose::size(figure, layout);
    let pixels = |units: f64| (units * PIXELS).round() as usize;
    let (width, height) = (pixels(width), pixels(height));
    let (red, green, blue) = Role::Paper.light();
    let mut buffer = [red, green, blue].repeat(width * SAMPLES * height * SAMPLES);
    let size = ((width * SAMPLES) as u32, (height * SAMPLES) as u32);
    let surface = Raster(BitMapBackend::with_buffer(&mut buffer, size));
    drop(compose::figure(figure, layout, surface, PIXELS * SAMPLES as f64)?);
    let pixels = average(&buffer, width, height);
    pack(&pixels, width as u32, height as u32).map_err(|source| DrawError::Png {
        figure: figure.name,
        source,
    })
}

/// Averages squares of pixels into one.
fn average(buffer: &[u8], width: usize, height: usize) -> Vec<u8> {
    let row = width * SAMPLES * 3;
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            for channel in 0..3 {
                let mut sum = 0;
                for dy in 0..SAMPLES {
                    for dx in 0..SAMPLES {
                        let at = (y * SAMPLES + dy) * row + (x * SAMPLES + dx) * 3 + channel;
                        sum += usize::from(buffer[at]);
                    }
                }
                let samples = SAMPLES * SAMPLES;
                pixels.push(((sum + samples / 2) / samples) as u8);
            }
        }
    }
    pixels
}

fn pack(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Default);
    encoder.set_filter(png::FilterType::Up);
    let density = PIXELS_PER_METRE.round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions {
        xppu: density,
        yppu: density,
        unit: png::Unit::Meter,
    }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

type Drawn<'a> = Result<(), DrawingErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>>;

impl<'a> DrawingBackend for Raster<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Drawn<'a> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Drawn<'a> {
        self.0.present()
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Drawn<'a> {
        self.0.draw_pixel(at, colour)
    }

    /// Segment by segment with round joints: plotters' outline of a whole path leaves holes where it turns sharply.
    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn<'a> {
        let width = style.stroke_width();
        let mut last: Option<BackendCoord> = None;
        for to in path {
            if let Some(from) = last {
                self.0.draw_path([from, to], style)?;
                if width > 2 {
                    self.0.draw_circle(from, width / 2, &style.color(), true)?;
                }
            }
            last = Some(to);
        }
        Ok(())
    }

    /// Row by row, every pixel once: plotters' own filling paints some twice, which shows where a ground is a veil.
    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        corners: I,
        style: &S,
    ) -> Drawn<'a> {
        let corners: Vec<BackendCoord> = corners.into_iter().collect();
        let rows = corners.iter().map(|corner| corner.1);
        let (Some(top), Some(bottom)) = (rows.clone().min(), rows.max()) else {
            return Ok(());
        };
        for y in top..bottom {
            for edges in crossings(&corners, f64::from(y) + 0.5).chunks_exact(2) {
                for x in edges[0].round() as i32..edges[1].round() as i32 {
                    self.0.draw_pixel((x, y), style.color())?;
                }
            }
        }
        Ok(())
    }
}

/// Where a horizontal line crosses the sides of a polygon, from left to right.
fn crossings(corners: &[BackendCoord], y: f64) -> Vec<f64> {
    let before = corners.iter().cycle().skip(corners.len().saturating_sub(1));
    let mut crossings: Vec<f64> = before
        .zip(corners)
        .map(|(&from, &to)| (from.0.into(), from.1.into(), to.0.into(), to.1.into()))
        .filter(|&(_, from, _, to): &(f64, f64, f64, f64)| (from < y) != (to < y))
        .map(|(from_x, from_y, to_x, to_y)| from_x + (y - from_y) / (to_y - from_y) * (to_x - from_x))
        .collect();
    crossings.sort_by(f64::total_cmp);
    crossings
}

impl Surface for Raster<'_> {
    fn open(&mut self, _hover: &str) {}

    fn close(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averaging_keeps_flat_colours_and_mixes_edges() {
        let mut buffer = [10, 20, 30].repeat(4 * 2);
        buffer[..3].copy_from_slice(&[50, 20, 30]);
        assert_eq!(average(&buffer, 2, 1), vec![20, 20, 30, 10, 20, 30]);
    }
}
