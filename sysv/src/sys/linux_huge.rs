//! Linux: what the kernel says of segments of huge pages, put right.
//!
//! Since the page cache counts huge pages in ordinary ones (Linux 6.7), `/proc/sysvipc/shm` and SHM_INFO multiply by the
//! number of pages in a huge page what is counted in pages already. `shm_add_rss_swap` in ipc/shm.c, `__filemap_add_folio`
//! in mm/filemap.c

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

use crate::SegmentStat;

/// Huge pages of one size of which some are in use, in bytes.
#[derive(Clone, Copy, Debug)]
struct Pool {
    page: u64,
    used: u64,
}

/// Puts right how much of each is in memory, and notes the size of its pages where that shows.
pub(super) fn correct(stats: &mut [SegmentStat]) {
    let page = page();
    // No huge page is smaller. Mostly that rules out all of them.
    let suspect = |stat: &SegmentStat| stat.resident.is_some_and(|bytes| bytes > 0 && bytes % (page << 4) == 0);
    if !stats.iter().any(suspect) {
        return;
    }
    let pools = pools();
    for stat in stats.iter_mut().filter(|stat| suspect(stat)) {
        let Some(told) = stat.resident else { continue };
        (stat.resident, stat.huge_page_size) = judge(told, stat.size as u64, page, &pools);
    }
}

/// What a segment of `size` bytes has in memory, and in huge pages of which size, if the kernel told `told` bytes. `None` for
/// the former where it can have been counted either way.
fn judge(told: u64, size: u64, page: u64, pools: &[Pool]) -> (Option<u64>, Option<u64>) {
    let mut possible = Vec::new();
    if told <= size.next_multiple_of(page) {
        possible.push((told, None));
    }
    for pool in pools {
        let most = size.next_multiple_of(pool.page).min(pool.used);
        let bytes = told / (pool.page / page);
        if told % (pool.page / page) == 0 && bytes % pool.page == 0 && bytes <= most {
            possible.push((bytes, Some(pool.page)));
        }
        // A kernel that counts once.
        if told > size && told % pool.page == 0 && told <= most {
            possible.push((told, Some(pool.page)));
        }
    }
    match possible[..] {
        [(bytes, huge)] => (Some(bytes), huge),
        _ => (None, None),
    }
}

/// Whether any huge page is in use.
pub(super) fn in_use() -> bool {
    !pools().is_empty()
}

/// The sizes of huge pages, and how much of each is in use. The kernel's admin-guide/mm/hugetlbpage.rst
fn pools() -> Vec<Pool> {
    let pool = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let kib: u64 = name.to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let number = |name: &str| fs::read_to_string(entry.path().join(name)).ok()?.trim().parse::<u64>().ok();
        let used = number("nr_hugepages")?.saturating_sub(number("free_hugepages")?);
        Some(Pool { page: kib << 10, used: used.saturating_mul(kib << 10) })
    };
    let mut pools: Vec<Pool> = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(pool)
        .filter(|pool| pool.used > 0)
        .collect();
    pools.sort_by_key(|pool| pool.page);
    pools
}

/// The size of an ordinary page.
pub(super) fn page() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::{Pool, judge};

    const PAGE: u64 = 4 << 10;
    const HUGE: u64 = 2 << 20;
    const GIANT: u64 = 1 << 30;

    fn pools(huge: u64, giant: u64) -> Vec<Pool> {
        vec![Pool { page: HUGE, used: huge * HUGE }, Pool { page: GIANT, used: giant * GIANT }]
    }

    #[test]
    fn what_is_larger_than_the_segment_was_counted_twice() {
        assert_eq!(judge(2 * HUGE * 512, 2 * HUGE, PAGE, &pools(2, 0)), (Some(2 * HUGE), Some(HUGE)));
        assert_eq!(judge(GIANT * (GIANT / PAGE), GIANT, PAGE, &pools(0, 1)), (Some(GIANT), Some(GIANT)));
        // A segment's last page may be a part of one.
        assert_eq!(judge(HUGE * 512, 5000, PAGE, &pools(1, 0)), (Some(HUGE), Some(HUGE)));
    }

    #[test]
    fn what_fits_is_right_where_no_huge_page_is_in_use() {
        assert_eq!(judge(GIANT, GIANT, PAGE, &[]), (Some(GIANT), None));
    }

    #[test]
    fn a_kernel_that_counts_once_is_believed() {
        assert_eq!(judge(HUGE, 5000, PAGE, &pools(1, 0)), (Some(HUGE), Some(HUGE)));
    }

    #[test]
    fn what_can_be_either_is_not_known() {
        // A GiB of ordinary pages, or a huge page of many.
        assert_eq!(judge(GIANT, 4 * GIANT, PAGE, &pools(1, 0)), (None, None));
        assert_eq!(judge(GIANT, 5000, PAGE, &[]), (None, None));
    }
}
