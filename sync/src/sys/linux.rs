//! Linux: futexes, robust lists, barriers.

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::pin::pin;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, compiler_fence};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::thread::futex::{self, ClockId, Flags, Timespec, Wait, WaitFlags, WaitPtr, WaitvFlags};
use rustix::thread::{MembarrierCommand, gettid, membarrier};
use rustix::time::clock_gettime;

/// How long anybody sleeps before looking again. It matters only where whoever had to wake was killed or stopped in the
/// act, or a peer scribbled.
const BELT: Duration = Duration::from_millis(50);
/// The same where the system cannot sleep on two words.
const WITHOUT_WAITV: Duration = Duration::from_millis(1);

/// A moment of the monotonic clock; `None` never comes.
#[derive(Debug)]
pub(crate) struct Deadline(Option<Duration>);

impl Deadline {
    pub(crate) fn after(timeout: Duration) -> Self {
        // The clock need not be asked for what never comes.
        Self(if timeout == Duration::MAX { None } else { now().checked_add(timeout) })
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.next(Duration::ZERO).is_none()
    }

    /// Sleeps for `interval`, or shorter where it comes first; false where it has passed.
    pub(crate) fn sleep(&self, interval: Duration) -> bool {
        let now = now();
        match self.0 {
            Some(end) if end <= now => return false,
            Some(end) => thread::sleep(interval.min(end - now)),
            None => thread::sleep(interval),
        }
        true
    }

    /// When to look again: after `interval`, or here if that is sooner; `None` where it has passed.
    fn next(&self, interval: Duration) -> Option<Timespec> {
        let now = now();
        let soon = now + interval;
        let at = match self.0 {
            Some(end) if end <= now => return None,
            Some(end) => soon.min(end),
            None => soon,
        };
        Some(Timespec { tv_sec: at.as_secs() as i64, tv_nsec: at.subsec_nanos().into() })
    }
}

fn now() -> Duration {
    let now = clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Sleeps while `word` is `value`, and not for long: the caller looks again. False where the deadline had passed.
///
/// The word may lie in shared memory, so the futex is no private one.
pub(crate) fn wait(word: &AtomicU32, value: u32, deadline: &Deadline) -> bool {
    let Some(until) = deadline.next(BELT) else { return false };
    // Woken, interrupted, late, another value: the caller looks in any case.
    let _ = futex::wait_bitset(word, Flags::empty(), value, Some(&until), NonZeroU32::MAX);
    true
}

/// Sleeps while both words have the values beside them.
pub(crate) fn wait_for_either(one: (&AtomicU32, u32), other: (&AtomicU32, u32), deadline: &Deadline) -> bool {
    static REFUSED: AtomicBool = AtomicBool::new(false);

    if !REFUSED.load(Relaxed) {
        let Some(until) = deadline.next(BELT) else { return false };
        let waits = [one, other].map(|(word, value)| {
            let mut wait = Wait::new();
            wait.val = value.into();
            wait.uaddr = WaitPtr::new(word.as_ptr().cast());
            wait.flags = WaitFlags::SIZE_U32;
            wait
        });
        match futex::waitv(&waits, WaitvFlags::empty(), Some(&until), ClockId::Monotonic) {
            Err(Errno::NOSYS | Errno::PERM | Errno::INVAL) => REFUSED.store(true, Relaxed),
            _ => return true,
        }
    }
    let Some(until) = deadline.next(WITHOUT_WAITV) else { return false };
    let _ = futex::wait_bitset(one.0, Flags::empty(), one.1, Some(&until), NonZeroU32::MAX);
    true
}

/// Wakes all that sleep on the word, in all processes.
pub(crate) fn wake_all(word: &AtomicU32) {
    let _ = futex::wake(word, Flags::empty(), i32::MAX as u32);
}

/// The number of this thread, as the kernel compares it when the thread ends.
pub(crate) fn own_id() -> u32 {
    gettid().as_raw_nonzero().get() as u32
}

/// Waits until no thread of a member runs that was killed before.
///
/// A process dies thread by thread, and its keeper's mark can be seen while another thread of it still runs on another
/// processor. SIGKILL had been sent to that thread before the keeper could end, so it dies at its next entry into the
/// kernel; this interrupts each processor that runs a member, and so brings that about. membarrier(2).
pub(crate) fn barrier() {
    let done = membarrier(MembarrierCommand::GlobalExpedited).or_else(|_| membarrier(MembarrierCommand::Global));
    if done.is_err() {
        thread::sleep(WITHOUT_WAITV);
    }
}

/// Starts a thread that sees no signal. What it does not need it does not get: it has a small stack.
pub(crate) fn spawn(body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    // The members that `barrier` interrupts. Without it, it takes longer.
    let _ = membarrier(MembarrierCommand::RegisterGlobalExpedited);
    let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset(3) writes a whole set to the place that it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    let mut before = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: pthread_sigmask(3) reads the set that was written above, and writes the former mask of this thread.
    let error = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let started = thread::Builder::new().name("shm-keeper".into()).stack_size(64 << 10).spawn(body);
    // SAFETY: pthread_sigmask(3) reads the mask that it wrote above; a null pointer asks for nothing.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    started
}

/// Tells the process that made it from its forked children: a page that a child finds wiped, however it was made.
#[derive(Debug)]
pub(crate) struct Birthmark(NonNull<AtomicU32>);

// SAFETY: the page is only accessed by an atomic, and unmapped by whoever owns this.
unsafe impl Send for Birthmark {}
// SAFETY: as above.
unsafe impl Sync for Birthmark {}

const PAGE: usize = 4096;

impl Birthmark {
    pub(crate) fn new() -> io::Result<Self> {
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: mmap(2) puts a new mapping where nothing else is, as no address is asked for.
        let page = unsafe { mmap_anonymous(ptr::null_mut(), PAGE, access, flags) }?;
        let mark = Self(NonNull::new(page.cast()).ok_or(io::ErrorKind::OutOfMemory)?);
        // SAFETY: madvise(2): the page is the one above, which holds nothing yet.
        unsafe { madvise(page, PAGE, Advice::LinuxWipeOnFork) }?;
        mark.word().store(1, Relaxed);
        Ok(mark)
    }

    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is aligned, mapped as long as this lives, and any bytes are a valid atomic.
        unsafe { self.0.as_ref() }
    }

    /// Whether this is the process that made it.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.word().load(Relaxed) != 0
    }
}

