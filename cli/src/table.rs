//! Tables and JSON on standard output.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table as Grid, presets};
use console::Term;
use serde::Serialize;

use crate::failure::Failure;

/// Whether a person reads along: then sizes are rounded and tables fit the terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The terminal's width, where it has one.
fn terminal_width() -> Option<u16> {
    let size = if is_terminal() { Term::stdout().size_checked() } else { None };
    size.map(|(_, columns)| columns).filter(|&columns| columns > 0)
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    align: CellAlignment,
    /// Where the terminal is too narrow, the column with the highest rank goes first; 0 stays.
    rank: u8,
}

/// A column of text.
pub(crate) const fn left(name: &'static str, rank: u8) -> Column {
    Column { name, align: CellAlignment::Left, rank }
}

/// A column of numbers.
pub(crate) const fn right(name: &'static str, rank: u8) -> Column {
    Column { name, align: CellAlignment::Right, rank }
}

/// How wide a column that stays can be at the cost of others: as `posix:/` and a portable name.
const LONGEST: usize = 37;

/// Rows under columns. What is not known is an empty cell, and shows as `-`.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let dash = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        self.rows.push(cells.into_iter().map(dash).collect());
    }

    /// Writes it: in a terminal as wide as that, else as wide as it is, a line for each row.
    pub(crate) fn write(mut self, out: &mut dyn Write) -> Result<(), Failure> {
        let width = terminal_width();
        let mut grid = Grid::new();
        if let Some(width) = width {
            self.narrow(width);
            grid.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
        }
        grid.load_preset(presets::NOTHING).set_header(self.columns.iter().map(|column| column.name));
        grid.add_rows(self.rows);
        for (column, wanted) in grid.column_iter_mut().zip(&self.columns) {
            column.set_padding((0, 2));
            column.set_cell_alignment(wanted.align);
        }
        grid.lines().try_for_each(|line| writeln!(out, "{}", line.trim_end())).map_err(Failure::output)
    }

    /// Takes columns away until the rest fits, or only those are left that have to stay.
    fn narrow(&mut self, width: u16) {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| {
                let cells = self.rows.iter().map(|row| row[index].as_str());
                let widest = cells.chain([column.name]).map(console::measure_text_width).max().unwrap_or(0);
                // One long name, which anybody may have chosen, takes more lines and not the others' columns.
                2 + if column.rank == 0 { widest.min(LONGEST) } else { widest }
            })
            .collect();
        // The last column's padding may be cut off.
        while widths.iter().sum::<usize>() > usize::from(width) + 2 {
            let last = self.columns.iter().enumerate().filter(|(_, column)| column.rank > 0);
            let Some((index, _)) = last.max_by_key(|(_, column)| column.rank) else { break };
            self.columns.remove(index);
            widths.remove(index);
            for row in &mut self.rows {
                row.remove(index);
            }
        }
    }
}

/// Writes a value as JSON.
pub(crate) fn write_json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(|error| Failure::output(error.into()))?;
    writeln!(out).map_err(Failure::output)
}
