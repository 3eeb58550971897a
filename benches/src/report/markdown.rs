//! BENCHMARKS.md.

use std::fmt::Write;

use tabled::builder::Builder;
use tabled::settings::Style;

use super::Report;
use crate::groups::GROUPS;
use crate::model::{Comparison, Group, Unit};
use crate::run::in_words;
use crate::statistics::Summary;

pub(super) fn document(report: &Report) -> String {
    let mut text = format!(
        "# Benchmarks

What shared memory costs on each backend, beside the raw calls, other crates, and the kernel's other ways for processes
to talk. Written by the program in `benches/`, in one run of {}{}{}.

",
        in_words(report.took),
        if report.groups.len() < GROUPS.len() { ", of some groups alone" } else { "" },
        if report.quick { ", with `--quick`: too few samples to rely on" } else { "" },
    );
    text += "## How to repeat

```console
$ cargo run --release --manifest-path benches/Cargo.toml -- report            # all of it
$ cargo run --release --manifest-path benches/Cargo.toml -- report attach     # one group
```

`--quick` takes under 90 seconds and says less; `--check` exits 1 and names what is past its limit; `--out DIR` writes
elsewhere. Rust 1.95 or newer. Nothing is left behind: the run has a `/dev/shm` and a System V namespace of its own,
where that is permitted.

## How to read

The subjects of a comparison take turns in random order, each once per round, on one processor unless the text says
otherwise. Each is verified before and after: the bytes arrived, the name is gone. Bold is the median of one operation;
below it, 10 and 90 percent of the samples lie under these two. **×** is the ratio to the subject in the column *ratio
to*: the median over the rounds, within each of which both were measured. Less is better. Absolute times are this
machine's; ratios travel better.

";
    text += &machine(report);
    text += &limits(report);
    report.groups.iter().for_each(|group| text += &section(report, group));
    text
}

fn table(rows: Vec<Vec<String>>) -> String {
    let mut table = Builder::from_iter(rows).build();
    format!("{}\n\n", table.with(Style::markdown()))
}

fn machine(report: &Report) -> String {
    let machine = &report.machine;
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    let facts = [
        ("", String::new()),
        ("measured on", machine.date.clone()),
        ("processor", format!("{}, {} of them for this run", machine.processor, machine.processors)),
        ("a virtual machine", yes(machine.virtualized).into()),
        ("memory", format!("{} MiB", machine.memory_mib)),
        ("load before the run", format!("{}; the less, the better the figures", machine.load)),
        ("system", format!("{}, {}", machine.kernel, machine.libc)),
        ("compiler", machine.compiler.clone()),
        ("`/dev/shm` and System V namespace of its own", yes(machine.private_namespaces).into()),
        ("`AT_EMPTY_PATH` granted", yes(machine.empty_path).into()),
        ("transparent huge pages for shared memory", machine.shmem_enabled.clone()),
        ("pool of huge pages", machine.huge_page_pool.to_string()),
    ];
    let rows = facts.into_iter().map(|(fact, value)| vec![fact.to_owned(), value]).collect();
    format!("## The machine\n\n{}", table(rows))
}

fn limits(report: &Report) -> String {
    if report.verdicts.is_empty() {
        return String::new();
    }
    let past = report.past_their_limit();
    let mut rows =
        vec![["group", "case", "size", "subject", "beside", "limit", "measured", ""].map(str::to_owned).to_vec()];
    rows.extend(report.verdicts.iter().map(|it| {
        let holds = if it.holds { "holds" } else { "**past it**" };
        let words = [it.group, it.case, &it.size, it.subject, it.against, &it.limit, &it.measured, holds];
        words.map(str::to_owned).to_vec()
    }));
    let mut text =
        format!("## Limits\n\nWhat `--check` holds: {} limits, {} of them not kept", rows.len() - 1, past.len());
    text += if past.is_empty() { ".\n\n" } else { ":\n\n" };
    past.iter().for_each(|verdict| text += &format!("- {verdict}\n"));
    text += if past.is_empty() { "" } else { "\n" };
    if !report.idle.is_empty() {
        let idle = report.idle.join("; ");
        let _ = writeln!(text, "Not applied, as it was not measured: {idle}.\n");
    }
    text += "<details><summary>All limits, with the interval in which the ratio lies with a confidence of 95 %</summary>\n\n";
    text + &table(rows) + "</details>\n\n"
}

