#![doc = include_str!("../README.md")]
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::missing_panics_doc,
    clippy::new_without_default,
    reason = "a check's name is its sentence, and to panic is how it fails"
)]

#[doc(hidden)]
pub mod checks;
pub mod contract;
mod list;
#[doc(hidden)]
pub mod programs;
pub mod support;
pub mod sut;

pub use list::every_check;
#[doc(hidden)]
pub use list::role;
pub use programs::{Running, Second};
pub use support::child::first_process;
#[doc(hidden)]
pub use support::run::{Entry, run, run_child};
pub use sut::Sut;

/// Every check, by its module and name.
pub const CHECKS: &[&str] = __each_check!(__names);

/// Makes a named test of every check for each implementation, and the entry point of their second processes, `child`.
#[macro_export]
macro_rules! suite {
    ($($(#[$attribute:meta])* $label:ident: $sut:ty),+ $(,)?) => {
        $($(#[$attribute])*
        mod $label {
            #[allow(unused_imports, reason = "the implementation may be named by a path that is imported or not")]
            use super::*;

            $crate::__each_check!(__tests $sut);
        })+

        /// Where second processes start: never run by itself.
        #[test]
        #[ignore = "run by other tests as their second process"]
        fn child() {
            $crate::run_child(&[$($(#[$attribute])* $crate::Entry::of::<$sut>()),+]);
        }
    };
}
