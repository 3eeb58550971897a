//! Objects that have no name and are held.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use shared_region_posix::{MapAccess, Nameless, NamelessKind, Object, OpenOptions, nameless, unlink};

use crate::support::*;

fn find(identity: (u64, u64)) -> Option<Nameless> {
    let (found, _) = nameless().unwrap();
    found.into_iter().find(|found| found.identity() == identity)
}

#[test]
fn what_was_removed_is_found_with_who_has_it_open_or_mapped() {
    let name = Name::new();
    let (object, _) = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&name).unwrap();
    object.set_len(8192).unwrap();
    let identity = object.identity().unwrap();
    let map = object.map(4096, MapAccess::ReadWrite).unwrap();
    assert!(find(identity).is_none(), "it has a name");

    unlink(&name).unwrap();
    let found = find(identity).unwrap();
    assert_eq!((found.kind(), found.len()), (NamelessKind::Removed, 8192));
    assert_eq!(found.name().as_encoded_bytes(), &name.to_bytes()[1..]);
    assert_eq!(found.stat().map(|stat| (stat.mode(), stat.len())), Some((0o640, 8192)));
    let own = |found: &Nameless| {
        let holder = found.holders().processes().iter().find(|holder| holder.pid() == std::process::id()).cloned();
        holder.map(|holder| (holder.mappings().len(), holder.descriptors().to_vec()))
    };
    assert_eq!(own(&found), Some((1, vec![object.as_fd().as_raw_fd()])));

    drop(object);
    let found = find(identity).unwrap();
    assert_eq!(own(&found), Some((1, Vec::new())));
    // Through a mapping not everybody may look.
    assert_eq!(found.len(), found.stat().map_or(4096, |_| 8192));
    drop(map);
    // Another test may have copied this process for a moment.
    let start = Instant::now();
    while find(identity).is_some() {
        assert!(start.elapsed() < Duration::from_secs(60), "somebody still holds it");
    }
}

#[test]
fn a_memfd_is_found_and_what_else_has_no_name_there_is_not() {
    let memfd = Object::memfd(c"of a test (deleted)", 0o600).unwrap();
    memfd.set_len(5000).unwrap();
    let found = find(memfd.identity().unwrap()).unwrap();
    assert_eq!((found.kind(), found.len()), (NamelessKind::Memfd, 5000));
    assert_eq!(found.name(), "of a test (deleted)");
    let (all, _) = nameless().unwrap();
    assert!(
        all.iter()
            .all(|found| found.kind() != NamelessKind::Removed || found.stat().is_none_or(|stat| stat.links() == 0))
    );
}

#[test]
fn a_name_that_looks_removed_is_none() {
    let name = CString::new(format!("/srp-{} (deleted)", std::process::id())).unwrap();
    let (object, _) = OpenOptions::new().write(true).create_new(true).open(&name).unwrap();
    let (identity, found) = (object.identity().unwrap(), find(object.identity().unwrap()));
    unlink(&name).unwrap();
    assert!(found.is_none());
    assert!(find(identity).is_some());
}
