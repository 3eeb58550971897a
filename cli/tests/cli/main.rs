//! `shm`, driven as people and scripts drive it.
#![cfg(target_os = "linux")]

mod change;
mod copy;
mod create;
mod documents;
mod ending;
mod hostile;
mod ipc;
mod limits;
mod list;
mod names;
mod native;
mod orphans;
mod read;
mod remove;
mod stat;
mod support;
mod terminal;
mod top;
mod users;
mod wait;
mod write;
