//! Charts as SVG. They are drawn in stand-in colours that are then replaced by names of the page's style,
//! so that one drawing serves light and dark. Small, so that a phone shows them at their own size.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The width of every chart, in pixels of a phone.
const WIDTH: i32 = 360;
/// Room for the names of rows.
const NAMES: i32 = 114;
/// Room for figures behind bars.
const FIGURES: i32 = 70;
const ROW: i32 = 21;
const SIZE: f64 = 15.0;

type Area<'text> = DrawingArea<SVGBackend<'text>, Shift>;

/// A colour of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Ink,
    Muted,
    Grid,
    Ours,
    Loop,
    Rival,
    /// One of the lines of a sweep.
    Line(u8),
}

impl Tone {
    const ALL: [Self; 6] = [Self::Ink, Self::Muted, Self::Grid, Self::Ours, Self::Loop, Self::Rival];
    const LINES: u8 = 8;

    /// Nobody draws in these; they only have to differ.
    fn stand_in(self) -> RGBColor {
        match self {
            Self::Ink => RGBColor(1, 2, 1),
            Self::Muted => RGBColor(1, 2, 2),
            Self::Grid => RGBColor(1, 2, 3),
            Self::Ours => RGBColor(1, 2, 4),
            Self::Loop => RGBColor(1, 2, 5),
            Self::Rival => RGBColor(1, 2, 6),
            Self::Line(index) => RGBColor(1, 3, index),
        }
    }

    fn name(self) -> String {
        match self {
            Self::Ink => "var(--ink)".to_owned(),
            Self::Muted => "var(--muted)".to_owned(),
            Self::Grid => "var(--grid)".to_owned(),
            Self::Ours => "var(--ours)".to_owned(),
            Self::Loop => "var(--loop)".to_owned(),
            Self::Rival => "var(--rival)".to_owned(),
            Self::Line(index) => format!("var(--line{})", index % Self::LINES),
        }
    }
}

/// One horizontal bar.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) figure: String,
    pub(super) tone: Tone,
}

/// One row of a latency chart, in microseconds.
pub(super) struct Dots {
    pub(super) name: String,
    pub(super) values: [f64; 3],
    pub(super) tone: Tone,
}

/// One line of a sweep.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) tone: Tone,
}

/// Horizontal bars from zero.
pub(super) fn bars(bars: &[Bar]) -> anyhow::Result<String> {
    let most = bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let room = f64::from(WIDTH - NAMES - FIGURES);
    svg(height(bars.len()), |area| {
        for (index, bar) in (0..).zip(bars) {
            let top = index * ROW + 4;
            let end = NAMES + (room * (bar.value / most)).round() as i32;
            name(area, &bar.name, top, bar.tone)?;
            let shape = Rectangle::new([(NAMES, top), (end.max(NAMES + 1), top + ROW - 7)], fill(bar.tone));
            area.draw(&shape).map_err(broken)?;
            let place = (end + 5, top + (ROW - 7) / 2);
            write(area, &bar.figure, place, HPos::Left, Tone::Ink)?;
        }
        Ok(())
    })
}

/// Median, p99 and p99.9 of each row on one logarithmic scale.
pub(super) fn dots(rows: &[Dots], tell: fn(f64) -> String) -> anyhow::Result<String> {
    let all = || rows.iter().flat_map(|row| row.values).filter(|value| *value > 0.0);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let (low, high) =
        (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil().max(low.log10().floor() + 1.0)));
    let room = f64::from(WIDTH - NAMES - 36);
    let at = |value: f64| {
        let share = (value.max(low).log10() - low.log10()) / (high.log10() - low.log10());
        NAMES + 8 + (room * share).round() as i32
    };
    let bottom = i32::try_from(rows.len()).unwrap_or(0) * ROW + 4;
    svg(height(rows.len()) + 20, |area| {
        let mut mark = low;
        while mark <= high * 1.01 {
            let line = PathElement::new([(at(mark), 0), (at(mark), bottom)], stroke(Tone::Grid, 1));
            area.draw(&line).map_err(broken)?;
            write(area, &tell(mark), (at(mark), bottom + 9), HPos::Center, Tone::Muted)?;
            mark *= 10.0;
        }
        for (index, row) in (0..).zip(rows) {
            let top = index * ROW + 4;
            let middle = top + (ROW - 7) / 2;
            name(area, &row.name, top, row.tone)?;
            let [p50, p99, p999] = row.values.map(at);
            let line = PathElement::new([(p50, middle), (p999, middle)], stroke(row.tone, 2));
            area.draw(&line).map_err(broken)?;
            for (place, size) in [(p50, 5), (p99, 4), (p999, 2)] {
                area.draw(&Circle::new((place, middle), size, fill(row.tone))).map_err(broken)?;
            }
        }
        Ok(())
    })
}

