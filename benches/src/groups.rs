//! What is compared, a file for each group.

use crate::model::Group;

mod attach;
mod ipc;
mod lifecycle;

/// In the order of the report.
pub(crate) const GROUPS: &[Group] = &[lifecycle::GROUP, attach::GROUP, ipc::GROUP];
