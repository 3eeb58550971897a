//! In a terminal: a pty, with this width, and the tool's own session.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::libc;
use nix::pty::{Winsize, openpty};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{ALONE, BACKENDS, Region, SHM, Scratch, name, namespaces, ok_with, shm, skip};

struct Terminal {
    ours: File,
    child: Child,
}

impl Terminal {
    /// Starts a command whose terminal has so many columns.
    fn start(mut command: Command, columns: u16) -> Self {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        command.stdin(pty.slave.try_clone().unwrap()).stdout(pty.slave.try_clone().unwrap()).stderr(pty.slave);
        let own_session = || {
            nix::unistd::setsid()?;
            // Whoever runs the tests in the background may have it ignored, and that is inherited.
            // SAFETY: the default is no handler of this program.
            unsafe {
                nix::sys::signal::signal(nix::sys::signal::Signal::SIGINT, nix::sys::signal::SigHandler::SigDfl)
            }?;
            // SAFETY: standard input is the terminal, and 0 asks not to take it from another session. ioctl_tty(2).
            nix::errno::Errno::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })?;
            Ok(())
        };
        // SAFETY: it makes two system calls, and neither allocates nor locks.
        unsafe { command.pre_exec(own_session) };
        let child = command.spawn().unwrap();
        Self { ours: pty.master.into(), child }
    }

    /// Starts a script with a region of either kind, alone in namespaces of its own.
    fn alone(script: &str, columns: u16) -> Self {
        let setup =
            "set -e; mount -t tmpfs none /dev/shm; \"$SHM\" create posix:/one 64K; \"$SHM\" create sysv:0x2 64K; ";
        let mut command = Command::new("unshare");
        command.args(ALONE).args(["sh", "-c"]).arg(format!("{setup}{script}")).env("SHM", SHM);
        Self::start(command, columns)
    }

    /// Types something.
    fn type_in(&mut self, text: &str) {
        self.ours.write_all(text.as_bytes()).unwrap();
    }

    /// Reads on until this appears.
    fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let mut byte = [0];
            self.ours.read_exact(&mut byte).unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&seen)));
            seen.push(byte[0]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Reads to the end; returns that and the exit code, or the signal with a minus.
    fn end(mut self) -> (String, i32) {
        let mut seen = Vec::new();
        // The other side's last close is EIO.
        let _ = self.ours.read_to_end(&mut seen);
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| -std::os::unix::process::ExitStatusExt::signal(&status).unwrap());
        (String::from_utf8(seen).unwrap().replace("\r\n", "\n"), code)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_table_fits_every_width_and_shows_more_in_a_wider_one() {
    if !namespaces() {
        return;
    }
    let mut columns = 0;
    for width in [40, 60, 80, 100, 120, 180] {
        let (said, code) = Terminal::alone("\"$SHM\" ls", width).end();
        assert_eq!(code, 0);
        for line in said.lines() {
            assert!(line.chars().count() <= width.into(), "{width}: {line}");
        }
        let header: Vec<&str> = said.lines().next().unwrap().split_whitespace().collect();
        assert!(header.starts_with(&["ID"]) && header.contains(&"SIZE") && header.contains(&"STATUS"), "{header:?}");
        assert!(header.len() > columns || columns == 13, "{width}: {header:?}");
        columns = header.len();
        assert!(said.lines().any(|line| line.starts_with("posix:/one") && line.contains(" 64KiB")), "{said}");
        assert_eq!(said.lines().count(), 3, "{said}");
    }
    assert_eq!(columns, 13);
}

#[test]
fn a_long_name_is_shortened_in_the_middle_and_others_keep_their_columns() {
    if !namespaces() {
        return;
    }
    let long = format!("first-{}-last", "x".repeat(229));
    let list = |options: &str, width| {
        Terminal::alone(&format!(": > /dev/shm/{long}; \"$SHM\" ls --backend posix {options}"), width).end().0
    };
    for width in [40, 80, 100, 200] {
        let said = list("", width);
        assert!(said.lines().all(|line| line.chars().count() <= width.into()), "{said}");
        let header = said.lines().next().unwrap();
        assert!(width < 80 || header.contains("OWNER") && header.contains("ATTACHED"), "{said}");
        assert_eq!(header.split_whitespace().count() == 13, width == 200, "{said}");
        let id = said.lines().nth(1).unwrap().split_whitespace().next().unwrap();
        assert!(id.starts_with("posix:/f") && id.contains('…') && id.ends_with("ast"), "{said}");
        assert!(said.lines().any(|line| line.starts_with("posix:/one ")), "{said}");
    }
    for (options, width) in [("--wide", 80), ("--sort size | cat", 80), ("--json | cat", 80), ("", 400)] {
        assert!(list(options, width).contains(&format!("posix:/{long}")), "{options}");
    }
}

#[test]
fn columns_are_chosen_and_units_are_peoples_where_asked() {
    if !namespaces() {
        return;
    }
    let script = r#""$SHM" ls --columns size,id,mode --sort size; "$SHM" ls --human --columns id,size,changed | cat
        COLUMNS=40 "$SHM" ls --human | cat"#;
    let (said, code) = Terminal::alone(script, 80).end();
    assert_eq!(code, 0);
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[..3], [["SIZE", "ID", "MODE"], ["64KiB", "posix:/one", "0600"], ["64KiB", "sysv:0x2", "0600"]]);
    assert!(lines[4][..2] == ["posix:/one", "64KiB"] && lines[4][2].ends_with('s'), "{said}");
    assert!(said.lines().skip(6).all(|line| line.chars().count() <= 40), "{said}");
    assert!(lines[6].starts_with(&["ID", "SIZE"]), "{said}");
}

