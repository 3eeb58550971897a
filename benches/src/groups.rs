//! What is compared, a file for each group.

use crate::model::Group;

mod atomics;
mod attach;
mod cleanup;
mod copies;
mod growth;
mod ipc;
mod lifecycle;
mod prefault;
mod sync;

/// In the order of the report.
pub(crate) const GROUPS: &[Group] = &[
    lifecycle::GROUP,
    attach::GROUP,
    copies::GROUP,
    atomics::GROUP,
    prefault::GROUP,
    ipc::GROUP,
    growth::GROUP,
    cleanup::GROUP,
    sync::GROUP,
];
