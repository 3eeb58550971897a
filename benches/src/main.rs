//! Measures what each backend costs, beside raw calls, peers and the kernel's other IPC.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

mod groups;
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

fn main() -> Result<ExitCode> {
    let options = match Cli::parse().command {
        Command::Report(options) => options,
        Command::Umpire(umpire) => return umpire.serve().map(|()| ExitCode::SUCCESS),
    };
    // Before anything that starts a thread.
    let isolation = isolation::enter()?;
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS {
        // The second one ends this at once, should the first not be heard.
        flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    if isolation == Isolation::Shared {
        eprintln!("namespaces are not permitted here: measuring in the machine's own /dev/shm and System V namespace");
    }
    let processors = Processors::allowed()?;
    let machine = Machine::look(isolation, processors.count());
    let chosen = groups::GROUPS
        .iter()
        .filter(|group| options.groups.is_empty() || options.groups.iter().any(|name| name == group.name));
    let report = run::run(chosen.collect(), options.quick, machine, &processors, &stop)?;
    report.write(&options.out).with_context(|| format!("write to {}", options.out.display()))?;
    println!("wrote BENCHMARKS.md, benchmarks.json and plots to {}", options.out.display());
    let past = report.past_their_limit();
    past.iter().for_each(|row| println!("past its limit: {row}"));
    Ok(if options.check && !past.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
