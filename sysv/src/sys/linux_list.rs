//! Linux: the list of all segments, from `/proc` or else from the kernel's table.

use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Read};

use nix::libc;

use super::linux::{SHM_DEST, SHM_LOCKED, SHM_STAT, SHM_STAT_ANY, raw_usage, stat_index};
use super::linux_huge;
use crate::{SegmentStat, Usage};

pub(crate) fn segments() -> io::Result<Vec<SegmentStat>> {
    match table() {
        Ok(table) => {
            let mut stats = parse(&table)
                .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/sysvipc/shm has an unknown form"))?;
            linux_huge::correct(&mut stats);
            Ok(stats)
        }
        Err(_) => segments_by_index(),
    }
}

pub(crate) fn usage() -> io::Result<Usage> {
    let mut usage = raw_usage()?;
    // The kernel counts huge pages too often, and only the list tells how often.
    if !linux_huge::in_use() {
        return Ok(usage);
    }
    if let Some(bytes) = segments()?.iter().map(SegmentStat::resident).sum::<Option<u64>>() {
        usage.pages_resident = bytes / linux_huge::page();
    }
    Ok(usage)
}

fn table() -> io::Result<String> {
    // A file of `/proc` has no size, and std would begin with reads of 32 bytes.
    let mut table = String::with_capacity(8 << 10);
    File::open("/proc/sysvipc/shm")?.read_to_string(&mut table)?;
    Ok(table)
}

/// Reads the table, whose first line names the columns. proc_sysvipc(5), sysvipc_shm_proc_show in ipc/shm.c
fn parse(table: &str) -> Option<Vec<SegmentStat>> {
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next()?.split_whitespace().collect();
    lines.map(|line| parse_line(&header, line)).collect()
}

fn parse_line(header: &[&str], line: &str) -> Option<SegmentStat> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let text = |column: &str| {
        let position = header.iter().position(|name| *name == column)?;
        fields.get(position).copied()
    };
    let number = |column: &str| text(column)?.parse::<u64>().ok();
    let small = |column: &str| text(column)?.parse::<u32>().ok();
    let seconds = |column: &str| text(column)?.parse::<i64>().ok();
    let mode = u32::from_str_radix(text("perms")?, 8).ok()?;
    Some(SegmentStat {
        // Signed: the key is any 32 bits, the id is never negative.
        id: text("shmid")?.parse().ok()?,
        key: text("key")?.parse().ok()?,
        // A 64-bit kernel may hold segments that a 32-bit process could not map.
        size: usize::try_from(number("size")?).unwrap_or(usize::MAX),
        mode: mode & 0o777,
        uid: small("uid")?,
        gid: small("gid")?,
        creator_uid: small("cuid")?,
        creator_gid: small("cgid")?,
        creator_pid: small("cpid")?,
        last_pid: small("lpid")?,
        attach_count: number("nattch")?,
        attach_time: seconds("atime")?,
        detach_time: seconds("dtime")?,
        change_time: seconds("ctime")?,
        removed: mode & SHM_DEST != 0,
        locked: mode & SHM_LOCKED != 0,
        sequence: None,
        resident: number("rss"),
        swapped: number("swap"),
        huge_page_size: None,
    })
}

/// Asks for every index of the table.
fn segments_by_index() -> io::Result<Vec<SegmentStat>> {
    let highest = raw_usage()?.highest_index();
    let mut found = Vec::new();
    for index in 0..=highest as c_int {
        match stat_without_permission(index) {
            Ok(stat) => found.push(stat),
            Err(error) if is_empty_index(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Asks by SHM_STAT_ANY, for which no permission is needed.
///
/// Its EINVAL is either an empty index or a kernel without it. SHM_STAT tells which: it says EINVAL only for the
/// former. Where that is refused, a segment may have come in between, so the first answer is asked for again.
fn stat_without_permission(index: c_int) -> io::Result<SegmentStat> {
    match stat_index(index, SHM_STAT_ANY) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        answer => return answer,
    }
    stat_index(index, SHM_STAT).or_else(|error| match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => stat_index(index, SHM_STAT_ANY).map_err(|_| error),
        _ => Err(error),
    })
}

/// Tells whether the kernel has nothing at an index, or what was there goes away.
fn is_empty_index(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EIDRM))
}

#[cfg(test)]
mod tests {
    use super::{parse, segments, segments_by_index};
    use crate::{AttachOptions, IPC_PRIVATE, Segment};

    const HEADER: &str = "key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime";

    #[test]
    fn the_kernels_table_and_proc_agree() {
        let segment = Segment::create_new(IPC_PRIVATE, 5000, 0).unwrap();
        // Nobody else attaches it; so nothing about it changes between the two answers.
        let proc = segments();
        let index = segments_by_index();
        segment.remove().unwrap();
        let of = |list: Vec<crate::SegmentStat>| {
            let mut stat = list.into_iter().find(|stat| stat.segment() == segment).unwrap();
            stat.sequence = None;
            stat.resident = None;
            stat.swapped = None;
            stat
        };
        assert_eq!(of(proc.unwrap()), of(index.unwrap()));
    }

    #[test]
    fn the_sequence_number_is_the_upper_part_of_the_id() {
        let segment = Segment::create_new(IPC_PRIVATE, 1, 0o600).unwrap();
        let attachment = segment.attach(&AttachOptions::new());
        segment.remove().unwrap();
        let attachment = attachment.unwrap();
        let sequence = attachment.segment().stat().unwrap().sequence().unwrap();
        // 15 bits of the id are the index, unless the kernel was started with `ipcmni_extend`: then 24.
        let id = segment.id().unsigned_abs();
        assert!(sequence == id >> 15 || sequence == id >> 24, "{sequence} {id}");
    }

    #[test]
    fn a_table_without_the_two_newest_columns_is_read() {
        let table = format!("{HEADER}\n-5 7 3600 4096 1 2 3 4 5 6 7 0 9 10\n");
        let list = parse(&table).unwrap();
        assert_eq!(list.len(), 1);
        let stat = &list[0];
        assert_eq!((stat.key(), stat.segment().id(), stat.size()), (-5, 7, 4096));
        assert_eq!((stat.mode(), stat.is_removed(), stat.is_locked()), (0o600, true, true));
        assert_eq!((stat.creator_pid(), stat.last_pid(), stat.attach_count()), (1, 2, 3));
        assert_eq!((stat.uid(), stat.gid()), (4, 5));
        assert_eq!((stat.creator_uid(), stat.creator_gid()), (6, 7));
        assert!(stat.attach_time().is_none() && stat.detach_time().is_some());
        assert_eq!((stat.resident(), stat.swapped(), stat.sequence()), (None, None, None));
    }

    #[test]
    fn columns_are_found_by_name_and_not_by_place() {
        let table = format!("more {HEADER} rss swap\nx 1 2 0 3 0 0 0 0 0 0 0 0 0 1 8192 4096\n");
        let stat = &parse(&table).unwrap()[0];
        assert_eq!((stat.key(), stat.resident(), stat.swapped()), (1, Some(8192), Some(4096)));
    }

    #[test]
    fn a_table_of_another_form_is_refused() {
        assert!(parse("").is_none());
        assert!(parse(&format!("{HEADER}\n1 2 600")).is_none());
        assert!(parse(&format!("{HEADER}\n1 2 9 4096 1 2 3 4 5 6 7 0 9 10")).is_none());
        assert!(parse("key shmid\n1 2").is_none());
    }

    #[test]
    fn an_empty_table_is_an_empty_list() {
        assert_eq!(parse(HEADER), Some(Vec::new()));
    }
}
