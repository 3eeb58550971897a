//! Every call works or says why not, wherever this runs: `ci/platforms/places/sandboxes` runs it where something lacks.
//!
//! `SANDBOX_LACKS` names the backends, by commas, that cannot create there; all others can.

#![cfg(all(feature = "posix", feature = "sysv"))]

use std::io::Write;

use shared_region::{
    Backend, CreateOptions, Error, ErrorKind, OpenOptions, Posix, RegionName, Result, SharedRegion, SharedRegionExt,
    Sysv,
};

const SIZE: usize = 5000;

/// What came of the calls. None panics, and an error tells what failed and why, in one line.
struct Told {
    backend: &'static str,
    refused: Vec<&'static str>,
}

impl Told {
    fn hear<T>(&mut self, call: &'static str, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.judge(call, &error)).ok()
    }

    fn judge(&mut self, call: &'static str, error: &Error) {
        let text = error.to_string();
        let _ = writeln!(std::io::stderr(), "{} {call}: {text}", self.backend);
        assert_ne!(error.kind(), ErrorKind::Unexpected, "{call}: {text}");
        assert!(!text.contains('\n') && text.contains(": "), "{call}: {text}");
        self.refused.push(call);
    }
}

fn every_call<B: Backend>(backend: &B) {
    let lacks = std::env::var("SANDBOX_LACKS").unwrap_or_default();
    let lacking = lacks.split(',').any(|name| name == backend.name());
    let mut told = Told { backend: backend.name(), refused: Vec::new() };
    let name = RegionName::new(&format!("sandbox-{}", std::process::id())).unwrap();
    let options = CreateOptions::new(SIZE);

    let _ = backend.capabilities();
    told.hear("probe", backend.probe());
    told.hear("exists", backend.exists(&name));
    told.hear("list", backend.list());
    if let Some(region) = told.hear("create_unnamed", backend.create_unnamed(&options)) {
        region.write_at(0, b"unnamed").unwrap();
    }
    if let Some(region) = told.hear("create_unique", backend.create_unique("sandbox-", &options)) {
        region.remove().unwrap();
    }
    let with = backend.create_with(&name, &options, |region| region.write_at(0, b"init"));
    if let Some(region) = told.hear("create_with", with) {
        region.remove().unwrap();
    }
    let created = told.hear("create_new", backend.create_new(&name, &options));
    assert_eq!(created.is_none(), lacking, "{} creates, or not: {:?}", backend.name(), told.refused);
    let opened = told.hear("open_or_create", backend.open_or_create(&name, &options));
    told.hear("metadata by name", backend.metadata(&name));
    told.hear("set_mode by name", backend.set_mode(&name, 0o600));
    told.hear("holders", backend.holders(&name));
    if let (Some(created), Some((mut opened, false))) = (created, opened) {
        created.write_at(0, b"text").unwrap();
        let mut bytes = [0; 4];
        opened.read_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, *b"text");
        told.hear("open read-only", backend.open(&name, &OpenOptions::new().read_only(true)));
        told.hear("try_clone", created.try_clone());
        told.hear("grow", opened.grow(2 * SIZE));
        told.hear("refresh", opened.refresh());
        told.hear("metadata", created.metadata());
        told.hear("set_mode", created.set_mode(0o640));
        told.hear("lock_memory", created.lock_memory());
        // It is in use, whatever can be found out about that.
        assert_ne!(told.hear("remove_if_unused", backend.remove_if_unused(&name)), Some(true));
        drop(opened);
        told.hear("remove", created.remove());
        assert!(!backend.exists(&name).unwrap());
    }
    for (call, gone) in [
        ("open nothing", backend.open(&name, &OpenOptions::new()).map(drop)),
        ("remove nothing", backend.remove(&name)),
        ("remove_if_unused of nothing", backend.remove_if_unused(&name).map(drop)),
    ] {
        told.judge(call, &gone.unwrap_err());
    }
}

#[test]
fn every_call_of_posix_works_or_says_why_not() {
    every_call(&Posix);
}

#[test]
fn every_call_of_system_v_works_or_says_why_not() {
    every_call(&Sysv);
}
