//! Linux: who has a segment attached, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str;

use crate::{AttachedRange, Attacher, Attachers, SegmentStat};

pub(crate) fn attachers(stats: &[SegmentStat]) -> io::Result<Vec<Attachers>> {
    let mut found: HashMap<i32, Attachers> =
        stats.iter().map(|stat| (stat.id, Attachers { processes: Vec::new(), unseen: stat.attach_count })).collect();
    look(&mut found)?;
    // Not taken out, as a segment may be asked for twice.
    Ok(stats.iter().filter_map(|stat| found.get(&stat.id).cloned()).collect())
}

/// Looks through `/proc` until as many attachments are found as are counted.
fn look(found: &mut HashMap<i32, Attachers>) -> io::Result<()> {
    let mut unseen: u64 = found.values().map(|attachers| attachers.unseen).sum();
    if unseen == 0 {
        return Ok(());
    }
    let namespace = fs::read_link("/proc/thread-self/ns/ipc")?;
    for pid in pids()? {
        for (id, range) in attached(pid, &namespace, |id| found.contains_key(&id)) {
            let Some(attachers) = found.get_mut(&id) else { continue };
            match attachers.processes.last_mut() {
                Some(last) if last.pid == pid => last.ranges.push(range),
                _ => attachers.processes.push(Attacher { pid, ranges: vec![range] }),
            }
            if attachers.unseen > 0 {
                attachers.unseen -= 1;
                unseen -= 1;
            }
        }
        if unseen == 0 {
            break;
        }
    }
    Ok(())
}

/// The processes that `/proc` shows, ascending.
fn pids() -> io::Result<Vec<u32>> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        pids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    pids.sort_unstable();
    Ok(pids)
}

/// What a process of this IPC namespace has attached of the wanted segments; nothing if it has ended, or may not be
/// looked into.
fn attached(pid: u32, namespace: &Path, wanted: impl Fn(i32) -> bool) -> Vec<(i32, AttachedRange)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    // All threads share one address space, but a main thread that has ended shows nothing of it.
    let seen = tasks.map(|task| task.path()).find_map(|task| {
        let maps = fs::read(task.join("maps")).ok().filter(|maps| !maps.is_empty())?;
        Some((task, maps))
    });
    let Some((task, maps)) = seen else { return Vec::new() };
    let lines = maps.split(|&byte| byte == b'\n');
    let found: Vec<_> = lines.filter_map(parse).filter(|(id, _)| wanted(*id)).collect();
    if found.is_empty() || is_in(&task, namespace) { found } else { Vec::new() }
}

/// Whether a thread is in an IPC namespace; in another one, ids mean other segments.
fn is_in(task: &Path, namespace: &Path) -> bool {
    fs::read_link(task.join("ns/ipc")).is_ok_and(|theirs: PathBuf| theirs == namespace)
}

/// Reads a line of `maps`, "start-end perms offset device inode path", if it is of a segment.
///
/// The inode is the id, and the path is "/SYSV", the key in hexadecimal, and " (deleted)", also when the segment has not
/// been removed. The device depends on the size of the pages. newseg in ipc/shm.c
fn parse(line: &[u8]) -> Option<(i32, AttachedRange)> {
    let mut fields = line.splitn(6, |&byte| byte == b' ').map(|field| str::from_utf8(field).unwrap_or_default());
    let mut next = || fields.next();
    let (range, permissions, offset, _, inode) = (next()?, next()?, next()?, next()?, next()?);
    let key = next()?.trim_start().strip_prefix("/SYSV")?.strip_suffix(" (deleted)")?;
    if key.len() != 8 || !permissions.ends_with('s') {
        return None;
    }
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    let (start, end) = range.split_once('-')?;
    let address = number(start)?;
    let range = AttachedRange {
        address,
        len: number(end)?.saturating_sub(address),
        offset: number(offset)?,
        read_only: !permissions.contains('w'),
    };
    Some((inode.parse().ok()?, range))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_line_of_a_segment_says_its_id_and_where_and_how_it_is_attached() {
        let line = b"7f0000000000-7f0000003000 rw-s 00001000 00:01 98304                      /SYSV00005a01 (deleted)";
        let (id, range) = parse(line).unwrap();
        assert_eq!((id, range.address, range.len, range.offset), (98304, 0x7f00_0000_0000, 0x3000, 0x1000));
        assert!(!range.read_only);
        // Of huge pages, with a key over 2^31.
        let (id, range) =
            parse(b"7f7b7e200000-7f7b7e400000 r--s 00000000 00:11 3735611   /SYSVffffffff (deleted)").unwrap();
        assert!(id == 3_735_611 && range.read_only);
    }

    #[test]
    fn a_line_of_anything_else_is_left_out() {
        for path in ["/memfd:SYSV00000000 (deleted)", "/dev/zero (deleted)", "/SYSV00005a01", "/SYSVold (deleted)", ""]
        {
            let line = format!("7f0000000000-7f0000001000 rw-s 00000000 00:01 98304   {path}");
            assert_eq!(parse(line.as_bytes()), None, "{path}");
        }
        assert_eq!(parse(b"7f00-7f01 rw-p 00000000 00:01 98304   /SYSV00005a01 (deleted)"), None);
        assert_eq!(parse(b"7f00-7f01 rw-p 00000000 00:00 0 "), None);
        assert_eq!(parse(b"7f00-7f01 rw-p 00000000 00:01 7   /\xff\xff (deleted)"), None);
    }
}
