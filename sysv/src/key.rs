//! The key: the 32-bit name of a segment.

use std::io;
use std::path::Path;

use crate::sys;

/// The key that names no segment: [`GetOptions::get`](crate::GetOptions::get) with it always creates a new one.
///
/// Such a segment is reached by its id alone. Despite the name, any process that knows the id and has
/// permission can attach it.
///
/// # References
///
/// - [POSIX: `shmget`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/shmget.html)
/// - [Linux: shmget(2)](https://man7.org/linux/man-pages/man2/shmget.2.html)
#[doc(alias = "key_t")]
pub const IPC_PRIVATE: i32 = 0;

/// Makes a key from an existing file and a number, exactly as C's `ftok`.
///
/// It calls the C library, so that a C program with the same path and number gets the same key. Only the
/// low eight bits of `proj_id` count: 257 gives the key of 1. POSIX leaves the result open where those
/// bits are all 0; glibc, musl and the BSDs compute a key like any other.
///
/// The key is put together from eight bits of `proj_id`, eight bits of the device number and sixteen bits
/// of the inode number. Two files can therefore give the same key, and a file that is deleted and made
/// again can give another one. Use it to meet programs that use it; where both sides are yours, agree on a
/// constant.
///
/// # Errors
///
/// - [`NotFound`](io::ErrorKind::NotFound), [`PermissionDenied`](io::ErrorKind::PermissionDenied) and all
///   else that `stat` answers about the path.
/// - [`InvalidInput`](io::ErrorKind::InvalidInput): the path contains a NUL byte.
/// - [`Unsupported`](io::ErrorKind::Unsupported): no System V shared memory on this platform.
///
/// C's `ftok` returns -1 for an error, and also for the rare file whose key is -1. Here that key is a key.
///
/// # Examples
///
/// ```
/// use shared_region_sysv::ftok;
///
/// let key = ftok("/", 'A' as i32)?;
/// assert_eq!(key >> 24, 'A' as i32);
/// assert_eq!(ftok("/", 257)?, ftok("/", 1)?);
/// # std::io::Result::Ok(())
/// ```
///
/// # References
///
/// - [POSIX: `ftok`](https://pubs.opengroup.org/onlinepubs/9799919799/functions/ftok.html)
/// - [Linux: ftok(3)](https://man7.org/linux/man-pages/man3/ftok.3.html)
pub fn ftok(path: impl AsRef<Path>, proj_id: i32) -> io::Result<i32> {
    sys::ftok(path.as_ref(), proj_id)
}
