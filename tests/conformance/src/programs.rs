//! For programs that use shared memory: one test of theirs, run on every backend.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use shared_region::{AnyBackend, Backend, RegionName};

/// Makes a test for each backend of the build out of one function, which is generic over its backend: it gets that, and a
/// name that nothing else has. What has the name afterwards is removed, also when the test fails.
///
/// Attributes, such as `#[ignore]`, count for each of the tests; `#[should_panic]` fails where a backend is missing. These are `function::posix` and `function::sysv`. Where this build or machine has no such backend, it says `skipped:`
/// and why.
///
/// # Examples
///
/// ```
/// use shared_region::{Backend, CreateOptions, OpenOptions, Result, SharedRegionExt};
/// use shared_region_conformance::for_each_backend;
///
/// for_each_backend! {
///     fn what_is_stored_is_found_again(backend, name) -> Result<()> {
///         let region = backend.create_new(name, &CreateOptions::new(4096))?;
///         region.write_at(0, b"kept")?;
///         drop(region);
///         let mut bytes = [0; 4];
///         backend.open(name, &OpenOptions::new())?.read_at(0, &mut bytes)?;
///         assert_eq!(&bytes, b"kept");
///         Ok(())
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! for_each_backend {
    ($($(#[$attribute:meta])* fn $test:ident($backend:ident, $name:ident) $(-> $result:ty)? $body:block)+) => {
        $(mod $test {
            #[allow(unused_imports, reason = "the test may need none of it")]
            use super::*;

            #[allow(dead_code, reason = "an attribute may switch the tests off")]
            fn program<B: ::shared_region::Backend>($backend: &B, $name: &::shared_region::RegionName) $(-> $result)? $body

            #[test]
            $(#[$attribute])*
            fn posix() $(-> $result)? {
                $crate::programs::on("posix", program).unwrap_or_else(|| $crate::for_each_backend!(@done $($result)?))
            }

            #[test]
            $(#[$attribute])*
            fn sysv() $(-> $result)? {
                $crate::programs::on("sysv", program).unwrap_or_else(|| $crate::for_each_backend!(@done $($result)?))
            }
        })+
    };
    (@done) => { () };
    (@done $result:ty) => { <$result>::Ok(()) };
}

/// A name that is free again at the end.
struct Private(AnyBackend, RegionName);

impl Drop for Private {
    fn drop(&mut self) {
        let _ = self.0.remove(&self.1);
    }
}

/// Runs a program on a backend; `None` where there is none.
#[doc(hidden)]
pub fn on<R>(backend: &str, program: impl FnOnce(&AnyBackend, &RegionName) -> R) -> Option<R> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);

    let usable = backend.parse::<AnyBackend>().and_then(|backend| backend.probe().map(|()| backend));
    let name = RegionName::new(&format!("test-{}-{}", std::process::id(), COUNTER.fetch_add(1, Relaxed)));
    match usable.and_then(|backend| Ok(Private(backend, name?))) {
        Ok(private) => Some(program(&private.0, &private.1)),
        Err(error) => {
            let thread = std::thread::current();
            let _ = writeln!(std::io::stderr(), "skipped: {}: {error}", thread.name().unwrap_or("?"));
            None
        }
    }
}
