//! A line for each subject over the sizes.

use svg::Document;
use svg::node::element::Path;
use svg::node::element::path::Data;

use super::canvas::{Axis, WIDTH, canvas, class, dot, line, text};
use super::markdown::{digits, round, time};
use crate::model::{Comparison, Measured, Plot, Shape};
use crate::statistics::Summary;

const LEFT: f64 = 84.0;
const RIGHT: f64 = WIDTH - 200.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 380.0;
const HEIGHT: f64 = 430.0;

pub(super) fn draw(plot: &Plot, comparisons: &[&Comparison]) -> (Document, f64) {
    let mut names: Vec<&Measured> = Vec::new();
    for subject in comparisons.iter().flat_map(|it| &it.subjects) {
        if !names.iter().any(|known| known.name == subject.name) {
            names.push(subject);
        }
    }
    let points = |name: &str| -> Vec<(f64, f64)> {
        let point = |it: &&Comparison| Some((it.case.size.amount() as f64, value(plot, it, it.subject(name)?)));
        comparisons.iter().filter_map(point).collect()
    };
    let all: Vec<f64> = names.iter().flat_map(|subject| points(subject.name)).map(|(_, y)| y).collect();
    let x = Axis::over(comparisons.iter().map(|it| it.case.size.amount() as f64), 2.0, LEFT, RIGHT);
    // What is flat shall look flat.
    let y = Axis::over(all.into_iter(), 10.0, BOTTOM, TOP);
    let mut document = canvas(plot.title, HEIGHT);
    for tick in y.ticks(26.0) {
        let at = y.at(tick);
        document = document.add(line(LEFT, at, RIGHT, at, "grid")).add(text(
            round(label(plot, tick)),
            LEFT - 8.0,
            at + 4.0,
            "end",
            "small",
        ));
    }
    for comparison in comparisons {
        let at = x.at(comparison.case.size.amount() as f64);
        let size = comparison.case.size;
        let words = if size.of() == "bytes" { size.to_string() } else { size.amount().to_string() };
        document =
            document.add(line(at, TOP, at, BOTTOM, "grid")).add(text(words, at, BOTTOM + 18.0, "middle", "small"));
    }
    let mut ends = Vec::new();
    for subject in names {
        let points = points(subject.name);
        let Some(&(_, last)) = points.last() else { continue };
        let class = class(subject.role);
        let places: Vec<(f64, f64)> = points.iter().map(|point| (x.at(point.0), y.at(point.1))).collect();
        let data = places[1..].iter().fold(Data::new().move_to(places[0]), |data, &place| data.line_to(place));
        document = document.add(Path::new().set("d", data).set("stroke-width", 2).set("class", class));
        document = places.iter().fold(document, |document, place| document.add(dot(place.0, place.1, class)));
        ends.push((y.at(last), format!("{}  {}", subject.name, label(plot, last)), class));
    }
    for (at, words, class) in apart(ends) {
        document = document.add(text(words, RIGHT + 12.0, at + 4.0, "start", class));
    }
    let legend = match plot.shape {
        Shape::Rates => "bytes per second; up is better",
        Shape::Growth(legend) => legend,
        Shape::Ratios(_) | Shape::Values => "",
    };
    (document.add(text(legend, 20.0, 46.0, "start", "small")), HEIGHT)
}

fn value(plot: &Plot, comparison: &Comparison, subject: &Measured) -> f64 {
    let median = Summary::of(&subject.samples).median;
    if plot.shape == Shape::Rates { comparison.case.size.amount() as f64 / median * 1e9 } else { median }
}

fn label(plot: &Plot, value: f64) -> String {
    if plot.shape != Shape::Rates {
        return time(value);
    }
    let units = [("GB/s", 1e9), ("MB/s", 1e6), ("kB/s", 1e3)];
    let (unit, scale) = units.into_iter().find(|(_, scale)| value >= *scale).unwrap_or(("B/s", 1.0));
    format!("{} {unit}", digits(value / scale))
}

/// Moves labels apart until none covers another.
fn apart(mut labels: Vec<(f64, String, &'static str)>) -> Vec<(f64, String, &'static str)> {
    const HEIGHT: f64 = 15.0;
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    for _ in 0..200 {
        for i in 1..labels.len() {
            let lacking = HEIGHT - (labels[i].0 - labels[i - 1].0);
            if lacking > 0.0 {
                labels[i - 1].0 -= lacking / 2.0;
                labels[i].0 += lacking / 2.0;
            }
        }
    }
    labels
}
