//! A real X server shows what is drawn into a region. The code under test is the example's.
#![cfg(all(target_os = "linux", feature = "posix", feature = "sysv"))]

mod ends;
mod obstacles;
mod pictures;
mod server;
#[path = "../../examples/x11_shm.rs"]
#[allow(dead_code, reason = "its main function is not called")]
mod x11_shm;

use shared_region::AnyBackend;

const BACKENDS: [AnyBackend; 2] = [AnyBackend::Posix, AnyBackend::Sysv];

#[test]
#[ignore = "run by other tests as their second process"]
fn child() {
    let Ok(arguments) = std::env::var("X11_SHM_ARGUMENTS") else { return };
    if let Err(error) = x11_shm::run(arguments.split_whitespace().map(str::to_owned)) {
        panic!("x11_shm: {error}");
    }
}
