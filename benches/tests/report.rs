//! The program as its user has it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shared-region-benches"));
    command.arg("report").env("RUST_BACKTRACE", "0");
    command
}

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("shared-region-benches-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[test]
fn a_report_has_a_document_with_its_plots_and_every_row_for_programs() {
    let folder = Folder::new("report");
    let output = program().args(["attach", "--quick", "--check", "--out"]).arg(&folder.0).output().unwrap();
    let said = lines(&output);
    let past = said.matches("past its limit:").count();
    assert_eq!(output.status.code(), Some(if past > 0 { 1 } else { 0 }), "{said}");

    let document = fs::read_to_string(folder.0.join("BENCHMARKS.md")).unwrap();
    let plots: Vec<&str> = document.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert_eq!(plots, ["benches/plots/attach-posix.svg", "benches/plots/attach-sysv.svg"]);
    for plot in plots {
        assert!(fs::read_to_string(folder.0.join(plot)).unwrap().starts_with("<svg"), "{plot}");
    }

    let json: Value = serde_json::from_str(&fs::read_to_string(folder.0.join("benchmarks.json")).unwrap()).unwrap();
    let rows = json["rows"].as_array().unwrap();
    // Two sizes of what is opened, four of what is touched.
    assert_eq!(rows.len(), 2 * (5 + 2) + 4 * (3 + 3));
    for row in rows {
        let [low, median, high] = ["p10", "median", "p90"].map(|field| row[field].as_f64().unwrap());
        assert!(row["group"] == "attach" && 0.0 < low && low <= median && median <= high, "{row}");
        assert_eq!(row["baseline"].is_string(), row["ratio"].is_f64(), "{row}");
    }
    let holds = |limit: &Value| limit["holds"].as_bool().unwrap();
    assert_eq!(json["limits"].as_array().unwrap().iter().filter(|limit| !holds(limit)).count(), past);
}

#[test]
fn an_interrupt_ends_it_at_once_and_nothing_is_written() {
    let folder = Folder::new("interrupt");
    // iceoryx2 sets handlers of its own as soon as it has created something, which the first comparison does.
    let mut child = program().args(["lifecycle", "--out"]).arg(&folder.0).stderr(Stdio::piped()).spawn().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(errors.any(|line| line.starts_with("2 of")));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let last = errors.last().unwrap();
    assert!(last.starts_with("error:") && last.ends_with("interrupted"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_written_is_found_out_before_anything_is_measured() {
    let output = program().args(["attach", "--quick", "--out", "/proc/nowhere"]).output().unwrap();
    assert_eq!(lines(&output), "error: cannot write to /proc/nowhere: No such file or directory (os error 2)\n");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_group_that_does_not_exist_is_refused_with_those_that_do() {
    let output = program().arg("nonsense").output().unwrap();
    assert!(!output.status.success() && lines(&output).contains("possible values: lifecycle, attach,"));
}
