//! Which segments are of huge pages.

use std::collections::HashMap;
use std::fs;

use shared_region_sysv::{SegmentStat, attachers};

use crate::item::{Item, Status};

/// Marks those that somebody who can be looked into has attached: the kernel tells it of a mapping alone.
pub(crate) fn mark(stats: &[SegmentStat], items: &mut [Item]) {
    if !may_exist() {
        return;
    }
    let attached: Vec<usize> =
        (0..stats.len()).filter(|&index| stats[index].attach_count() > 0 && !items[index].is(Status::Huge)).collect();
    let wanted: Vec<SegmentStat> = attached.iter().map(|&index| stats[index].clone()).collect();
    let Ok(found) = attachers(&wanted) else { return };
    let mut maps = HashMap::new();
    for (index, found) in attached.into_iter().zip(found) {
        let seen = found.processes().iter().find_map(|process| {
            let map = maps
                .entry(process.pid())
                .or_insert_with(|| fs::read_to_string(format!("/proc/{}/smaps", process.pid())).unwrap_or_default());
            page_size(map, process.ranges().first()?.address())
        });
        if seen.is_some_and(|kib| kib << 10 > page()) {
            items[index].status.add(Status::Huge);
        }
    }
}

/// Whether any huge page is used or promised.
fn may_exist() -> bool {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    sizes.map(|size| size.path()).any(|size| {
        let number = |name: &str| fs::read_to_string(size.join(name)).ok()?.trim().parse::<u64>().ok();
        number("resv_hugepages") > Some(0) || number("free_hugepages") < number("nr_hugepages")
    })
}

fn page() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

/// The size in KiB of the pages of the mapping at an address. proc_pid_smaps(5)
fn page_size(smaps: &str, address: u64) -> Option<u64> {
    let begin = format!("{address:08x}-");
    let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&begin));
    let size = lines.find_map(|line| line.strip_prefix("KernelPageSize:"))?;
    size.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::page_size;

    #[test]
    fn the_page_size_is_that_of_the_mapping_asked_for() {
        let smaps = "00400000-00401000 r--s 0 00:01 7 /SYSV1\nSize: 4 kB\nKernelPageSize:        4 kB\n\
            7f18e9800000-7f18e9c00000 rw-s 0 00:11 8 /SYSV2\nSize: 4096 kB\nKernelPageSize:     2048 kB\n";
        assert_eq!(page_size(smaps, 0x40_0000), Some(4));
        assert_eq!(page_size(smaps, 0x7f18_e980_0000), Some(2048));
        assert_eq!(page_size(smaps, 0x1000), None);
    }
}
