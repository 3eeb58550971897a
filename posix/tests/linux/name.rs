//! Names that clean up after themselves.

use std::ffi::{CStr, CString};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process};

use shared_region_posix::{Object, OpenOptions, unlink};

/// A name nobody else has, removed at the end whatever stands there.
pub(crate) struct Name(CString);

impl Name {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(CString::new(format!("/srp-{}-{count}", process::id())).unwrap())
    }

    /// A whole object under this name.
    pub(crate) fn create(&self, len: u64) -> Object {
        let options = OpenOptions::new().write(true).create_new(true);
        let (object, stat) = options.open(self).unwrap();
        assert_eq!(stat.len(), 0);
        object.set_len(len).unwrap();
        object
    }
}

impl Deref for Name {
    type Target = CStr;

    fn deref(&self) -> &CStr {
        &self.0
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = unlink(self);
        let _ = fs::remove_dir(format!("/dev/shm{}", self.to_str().unwrap()));
    }
}
