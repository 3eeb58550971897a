//! Measures what each backend costs, beside raw calls, peers and the kernel's other IPC.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use nix::unistd::{AccessFlags, access};

mod groups;
mod interrupts;
mod ipc;
mod isolation;
mod limits;
mod machine;
mod model;
mod report;
mod run;
mod sampler;
mod statistics;
mod ways;

use interrupts::Interrupts;
use isolation::{Isolation, Processors};
use machine::Machine;
use report::Report;

/// What shared memory costs on this machine, measured.
#[derive(Parser)]
#[command(name = "benches")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures, and writes BENCHMARKS.md, benchmarks.json and the plots.
    Report(Options),
    #[command(hide = true)]
    Umpire(ipc::Umpire),
}

#[derive(Args)]
struct Options {
    /// The groups to measure; all, if none is named.
    #[arg(value_name = "GROUP", value_parser = PossibleValuesParser::new(groups::GROUPS.iter().map(|group| group.name)))]
    groups: Vec<String>,
    /// Fewer sizes and samples: under 90 seconds for all.
    #[arg(long)]
    quick: bool,
    /// Exits 1 and names the rows that are past their limit.
    #[arg(long)]
    check: bool,
    /// Where to write.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/.."))]
    out: PathBuf,
}

fn main() -> ExitCode {
    let options = match Cli::parse().command {
        Command::Report(options) => options,
        Command::Umpire(umpire) => return umpire.serve(),
    };
    match report(&options) {
        Ok(past) if options.check && past > 0 => ExitCode::from(1),
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Measures, writes, and says what is past its limit, and how much that is.
fn report(options: &Options) -> Result<usize> {
    // Before anything that starts a thread.
    let isolation = isolation::enter()?;
    let interrupts = Interrupts::hold()?;
    if isolation == Isolation::Shared {
        eprintln!("namespaces are not permitted here: measuring in the machine's own /dev/shm and System V namespace");
    }
    // Found out before minutes are spent.
    let writing = || format!("cannot write to {}", options.out.display());
    fs::create_dir_all(&options.out).with_context(writing)?;
    let out = options.out.canonicalize().with_context(writing)?;
    access(&out, AccessFlags::W_OK).with_context(writing)?;

    let processors = Processors::allowed()?;
    let machine = Machine::look(isolation, processors.count());
    let chosen = |name: &str| options.groups.is_empty() || options.groups.iter().any(|group| group == name);
    let groups = groups::GROUPS.iter().filter(|group| chosen(group.name)).collect();
    let report = run::run(groups, options.quick, machine, &processors, &interrupts)?;
    report.write(&out).with_context(writing)?;
    println!("wrote BENCHMARKS.md, benchmarks.json and plots to {}", out.display());
    let past = report.past_their_limit();
    past.iter().for_each(|row| println!("past its limit: {row}"));
    Ok(past.len())
}
