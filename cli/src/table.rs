//! Tables and JSON on standard output.

use std::io::{self, IsTerminal, Write};

use console::{Term, measure_text_width};
use serde::Serialize;

use crate::failure::Failure;

/// Whether a person reads along: then sizes are rounded and tables fit the terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The terminal's width, where it has one.
pub(crate) fn terminal_width() -> Option<usize> {
    let size = if is_terminal() { Term::stdout().size_checked() } else { None };
    size.map(|(_, columns)| usize::from(columns)).filter(|&columns| columns > 0)
}

/// One column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    kind: Kind,
    /// Where the terminal is too narrow, the column with the highest rank goes first; 0 stays.
    rank: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Left,
    Right,
    /// Of any length, which anybody may have chosen: shortened in the middle rather than that others go.
    Name,
    /// Words, in several lines where there is no room; the last column.
    Prose,
}

/// A column of text.
pub(crate) const fn left(name: &'static str, rank: u8) -> Column {
    Column { name, kind: Kind::Left, rank }
}

/// A column of numbers.
pub(crate) const fn right(name: &'static str, rank: u8) -> Column {
    Column { name, kind: Kind::Right, rank }
}

/// A column of names that strangers chose.
pub(crate) const fn names(name: &'static str) -> Column {
    Column { name, kind: Kind::Name, rank: 0 }
}

/// A column of sentences, which comes last.
pub(crate) const fn prose(name: &'static str) -> Column {
    Column { name, kind: Kind::Prose, rank: 0 }
}

/// How wide a column of names can be at the cost of others: as `posix:/` and a portable name.
const LONGEST: usize = 37;

/// What a column of names or words keeps in any case.
const SHORTEST: usize = 12;

/// What stands between two columns.
const GAP: usize = 2;

/// Rows under columns. What is not known is an empty cell, and shows as `-`.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    /// The widest cell of each.
    widths: Vec<usize>,
    /// A text for each row, as there may be very many: its cells with a NUL behind each, which none of them has.
    rows: Vec<Box<str>>,
}

impl Table {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let widths = columns.iter().map(|column| column.name.len()).collect();
        Self { columns: columns.to_vec(), widths, rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row = String::new();
        for (cell, widest) in cells.into_iter().zip(&mut self.widths) {
            let cell = if cell.is_empty() { "-" } else { &cell };
            *widest = measure_text_width(cell).max(*widest);
            row.push_str(cell);
            row.push('\0');
        }
        self.rows.push(row.into());
    }

    /// Writes it, into lines of this width if there is one, else a line for each row.
    pub(crate) fn write(mut self, width: Option<usize>, out: &mut dyn Write) -> Result<(), Failure> {
        let shown = self.fit(width);
        let header = shown.iter().map(|&index| self.columns[index].name).collect();
        self.line(&shown, header, out).map_err(Failure::output)?;
        for row in &self.rows {
            let cells: Vec<&str> = row.split('\0').collect();
            self.line(&shown, shown.iter().map(|&index| cells[index]).collect(), out).map_err(Failure::output)?;
        }
        Ok(())
    }

    /// Chooses the columns that are shown, and how wide they are.
    fn fit(&mut self, width: Option<usize>) -> Vec<usize> {
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let Some(width) = width else { return shown };
        let least = |table: &Self, index: usize| match table.columns[index].kind {
            Kind::Name => table.widths[index].min(LONGEST),
            Kind::Prose => table.widths[index].min(SHORTEST),
            Kind::Left | Kind::Right => table.widths[index],
        };
        let total = |table: &Self, shown: &[usize]| {
            shown.iter().map(|&index| GAP + least(table, index)).sum::<usize>().saturating_sub(GAP)
        };
        while total(self, &shown) > width {
            let Some(&last) = shown.iter().max_by_key(|&&index| self.columns[index].rank) else { break };
            if self.columns[last].rank == 0 {
                break;
            }
            shown.retain(|&index| index != last);
        }
        // What is left over goes to names and words; what is missing comes out of them.
        let spare = width.saturating_sub(total(self, &shown));
        let missing = total(self, &shown).saturating_sub(width);
        for &index in &shown {
            if matches!(self.columns[index].kind, Kind::Name | Kind::Prose) {
                let given = (least(self, index) + spare).saturating_sub(missing).max(SHORTEST);
                self.widths[index] = given.min(self.widths[index]);
            }
        }
        shown
    }

    /// Writes a row, in one line or, if its last cell has more words than room, in several.
    fn line(&self, shown: &[usize], cells: Vec<&str>, out: &mut dyn Write) -> io::Result<()> {
        let mut line = String::new();
        let mut start = 0;
        for (&index, cell) in shown.iter().zip(cells) {
            let (width, kind) = (self.widths[index], self.columns[index].kind);
            let room = width.saturating_sub(measure_text_width(cell));
            match kind {
                Kind::Right => line.extend(std::iter::repeat_n(' ', room).chain(cell.chars())),
                Kind::Name if measure_text_width(cell) > width => line.push_str(&shorten(cell, width)),
                Kind::Prose => {
                    let mut rest = wrap(cell, width).into_iter();
                    line.push_str(rest.next().unwrap_or_default());
                    for more in rest {
                        writeln!(out, "{}", line.trim_end())?;
                        line = format!("{:start$}{more}", "");
                    }
                }
                Kind::Left | Kind::Name => line.extend(cell.chars().chain(std::iter::repeat_n(' ', room))),
            }
            line.push_str("  ");
            start += width + GAP;
        }
        writeln!(out, "{}", line.trim_end())
    }
}

/// Takes characters out of the middle.
fn shorten(name: &str, width: usize) -> String {
    let characters: Vec<char> = name.chars().collect();
    let tail = (width - 1) / 2;
    let head = &characters[..(width - 1 - tail).min(characters.len())];
    head.iter().chain(&['…']).chain(&characters[characters.len() - tail.min(characters.len())..]).collect()
}

/// Breaks at blanks. A word that is wider than the line has one of its own.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let (mut lines, mut start, mut end) = (Vec::new(), 0, 0);
    for (blank, _) in text.match_indices(' ').chain([(text.len(), "")]) {
        if end > start && measure_text_width(&text[start..blank]) > width {
            lines.push(&text[start..end]);
            start = end + 1;
        }
        end = blank;
    }
    lines.push(&text[start..]);
    lines
}

/// Writes a value as JSON.
pub(crate) fn write_json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Failure> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(|error| Failure::output(error.into()))?;
    writeln!(out).map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_ends() {
        assert_eq!(shorten("posix:/abcdefghij", 9), "posi…ghij");
        assert_eq!(shorten("posix:/abcdefghij", 10), "posix…ghij");
    }

    #[test]
    fn words_are_broken_at_blanks_and_nowhere_else() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("one two three", 3), ["one", "two", "three"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(wrap("alone", 3), ["alone"]);
    }

    #[test]
    fn less_important_columns_go_before_a_name_is_cut_below_a_portable_one() {
        let mut table = Table::new(&[names("ID"), right("SIZE", 1), left("STATUS", 0)]);
        table.row(["x".repeat(100), "1234".into(), "orphan".into()]);
        assert_eq!((table.fit(Some(54)), table.widths[0]), (vec![0, 1, 2], 40));
        let mut table = Table::new(&[names("ID"), right("SIZE", 1), left("STATUS", 0)]);
        table.row(["x".repeat(100), "1234".into(), "orphan".into()]);
        assert_eq!((table.fit(Some(40)), table.widths[0]), (vec![0, 2], 32));
    }
}
