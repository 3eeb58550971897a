//! For programs that use shared memory: one test of theirs, run on every backend.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use shared_region::{AnyBackend, Backend, RegionName};

/// Makes a test for each backend of the build out of one function, which is generic over its backend: it gets that, and a
/// name that nothing else has. What has the name afterwards is removed, also when the test fails.
///
/// They are `function::posix` and `function::sysv`. Where this build or machine has no such backend, the test says `skipped:`
/// and why. Attributes, such as `#[ignore]`, count for each of them; `#[should_panic]` fails where a backend is missing.
///
/// A test of two processes names its second one as a third argument, and says behind it what that does: see [`Second`](crate::Second).
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
///
///     fn one_process_stores_what_another_finds(backend, name, second) -> Result<()> {
///         let region = backend.create_new(name, &CreateOptions::new(4096))?;
///         second.run(); // starts it, and waits until it has ended well
///         let mut bytes = [0; 4];
///         region.read_at(0, &mut bytes)?;
///         assert_eq!(&bytes, b"kept");
///         Ok(())
///     } second {
///         backend.open(name, &OpenOptions::new())?.write_at(0, b"kept")
///     }
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! for_each_backend {
    () => {};
    ($(#[$attribute:meta])* fn $test:ident($backend:ident, $name:ident) $(-> $result:ty)? $body:block $($rest:tt)*) => {
        mod $test {
            #[allow(unused_imports, reason = "the test may need none of it")]
            use super::*;

            #[allow(dead_code, reason = "an attribute may switch the tests off")]
            fn program<B: ::shared_region::Backend>($backend: &B, $name: &::shared_region::RegionName) $(-> $result)? $body

            $crate::for_each_backend!(@tests [$(#[$attribute])*] [$($result)?] |backend, name| program(backend, name));
        }
        $crate::for_each_backend! { $($rest)* }
    };
    ($(#[$attribute:meta])* fn $test:ident($backend:ident, $name:ident, $second:ident) $(-> $result:ty)? $body:block
     second $other:block $($rest:tt)*) => {
        mod $test {
            #[allow(unused_imports, reason = "the test may need none of it")]
            use super::*;

            #[allow(dead_code, reason = "an attribute may switch the tests off")]
            fn program<B: ::shared_region::Backend>(
                $backend: &B,
                $name: &::shared_region::RegionName,
                $second: &$crate::programs::Second,
            ) $(-> $result)? $body

            fn other<B: ::shared_region::Backend>($backend: &B, $name: &::shared_region::RegionName) $(-> $result)? $other

            $crate::for_each_backend!(@tests [$(#[$attribute])*] [$($result)?] |backend, name| {
                program(backend, name, &$crate::programs::Second::of(module_path!(), backend, name))
            });

            #[test]
            #[ignore = "the second process of the others"]
            fn second() $(-> $result)? {
                $crate::programs::as_second(other).unwrap_or_else(|| $crate::for_each_backend!(@done $($result)?))
            }
        }
        $crate::for_each_backend! { $($rest)* }
    };
    (@tests [$(#[$attribute:meta])*] [$($result:ty)?] $program:expr) => {
        #[test]
        $(#[$attribute])*
        fn posix() $(-> $result)? {
            $crate::programs::on("posix", $program).unwrap_or_else(|| $crate::for_each_backend!(@done $($result)?))
        }

        #[test]
        $(#[$attribute])*
        fn sysv() $(-> $result)? {
            $crate::programs::on("sysv", $program).unwrap_or_else(|| $crate::for_each_backend!(@done $($result)?))
        }
    };
    (@done) => { () };
    (@done $result:ty) => { <$result>::Ok(()) };
}

/// Tells a second process its backend and name.
const SECOND: &str = "SHARED_REGION_SECOND";

/// The second process of a test of [`for_each_backend!`](crate::for_each_backend!): this very program, started anew, which does
/// what stands behind `second`, with the same backend and name.
#[derive(Debug)]
pub struct Second {
    test: String,
    task: String,
}

impl Second {
    #[doc(hidden)]
    pub fn of(module: &str, backend: &AnyBackend, name: &RegionName) -> Self {
        let module = module.split_once("::").map_or(module, |(_, path)| path);
        Self { test: format!("{module}::second"), task: format!("{} {}", backend.name(), name.as_str()) }
    }

    /// Starts one.
    ///
    /// # Panics
    ///
    /// When no process can be had.
    #[must_use = "it is killed when this is dropped"]
    pub fn start(&self) -> Running {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", &self.test, "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(SECOND, &self.task).stdin(Stdio::null()).stdout(Stdio::null());
        Running(command.spawn().unwrap())
    }

    /// Starts one, and waits until it has ended well.
    ///
    /// # Panics
    ///
    /// When it fails; what it says of that is on standard error.
    pub fn run(&self) {
        self.start().finish();
    }
}

/// A second process at work; killed when dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Waits until it has ended well.
    ///
    /// # Panics
    ///
    /// When it fails.
    pub fn finish(mut self) {
        let status = self.0.wait().unwrap();
        assert!(status.success(), "the second process failed: {status}");
    }

    /// Kills it by SIGKILL, at whatever it is, and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the program of a second process; `None` where this is none.
#[doc(hidden)]
pub fn as_second<R>(program: impl FnOnce(&AnyBackend, &RegionName) -> R) -> Option<R> {
    let task = std::env::var(SECOND).ok()?;
    let (backend, name) = task.split_once(' ')?;
    Some(program(&backend.parse().unwrap(), &RegionName::new(name).unwrap()))
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
