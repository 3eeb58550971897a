//! `shm`: one tool for both kinds of shared memory.

use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use nix::libc::SIGXFSZ;

mod args;
mod beside;
mod chmod;
mod chown;
mod copy;
mod create;
mod docs;
mod everywhere;
mod failure;
mod hex;
mod huge;
mod identity;
mod input;
mod inside;
mod interrupt;
mod inventory;
mod ipc;
mod item;
mod limits;
mod ls;
mod mode;
mod mounted;
mod people;
mod privilege;
mod probe;
mod process;
mod prometheus;
mod read;
mod reserve;
mod rm;
mod size;
mod standard;
mod stat;
mod stream;
mod table;
mod text;
mod top;
mod wait;
mod write;

use failure::Failure;

/// Lists, examines, makes, fills, copies and removes shared memory, System V and POSIX alike.
#[derive(Debug, Parser)]
#[command(name = "shm", version, subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = docs::AFTER_HELP, after_long_help = docs::AFTER_LONG_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ls(ls::Args),
    Stat(stat::Args),
    Create(create::Args),
    Read(read::Args),
    Write(write::Args),
    Copy(copy::Args),
    Chmod(chmod::Args),
    Chown(chown::Args),
    Rm(rm::Args),
    Wait(wait::Args),
    Ipc(ipc::Args),
    Top(top::Args),
    Limits(limits::Args),
    Probe(probe::Args),
    Completions(docs::Completions),
    Man(docs::Man),
}

impl Command {
    fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Ls(args) => ls::run(args, out),
            Self::Stat(args) => stat::run(args, out),
            Self::Create(args) => create::run(args),
            Self::Read(args) => read::run(args, out),
            Self::Write(args) => write::run(args),
            Self::Copy(args) => copy::run(args),
            Self::Chmod(args) => chmod::run(args),
            Self::Chown(args) => chown::run(args),
            Self::Rm(args) => rm::run(args, out),
            Self::Wait(args) => wait::run(args),
            Self::Ipc(args) => ipc::run(args, out),
            Self::Top(args) => top::run(args, out),
            Self::Limits(args) => limits::run(args, out),
            Self::Probe(args) => probe::run(args, out),
            Self::Completions(args) => docs::completions(args, out),
            Self::Man(args) => docs::man(args, out),
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // It quotes arguments, which a shell's `*` may have filled with the names that a stranger chose: so it is made
            // again, of arguments that are fit for a terminal.
            let calm = std::env::args_os().map(|argument| text::printable(argument.as_bytes()));
            let _ = match Cli::try_parse_from(calm) {
                Err(error) => write!(io::stderr(), "{error}"),
                Ok(_) => writeln!(io::stderr(), "error: an argument has characters that cannot be shown"),
            };
            return ExitCode::from(2);
        }
        Err(help) => match standard::expect_output() {
            Ok(()) => help.exit(),
            Err(failure) => return failure.exit(),
        },
    };
    let mut out = BufWriter::new(standard::Output::lock());
    // Without a handler a file limit (ulimit -f) kills whoever writes past it; with one, the write fails and says so.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
    let outcome = cli.command.run(&mut out);
    let flushed = out.flush().map_err(Failure::output);
    // What was put off while something was half made ends the program now.
    match outcome.and(flushed).and_then(|()| interrupt::check()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.exit(),
    }
}
