//! Broken pipes and signals.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{BACKENDS, Region, SHM, alone, eventually, fails, name, namespaces, ok, ok_with, shm, signal};

#[test]
fn a_reader_that_has_gone_ends_it_quietly() {
    let region = Region::made("posix", "pipe", &["8M"]);
    let none = format!("posix:{}", name("none"));
    for arguments in [
        &["ls"][..],
        &["ls", "--json"],
        &["read", &region.0],
        &["read", "--hex", &region.0],
        &["limits"],
        &["stat", &region.0],
        &["completions", "zsh"],
        &["man"],
        &["rm", "--dry-run", &region.0],
    ] {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let output = shm(arguments.iter().copied()).stdout(writer).output().unwrap();
        assert_eq!(signal(&output), Some(Signal::SIGPIPE as i32), "{arguments:?}: {output:?}");
        assert_eq!(output.stderr, b"", "{arguments:?}");
    }
    // Nobody reads what failed, either.
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    assert_eq!(shm(["rm", &none]).stderr(writer).status().unwrap().code(), Some(1));
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let region = Region::made("sysv", "full", &["8M"]);
    for arguments in [&["ls"][..], &["read", &region.0], &["ls", "--json"], &["man"]] {
        let told = fails(shm(arguments.iter().copied()).stdout(full()), 1);
        assert!(told.contains("cannot write to standard output: No space left"), "{told}");
    }
}

/// Whether a process has put a signal off (or has ended).
fn catches(child: &Child, signal: Signal) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{}/status", child.id())) else { return true };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.is_none_or(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << (signal as i32 - 1)) != 0)
}

/// Starts a command that makes a region, and sends a signal once that is put off, so in the middle. What is left has to be
/// whole, and once nothing must be. Whole is what ends with `last`.
fn interrupted(arguments: &[&str], target: &Region, by: Signal, last: u8) {
    for _ in 0..100 {
        let child = shm(arguments.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        eventually(|| catches(&child, by));
        kill(Pid::from_raw(child.id() as i32), by).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stderr, b"");
        assert!(output.status.success() || signal(&output) == Some(by as i32), "{output:?}");
        if !target.exists() {
            assert!(!output.status.success());
            return;
        }
        // The signal came when all was done.
        assert_eq!(target.bytes().last(), Some(&last));
        target.id().remove().unwrap();
    }
    panic!("it was never caught in the middle");
}

/// A region of 64 MiB that takes no memory and ends with an x.
fn sparse() -> Region {
    let region = Region::made("posix", "sparse", &["64M", "--lazy"]);
    ok_with(&mut shm(["write", &region.0, "--offset", &((64 << 20) - 1).to_string()]), b"x");
    region
}

#[test]
fn a_signal_in_the_middle_of_a_copy_leaves_nothing() {
    let source = sparse();
    for backend in BACKENDS {
        for by in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP] {
            let copy = Region::new(format!("{backend}:{}", name("copy")));
            interrupted(&["copy", &source.0, &copy.0], &copy, by, b'x');
        }
    }
}

#[test]
fn a_signal_in_the_middle_of_a_creation_leaves_nothing() {
    let source = sparse();
    let file = source.0.replace("posix:", "/dev/shm");
    for backend in BACKENDS {
        let made = Region::new(format!("{backend}:{}", name("made")));
        interrupted(&["write", "--create", &made.0, &file], &made, Signal::SIGINT, b'x');
        interrupted(&["create", &made.0, "64M", "--prefault"], &made, Signal::SIGINT, 0);
    }
}

