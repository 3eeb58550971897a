//! What `shm stat` tells, for people.

use std::io::{self, Write};
use std::time::SystemTime;

use super::Details;
use crate::failure::Failure;
use crate::ls::{age, attached, utc};
use crate::people::People;
use crate::size::show_both;
use crate::table::{self, Table, left, right};

impl Details {
    /// Writes it for people, a fact on each line.
    pub(super) fn write(&self, out: &mut dyn Write, people: &mut People) -> Result<(), Failure> {
        let mut facts = Facts(Vec::new());
        let item = &self.item;
        if let Some(posix) = &self.posix {
            facts.add("inode", format!("{} on device {}", posix.inode, posix.device));
        }
        if let Some(sysv) = &self.sysv {
            facts.add("shmid", format!("{}", sysv.shmid));
            facts.add("key", sysv.key.clone());
            facts.add("sequence", sysv.sequence.map(|number| number.to_string()).unwrap_or_default());
        }
        facts.add("owner", format!("{} ({})", item.owner, item.uid));
        facts.add("group", format!("{} ({})", item.group, item.gid));
        if let Some(sysv) = &self.sysv {
            facts.add("creator", format!("{} ({})", people.user(sysv.creator_uid), sysv.creator_uid));
            facts.add("creator group", format!("{} ({})", people.group(sysv.creator_gid), sysv.creator_gid));
            facts.add("creator process", process(item.creator_pid, item.creator_command.as_deref()));
            facts.add("last process", process(sysv.last_pid, sysv.last_command.as_deref()));
        }
        facts.add("mode", format!("{:04o}", item.mode));
        facts.add("size", show_both(item.size));
        facts.add("resident", item.resident.map(show_both).unwrap_or_default());
        if let Some(sysv) = &self.sysv {
            facts.add("swapped", sysv.swapped.map(show_both).unwrap_or_default());
            facts.add("last attach", moment(sysv.attached));
            facts.add("last detach", moment(sysv.detached));
        }
        if let Some(posix) = &self.posix {
            facts.add("names", posix.links.to_string());
            facts.add("last access", moment(posix.accessed));
            facts.add("last write", moment(posix.modified));
        }
        facts.add("last change", moment(item.changed));
        facts.add("status", item.status.names().collect::<Vec<_>>().join(", "));
        facts.add("attached", attached(item, table::is_terminal()));
        writeln!(out, "{}", item.id).and_then(|()| facts.write(out)).map_err(Failure::output)?;
        self.write_holders(out)
    }

    fn write_holders(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let holders = self.holders.as_deref().unwrap_or_default();
        if !holders.is_empty() {
            let mut table = Table::new(&[
                right("PID", 0),
                left("USER", 1),
                left("ACCESS", 0),
                left("ADDRESS", 0),
                right("OFFSET", 4),
                right("BYTES", 2),
                left("DESCRIPTORS", 3),
                left("COMMAND", 0),
            ]);
            for holder in holders {
                let descriptors = holder.descriptors.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
                let row = |access: &str, address: &str, offset: String, size: String| {
                    let known = |text: &Option<String>| text.clone().unwrap_or_default();
                    let (user, command) = (known(&holder.user), known(&holder.command));
                    [
                        holder.pid.to_string(),
                        user,
                        access.into(),
                        address.into(),
                        offset,
                        size,
                        descriptors.clone(),
                        command,
                    ]
                };
                for map in &holder.mappings {
                    let access = if map.read_only { "read" } else { "write" };
                    table.row(row(access, &map.address, map.offset.to_string(), map.size.to_string()));
                }
                if holder.mappings.is_empty() {
                    table.row(row("open", "", String::new(), String::new()));
                }
            }
            table.write(table::terminal_width(), out)?;
        }
        if !self.holders_complete {
            writeln!(out, "  (not every process could be looked into: there may be more who have it)")
                .map_err(Failure::output)?;
        }
        Ok(())
    }
}

/// Names with values, in lines.
struct Facts(Vec<(&'static str, String)>);

impl Facts {
    fn add(&mut self, name: &'static str, value: String) {
        self.0.push((name, if value.is_empty() { "-".into() } else { value }));
    }

    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.0.iter().try_for_each(|(name, value)| writeln!(out, "  {name:15}  {value}"))
    }
}

fn process(pid: Option<u32>, command: Option<&str>) -> String {
    match (pid, command) {
        (None, _) => String::new(),
        (Some(pid), Some(command)) => format!("{pid} {command}"),
        (Some(pid), None) => format!("{pid} (ended, or out of sight)"),
    }
}

fn moment(time: Option<SystemTime>) -> String {
    time.map(|time| format!("{} ({} ago)", utc(time), age(time))).unwrap_or_default()
}
