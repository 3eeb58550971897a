//! Rust and C, and Rust and Python, on the same memory: small programs in the style of the textbooks, each run against
//! Rust in every pairing. And the worked example of PORTING.md, all its stages together.

#![cfg(all(target_os = "linux", feature = "posix", feature = "sysv"))]

mod exchange;
mod family;
mod port;
mod server;
mod support;
mod tracker;
mod traps;

/// Where second processes start: never run by itself.
#[test]
#[ignore = "run by other tests as their second process"]
fn child() {
    let Some((role, arguments)) = support::task() else { return };
    match role.as_str() {
        "serve" => server::serve(&arguments),
        "visit" => server::visit(&arguments),
        "family" => family::child(&arguments),
        stage => port::stage(stage, &arguments),
    }
}