fn section(report: &Report, group: &Group) -> String {
    let mut text = format!("## {}\n\n{}\n\n", group.title, group.text);
    let mut cases: Vec<&str> = Vec::new();
    for comparison in report.comparisons.iter().filter(|it| it.group == group.name) {
        if !cases.contains(&comparison.case.name) {
            cases.push(comparison.case.name);
        }
    }
    for skipped in report.skipped.iter().filter(|it| it.group == group.name) {
        let _ = writeln!(text, "*Not measured here: {}. {}*\n", skipped.subject, skipped.reason);
    }
    for case in cases {
        let comparisons = report.cases(group.name, case);
        let _ = writeln!(text, "### {case}\n");
        for plot in group.plots.iter().filter(|plot| plot.case == case) {
            let _ = writeln!(text, "![{}]({}/{}.svg)\n", plot.title, Report::PLOTS, plot.file);
        }
        text += &pivot(&comparisons);
    }
    text
}

/// A row for each subject, a column for each size.
fn pivot(comparisons: &[&Comparison]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for subject in comparisons.iter().flat_map(|it| &it.subjects) {
        if !names.contains(&subject.name) {
            names.push(subject.name);
        }
    }
    let find = |name: &str| comparisons.iter().find_map(|it| it.subject(name));
    let sizes = comparisons.iter().map(|it| it.case.size.to_string());
    let mut rows = vec![["", "guarantees", "ratio to"].map(str::to_owned).into_iter().chain(sizes).collect::<Vec<_>>()];
    for name in names {
        let Some(subject) = find(name) else { continue };
        let mut row =
            vec![name.to_owned(), subject.guarantee.to_owned(), subject.baseline.unwrap_or_default().to_owned()];
        row.extend(comparisons.iter().map(|it| cell(it, name)));
        rows.push(row);
    }
    // What says nothing anywhere takes no room.
    for column in [2, 1] {
        if rows[1..].iter().all(|row| row[column].is_empty()) {
            rows.iter_mut().for_each(|row| drop(row.remove(column)));
        }
    }
    table(rows)
}

fn cell(comparison: &Comparison, name: &str) -> String {
    let Some(subject) = comparison.subject(name) else { return String::new() };
    let summary = Summary::of(&subject.samples);
    let mut cell = match comparison.case.unit {
        Unit::Time => format!("**{}**", time(summary.median)),
        Unit::Count(_) => format!("**{}**", count(summary.median)),
    };
    if let Some(ratio) = subject.baseline.and_then(|baseline| comparison.ratio(subject, baseline)) {
        let _ = write!(cell, " ×{}", times(ratio.ratio));
    }
    if comparison.case.unit == Unit::Time {
        let _ = write!(cell, "<br>{} to {}", time(summary.p10), time(summary.p90));
    }
    cell
}

/// A time as people say it.
pub(super) fn time(nanoseconds: f64) -> String {
    let units = [("s", 1e9), ("ms", 1e6), ("µs", 1e3), ("ns", 1.0)];
    let (unit, scale) = units.into_iter().find(|(_, scale)| nanoseconds >= *scale).unwrap_or(("ns", 1.0));
    format!("{} {unit}", digits(nanoseconds / scale))
}

/// A count for each operation: 0 if there was none at all.
fn count(count: f64) -> String {
    if count == 0.0 { "0".into() } else { format!("{count:.2}") }
}

/// A ratio: two digits behind the point, where that says enough.
pub(super) fn times(ratio: f64) -> String {
    if (0.1..10.0).contains(&ratio) { format!("{ratio:.2}") } else { digits(ratio) }
}

/// Without zeros at the end that say nothing: for round numbers.
pub(super) fn round(number: String) -> String {
    let (digits, unit) = number.split_once(' ').unwrap_or((&number, ""));
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    format!("{digits} {unit}").trim_end().to_owned()
}

/// A number with three digits that count.
pub(super) fn digits(number: f64) -> String {
    let decimals = match number.abs() {
        0.0 => 0,
        number => (2 - number.log10().floor() as i32).clamp(0, 4) as usize,
    };
    format!("{number:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_three_digits_and_take_the_unit_that_fits() {
        let said: Vec<String> = [0.2345, 12.34, 999.4, 15_249.0, 2.5e9].into_iter().map(time).collect();
        assert_eq!(said, ["0.234 ns", "12.3 ns", "999 ns", "15.2 µs", "2.50 s"]);
        assert_eq!([times(0.997), times(0.0431), times(31.24)], ["1.00", "0.0431", "31.2"]);
        assert_eq!([round(time(20e6)), round(time(2.5)), round(digits(300.0))], ["20 ms", "2.5 ns", "300"]);
        assert_eq!([count(0.0), count(0.0001), count(16.0)], ["0", "0.00", "16.00"]);
        assert_eq!([digits(0.0), digits(1.0), digits(1234.5)], ["0", "1.00", "1234"]);
    }
}
