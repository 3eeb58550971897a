//! A program's own tests, on every backend.

use shared_region::{Backend, CreateOptions, Error, OpenOptions, RegionName, SharedRegion, SharedRegionExt};
use shared_region_conformance::for_each_backend;

for_each_backend! {
    fn a_program_runs_on_each(backend, name) {
        let region = backend.create_new(name, &CreateOptions::new(100)).unwrap();
        region.write_at(0, b"kept").unwrap();
        drop(region);
        let mut bytes = [0; 4];
        backend.open(name, &OpenOptions::new()).unwrap().read_at(0, &mut bytes).unwrap();
        assert_eq!(&bytes, b"kept");
    }

    fn a_program_may_fail(backend, name) -> Result<(), Error> {
        let region = backend.create_new(name, &CreateOptions::new(100))?;
        assert!(backend.name() == region.backend() && backend.exists(name)?);
        Ok(())
    }

    #[ignore = "attributes count for each"]
    fn a_program_that_is_not_run(_backend, _name) {
        unreachable!();
    }
}

/// The name is one's own, and free again.
#[test]
fn what_a_program_leaves_is_removed_also_when_it_panics() {
    for kind in ["posix", "sysv"] {
        let mut left: Option<RegionName> = None;
        let run = std::panic::AssertUnwindSafe(|| {
            shared_region_conformance::programs::on(kind, |backend, name| {
                left = Some(*name);
                drop(backend.create_new(name, &CreateOptions::new(100)).unwrap());
                std::panic::resume_unwind(Box::new("on purpose"));
            })
        });
        let _: Result<Option<()>, _> = std::panic::catch_unwind(run);
        if let (Some(name), Ok(backend)) = (left, kind.parse::<shared_region::AnyBackend>()) {
            assert!(!backend.exists(&name).unwrap());
        }
    }
}
