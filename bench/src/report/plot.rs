//! Plots as SVG text: lines over linear or logarithmic axes, and bars with their spread.
//!
//! No script and no font is fetched; colours come from the page's style sheet by class (`s0`, `s1`, ...), so that one plot
//! serves light and dark. Every point and bar has a `<title>`, which browsers show as a tooltip.
//! Invariant: coordinates are finite, and no text of a caller ends a tag. What is plotted is left to page.rs.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 36.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;
/// A bar with its name above it.
const BAR: f64 = 46.0;
/// The style sheet has so many colours.
const COLOURS: usize = 8;
/// Above so many points in a plot their dots would hide its lines.
const DOTS_MAX: usize = 600;

/// How values lie along an axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// From zero.
    Linear,
    /// By powers of ten; values of zero and less lie at the axis' beginning.
    Log,
}

/// An axis: its words, its scale, and how a value is written.
pub struct Axis {
    /// What it measures, with its unit.
    pub label: &'static str,
    /// How values lie along it.
    pub scale: Scale,
    /// Writes a value at a tick.
    pub tick: fn(f64) -> String,
    /// Writes a value in a tooltip and above a bar.
    pub show: fn(f64) -> String,
}

/// What one name stands for: a line, or several of the same colour.
pub struct Series {
    /// As in the legend.
    pub name: String,
    /// Its colour.
    pub colour: usize,
    /// Points from left to right.
    pub lines: Vec<Vec<(f64, f64)>>,
}

/// A median, and a line from the smallest to the largest round.
pub struct Bar {
    /// Above it, with the median.
    pub name: String,
    /// Its colour.
    pub colour: usize,
    /// The smallest round, the median, the largest.
    pub spread: [f64; 3],
    /// A limit that it is measured against, drawn as a line across.
    pub limit: Option<f64>,
    /// Drawn pale: it does not count.
    pub is_void: bool,
}

/// Text that cannot end a tag or an attribute.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Lines in one frame, with a legend.
pub fn lines(x: &Axis, y: &Axis, series: &[Series]) -> String {
    let points = || series.iter().flat_map(|series| series.lines.iter().flatten());
    let frame = Frame {
        across: Range::of(x.scale, points().map(|point| point.0)),
        up: Range::of(y.scale, points().map(|point| point.1)),
    };
    let mut out = open(HEIGHT);
    frame.draw(&mut out, x, y);
    for one in series {
        let (name, colour) = (escape(&one.name), one.colour % COLOURS);
        let has_dots = one.lines.len() == 1 && points().count() <= DOTS_MAX;
        let weight = if one.lines.len() == 1 { "" } else { " thin" };
        for line in &one.lines {
            let mut path = String::new();
            for (index, (along, up)) in line.iter().enumerate() {
                let command = if index == 0 { 'M' } else { 'L' };
                push(&mut path, format_args!("{command}{:.1} {:.1}", frame.x(*along), frame.y(*up)));
            }
            push(
                &mut out,
                format_args!(
                    "<path class=\"line{weight} s{colour}\" d=\"{path}\"><title>{name}</title></path>"
                ),
            );
            for (along, up) in line.iter().filter(|_| has_dots) {
                push(
                    &mut out,
                    format_args!(
                        "<circle class=\"dot s{colour}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\"><title>{name}: {} at {}</title>\
                         </circle>",
                        frame.x(*along),
                        frame.y(*up),
                        (y.show)(*up),
                        (x.show)(*along)
                    ),
                );
            }
        }
    }
    out.push_str("</svg></div>");
    legend(&mut out, series);
    out
}

/// Bars below each other, from zero: a bar that begins elsewhere lies.
pub fn bars(x: &Axis, bars: &[Bar]) -> String {
    let values = bars.iter().flat_map(|bar| bar.spread.into_iter().chain(bar.limit));
    let range = Range::of(Scale::Linear, values);
    let across = |value: f64| range.share(value) * WIDTH;
    let mut out = open(BAR * bars.len().max(1) as f64);
    for (index, bar) in bars.iter().enumerate() {
        let [low, median, high] = bar.spread;
        let pale = if bar.is_void { " pale" } else { "" };
        let (name, colour) = (escape(&bar.name), bar.colour % COLOURS);
        let top = BAR * index as f64;
        let (middle, width) = (top + 29.0, across(median).max(1.0));
        push(
            &mut out,
            format_args!(
                "<text x=\"0\" y=\"{:.1}\">{name} <tspan class=\"figure\" dx=\"8\">{}</tspan></text>",
                top + 14.0,
                (x.show)(median)
            ),
        );
        push(
            &mut out,
            format_args!(
                "<rect class=\"bar{pale} s{colour}\" x=\"0\" y=\"{:.1}\" width=\"{width:.1}\" height=\"18\"><title>{name}: {} \
                 ({} to {})</title></rect>",
                top + 20.0,
                (x.show)(median),
                (x.show)(low),
                (x.show)(high)
            ),
        );
        push(
            &mut out,
            format_args!(
                "<line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" />",
                across(low),
                across(high)
            ),
        );
        if let Some(limit) = bar.limit {
            push(
                &mut out,
                format_args!(
                    "<line class=\"limit\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\"><title>limit: {3}\
                     </title></line>",
                    across(limit),
                    top + 16.0,
                    top + 42.0,
                    (x.show)(limit)
                ),
            );
        }
    }
    out.push_str("</svg></div>");
    push(&mut out, format_args!("<p class=\"legend\">{}</p>", escape(x.label)));
    out
}