/// Lines over a logarithmic axis of counts; a legend below.
pub(super) fn lines(lines: &[Line], tell: fn(f64) -> String) -> anyhow::Result<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = points().map(|point| point.1).fold(0.0, f64::max) * 1.08;
    let first = points().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let last = points().map(|point| point.0).fold(0.0, f64::max);
    let legend_rows = i32::try_from(lines.len().div_ceil(3)).unwrap_or(0);
    svg(220 + legend_rows * 18, |area| {
        let (plot, legend) = area.split_vertically(218);
        let mut chart = ChartBuilder::on(&plot)
            .margin(6)
            .margin_right(16)
            .x_label_area_size(24)
            .y_label_area_size(48)
            .build_cartesian_2d((first..last).log_scale(), 0.0..most)
            .map_err(broken)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .y_labels(5)
            .x_label_formatter(&|value| format!("{value:.0}"))
            .y_label_formatter(&|value| tell(*value))
            .label_style(text(Tone::Muted))
            .axis_style(stroke(Tone::Grid, 1))
            .bold_line_style(stroke(Tone::Grid, 1))
            .light_line_style(TRANSPARENT)
            .draw()
            .map_err(broken)?;
        for (index, line) in (0..).zip(lines) {
            let width = if line.tone == Tone::Ours { 3 } else { 2 };
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), stroke(line.tone, width)))
                .map_err(broken)?;
            let dots = line.points.iter().map(|&point| Circle::new(point, 3, fill(line.tone)));
            chart.draw_series(dots).map_err(broken)?;
            let (x, y) = (10 + index % 3 * (WIDTH / 3), index / 3 * 18 + 8);
            let key = PathElement::new([(x, y), (x + 14, y)], stroke(line.tone, 4));
            legend.draw(&key).map_err(broken)?;
            write(&legend, &line.name, (x + 19, y), HPos::Left, Tone::Ink)?;
        }
        Ok(())
    })
}

fn height(rows: usize) -> i32 {
    i32::try_from(rows).unwrap_or(0) * ROW + 6
}

/// Draws, and puts the page's colours and font in place of the stand-ins.
fn svg(height: i32, draw: impl FnOnce(&Area<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut drawn = String::new();
    let size = (WIDTH.unsigned_abs(), height.unsigned_abs());
    {
        let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(broken)?;
    }
    let tones = Tone::ALL.into_iter().chain((0..Tone::LINES).map(Tone::Line));
    for tone in tones {
        let RGBColor(r, g, b) = tone.stand_in();
        drawn = drawn.replace(&format!("\"#{r:02X}{g:02X}{b:02X}\""), &format!("\"{}\"", tone.name()));
    }
    let sized = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    Ok(drawn.replace(&sized, "<svg aria-hidden=\"true\"").replace(" font-family=\"sans-serif\"", ""))
}

fn name(area: &Area<'_>, name: &str, top: i32, tone: Tone) -> anyhow::Result<()> {
    let tone = if tone == Tone::Ours { Tone::Ours } else { Tone::Ink };
    write(area, name, (NAMES - 8, top + (ROW - 7) / 2), HPos::Right, tone)
}

fn write(area: &Area<'_>, words: &str, at: (i32, i32), side: HPos, tone: Tone) -> anyhow::Result<()> {
    let style = text(tone).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(words.to_owned(), at, style)).map_err(broken)
}

fn text(tone: Tone) -> TextStyle<'static> {
    ("sans-serif", SIZE).into_font().color(&tone.stand_in())
}

fn fill(tone: Tone) -> ShapeStyle {
    tone.stand_in().filled()
}

fn stroke(tone: Tone, width: u32) -> ShapeStyle {
    tone.stand_in().stroke_width(width)
}

fn broken(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("draw a chart: {error}")
}
