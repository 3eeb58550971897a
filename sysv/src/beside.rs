//! What lives in an IPC namespace beside the segments, and is left behind just so.

use std::io;

use crate::sys;

/// Removes a set of semaphores by its id, at once; who waits on one is told `EIDRM`: `semctl(id, 0, IPC_RMID)`.
///
/// # Errors
///
/// - `EINVAL`, `EIDRM`: there is no such set, or no more.
/// - [`PermissionDenied`](io::ErrorKind::PermissionDenied) (`EPERM`): the caller is neither its owner nor its creator.
/// - [`Unsupported`](io::ErrorKind::Unsupported): not Linux.
///
/// # References
///
/// [Linux: semctl(2)](https://man7.org/linux/man-pages/man2/semctl.2.html)
#[doc(alias = "semctl")]
pub fn remove_semaphores(id: i32) -> io::Result<()> {
    sys::remove_semaphores(id)
}

/// Removes a message queue by its id, with the messages in it; who waits for one is told `EIDRM`:
/// `msgctl(id, IPC_RMID, NULL)`.
///
/// # Errors
///
/// As of [`remove_semaphores`].
///
/// # References
///
/// [Linux: msgctl(2)](https://man7.org/linux/man-pages/man2/msgctl.2.html)
#[doc(alias = "msgctl")]
pub fn remove_queue(id: i32) -> io::Result<()> {
    sys::remove_queue(id)
}
