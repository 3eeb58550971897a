//! What a second process, which is alone, has in hands: for counting that nothing leaks.

use std::fs;

use shared_region::{Backend, SharedRegion};

use crate::sut::Sut;

/// Descriptors, mappings and locked memory of this process, and the names in its store.
#[derive(Debug, PartialEq, Eq)]
pub struct Holdings {
    descriptors: usize,
    mappings: usize,
    names: Vec<String>,
    locked: u64,
}

impl Holdings {
    /// Counts everything, for who has the store alone.
    pub fn now<S: Sut>() -> Self {
        let list = S::backend().list().unwrap();
        let mut names: Vec<_> = list.iter().map(|entry| entry.id().to_string()).collect();
        names.sort();
        Self { names, ..Self::but_names() }
    }

    /// The same where others have names in the store.
    pub fn but_names() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let shared = |line: &&str| line.split(' ').nth(1).unwrap().ends_with('s');
        Self {
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
            mappings: maps.lines().filter(shared).count(),
            names: Vec::new(),
            locked: kilobytes(&fs::read_to_string("/proc/self/status").unwrap(), "VmLck:"),
        }
    }
}

/// The number behind a word, as `/proc` writes it.
pub fn kilobytes(text: &str, word: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(word)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What smaps says of a region's mapping.
pub fn smaps(region: &impl SharedRegion, fact: &str) -> String {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let start = format!("\n{:x}-", region.as_ptr().addr());
    let (_, mapping) = maps.split_at(maps.find(&start).unwrap());
    mapping.lines().find(|line| line.starts_with(fact)).unwrap().to_owned()
}

/// How many bytes of a mapping are mapped in, and whether it is kept so.
pub fn resident(region: &impl SharedRegion) -> (usize, bool) {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let start = format!("\n{:x}-", region.as_ptr().addr());
    let (_, mapping) = maps.split_at(maps.find(&start).unwrap());
    let flags = mapping.lines().find(|line| line.starts_with("VmFlags:")).unwrap();
    (kilobytes(mapping, "Rss:") as usize * 1024, flags.split(' ').any(|flag| flag == "lo"))
}
