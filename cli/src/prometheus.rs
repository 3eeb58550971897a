//! Numbers for Prometheus: a text that its node exporter collects from a file.

use std::collections::BTreeMap;
use std::io::{self, Write};

use shared_region_posix as posix;
use shared_region_sysv as sysv;

use crate::failure::Failure;
use crate::item::{Item, Status};

/// What is counted for each kind and owner.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    regions: u64,
    size: u64,
    resident: u64,
    orphans: u64,
    removed: u64,
}

/// A metric for each kind and owner: its name, what it says, and its value.
type Metric = (&'static str, &'static str, fn(&Sums) -> u64);

/// Writes the numbers. docs: Prometheus' text-based exposition format, version 0.0.4
pub(crate) fn write(items: &[Item], out: &mut dyn Write) -> Result<(), Failure> {
    let mut sums: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    for item in items {
        let sums = sums.entry((item.backend, item.owner)).or_default();
        sums.regions += 1;
        sums.size = sums.size.saturating_add(item.size);
        sums.resident += item.resident.unwrap_or(0);
        sums.orphans += u64::from(item.is(Status::Orphan));
        sums.removed += u64::from(item.is(Status::Removed));
    }
    let metrics: [Metric; 5] = [
        ("shm_regions", "How many regions there are.", |sums| sums.regions),
        ("shm_size_bytes", "Their sizes together.", |sums| sums.size),
        ("shm_resident_bytes", "How much of them takes memory.", |sums| sums.resident),
        ("shm_orphans", "How many of them are known to be orphans.", |sums| sums.orphans),
        ("shm_removed", "How many were removed and are still held.", |sums| sums.removed),
    ];
    let mut write = || -> io::Result<()> {
        for (name, help, value) in metrics {
            head(out, name, help)?;
            for ((backend, owner), sums) in &sums {
                writeln!(out, "{name}{{backend=\"{backend}\",owner=\"{}\"}} {}", escaped(owner), value(sums))?;
            }
        }
        let single: [(&str, &str, Option<u64>); 5] = [
            (
                "shm_store_bytes",
                "The size of /dev/shm, 0 for no limit.",
                posix::store().ok().map(|store| store.total()),
            ),
            (
                "shm_store_free_bytes",
                "What is free in /dev/shm.",
                posix::store().ok().filter(|store| store.total() > 0).map(|store| store.free()),
            ),
            (
                "shm_sysv_segments_max",
                "How many segments there can be.",
                sysv::limits().ok().map(|it| it.segments_max()),
            ),
            (
                "shm_sysv_pages",
                "How many pages all segments have.",
                sysv::usage().ok().map(|usage| usage.pages_total()),
            ),
            ("shm_sysv_pages_max", "How many they can have.", sysv::limits().ok().map(|limits| limits.pages_max())),
        ];
        for (name, help, value) in single {
            if let Some(value) = value {
                head(out, name, help)?;
                writeln!(out, "{name} {value}")?;
            }
        }
        Ok(())
    };
    write().map_err(Failure::output)
}

fn head(out: &mut dyn Write, name: &str, help: &str) -> io::Result<()> {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge")
}

/// A label's value between quotation marks.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
