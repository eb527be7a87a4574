//! Plots of lines and points, as SVG.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// Colours that are told apart by most eyes (Okabe and Ito's), in the order in which they are taken.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#b0a000",
];

/// How an axis runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten.
    Log,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with the unit.
    pub title: &'static str,
    /// Its ends.
    pub range: (f64, f64),
    /// How it runs.
    pub scale: Scale,
}

/// What is drawn of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// A line through its points.
    Line,
    /// Dots.
    Dots,
    /// A broken line: something to compare with.
    Guide,
}

/// One series.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub mark: Mark,
}

/// A plot.
#[derive(Clone, Debug)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is in it.
    pub series: Vec<Series>,
}

impl Axis {
    /// Where a value lies, from 0 to 1. What is beyond an end lies there.
    fn place(&self, value: f64) -> f64 {
        let (from, to) = self.range;
        let place = match self.scale {
            Scale::Linear => (value - from) / (to - from),
            Scale::Log => (value.max(from) / from).ln() / (to / from).ln(),
        };
        place.clamp(0.0, 1.0)
    }

    fn ticks(&self) -> Vec<f64> {
        let (from, to) = self.range;
        match self.scale {
            Scale::Linear => (0..=5)
                .map(|tick| from + (to - from) * f64::from(tick) / 5.0)
                .collect(),
            Scale::Log => std::iter::successors(Some(from), |tick| Some(tick * 10.0))
                .take_while(|tick| *tick <= to * 1.001)
                .collect(),
        }
    }
}

impl Plot {
    /// The plot as a file of its own. The first series lies on top of all others.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<title>{0}</title>\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{0}</text>\n",
            escaped(&self.title)
        );
        self.axes(&mut svg);
        for (index, series) in self.series.iter().enumerate().rev() {
            self.series(&mut svg, index, series);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in self.x.ticks() {
            let x = self.x(tick);
            line(
                svg,
                &format!(
                    "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                    bottom + 16.0,
                    number(tick)
                ),
            );
        }
        for tick in self.y.ticks() {
            let y = self.y(tick);
            line(
                svg,
                &format!(
                    "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                    LEFT - 6.0,
                    y + 4.0,
                    number(tick)
                ),
            );
        }
        let middle = (TOP + bottom) / 2.0;
        line(
            svg,
            &format!(
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                (LEFT + right) / 2.0,
                HEIGHT - 10.0,
                escaped(self.x.title)
            ),
        );
        line(
            svg,
            &format!(
                "<text x=\"14\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 14 {middle})\">{}</text>",
                escaped(self.y.title)
            ),
        );
    }

    fn series(&self, svg: &mut String, index: usize, series: &Series) {
        let colour = COLOURS[index % COLOURS.len()];
        let places = series.points.iter().map(|(x, y)| (self.x(*x), self.y(*y)));
        let (key, y) = (WIDTH - RIGHT + 12.0, TOP + 8.0 + 20.0 * index as f64);
        if series.mark == Mark::Dots {
            for (x, y) in places.chain([(key + 10.0, y)]) {
                line(
                    svg,
                    &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>"),
                );
            }
        } else {
            let dashes = if series.mark == Mark::Guide {
                " stroke-dasharray=\"6 4\""
            } else {
                ""
            };
            let points: Vec<String> = places.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            for points in [points.join(" "), format!("{key},{y} {},{y}", key + 20.0)] {
                line(
                    svg,
                    &format!(
                        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes} points=\"{points}\"/>"
                    ),
                );
            }
        }
        line(
            svg,
            &format!(
                "<text x=\"{}\" y=\"{}\">{}</text>",
                key + 28.0,
                y + 4.0,
                escaped(&series.name)
            ),
        );
    }
}

fn line(svg: &mut String, text: &str) {
    _ = writeln!(svg, "{text}");
}

fn number(value: f64) -> String {
    let digits = if value.fract().abs() < 1e-9 { 0 } else { 2 };
    format!("{value:.digits$}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale) -> Plot {
        let axis = |title, scale| Axis {
            title,
            range: (1.0, 1000.0),
            scale,
        };
        Plot {
            title: "a < b & c".to_owned(),
            x: axis("x", Scale::Linear),
            y: axis("y", scale),
            series: vec![Series {
                name: "one".to_owned(),
                points: vec![(1.0, 1.0), (1000.0, 5000.0)],
                mark: Mark::Line,
            }],
        }
    }

    #[test]
    fn what_is_beyond_an_axis_lies_at_its_end() {
        let svg = plot(Scale::Linear).svg();
        assert!(svg.contains("points=\"64.0,294.0 560.0,34.0\""));
        assert!(svg.contains("a &lt; b &amp; c"));
    }

    #[test]
    fn a_logarithmic_axis_has_a_tick_for_each_power_of_ten() {
        let axis = plot(Scale::Log).y;
        assert_eq!(axis.ticks(), [1.0, 10.0, 100.0, 1000.0]);
        assert!((axis.place(100.0) - 2.0 / 3.0).abs() < 1e-9);
    }
}
