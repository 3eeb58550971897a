//! What Python's resource tracker does to regions of others.

use shared_region::{CreateOptions, ErrorKind, OpenOptions, SharedRegion};

use crate::support::{Meeting, Peer, eventually, put_at, text_at};

/// Also where Python opened it only. The standard library's documentation says how to be spared: `track=False` since
/// Python 3.13, `resource_tracker.unregister` before.
#[test]
fn python_removes_at_its_exit_what_it_has_opened_unless_told_not_to() {
    let Some(python) = Peer::python("multiprocessing.shared_memory") else { return };
    let meeting = Meeting::by_name();
    let region = meeting.id.create(&CreateOptions::new(4096)).unwrap();
    put_at(&region, 0, "from Rust");

    let mut told = python.start(&["read", &meeting.at, "from Python"]);
    assert_eq!(told.hear(), "from Rust");
    told.go_on();
    told.finish();
    assert_eq!(meeting.id.open(&OpenOptions::new()).unwrap().len(), 4096);

    const UNTOLD: &str = "import sys; from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(sys.argv[1]); assert memory.size == 4096; memory.close()";
    let output = std::process::Command::new("python3").args(["-c", UNTOLD, &meeting.at[1..]]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // By another process, its tracker, after its end.
    let gone = || meeting.id.open(&OpenOptions::new()).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    assert!(eventually(gone));
    // Who has it mapped loses nothing.
    assert_eq!(text_at(&region, 0), "from Rust");
    assert!(region.metadata().unwrap().is_removed());
}
