//! The package on Linux, against the real kernel objects.
//!
//! What needs another user, a mount or a limit of its own runs in a process started for it: those are the
//! ignored tests, whose names begin with `child_`. Without root such a test says so and passes.
#![cfg(target_os = "linux")]

mod change;
mod growth;
mod holders;
mod hostile;
mod mapping;
mod name;
mod names;
mod objects;
mod publication;
mod seals;
mod space;
mod support;
mod unnamed;
mod unused;
