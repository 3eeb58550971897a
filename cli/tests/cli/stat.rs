//! `shm stat`.

use std::os::fd::AsRawFd;

use serde_json::Value;
use shared_region::{Access, OpenOptions, SharedRegion};

use crate::support::{BACKENDS, Region, alone, fails, name, namespaces, ok, shm};

fn json(id: &str) -> Value {
    let said: Value = serde_json::from_str(&ok(&mut shm(["stat", "--json", id]))).unwrap();
    assert_eq!(said.as_array().unwrap().len(), 1);
    said[0].clone()
}

/// How this process holds it, as the tool sees it.
fn own(details: &Value) -> &Value {
    let holders = details["holders"].as_array().unwrap();
    holders.iter().find(|holder| holder["pid"] == std::process::id()).unwrap_or_else(|| panic!("{details}"))
}

#[test]
fn who_has_it_mapped_is_told_with_address_and_access() {
    for backend in BACKENDS {
        let region = Region::made(backend, "held", &["5000"]);
        for (read_only, word) in [(true, " read "), (false, " write ")] {
            let mapped = region.id().open(&OpenOptions::new().read_only(read_only)).unwrap();
            let details = json(&region.0);
            let own = own(&details);
            assert_eq!(own["mappings"].as_array().unwrap().len(), 1, "{details}");
            let mapping = &own["mappings"][0];
            assert_eq!(mapping["address"], format!("{:#x}", mapped.as_ptr() as usize));
            assert_eq!((&mapping["read_only"], &mapping["size"]), (&read_only.into(), &8192.into()));
            // A child that another test is just starting has it too.
            assert!(details["attached"].as_u64() >= Some(1), "{details}");
            let descriptors: Vec<i32> = mapped.descriptor().map(|fd| fd.as_raw_fd()).into_iter().collect();
            assert_eq!(own["descriptors"], Value::from(descriptors));
            let text = ok(&mut shm(["stat", &region.0]));
            let line = text.lines().find(|line| line.contains(&format!("{:#x}", mapped.as_ptr() as usize))).unwrap();
            assert!(line.contains(&std::process::id().to_string()) && line.contains(word), "{text}");
            assert_eq!(mapped.access() == Access::ReadOnly, read_only);
        }
    }
}

#[test]
fn who_has_it_open_without_a_mapping_counts() {
    let region = Region::made("posix", "open", &["5000"]);
    let file = std::fs::File::open(region.0.replace("posix:", "/dev/shm")).unwrap();
    let details = json(&region.0);
    assert_eq!(own(&details)["mappings"], Value::Array(Vec::new()));
    assert_eq!(own(&details)["descriptors"], Value::from([file.as_raw_fd()]));
    assert!(details["attached"].as_u64() >= Some(1), "{details}");
    let text = ok(&mut shm(["stat", &region.0]));
    assert!(
        text.lines().any(|line| line.contains(&std::process::id().to_string()) && line.contains(" open ")),
        "{text}"
    );
}

#[test]
fn all_of_shmid_ds_is_told() {
    let region = Region::made("sysv", "ds", &["5000", "--mode=640"]);
    let mapped = region.id().open(&OpenOptions::new()).unwrap();
    let details = json(&region.0);
    let segment = shared_region_sysv::Segment::open(region.id().name().unwrap().key()).unwrap();
    let stat = segment.stat().unwrap();
    let sysv = &details["sysv"];
    assert_eq!(
        (sysv["shmid"].as_i64(), sysv["key"].as_str()),
        (Some(segment.id().into()), Some(&*format!("{:#010x}", stat.key())))
    );
    assert_eq!(sysv["sequence"].as_u64(), stat.sequence().map(u64::from));
    assert_eq!((&sysv["creator_uid"], &sysv["creator_gid"]), (&stat.creator_uid().into(), &stat.creator_gid().into()));
    assert_eq!((&sysv["last_pid"], &details["creator_pid"]), (&std::process::id().into(), &stat.creator_pid().into()));
    assert_eq!(
        sysv["attached"].as_str(),
        stat.attach_time().map(|time| humantime::format_rfc3339_seconds(time).to_string()).as_deref()
    );
    assert!(sysv["detached"].is_string() && sysv["swapped"].is_u64());
    let text = ok(&mut shm(["stat", &region.0]));
    for fact in [
        "shmid",
        "key",
        "sequence",
        "owner",
        "group",
        "creator",
        "creator group",
        "creator process",
        "last process",
        "mode",
        "size",
        "resident",
        "swapped",
        "last attach",
        "last detach",
        "last change",
        "status",
        "attached",
    ] {
        assert!(text.lines().any(|line| line.starts_with(&format!("  {fact}  "))), "{fact}: {text}");
    }
    drop(mapped);
}

