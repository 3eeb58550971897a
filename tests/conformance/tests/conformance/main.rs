//! The crate's own backends, each by its type and behind the run-time choice, and one of somebody else's.

#![allow(unreachable_pub, reason = "the modules of a test are private to it as a whole")]
#![cfg_attr(not(all(feature = "posix", feature = "sysv")), allow(dead_code, reason = "only one of them needs it"))]

mod coverage;
mod natives;
mod plain_files;

shared_region_conformance::suite! {
    #[cfg(feature = "posix")]
    posix: crate::natives::PosixSut,
    #[cfg(feature = "sysv")]
    sysv: crate::natives::SysvSut,
    #[cfg(feature = "posix")]
    any_posix: shared_region_conformance::sut::AnySut<crate::natives::PosixSut>,
    #[cfg(feature = "sysv")]
    any_sysv: shared_region_conformance::sut::AnySut<crate::natives::SysvSut>,
    files: crate::natives::FilesSut,
}
