//! A row for each subject, a panel for each size, a dot for each number.

use svg::Document;

use super::canvas::{Axis, WIDTH, canvas, class, dot, line, text};
use super::markdown::{digits, round, time, times};
use crate::model::{Comparison, Plot, Shape, Unit};
use crate::statistics::Summary;

const LABELS: f64 = 200.0;
const TOP: f64 = 88.0;
const ROW: f64 = 24.0;
const GAP: f64 = 26.0;

/// A dot and its whiskers.
struct Number {
    middle: f64,
    low: f64,
    high: f64,
    label: String,
}

pub(super) fn draw(plot: &Plot, comparisons: &[&Comparison]) -> (Document, f64) {
    let subjects = &comparisons[0].subjects;
    let bottom = TOP + subjects.len() as f64 * ROW;
    let height = bottom + 40.0;
    let width = (WIDTH - LABELS - 20.0 - 30.0) / comparisons.len() as f64;
    let mut document = canvas(plot.title, height);
    for (row, subject) in subjects.iter().enumerate() {
        let y = TOP + (row as f64 + 0.5) * ROW;
        document = document.add(text(subject.name, LABELS, y + 4.0, "end", class(subject.role)));
    }
    let numbers: Vec<Vec<Option<Number>>> = comparisons
        .iter()
        .map(|comparison| subjects.iter().map(|subject| number(plot, comparison, subject.name)).collect())
        .collect();
    let common = matches!(plot.shape, Shape::Ratios(_));
    for (panel, comparison) in comparisons.iter().enumerate() {
        let left = LABELS + 20.0 + panel as f64 * width;
        let shown = if common { &numbers[..] } else { &numbers[panel..=panel] };
        let ends = shown.iter().flatten().flatten().flat_map(|number| [number.low, number.high]);
        let axis = Axis::over(ends, 1.5, left, left + width - GAP - 22.0);
        document = document.add(text(comparison.case.size.to_string(), left, TOP - 12.0, "start", ""));
        for tick in axis.ticks(38.0) {
            let x = axis.at(tick);
            let label = if common || comparison.case.unit != Unit::Time { digits(tick) } else { time(tick) };
            let label = round(label);
            let grid = if common && tick == 1.0 { "one" } else { "grid" };
            document =
                document.add(line(x, TOP, x, bottom, grid)).add(text(label, x, bottom + 18.0, "middle", "small"));
        }
        for (row, (subject, number)) in subjects.iter().zip(&numbers[panel]).enumerate() {
            let Some(number) = number else { continue };
            let y = TOP + (row as f64 + 0.5) * ROW;
            let class = class(subject.role);
            document = document
                .add(line(axis.at(number.low), y, axis.at(number.high), y, class))
                .add(dot(axis.at(number.middle), y, class))
                .add(text(&number.label, axis.at(number.high) + 7.0, y + 4.0, "start", "small"));
        }
    }
    let legend = match plot.shape {
        Shape::Ratios(to) => format!("times as long as {to}; the line spans its 95 % interval"),
        _ => "one operation; the line spans 10 to 90 percent of the samples".to_owned(),
    };
    (document.add(text(legend, 20.0, 46.0, "start", "small")), height)
}

fn number(plot: &Plot, comparison: &Comparison, name: &str) -> Option<Number> {
    let subject = comparison.subject(name)?;
    if let Shape::Ratios(to) = plot.shape {
        let ratio = comparison.ratio(subject, to)?;
        let label = times(ratio.ratio);
        return Some(Number { middle: ratio.ratio, low: ratio.ratio_low, high: ratio.ratio_high, label });
    }
    let Summary { median, p10, p90, .. } = Summary::of(&subject.samples);
    let label = if comparison.case.unit == Unit::Time { time(median) } else { digits(median) };
    // A logarithm has no zero.
    (p10 > 0.0).then_some(Number { middle: median, low: p10, high: p90, label })
}