/// Two ranges and where they lie in the picture.
struct Frame {
    across: Range,
    up: Range,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.across.share(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.up.share(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, out: &mut String, x: &Axis, y: &Axis) {
        let (right, base) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.up.ticks() {
            let at = self.y(tick);
            push(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" />\
                     <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    LEFT - 6.0,
                    at + 4.0,
                    (y.tick)(tick)
                ),
            );
        }
        for tick in self.across.ticks() {
            let at = self.x(tick);
            push(
                out,
                format_args!(
                    "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{base}\" />\
                     <text class=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                    base + 16.0,
                    (x.tick)(tick)
                ),
            );
        }
        push(
            out,
            format_args!(
                "<text class=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
                 <text class=\"middle\" transform=\"translate(14 {:.1}) rotate(-90)\">{}</text>",
                f64::midpoint(LEFT, right),
                HEIGHT - 8.0,
                escape(x.label),
                f64::midpoint(TOP, base),
                escape(y.label)
            ),
        );
    }
}

struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64>) -> Range {
        let shown = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) =
            shown.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Range { scale, low: if scale == Scale::Log { 1.0 } else { 0.0 }, high: 10.0 };
        }
        match scale {
            Scale::Linear => Range { scale, low: 0.0, high: if high > 0.0 { high * 1.05 } else { 1.0 } },
            Scale::Log => {
                let (low, high) = (low.log10().floor(), high.log10().ceil());
                Range { scale, low: 10_f64.powf(low), high: 10_f64.powf(high.max(low + 1.0)) }
            }
        }
    }

    /// 0.0 at the low end, 1.0 at the high one.
    fn share(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 }
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Log => {
                let (first, last) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
                (first..=last).map(|exponent| 10_f64.powi(exponent)).collect()
            }
            Scale::Linear => {
                let rough = (self.high - self.low) / 5.0;
                let power = 10_f64.powf(rough.log10().floor());
                let steps = [1.0, 2.0, 5.0].map(|factor| factor * power);
                let step = steps.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
                (0..).map(|index| f64::from(index) * step).take_while(|tick| *tick <= self.high).collect()
            }
        }
    }
}

fn open(height: f64) -> String {
    format!("<div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">")
}

fn legend(out: &mut String, series: &[Series]) {
    out.push_str("<p class=\"legend\">");
    for one in series {
        let (name, colour) = (escape(&one.name), one.colour % COLOURS);
        push(out, format_args!("<span><i class=\"s{colour}\"></i>{name}</span> "));
    }
    out.push_str("</p>");
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing into a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXIS: Axis = Axis { label: "ms", scale: Scale::Linear, tick: show, show };

    fn show(value: f64) -> String {
        format!("{value:.0}")
    }

    #[test]
    fn names_cannot_break_out_of_the_plot() {
        let bar = Bar {
            name: "<script>\"".to_owned(),
            colour: 9,
            spread: [1.0, 2.0, 3.0],
            limit: Some(4.0),
            is_void: true,
        };
        let plot = bars(&AXIS, &[bar]);
        assert!(!plot.contains("<script>") && plot.contains("&lt;script&gt;&quot;"));
    }

    #[test]
    fn empty_series_and_zeros_give_finite_coordinates() {
        let log = Axis { scale: Scale::Log, ..AXIS };
        let zero =
            Series { name: "zero".to_owned(), colour: 0, lines: vec![vec![(0.0, 0.0), (1.0, 0.0)], vec![]] };
        for plot in [lines(&log, &log, &[]), lines(&AXIS, &log, &[zero]), bars(&AXIS, &[])] {
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        }
    }

    #[test]
    fn a_logarithmic_axis_ends_on_powers_of_ten() {
        let range = Range::of(Scale::Log, [0.3, 700.0].into_iter());
        assert_eq!(range.ticks(), [0.1, 1.0, 10.0, 100.0, 1000.0]);
        assert!((range.share(10.0) - 0.5).abs() < 1e-9);
    }
}