impl Drop for Birthmark {
    fn drop(&mut self) {
        // SAFETY: the mapping is the one that `new` made, and the last reference into it goes with this; munmap(2).
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}

/// `struct robust_list_head` of set_robust_list(2), and the one entry of the list. The kernel reads it when the thread
/// ends; no other process can reach it.
#[repr(C)]
struct List {
    first: AtomicPtr<List>,
    offset: AtomicPtr<u8>,
    pending: AtomicPtr<List>,
    /// The entry: the address of the next one.
    entry: AtomicPtr<List>,
    _pinned: std::marker::PhantomPinned,
}

/// Has the kernel mark a word when this thread ends, in whatever way.
pub(crate) struct Watch<'a, 'words> {
    list: &'a List,
    words: PhantomData<&'words AtomicU32>,
}

impl<'words> Watch<'_, 'words> {
    /// From now on the kernel looks at `word` when this thread ends: if its [`DEATH_ID`](super::DEATH_ID) is this thread's
    /// id, it sets the mark in place of it, and wakes one sleeper if it is asked to.
    pub(crate) fn point(&self, word: &'words AtomicU32) {
        self.unpoint();
        let entry = (&raw const self.list.entry).addr();
        let offset = word.as_ptr().addr().wrapping_sub(entry);
        self.list.offset.store(ptr::without_provenance_mut(offset), Relaxed);
        compiler_fence(SeqCst);
        self.list.first.store((&raw const self.list.entry).cast_mut().cast(), Relaxed);
        compiler_fence(SeqCst);
    }

    /// From now on the kernel looks at nothing.
    pub(crate) fn unpoint(&self) {
        compiler_fence(SeqCst);
        self.list.first.store(ptr::from_ref(self.list).cast_mut(), Relaxed);
        compiler_fence(SeqCst);
    }
}

/// Runs `body` with a watch over this thread. The words that it is pointed at outlive the thread's end.
pub(crate) fn watched<'words, T>(body: impl FnOnce(&Watch<'_, 'words>) -> T) -> io::Result<T> {
    /// Puts the thread's own list back, also on unwinding.
    struct Restore(*mut libc::c_void, usize);

    impl Drop for Restore {
        fn drop(&mut self) {
            // SAFETY: set_robust_list(2) takes the list back that the C library had set for this thread; it lives as long
            // as the thread.
            unsafe { libc::syscall(libc::SYS_set_robust_list, self.0, self.1) };
        }
    }

    let (mut head, mut len) = (ptr::null_mut::<libc::c_void>(), 0_usize);
    // SAFETY: get_robust_list(2) of this thread (0) writes an address and a size to the two places that it is given.
    let got = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut len) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    let list = pin!(List {
        first: AtomicPtr::default(),
        offset: AtomicPtr::default(),
        pending: AtomicPtr::default(),
        entry: AtomicPtr::default(),
        _pinned: std::marker::PhantomPinned,
    });
    let list = list.into_ref().get_ref();
    let own = ptr::from_ref(list).cast_mut();
    list.entry.store(own, Relaxed);
    let watch = Watch { list, words: PhantomData };
    watch.unpoint();
    let restore = Restore(head, if len == 0 { 3 * size_of::<usize>() } else { len });
    // SAFETY: set_robust_list(2) keeps the address of a list that is circular and ends at its head, and stays where it is
    // until `restore` has put another in its place. At the end of this thread the kernel writes to the word that it leads
    // to: `Watch` took that as a reference to an atomic, which any process may write.
    let set = unsafe { libc::syscall(libc::SYS_set_robust_list, own, 3 * size_of::<usize>()) };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    let done = body(&watch);
    watch.unpoint();
    drop(restore);
    Ok(done)
}
