//! A program's own tests, on every backend.

use std::sync::atomic::Ordering::SeqCst;

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

    fn a_second_process_does_its_part(backend, name, second) -> Result<(), Error> {
        let region = backend.create_new(name, &CreateOptions::new(100))?;
        second.run();
        assert_ne!(region.load_u32(0, SeqCst)?, std::process::id());
        assert_eq!(region.load_u32(4, SeqCst)?, 1);
        Ok(())
    } second {
        let region = backend.open(name, &OpenOptions::new())?;
        region.atomic_u32(0)?.store(std::process::id(), SeqCst);
        region.atomic_u32(4)?.fetch_add(1, SeqCst);
        Ok(())
    }

    fn a_second_process_can_be_killed(backend, name, second) {
        let region = backend.create_new(name, &CreateOptions::new(100)).unwrap();
        let running = second.start();
        while region.load_u32(0, SeqCst).unwrap() == 0 {
            std::thread::yield_now();
        }
        running.kill();
        assert_eq!(region.load_u32(0, SeqCst).unwrap(), 1);
    } second {
        let region = backend.open(name, &OpenOptions::new()).unwrap();
        region.atomic_u32(0).unwrap().store(1, SeqCst);
        loop {
            std::thread::park();
        }
    }

    fn a_second_process_that_fails_fails_the_test(_backend, _name, second) {
        assert!(std::panic::catch_unwind(|| second.run()).is_err());
    } second {
        let _ = (_backend, _name);
        std::process::exit(3);
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
