//! Medians, and how sure they are.

use serde::Serialize;
use statrs::statistics::{Data, OrderStatistics};

/// A sample in three numbers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
    pub(crate) samples: usize,
}

impl Summary {
    pub(crate) fn of(samples: &[f64]) -> Self {
        let mut data = Data::new(samples.to_vec());
        Self { median: data.median(), p10: data.percentile(10), p90: data.percentile(90), samples: samples.len() }
    }
}

/// How many times as long as another subject, in the same rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Ratio {
    /// The median over the rounds.
    pub(crate) ratio: f64,
    /// Between these two it lies with a confidence of 95 %.
    pub(crate) ratio_low: f64,
    pub(crate) ratio_high: f64,
}

impl Ratio {
    pub(crate) fn of(samples: &[f64], baseline: &[f64]) -> Self {
        let mut ratios: Vec<f64> = samples.iter().zip(baseline).map(|(sample, base)| sample / base).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        // How many of n rounds fall below the true median is binomial, whatever the distribution.
        let n = ratios.len() as f64;
        let margin = 0.98 * n.sqrt();
        let low = ((n / 2.0 - margin).floor() - 1.0).max(0.0) as usize;
        let high = ((n / 2.0 + margin).ceil() as usize).min(ratios.len() - 1);
        let (ratio_low, ratio_high) = (ratios[low], ratios[high]);
        Self { ratio: Data::new(ratios).median(), ratio_low, ratio_high }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_over_the_rounds_and_lies_between_its_bounds() {
        let baseline: Vec<f64> = (1..=101).map(f64::from).collect();
        let samples: Vec<f64> = baseline.iter().enumerate().map(|(i, base)| base * (1.0 + i as f64 / 100.0)).collect();
        let ratio = Ratio::of(&samples, &baseline);
        assert!((ratio.ratio - 1.5).abs() < 1e-9);
        assert!(ratio.ratio_low > 1.35 && ratio.ratio_low < 1.45 && ratio.ratio_high > 1.55 && ratio.ratio_high < 1.65);
    }

    #[test]
    fn few_rounds_leave_the_ratio_as_unsure_as_they_are() {
        let ratio = Ratio::of(&[2.0, 3.0, 4.0], &[1.0, 1.0, 1.0]);
        assert_eq!((ratio.ratio_low, ratio.ratio, ratio.ratio_high), (2.0, 3.0, 4.0));
    }
}