#[test]
fn a_posix_object_is_told_as_stat_tells_it() {
    use std::os::unix::fs::MetadataExt;
    let region = Region::made("posix", "file", &["5000"]);
    let file = std::fs::metadata(region.0.replace("posix:", "/dev/shm")).unwrap();
    let details = json(&region.0);
    let posix = &details["posix"];
    assert_eq!((posix["inode"].as_u64(), posix["device"].as_u64()), (Some(file.ino()), Some(file.dev())));
    assert_eq!((posix["links"].as_u64(), details["resident"].as_u64()), (Some(1), Some(file.blocks() * 512)));
    assert!(posix["accessed"].is_string() && posix["modified"].is_string());
}

#[test]
fn several_are_told_and_a_failure_does_not_end_it() {
    let (one, two) = (Region::made("posix", "one", &["64"]), Region::made("sysv", "two", &["64"]));
    let none = format!("sysv:{}", name("none"));
    let output = shm(["stat", &one.0, &none, &two.0]).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(said.starts_with(&one.0) && said.contains(&format!("\n\n{}\n", two.0)), "{said}");
    let told = crate::support::refused(output, 1);
    assert!(told.contains("nothing has that name"), "{told}");
    fails(&mut shm(["stat", "--json", &none]), 1);
}

#[test]
fn an_object_of_size_0_can_be_examined() {
    let region = Region::new(format!("posix:{}", name("empty")));
    std::fs::write(region.0.replace("posix:", "/dev/shm"), b"").unwrap();
    let details = json(&region.0);
    assert_eq!((&details["size"], &details["resident"]), (&0.into(), &0.into()));
}

#[test]
fn a_segment_that_was_removed_can_be_examined_by_its_id() {
    let region = Region::made("sysv", "removed", &["64"]);
    let attached = region.id().open(&OpenOptions::new()).unwrap();
    let id = format!("sysv:#{}", region.id().metadata().unwrap().native_id().unwrap());
    ok(&mut shm(["rm", &region.0]));
    let details = json(&id);
    assert_eq!((&details["id"], &details["status"]), (&id.into(), &serde_json::json!(["removed"])));
    assert_eq!(own(&details)["mappings"][0]["address"], format!("{:#x}", attached.as_ptr() as usize));
}

#[test]
fn many_are_told_each_with_its_own() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"python3 -c 'import ctypes, os
libc = ctypes.CDLL(None); libc.shmat.restype = ctypes.c_void_p
for i in range(400): assert libc.shmat(libc.shmget(1000 + i, 100 + i, 0o1600), None, 0)
ids = ["sysv:%#x" % (1000 + i) for i in range(400)]
open("/dev/shm/a", "w").write("x")
os.execv(os.environ["SHM"], ["shm", "stat", "--json", "posix:/a", *ids, ids[0]])'"#,
    );
    let said: Vec<Value> = serde_json::from_str(&said).unwrap();
    assert_eq!((said.len(), &said[0]["status"]), (402, &serde_json::json!(["orphan"])));
    for (index, details) in said[1..401].iter().enumerate() {
        assert_eq!((&details["size"], &details["holders"]), (&(100 + index).into(), &Value::Array(Vec::new())));
    }
    assert_eq!(said[401], said[1]);
}
