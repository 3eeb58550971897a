//! Taking part: [`Member`].

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use shared_region::{Access, Error, ErrorKind, Result, SharedLayout, SharedRegion, SharedRegionExt};

use crate::guard::Guard;
use crate::members::{Head, MOST, MemberId, Members, Slot, life, random};
use crate::mutex::{Holders, Mutex, owner};
use crate::sys::{self, AtomicU32, Birthmark};
use crate::{claim, versioned::Versioned};

/// A place in a table of [`Members`], taken as long as this and the process live.
///
/// Its threads share it. Dropping it leaves the table; so do, told by the kernel, SIGKILL, exit, abort and exec. A lock
/// that it held is then taken by the next who asks, with [`Guard::recovered`].
///
/// It keeps a mapping of its own, so the region that it was made of may go. It costs that mapping, one page, and a thread
/// that sleeps (`shm-keeper`), with all signals blocked.
///
/// A forked child has no place by its parent's: every call is an error that says so, and dropping it changes nothing. It
/// can join for itself.
pub struct Member {
    table: Arc<Table>,
    place: MemberId,
    owner: u32,
    table_id: u32,
    birthmark: Birthmark,
    keeper: Option<Keeper>,
}

/// The thread, and what it waits for: the end of its sender.
struct Keeper {
    stay: Sender<()>,
    thread: JoinHandle<()>,
}

/// Where the table lies, in a mapping that is kept for it.
#[derive(Debug)]
struct Table {
    region: Box<dyn SharedRegion>,
    offset: usize,
    count: usize,
}

impl Table {
    fn head(&self) -> Result<&Head> {
        self.region.view(self.offset)
    }

    fn slots(&self) -> Result<&[Slot]> {
        self.region.slice_view(self.offset + size_of::<Head>(), self.count)
    }
}

const JOIN: &str = "join a table of members";

