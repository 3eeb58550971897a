//! Which semaphores and message queues there are.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use shared_region_posix as posix;

use super::{Place, Thing, semaphore_object};
use crate::people::People;
use crate::process::Process;
use crate::text::escaped;

const QUEUES: &str = "/dev/mqueue";

/// All that can be seen.
pub(super) fn all(people: &mut People) -> Vec<Thing> {
    let mut all = Vec::new();
    for row in rows("sem") {
        all.extend(set(&row, people));
    }
    for row in rows("msg") {
        all.extend(queue(&row, people));
    }
    for (path, metadata) in files("/dev/shm") {
        let file = path.file_name().unwrap_or_default().as_bytes().to_owned();
        let Some(name) = file.strip_prefix(b"sem.") else { continue };
        let unused = semaphore_object(&file).is_some_and(|name| posix::is_unused(&name).unwrap_or(false));
        let id = format!("semaphore:/{}", escaped(name));
        all.push(Thing { count: Some(1), orphan: unused, ..of_file(id, "semaphore", path, &metadata, people) });
    }
    for (path, metadata) in files(QUEUES) {
        let id = format!("queue:/{}", escaped(path.file_name().unwrap_or_default().as_bytes()));
        // mq_overview(7)
        let said = fs::read_to_string(&path).unwrap_or_default();
        let bytes = said.split_whitespace().find_map(|word| word.strip_prefix("QSIZE:")?.parse().ok());
        all.push(Thing { bytes, ..of_file(id, "queue", path, &metadata, people) });
    }
    all
}

/// A line of a table of System V, whose first line names the columns. proc_sysvipc(5)
struct Row {
    head: Vec<String>,
    fields: Vec<String>,
}

impl Row {
    fn number(&self, column: &str) -> Option<i64> {
        self.fields.get(self.head.iter().position(|name| name == column)?)?.parse().ok()
    }

    fn time(&self, column: &str) -> Option<SystemTime> {
        let seconds = self.number(column)?;
        (seconds > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs()))
    }

    /// What both kinds have.
    fn thing(&self, kind: &'static str, id_column: &str, people: &mut People) -> Option<(Thing, i32)> {
        let id = i32::try_from(self.number(id_column)?).ok()?;
        let uid = u32::try_from(self.number("uid")?).ok()?;
        let mode = self.fields.get(self.head.iter().position(|name| name == "perms")?)?;
        let text = match self.number("key")? {
            0 => format!("{kind}:#{id}"),
            key => format!("{kind}:{:#x}", key as u32),
        };
        let thing = Thing {
            id: text,
            kind,
            backend: "sysv",
            native_id: id.unsigned_abs().into(),
            owner: people.user(uid),
            uid,
            mode: u32::from_str_radix(mode, 8).ok()? & 0o777,
            count: None,
            bytes: None,
            used: self.time("ctime"),
            last_pids: Vec::new(),
            orphan: false,
            place: Place::Semaphores(id),
        };
        Some((thing, id))
    }
}

fn rows(table: &str) -> Vec<Row> {
    let text = fs::read_to_string(format!("/proc/sysvipc/{table}")).unwrap_or_default();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let mut lines = text.lines();
    let head = lines.next().map(words).unwrap_or_default();
    lines.map(|line| Row { head: head.clone(), fields: words(line) }).collect()
}

fn set(row: &Row, people: &mut People) -> Option<Thing> {
    let (thing, _) = row.thing("semaphore", "semid", people)?;
    let count = row.number("nsems").map(i64::unsigned_abs);
    Some(Thing { count, used: thing.used.max(row.time("otime")), ..thing })
}

fn queue(row: &Row, people: &mut People) -> Option<Thing> {
    let (thing, id) = row.thing("queue", "msqid", people)?;
    let number = |column: &str| row.number(column).map(i64::unsigned_abs);
    let pid = |column: &str| row.number(column).and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0);
    let last: Vec<(u32, SystemTime)> = [("lspid", "stime"), ("lrpid", "rtime")]
        .into_iter()
        .filter_map(|(who, when)| Some((pid(who)?, row.time(when)?)))
        .collect();
    let ended = |&(pid, then): &(u32, SystemTime)| Process::of(pid, then) == Process::Ended;
    Some(Thing {
        count: number("qnum"),
        bytes: number("cbytes"),
        used: thing.used.max(row.time("stime")).max(row.time("rtime")),
        orphan: !last.is_empty() && last.iter().all(ended),
        last_pids: last.into_iter().map(|(pid, _)| pid).collect(),
        place: Place::Queue(id),
        ..thing
    })
}

fn files(directory: &str) -> Vec<(std::path::PathBuf, fs::Metadata)> {
    let entries = fs::read_dir(Path::new(directory)).into_iter().flatten().flatten();
    let regular = |entry: fs::DirEntry| Some((entry.path(), entry.metadata().ok().filter(fs::Metadata::is_file)?));
    entries.filter_map(regular).collect()
}

fn of_file(
    id: String,
    kind: &'static str,
    path: std::path::PathBuf,
    metadata: &fs::Metadata,
    people: &mut People,
) -> Thing {
    Thing {
        id,
        kind,
        backend: "posix",
        native_id: metadata.ino(),
        owner: people.user(metadata.uid()),
        uid: metadata.uid(),
        mode: metadata.mode() & 0o777,
        count: None,
        bytes: None,
        used: metadata.modified().ok().max(metadata.accessed().ok()),
        last_pids: Vec::new(),
        orphan: false,
        place: Place::File(path),
    }
}
