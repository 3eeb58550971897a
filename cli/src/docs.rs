//! What the tool tells about itself: `shm completions`, `shm man`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::Cli;
use crate::failure::Failure;

/// Below the list of commands.
pub(crate) const AFTER_HELP: &str = "`shm help` tells how regions are named, `shm help COMMAND` how a command works.";

/// The same at length, for the manual page too.
pub(crate) const AFTER_LONG_HELP: &str = "\
Regions:
  posix:/NAME          a POSIX object; unusual bytes are written %XX
  sysv:/NAME           a System V segment whose key is the name's hash
  sysv:0xKEY           a System V segment by its key
  sysv:#ID             one by its id (shmid)
  sysv:ftok:PATH,PROJ  one by ftok(3)'s key; PROJ is a number or a letter
  /dev/shm/NAME        a POSIX object, as the shell completes its path
  /proc/PID/root/dev/shm/NAME  one in the container of a process (stat, rm)
  /NAME                whichever kind exists, if only one of them does

The hash is RegionName::key of the crate shared-region: 32-bit FNV-1a of the name without its slash. Unusual are bytes \
outside A-Z a-z 0-9 . _ -, control characters among them, which so never reach the terminal.

Sizes are bytes, in decimal or as 0x1000, or numbers with K, M, G, T (also KiB, MiB …: powers of 1024; KB, MB …: powers \
of 1000).

Exit codes: 0 done, 1 something failed, 2 wrong usage, 3 --orphans could not see of some regions whether they are. A \
failure is one line on standard error, but for wrong usage, which shows the right one below it.

Who has a region mapped is counted by the system for System V. For POSIX the mappings and open descriptors of all processes \
in /proc are searched; where some of them could not be read, which for anybody but root is the rule, the count shows as \
\u{2265} n. Processes of other PID namespaces that share /dev/shm, as containers may, are not in /proc, nor are descriptors \
on their way through a socket.

An orphan has nobody attached. For POSIX the kernel says so, by a lease, to the owner and to root, and knows those others \
too; a mount of the object counts as use. For System V its creator has ended as well: no process has the number, or \
one that began later. Where that could not be seen, nothing is called an orphan, and the exit code is 3.";

/// Prints a script that completes commands, options and, in bash, zsh and fish, the regions that exist.
///
/// For bash: shm completions bash > ~/.local/share/bash-completion/completions/shm.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Prints a manual page: of shm, or of one of its commands.
///
/// To read it: shm man ls | man -l -.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// The command whose page it is.
    command: Option<String>,
}

pub(crate) fn completions(args: Completions, out: &mut dyn Write) -> Result<(), Failure> {
    let mut script = Vec::new(); // the generator panics where its output fails
    clap_complete::generate(args.shell, &mut Cli::command(), "shm", &mut script);
    let script = String::from_utf8_lossy(&script);
    let cli = Cli::command();
    let commands: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let script = with_regions(args.shell, &script).replace("SHM_COMMANDS", &commands.join(" "));
    out.write_all(script.as_bytes()).map_err(Failure::output)
}

/// Adds what is asked of the tool itself while somebody types: the regions that exist, and the commands that have a page.
fn with_regions(shell: Shell, script: &str) -> String {
    match shell {
        Shell::Bash => format!("{script}{}", include_str!("completions/shm.bash")),
        Shell::Fish => format!("{script}{}", include_str!("completions/shm.fish")),
        Shell::Zsh => {
            let complete = |line: &str| {
                let is = |names: &[&str]| names.iter().any(|name| line.starts_with(name));
                let by = if line.contains("-- Only these:") {
                    "_shm_ipc"
                } else if is(&["'*::ids -- ", "':id -- ", "':source -- ", "':target -- "]) {
                    "_shm_regions"
                } else if is(&["'::command -- The command whose page"]) {
                    "_shm_manual"
                } else {
                    return format!("{line}\n");
                };
                format!("{}\n", line.replace(":_default'", &format!(":{by}'")))
            };
            let script: String = script.lines().map(complete).collect();
            // The first line is for the shell.
            let (first, rest) = script.split_once('\n').unwrap_or_default();
            format!("{first}\n\n{}{rest}", include_str!("completions/shm.zsh"))
        }
        _ => script.to_owned(),
    }
}

pub(crate) fn man(args: Man, out: &mut dyn Write) -> Result<(), Failure> {
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let page = match &args.command {
        None => cli,
        Some(name) => {
            let known = cli.find_subcommand(name).cloned();
            let unknown = || Failure::Usage(format!("{name:?} is no command: see `shm help`"));
            known.ok_or_else(unknown)?
        }
    };
    Page::new(page).render(out).map_err(Failure::output)
}
