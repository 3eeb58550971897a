//! The lock under which growers exclude each other.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;

use nix::libc;
use nix::mount::MsFlags;
use shared_region_posix::{Object, OpenOptions};

use crate::support::{Name, become_nobody, code, forked, is_child, own_store, run_as_root, without_proc};

fn is_free(object: &Object) -> bool {
    object.lock().unwrap().is_some()
}

#[test]
fn the_lock_keeps_out_this_handle_a_clone_and_another_handle() {
    let name = Name::new();
    let object = name.create(1);
    let clone = object.try_clone().unwrap();
    let (reader, _) = OpenOptions::new().open(&name).unwrap();
    let handles = [&object, &clone, &reader];
    for holder in handles {
        let lock = holder.lock().unwrap().unwrap();
        assert!(handles.iter().all(|handle| !is_free(handle)));
        drop(lock);
        assert!(handles.iter().all(|handle| is_free(handle)));
    }
}

#[test]
fn a_forked_child_is_kept_out_and_neither_holds_nor_releases_the_lock() {
    let object = Object::create_unlinked(0o600).unwrap();
    let lock = object.lock().unwrap();
    assert!(lock.is_some());
    assert_eq!(forked(|| i32::from(is_free(&object))), 0);
    let mut lock = lock;
    let dropped = forked(|| {
        drop(lock.take());
        i32::from(is_free(&object))
    });
    assert_eq!(dropped, 0, "the parent still holds it");
    assert!(!is_free(&object));
    drop(lock);
    assert_eq!(forked(|| i32::from(is_free(&object))), 1);
}

#[test]
fn a_forked_child_that_lives_on_does_not_keep_the_lock() {
    let object = Object::create_unlinked(0o600).unwrap();
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let lock = object.lock().unwrap();
    let released = thread::scope(|scope| {
        let mut act = || theirs.write_all(&[1]).and_then(|()| theirs.read_exact(&mut [0]));
        let child = scope.spawn(move || forked(|| i32::from(act().is_err())));
        ours.read_exact(&mut [0]).unwrap(); // it has the descriptor of the lock now
        let taken = lock.is_some() && !is_free(&object);
        drop(lock);
        let released = is_free(&object);
        ours.write_all(&[1]).unwrap();
        assert_eq!((taken, child.join().unwrap()), (true, 0));
        released
    });
    assert!(released);
}

#[test]
fn a_lock_ends_with_its_process() {
    let object = Object::create_unlinked(0o600).unwrap();
    let taken = forked(|| {
        let lock = object.lock().unwrap();
        let taken = lock.is_some();
        std::mem::forget(lock);
        i32::from(taken)
    });
    assert_eq!(taken, 1);
    assert!(is_free(&object));
}

#[test]
fn the_lock_needs_read_permission_now_and_proc() {
    run_as_root("growth::child_locks_what_it_may_not_read");
}

#[test]
#[ignore = "started by another test"]
fn child_locks_what_it_may_not_read() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=1M,mode=1777");
    let closed = Object::create_unlinked(0o600).unwrap();
    let open = Object::create_unlinked(0o604).unwrap();
    become_nobody();
    assert_eq!(code(closed.lock()), libc::EACCES);
    assert!(is_free(&open));
}

#[test]
fn without_proc_the_lock_is_not_found() {
    run_as_root("growth::child_locks_without_proc");
}

#[test]
#[ignore = "started by another test"]
fn child_locks_without_proc() {
    if !is_child() {
        return;
    }
    own_store("tmpfs", MsFlags::empty(), "size=1M");
    without_proc();
    assert_eq!(code(Object::create_unlinked(0o600).unwrap().lock()), libc::ENOENT);
}