#[test]
fn a_signal_while_memory_is_set_aside_is_answered_at_once_and_leaves_nothing() {
    if !namespaces() {
        return;
    }
    // A process of 32 bits has no room for more.
    let size: u64 = if cfg!(target_pointer_width = "64") { 2 << 30 } else { 1 << 30 };
    for (what, by) in [("posix:/big", "INT"), ("posix:/big", "QUIT"), ("sysv:0x7", "TERM"), ("sysv:0x7", "HUP")] {
        let said = alone(&format!(
            r#"python3 -c 'import os, signal, subprocess, time
shm = os.environ["SHM"]
child = subprocess.Popen([shm, "create", "{what}", "{size}", "--prefault"], preexec_fn=lambda: os.nice(5))
def taken():
    used = os.statvfs("/dev/shm")
    segments = open("/proc/sysvipc/shm").read().splitlines()[1:]
    return (used.f_blocks - used.f_bfree) * used.f_bsize + sum(int(line.split()[14]) for line in segments if line)
while taken() < 64 << 20 and child.poll() is None: time.sleep(0.001)
child.send_signal(signal.SIG{by})
most = 0
while child.poll() is None:
    most = max(most, taken())
    time.sleep(0.001)
print(-child.returncode == signal.SIG{by}, most < {size}, taken())
print(len(subprocess.check_output([shm, "ls"], text=True).splitlines()))'"#
        ));
        let words: Vec<&str> = said.split_whitespace().collect();
        // It ends by the signal, long before all was set aside.
        assert_eq!(words, ["True", "True", "0", "1"], "{what}: {said}");
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let source = sparse();
    let copy = Region::new(format!("sysv:{}", name("copy")));
    let script = "trap '' HUP; exec \"$0\" copy \"$1\" \"$2\"";
    let mut command = std::process::Command::new("sh");
    let mut child = command.args(["-c", script, crate::support::SHM, &source.0, &copy.0]).spawn().unwrap();
    // By then it has put off what it puts off.
    eventually(|| copy.exists());
    kill(Pid::from_raw(child.id() as i32), Signal::SIGHUP).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(copy.bytes().last(), Some(&b'x'));
}

#[test]
fn input_that_never_comes_can_be_interrupted() {
    let made = Region::new(format!("sysv:{}", name("made")));
    let child = shm(["write", "--create", &made.0]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    kill(pid, Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((signal(&output), output.stderr), (Some(Signal::SIGINT as i32), Vec::new()));
    assert!(!made.exists());
}

#[test]
fn closed_output_is_a_failure() {
    let region = Region::made("posix", "closed", &["4K"]);
    let id = &*region.0;
    for arguments in [
        &["ls"][..],
        &["ls", "--json"],
        &["stat", id],
        &["read", id],
        &["read", "--hex", id],
        &["limits"],
        &["probe"],
        &["completions", "bash"],
        &["man"],
        &["help"],
        &["rm", "--dry-run", id],
        &["--version"],
    ] {
        let told = fails(&mut without(">&-", arguments), 1);
        assert_eq!(told, "shm: cannot write to standard output: it is closed\n", "{arguments:?}");
    }
    // What says nothing does not miss it, and what does is not done in secret.
    assert_eq!(ok(&mut without(">&-", &["chmod", "0640", id])), "");
    assert!(!namespaces() || alone(r#"> /dev/shm/a; "$SHM" rm --orphans --yes >&- 2>&1 || ls /dev/shm"#) == "a\n");
    assert_eq!(ok(&mut without("> /dev/null", &["ls"])), "");
    ok(&mut without(">&- 2>&-", &["chmod", "0600", id]));
}

#[test]
fn closed_input_is_a_failure() {
    let region = Region::made("posix", "closed", &["4K"]);
    let made = Region::new(format!("sysv:{}", name("made")));
    for arguments in [&["write", &region.0][..], &["write", &region.0, "-"], &["write", "--create", &made.0]] {
        let told = fails(&mut without("<&-", arguments), 1);
        assert_eq!(told, "shm: cannot read standard input: it is closed\n", "{arguments:?}");
    }
    assert!(!made.exists());
    ok(&mut without("<&-", &["write", &region.0, "/proc/version"]));
    ok(&mut without("< /dev/null", &["write", &region.0]));
    // Opened as the runtime opens it.
    ok(&mut without("<> /dev/null", &["write", &region.0]));
}

/// Prepares a run of the tool with other descriptors, as a shell writes them.
fn without(redirection: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("exec \"$0\" \"$@\" {redirection}")).arg(SHM).args(arguments);
    command
}
