//! Plots as SVG.

use super::canvas::WIDTH;
use super::{lines, panels};
use crate::model::{Comparison, Plot, Shape};

/// Draws the plot of a case, if it was measured.
pub(super) fn draw(plot: &Plot, comparisons: &[&Comparison]) -> Option<String> {
    if comparisons.is_empty() {
        return None;
    }
    let (document, height) = match plot.shape {
        Shape::Ratios(_) | Shape::Values => panels::draw(plot, comparisons),
        Shape::Rates | Shape::Growth(_) => lines::draw(plot, comparisons),
    };
    Some(document.set("viewBox", (0, 0, WIDTH, height)).set("width", WIDTH).set("height", height).to_string())
}
