//! `shm ls --all-namespaces`: what all containers have.

use std::collections::HashSet;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use serde_json::{Map, Value};

use crate::failure::{Failure, tell};
use crate::people::command;
use crate::size::show;
use crate::table::{self, Table, left, names, right};

/// Where shared memory is: a process from whom to see it, `None` for this one, and which kind is not seen from another.
type Place = (Option<u32>, Vec<&'static str>);

/// Lists what is in every IPC namespace and every `/dev/shm` of a process that can be looked into. Each is looked at by a
/// program of its own, as who enters a namespace does not come back.
pub(crate) fn list(json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    let mut complete = true;
    let mut found = Vec::new();
    for (pid, kinds) in places(&mut complete) {
        for kind in kinds {
            let mut shm = Command::new("/proc/self/exe");
            shm.args(["ls", "--json", "--backend", kind]).args(pid.map(|pid| format!("--inside={pid}")));
            let output = shm.stdin(Stdio::null()).output();
            let output = output.map_err(|error| Failure::with("start another shm", &error))?;
            let has_ended = pid.is_some_and(|pid| fs::metadata(format!("/proc/{pid}")).is_err());
            if !output.status.success() && !has_ended {
                complete = false;
                // It says why, in whole lines.
                let _ = io::stderr().write_all(&output.stderr);
            }
            let items: Vec<Map<String, Value>> = serde_json::from_slice(&output.stdout).unwrap_or_default();
            found.extend(items.into_iter().map(|mut item| {
                item.insert("inside".into(), pid.into());
                item
            }));
        }
    }
    if json {
        table::write_json(out, &found)?;
    } else {
        table_of(&found).write(table::terminal_width(), out)?;
    }
    if complete { Ok(()) } else { Err(Failure::Told) }
}

/// Every IPC namespace and every `/dev/shm` once.
fn places(complete: &mut bool) -> Vec<Place> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let (mut namespaces, mut stores) = (HashSet::new(), HashSet::new());
    let mut hidden = 0;
    let mut places = Vec::new();
    for (pid, process) in
        [(None, "self".to_owned())].into_iter().chain(pids.iter().map(|pid| (Some(*pid), pid.to_string())))
    {
        let namespace = match fs::read_link(format!("/proc/{process}/ns/ipc")) {
            Ok(namespace) => namespace,
            Err(error) => {
                // Others have ended meanwhile.
                hidden += u32::from(error.kind() == ErrorKind::PermissionDenied);
                continue;
            }
        };
        let store = fs::metadata(format!("/proc/{process}/root/dev/shm")).map(|store| (store.dev(), store.ino()));
        let mut kinds = Vec::new();
        if store.is_ok_and(|store| stores.insert(store)) {
            kinds.push("posix");
        }
        if namespaces.insert(namespace) {
            kinds.push("sysv");
        }
        if !kinds.is_empty() {
            places.push((pid, kinds));
        }
    }
    if hidden > 0 {
        tell(&format_args!(
            "what others have may be missing: {hidden} of the processes may be looked into by root alone, with all its privileges"
        ));
        *complete = false;
    }
    places
}

fn table_of(found: &[Map<String, Value>]) -> Table {
    let human = table::is_terminal();
    let mut table = Table::new(&[
        left("INSIDE", 0),
        names("ID"),
        left("OWNER", 2),
        left("MODE", 3),
        right("SIZE", 0),
        right("RESIDENT", 4),
        right("ATTACHED", 1),
        left("STATUS", 0),
    ]);
    for item in found {
        let text = |field: &str| match item.get(field) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let size = |field: &str| match item.get(field).and_then(Value::as_u64) {
            Some(bytes) if human => show(bytes),
            _ => text(field),
        };
        let pid = item["inside"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let inside = match (pid, pid.and_then(command)) {
            (None, _) => "here".to_owned(),
            (Some(pid), None) => pid.to_string(),
            (Some(pid), Some(command)) => format!("{pid}/{}", command.replace(' ', "_")),
        };
        let least =
            if item["attached_exact"] == Value::Bool(false) && !text("attached").is_empty() { "≥" } else { "" };
        let status: Vec<&str> = item["status"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        table.row([
            inside,
            text("id"),
            text("owner"),
            text("mode"),
            size("size"),
            size("resident"),
            format!("{least}{}", text("attached")),
            status.join(","),
        ]);
    }
    table
}
