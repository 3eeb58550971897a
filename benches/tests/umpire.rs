//! The umpire, as the report uses it: orders on standard input, answers on standard output.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// An umpire that has started the two processes, or has said why not.
struct Umpire {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Umpire {
    fn start(carrier: &str, traffic: &str, size: u64) -> (Self, Value) {
        Self::start_on(carrier, traffic, size, ["0", "1"])
    }

    fn start_on(carrier: &str, traffic: &str, size: u64, processors: [&str; 2]) -> (Self, Value) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shared-region-benches"));
        command.args(["umpire", carrier, traffic, &size.to_string()]).args(processors);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut umpire = Self { process, output };
        let answer = umpire.answer();
        (umpire, answer)
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    fn order(&mut self, messages: u64, kind: &str) {
        let order = json!({ "messages": messages, "kind": kind });
        writeln!(self.process.stdin.as_ref().unwrap(), "{order}").unwrap();
    }

    /// The two processes: who sends first, then who receives.
    fn workers(&self) -> Vec<Pid> {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        children.split_whitespace().map(|pid| Pid::from_raw(pid.parse().unwrap())).collect()
    }

    /// Ends it, and looks for what is left of it.
    fn end(mut self) {
        let id = self.process.id();
        let mut processes = self.workers();
        drop(self.process.stdin.take());
        self.process.wait().unwrap();
        assert!(processes.iter().all(|&worker| kill(worker, None).is_err()), "a worker is left");
        for folder in [std::env::temp_dir(), "/dev/shm".into()] {
            let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            let left: Vec<_> = names.filter(|name| name.to_string_lossy().contains(&format!("-{id}-"))).collect();
            assert!(left.is_empty(), "{left:?} are left");
        }
        processes.push(Pid::from_raw(id as i32));
        // Who sent and received last, and who created and attached last.
        for (table, columns) in [("/proc/sysvipc/msg", 5..7), ("/proc/sysvipc/shm", 4..6)] {
            let text = fs::read_to_string(table).unwrap();
            let left = text.lines().find(|line| {
                let users: Vec<&str> = line.split_whitespace().collect();
                users[columns.clone()].iter().any(|user| processes.iter().any(|pid| pid.to_string() == **user))
            });
            assert_eq!(left, None, "left in {table}");
        }
    }
}

const CARRIERS: [&str; 13] = [
    "two words by hand",
    "POSIX ring, spinning",
    "System V ring, spinning",
    "POSIX ring, futex",
    "System V ring, futex",
    "iceoryx2 publish-subscribe",
    "ipc-channel",
    "pipe",
    "FIFO",
    "Unix stream socket",
    "Unix seqpacket socket",
    "POSIX message queue",
    "System V message queue",
];

#[test]
fn every_carrier_carries_every_byte_and_leaves_nothing() {
    for carrier in CARRIERS {
        for (traffic, size, messages) in
            [("round-trip", 8, 100), ("one-way", 64, 3000), ("one-way", 4096, 1000), ("one-way", 1 << 20, 20)]
        {
            let (mut umpire, ready) = Umpire::start(carrier, traffic, size);
            if let Some(reason) = ready["Err"].as_str() {
                let too_long = reason.starts_with("a message has at most 8192 bytes (/proc/sys/") && size > 8192;
                assert!(too_long || reason == "it carries one word" && size > 8, "{carrier}, {size} bytes: {reason}");
                continue;
            }
            for kind in ["Verify", "Time", "Count", "Verify"] {
                umpire.order(messages, kind);
                let answer = umpire.answer();
                assert!(answer["Ok"]["nanoseconds"].as_u64() > Some(0), "{carrier}, {size} bytes, {kind}: {answer}");
            }
            umpire.end();
        }
    }
}

#[test]
fn a_worker_that_dies_is_told_at_once_and_nothing_is_left() {
    for carrier in ["System V ring, spinning", "POSIX ring, futex", "pipe", "FIFO", "System V message queue"] {
        for victim in 0..2 {
            let (mut umpire, _) = Umpire::start(carrier, "one-way", 64);
            umpire.order(u64::MAX, "Time");
            kill(umpire.workers()[victim], Signal::SIGKILL).unwrap();
            let answer = umpire.answer();
            assert!(answer["Err"].is_string(), "{carrier}: {answer}");
            umpire.end();
        }
    }
}

#[test]
fn the_kernel_counts_each_call_and_no_other() {
    let count = |carrier: &str| {
        let (mut umpire, _) = Umpire::start(carrier, "one-way", 64);
        umpire.order(1000, "Count");
        let score = umpire.answer()["Ok"].clone();
        ["sender", "receiver"].map(|side| score[side]["calls"].as_u64())
    };
    let calls = count("pipe");
    if calls == [None; 2] {
        println!("skipped: the kernel counts system calls for root only");
        return;
    }
    assert_eq!(calls, [Some(1000); 2]);
    assert_eq!(count("POSIX ring, spinning"), [Some(0); 2]);
}

#[test]
fn what_is_asked_for_wrongly_is_an_answer() {
    let (_, answer) = Umpire::start("pigeon", "one-way", 64);
    assert_eq!(answer["Err"], "no such carrier");
    let (_, answer) = Umpire::start("two words by hand", "one-way", 64);
    assert_eq!(answer["Err"], "it carries one word");
    let (umpire, answer) = Umpire::start_on("System V ring, futex", "round-trip", 8, ["0", "1023"]);
    assert!(answer["Err"].as_str().unwrap().starts_with("taking the ends: pin to processor 1023"), "{answer}");
    umpire.end();
}