#[test]
fn times_are_ages_and_words_wrap() {
    let _region = Region::made("sysv", "age", &["64K"]);
    let (said, _) = Terminal::start(shm(["ls", "--sort=changed"]), 200).end();
    assert!(!said.contains("T") || !said.contains("Z  "), "{said}");
    let newest = said.lines().nth(1).unwrap();
    assert!(
        newest.split_whitespace().any(|word| word.strip_suffix('s').is_some_and(|s| s.parse::<u32>().is_ok())),
        "{said}"
    );
    let (said, code) = Terminal::start(shm(["limits"]), 70).end();
    assert_eq!(code, 0);
    assert!(said.lines().all(|line| line.chars().count() <= 70), "{said}");
    assert!(said.contains("SHMMAX"), "{said}");
}

#[test]
fn raw_bytes_do_not_reach_it_unless_forced() {
    for backend in BACKENDS {
        let region = Region::made(backend, "raw", &["8"]);
        ok_with(&mut shm(["write", &region.0]), b"12345678");
        let (said, code) = Terminal::start(shm(["read", &region.0]), 80).end();
        assert_eq!(code, 2);
        assert!(said.starts_with("shm: ") && said.contains("--hex") && !said.contains("12345678"), "{said}");
        assert_eq!(Terminal::start(shm(["read", "--force", &region.0]), 80).end(), ("12345678".into(), 0));
        let (said, code) = Terminal::start(shm(["read", "--hex", &region.0]), 80).end();
        assert!(code == 0 && said.contains("|12345678|"), "{said}");
    }
}

#[test]
fn control_c_ends_it_quietly() {
    let mut terminal = Terminal::start(shm(["wait", &name("never")]), 80);
    // It echoes, and only then sends the signal: whether the tool has begun does not matter.
    terminal.type_in("\u{3}");
    assert_eq!(terminal.end(), ("^C".into(), -libc::SIGINT));
}

#[test]
fn a_long_copy_shows_how_far_it_is_and_control_c_takes_it_away() {
    if usize::BITS < 64 {
        return skip("an address space holds no 3 GiB");
    }
    let source = Region::made("posix", "source", &["3G", "--lazy"]);
    let copy = Region::new(format!("sysv:{}", name("copy")));
    let mut terminal = Terminal::start(shm(["copy", &source.0, &copy.0]), 80);
    let seen = terminal.until("/3.00 GiB");
    assert!(seen.contains("GiB/s") || !seen.is_empty());
    assert!(copy.exists());
    terminal.type_in("\u{3}");
    let (said, code) = terminal.end();
    assert_eq!(code, -libc::SIGINT, "{said}");
    assert!(!said.contains("shm:"), "{said}");
    assert!(!copy.exists());
}

#[test]
fn orphans_are_shown_and_asked_about() {
    if !namespaces() {
        return;
    }
    for (answer, left, removed) in [
        ("y\n", "0\n", true),
        ("YES\n", "0\n", true),
        ("n\n", "1\n", false),
        ("\n", "1\n", false),
        ("\u{4}", "1\n", false),
    ] {
        let mut terminal = Terminal::alone("\"$SHM\" rm --orphans; ls /dev/shm | wc -l", 100);
        let shown = terminal.until("Remove these 2? [y/N] ");
        assert!(shown.contains("posix:/one") && shown.contains("sysv:0x") && shown.contains("64KiB"), "{shown}");
        terminal.type_in(answer);
        let (said, code) = terminal.end();
        assert_eq!(code, 0, "{said}");
        assert_eq!(said.contains("removed posix:/one\nremoved sysv:0x"), removed, "{said}");
        assert!(said.ends_with(left), "{answer:?}: {said}");
    }
    let (said, code) = Terminal::alone("\"$SHM\" rm --orphans --yes; ls /dev/shm | wc -l", 100).end();
    assert!(code == 0 && !said.contains("[y/N]") && said.ends_with("0\n"), "{said}");
}

#[test]
fn what_is_taken_into_use_while_it_asks_stays() {
    if !namespaces() {
        return;
    }
    let (go, held) = (Scratch::new("go"), Scratch::new("held"));
    for fifo in [&go, &held] {
        mkfifo(&fifo.0, Mode::S_IRWXU).unwrap();
    }
    let script = format!(
        "(read go < {}; exec 9< /dev/shm/one; \"$SHM\" rm sysv:0x2; \"$SHM\" create sysv:0x2 4K; echo > {}; exec cat /dev/zero > /dev/null) & \"$SHM\" rm --orphans || echo code $?; ls /dev/shm; \"$SHM\" wait sysv:0x2 --timeout 0s",
        go.path(),
        held.path()
    );
    let mut terminal = Terminal::alone(&script, 100);
    terminal.until("[y/N] ");
    std::fs::write(&go.0, "\n").unwrap();
    std::fs::read(&held.0).unwrap();
    terminal.type_in("y\n");
    let (said, code) = terminal.end();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("shm: posix:/one is in use by now, and stays\n"), "{said}");
    // Another segment has the key by now.
    assert!(said.contains("System V region") && !said.contains("removed"), "{said}");
    assert!(said.ends_with("code 1\none\n"), "{said}");
}

#[test]
fn no_bar_is_drawn_between_lines_that_go_to_the_terminal() {
    // Large enough for a bar to be due.
    let region = Region::made("posix", "bar", &["256M", "--lazy"]);
    let (said, code) = Terminal::start(shm(["read", "--hex", &region.0]), 80).end();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!((code, lines.len(), lines[1], lines[2]), (0, 3, "*", "10000000"), "{said}");
    assert!(!said.contains("GiB"), "{said:?}");
}
