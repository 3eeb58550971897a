//! What takes memory without a name.

use std::process;

use nix::unistd::geteuid;
use shared_region_posix::{MapAccess, Object, OpenOptions, UnnamedObject, unlink, unnamed};

use crate::support::Name;

fn found(object: (u64, u64)) -> Option<UnnamedObject> {
    let all = unnamed().unwrap();
    all.objects().iter().find(|found| (found.stat().device(), found.stat().inode()) == object).cloned()
}

#[test]
fn a_removed_object_is_found_while_somebody_holds_it() {
    let name = Name::new();
    let (object, _) = OpenOptions::new().write(true).create_new(true).open(&name).unwrap();
    object.set_len(5000).unwrap();
    let id = object.identity().unwrap();
    assert_eq!(found(id), None, "it has a name");
    unlink(&name).unwrap();
    let seen = found(id).unwrap();
    assert_eq!((seen.name().as_encoded_bytes(), seen.stat().len()), (&name.to_bytes()[1..], 5000));
    assert!(!seen.is_memfd() && seen.processes().iter().any(|holder| holder.pid() == process::id()));

    let map = object.map(5000, MapAccess::ReadWrite).unwrap();
    drop(object);
    // Mappings can be followed by root alone, and say so where they cannot.
    match found(id) {
        Some(seen) => {
            let own = seen.processes().iter().find(|holder| holder.pid() == process::id()).unwrap();
            assert_eq!(own.mappings()[0].address(), map.as_ptr() as u64);
        }
        None => assert!(!geteuid().is_root() && !unnamed().unwrap().is_complete()),
    }
    drop(map);
    assert!(found(id).is_none_or(|seen| seen.processes().iter().all(|holder| holder.pid() != process::id())));
}

#[test]
fn a_memfd_is_told_apart_and_by_its_name() {
    let object = Object::memfd(c"of the test", 0o600).unwrap();
    let seen = found(object.identity().unwrap()).unwrap();
    assert!(seen.is_memfd() && seen.name() == "of the test");
    // Memory that is shared with children alone is none.
    let all = unnamed().unwrap();
    assert!(
        all.objects().iter().all(|object| object.name() != "zero" && !object.name().to_string_lossy().contains("SYSV"))
    );
}