impl Member {
    /// Joins the table that `table` finds in the layout `L`, which lies at `offset` of the region.
    ///
    /// # Errors
    ///
    /// - [`LimitExceeded`](ErrorKind::LimitExceeded): all slots are taken by processes that live; or the system gives no
    ///   thread or mapping.
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): the table has no slot, or more than 1023; or `table` found one
    ///   outside of the region.
    /// - [`LayoutMismatch`](ErrorKind::LayoutMismatch): the table is of another version, or of another number of slots.
    /// - [`ReadOnly`](ErrorKind::ReadOnly), [`OutOfBounds`](ErrorKind::OutOfBounds),
    ///   [`Misaligned`](ErrorKind::Misaligned): of the region.
    /// - Those of [`try_clone`](SharedRegion::try_clone).
    /// - [`Unsupported`](ErrorKind::Unsupported): the system is not Linux.
    ///
    /// # Platform-specific behavior
    ///
    /// - **Linux**: a thread, in it `set_robust_list`; `membarrier`; `mmap` and `madvise(MADV_WIPEONFORK)`, since 4.14.
    pub fn join<L: SharedLayout, const N: usize, R: SharedRegion + ?Sized>(
        region: &R,
        offset: usize,
        table: impl for<'a> FnOnce(&'a L) -> &'a Members<N>,
    ) -> Result<Self> {
        if N == 0 || N > MOST {
            return Err(Error::new(ErrorKind::InvalidOptions)
                .operation(JOIN)
                .reason(format!("it has {N} slots: declare 1 to {MOST}")));
        }
        let head = std::ptr::from_ref(table(region.view::<L>(offset)?).head()).addr();
        let offset = head.wrapping_sub(region.as_ptr().addr());
        if region.len().checked_sub(size_of::<Members<N>>()).is_none_or(|last| offset > last) {
            return Err(Error::new(ErrorKind::InvalidOptions)
                .operation(JOIN)
                .reason("it lies outside of the region: return the field of the layout that is given"));
        }
        let clone = region.try_clone_boxed()?;
        debug_assert_eq!(clone.access(), Access::ReadWrite);
        let table = Arc::new(Table { region: clone, offset, count: N });
        let table_id = table.head()?.agree(N)?;
        let birthmark = Birthmark::new().map_err(failed)?;

        let (stay, until) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let kept = Arc::clone(&table);
        let thread = sys::spawn(move || keep(&kept, &tell, &until)).map_err(failed)?;
        let place = match told.recv() {
            Ok(Ok(place)) => place,
            refused => {
                let _ = thread.join();
                return Err(match refused {
                    Ok(Err(error)) => error,
                    _ => Error::new(ErrorKind::Unexpected).operation(JOIN).reason("its keeper ended"),
                });
            }
        };
        let owner = owner(place.slot as usize, place.generation);
        Ok(Self { table, place, owner, table_id, birthmark, keeper: Some(Keeper { stay, thread }) })
    }

    /// Returns who this is to the others.
    pub fn id(&self) -> MemberId {
        self.place
    }

    /// Locks `mutex`, or waits until `timeout` for whoever holds it; a dead holder is not waited for.
    ///
    /// # Errors
    ///
    /// - [`Busy`](ErrorKind::Busy): another lives and held it until the timeout.
    /// - [`Deadlock`](ErrorKind::Deadlock): this thread holds it by this member.
    /// - [`InvalidOptions`](ErrorKind::InvalidOptions): the mutex belongs to another table, or this is a forked child and
    ///   no member.
    #[inline]
    pub fn lock<'a>(&'a self, mutex: &'a Mutex, timeout: Duration) -> Result<Guard<'a>> {
        self.check(mutex, "lock a mutex")?;
        let dirty = mutex.acquire(self.owner, thread_number(), self, timeout)?;
        Ok(Guard::new(self, mutex, dirty))
    }

    /// Changes a value: `change` works on a copy, which then takes the place of the value as a whole, and wakes who waits
    /// for a newer one. Writers exclude each other.
    ///
    /// If `change` panics, or this process dies in the middle, the value is as it was.
    ///
    /// # Errors
    ///
    /// Those of [`lock`](Self::lock).
    pub fn update<T: crate::Value>(
        &self,
        value: &Versioned<T>,
        timeout: Duration,
        change: impl FnOnce(&mut T),
    ) -> Result<()> {
        let lock = value.lock();
        self.check(lock, "update a value")?;
        // Whoever died inside has left the last value whole.
        lock.acquire(self.owner, thread_number(), self, timeout)?;
        let changed = catch_unwind(AssertUnwindSafe(|| value.replace(change)));
        if self.birthmark.is_mine() {
            lock.release(self.owner, false, true);
        }
        changed.unwrap_or_else(|panic| resume_unwind(panic));
        Ok(())
    }

    #[inline]
    fn check(&self, mutex: &Mutex, operation: &'static str) -> Result<()> {
        if self.is_mine() && mutex.belongs_to(self.table_id) {
            return Ok(());
        }
        Err(self.misuse(operation))
    }

    #[cold]
    fn misuse(&self, operation: &'static str) -> Error {
        Error::new(ErrorKind::InvalidOptions).operation(operation).reason(if self.is_mine() {
            "it belongs to another table of members: join that one, and lock by that member"
        } else {
            "this is a forked child, and its parent is the member: join for this process"
        })
    }

    /// Whether this process, and not an ancestor, is the member.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.birthmark.is_mine()
    }

    pub(crate) fn owner(&self) -> u32 {
        self.owner
    }
}

impl Holders for Member {
    fn life(&self, owner: u32) -> Option<(&AtomicU32, u32)> {
        // The table was there when this was made, and its mapping is of a fixed size.
        life(self.table.slots().ok()?, owner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        if !self.is_mine() {
            // The thread is the parent's, and its channel may have been in use at the fork.
            return std::mem::forget(keeper);
        }
        drop(keeper.stay);
        let _ = keeper.thread.join();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("id", &self.place).field("region", &self.table.region).finish_non_exhaustive()
    }
}

/// The keeper's life.
fn keep(table: &Table, tell: &Sender<Result<MemberId>>, until: &Receiver<()>) {
    let kept = table.slots().and_then(|slots| {
        let life = sys::watched(|watch| {
            let (at, generation) = match claim::take(slots, watch) {
                Ok(place) => place,
                Err(error) => return drop(tell.send(Err(error))),
            };
            let told = tell.send(Ok(MemberId { slot: at as u32, generation }));
            if told.is_ok() {
                // Until the member is dropped, and with it the other end.
                let _ = until.recv();
            }
            claim::leave(&slots[at], generation, watch);
        });
        life.map_err(failed)
    });
    if let Err(error) = kept {
        let _ = tell.send(Err(error));
    }
}

#[cold]
fn failed(error: std::io::Error) -> Error {
    let unsupported = error.kind() == std::io::ErrorKind::Unsupported;
    let error = Error::from_io(&error).operation(JOIN);
    if unsupported {
        return error.reason("only Linux tells of the death of others");
    }
    error
}

/// A number by which this thread knows its own locks.
#[inline]
fn thread_number() -> u32 {
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    match NUMBER.get() {
        0 => {
            let number = random() | 1;
            NUMBER.set(number);
            number
        }
        number => number,
    }
}
