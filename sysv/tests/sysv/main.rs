//! Every call, flag and error of the crate, on real segments. Linux only: elsewhere nobody has run it.
#![cfg(target_os = "linux")]

mod attach;
mod attachers;
mod control;
mod get;
mod interop;
mod key;
mod list;
mod permissions;
mod process;
mod support;
