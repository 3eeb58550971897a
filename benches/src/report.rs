//! What a run leaves: a document, its plots, and every row for programs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::limits::Verdict;
use crate::machine::Machine;
use crate::model::{Comparison, Group, Row, Skipped};

mod canvas;
mod lines;
mod markdown;
mod panels;
mod picture;

pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) quick: bool,
    pub(crate) took: Duration,
    pub(crate) groups: Vec<&'static Group>,
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) verdicts: Vec<Verdict>,
    /// Limits of what was not measured.
    pub(crate) idle: Vec<String>,
}

impl Report {
    /// Where the plots are, beside the document.
    const PLOTS: &str = "benches/plots";

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let plots = folder.join(Self::PLOTS);
        fs::create_dir_all(&plots)?;
        for group in &self.groups {
            for plot in group.plots {
                if let Some(picture) = picture::draw(plot, &self.cases(group.name, plot.case)) {
                    fs::write(plots.join(plot.file).with_extension("svg"), picture)?;
                }
            }
        }
        fs::write(folder.join("BENCHMARKS.md"), markdown::document(self))?;
        fs::write(folder.join("benchmarks.json"), self.json()?)?;
        Ok(())
    }

    pub(crate) fn past_their_limit(&self) -> Vec<&Verdict> {
        self.verdicts.iter().filter(|verdict| !verdict.holds).collect()
    }

    /// One case of a group at all its sizes.
    fn cases(&self, group: &str, case: &str) -> Vec<&Comparison> {
        self.comparisons.iter().filter(|it| it.group == group && it.case.name == case).collect()
    }

    fn json(&self) -> Result<String> {
        let rows: Vec<Row> = self.comparisons.iter().flat_map(Comparison::rows).collect();
        let mut text = serde_json::to_string_pretty(&json!({
            "machine": self.machine,
            "quick": self.quick,
            "seconds": self.took.as_secs(),
            "rows": rows,
            "limits": self.verdicts,
            "limits_not_applied": self.idle,
            "skipped": self.skipped,
        }))?;
        text.push('\n');
        Ok(text)
    }
}
