//! The contract, a page for each section: every clause, what it means for implementors, and the checks that pin it.
//!
//! A caller may rely on each clause whichever backend is underneath; what differs is asked of the backend's
//! [`capabilities`](shared_region::Backend::capabilities). A check `module::name` is a test of this package for every
//! implementation that [`suite!`](crate::suite) is given; `identities`, `native` and `errnos` are test programs of the
//! repository's root package. Facts about systems were measured on Linux (x86-64, glibc) unless a page says otherwise.

#[doc = include_str!("contract/names.md")]
pub mod names {}
#[doc = include_str!("contract/creation.md")]
pub mod creation {}
#[doc = include_str!("contract/opening.md")]
pub mod opening {}
#[doc = include_str!("contract/permissions.md")]
pub mod permissions {}
#[doc = include_str!("contract/access.md")]
pub mod access {}
#[doc = include_str!("contract/lifetime.md")]
pub mod lifetime {}
#[doc = include_str!("contract/processes.md")]
pub mod processes {}
#[doc = include_str!("contract/space.md")]
pub mod space {}
#[doc = include_str!("contract/growth.md")]
pub mod growth {}
#[doc = include_str!("contract/hostile.md")]
pub mod hostile {}
#[doc = include_str!("contract/errors.md")]
pub mod errors {}
#[doc = include_str!("contract/divergence.md")]
pub mod divergence {}

/// All pages, in their order.
#[doc(hidden)]
pub const PAGES: [&str; 12] = [
    include_str!("contract/names.md"),
    include_str!("contract/creation.md"),
    include_str!("contract/opening.md"),
    include_str!("contract/permissions.md"),
    include_str!("contract/access.md"),
    include_str!("contract/lifetime.md"),
    include_str!("contract/processes.md"),
    include_str!("contract/space.md"),
    include_str!("contract/growth.md"),
    include_str!("contract/hostile.md"),
    include_str!("contract/errors.md"),
    include_str!("contract/divergence.md"),
];

/// Every clause, with the checks that pin it.
#[doc(hidden)]
pub fn clauses() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let clauses = PAGES.into_iter().flat_map(|page| page.split("\n## ").skip(1));
    clauses.filter_map(|text| {
        let (clause, text) = text.split_once('\n')?;
        Some((clause, text.lines().filter_map(|line| line.strip_prefix("- `")?.strip_suffix('`')).collect()))
    })
}
