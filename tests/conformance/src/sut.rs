//! What a check needs of an implementation beside the crate's own traits.

use std::fmt::{self, Debug};
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use shared_region::{Access, AnyBackend, Backend, CreateOptions, ErrorKind, OpenOptions, RegionName, SharedRegion};

use crate::support::trace::{Call, Refusal};

/// An implementation under test.
///
/// A hook returns `None` where the implementation has no such thing; the check then skips and says why.
pub trait Sut: Debug + 'static {
    /// The backend's type.
    type Backend: Backend;

    /// The module in which this implementation's tests stand; by it second processes find it.
    const LABEL: &'static str;

    /// The system's answer to who removes the object of another user.
    const REMOVAL_REFUSED: Errno = Errno::EPERM;

    /// The backend.
    fn backend() -> Self::Backend;

    /// Puts something under `name` that somebody else may have put there, without the crate's help.
    fn plant(plant: Plant, name: &RegionName) -> Option<Planted> {
        let _ = (plant, name);
        None
    }

    /// Asks the system itself about the object; `Some(None)` where nothing has the name.
    fn native_stat(name: &RegionName) -> Option<Option<NativeStat>> {
        let _ = name;
        None
    }

    /// Whether regions are mappings that other processes can have, too. Where they are plain memory of this one, what takes
    /// a second process or a second mapping skips.
    fn shares_with_processes() -> bool {
        true
    }

    /// Some where a process that may look into all others finds out who holds a region.
    fn finds_holders() -> Option<()> {
        None
    }

    /// Some where regions are asked about and changed by their identity alone.
    fn reaches_by_identity() -> Option<()> {
        None
    }

    /// Some where any child is told apart from its parent, also one that has its number and that the C library did not
    /// make.
    fn tells_all_children_apart() -> Option<()> {
        None
    }

    /// Some where regions are mapped by a descriptor, which is closed if asked, and a few pages unasked.
    fn maps_by_descriptor() -> Option<()> {
        None
    }

    /// Some where whoever removes or replaces takes turns by a lock (`flock`) on the object.
    fn takes_turns_by_a_lock() -> Option<()> {
        None
    }

    /// Makes a private store of `bytes` around a second process.
    fn small_store(bytes: u64) -> Option<Confinement> {
        let _ = bytes;
        None
    }

    /// What a message about a full store names.
    fn store_name() -> Option<&'static str> {
        None
    }

    /// Changes the object's size without the crate's help, as a C program may that can write to it.
    fn native_resize(name: &RegionName, bytes: u64) -> Option<io::Result<()>> {
        let _ = (name, bytes);
        None
    }

    /// Gives an object another name without the crate's help, as `mv` does.
    fn native_rename(name: &RegionName, to: &RegionName) -> Option<io::Result<()>> {
        let _ = (name, to);
        None
    }

    /// Private stores, each with another limit that can be hit.
    fn store_limits() -> Vec<StoreLimit> {
        Vec::new()
    }

    /// Private places that lack what the implementation needs, each with what a message about it says.
    fn places_without() -> Vec<(&'static str, Confinement)> {
        Vec::new()
    }

    /// Private places that are unusual, where all works as everywhere.
    fn odd_places() -> Vec<(&'static str, Confinement)> {
        Vec::new()
    }

    /// A private store that only root may use.
    fn closed_store() -> Option<Confinement> {
        None
    }

    /// A private store of such a mode, written as octal digits.
    fn store_of_mode(mode: &str) -> Option<Confinement> {
        let _ = mode;
        None
    }

    /// A private store that gives each user 64 KiB and few objects.
    fn store_with_quotas() -> Option<Confinement> {
        None
    }

    /// A private store that gives transparent huge pages to whoever advises them.
    fn advised_store() -> Option<Confinement> {
        None
    }

    /// A private store that cannot reserve memory.
    fn unreserving_store() -> Option<Confinement> {
        None
    }

    /// Within a private store: forbids all changes to what names there are.
    fn freeze_store() -> Option<io::Result<()>> {
        None
    }

    /// Within a private store: puts another, empty one in its place.
    fn replace_store() -> Option<io::Result<()>> {
        None
    }

    /// Places in which objects are made under their names, and sized after that, where elsewhere they are not.
    fn without_atomic_init() -> Vec<Confinement> {
        Vec::new()
    }

    /// Takes away what a process leaves that is killed while it finds out what it can do; says what was there.
    fn sweep() -> Option<u64> {
        None
    }

    /// Leaves what such a process of that user would have left, made by this one.
    fn leave_litter(uid: u32) -> Option<()> {
        let _ = uid;
        None
    }

    /// How calls can be answered so that a region cannot be made apart from its name; for the tracer. The first two stand
    /// for all where it makes no difference which error it is.
    fn without_unnamed_files() -> Vec<Refusal> {
        Vec::new()
    }

    /// Whether a call is one without which the implementation cannot work, and which a sandbox may forbid.
    fn own_call() -> Option<fn(&Call) -> bool> {
        None
    }

    /// A place with a store of its own, and one that differs in what does not matter.
    fn namespaces() -> Option<[Confinement; 2]> {
        None
    }
}

/// A limit of a store.
pub struct StoreLimit {
    /// The private store that has it.
    pub confinement: Confinement,
    /// The sizes of regions that fit.
    pub fill: &'static [usize],
    /// The size of one that then does not.
    pub ask: usize,
    /// The answer to that.
    pub kind: ErrorKind,
    pub errno: Errno,
    /// What the message names: the limit with its value.
    pub told: &'static str,
}

/// What the system itself says about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeStat {
    pub size: u64,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// What somebody else may put under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A symbolic link to a file that exists, outside of the store.
    Link,
    /// A symbolic link to nothing.
    DanglingLink,
    Fifo,
    Directory,
    Socket,
    /// A device node, as `/dev/null`.
    Device,
    /// An object of size 0, as C programs make it between `shm_open` and `ftruncate`.
    Unsized,
}

impl Plant {
    /// What is no shared memory at all.
    pub const FOREIGN: [Self; 6] =
        [Self::Link, Self::DanglingLink, Self::Fifo, Self::Directory, Self::Socket, Self::Device];
}

/// A planted thing, taken away when dropped.
pub struct Planted {
    /// Whether it is still exactly as it was planted.
    pub untouched: Box<dyn Fn() -> bool>,
    /// Takes it away, whatever it has become.
    pub take_away: Box<dyn Fn()>,
}

impl Drop for Planted {
    fn drop(&mut self) {
        (self.take_away)();
    }
}

/// What runs in a second process before it becomes the role: no allocation, no locks.
pub type Confinement = Box<dyn FnMut() -> io::Result<()> + Send + Sync>;

/// A name that no other test has, free of its region when dropped.
#[derive(Debug)]
pub struct Fresh<S: Sut> {
    name: RegionName,
    sut: PhantomData<fn() -> S>,
}

impl<S: Sut> Fresh<S> {
    pub fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self::named(RegionName::new(&format!("conf-{}-{count}", std::process::id())).unwrap())
    }

    /// Takes care of a name that the caller knows to be fresh.
    pub fn named(name: RegionName) -> Self {
        Self { name, sut: PhantomData }
    }
}

impl<S: Sut> Deref for Fresh<S> {
    type Target = RegionName;

    fn deref(&self) -> &RegionName {
        &self.name
    }
}

impl<S: Sut> fmt::Display for Fresh<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name, f)
    }
}

impl<S: Sut> Drop for Fresh<S> {
    fn drop(&mut self) {
        let _ = S::backend().remove(&self.name);
    }
}

/// Shorthands that every module of checks uses.
pub fn create<S: Sut>(name: &RegionName, size: usize) -> <S::Backend as Backend>::Region {
    S::backend().create_new(name, &CreateOptions::new(size)).unwrap()
}

pub fn open<S: Sut>(name: &RegionName) -> <S::Backend as Backend>::Region {
    S::backend().open(name, &OpenOptions::new()).unwrap()
}

pub fn open_read_only<S: Sut>(name: &RegionName) -> <S::Backend as Backend>::Region {
    S::backend().open(name, &OpenOptions::new().read_only(true)).unwrap()
}

/// In a second process: the name that is its argument of this index.
pub fn name_in(arguments: &[String], index: usize) -> RegionName {
    RegionName::new(&arguments[index]).unwrap()
}

/// Loads a word of 64 bits, by a copy where a processor of 32 loads no such width from memory that cannot be written.
pub fn load_u64(region: &impl SharedRegion, offset: usize, order: Ordering) -> u64 {
    use shared_region::SharedRegionExt;
    let loaded = region.load_u64(offset, order);
    if size_of::<usize>() >= 8 || region.access() == Access::ReadWrite {
        return loaded.unwrap();
    }
    assert_eq!(loaded.unwrap_err().kind(), ErrorKind::Unsupported);
    let mut bytes = [0; 8];
    region.read_at(offset, &mut bytes).unwrap();
    u64::from_ne_bytes(bytes)
}

/// Copies a whole region out.
pub fn bytes_of(region: &(impl SharedRegion + ?Sized)) -> Vec<u8> {
    use shared_region::SharedRegionExt;
    let mut bytes = vec![0; region.len()];
    region.read_at(0, &mut bytes).unwrap();
    bytes
}

/// A backend that [`AnyBackend`] stands for.
pub trait Known: Sut {
    const NAME: &'static str;
    const ANY_LABEL: &'static str;
}

/// The same implementation, behind the run-time choice.
#[derive(Debug)]
pub struct AnySut<S>(PhantomData<S>);

impl<S: Known> Sut for AnySut<S> {
    type Backend = AnyBackend;

    const LABEL: &'static str = S::ANY_LABEL;
    const REMOVAL_REFUSED: Errno = S::REMOVAL_REFUSED;

    fn backend() -> AnyBackend {
        S::NAME.parse().unwrap()
    }

    fn plant(plant: Plant, name: &RegionName) -> Option<Planted> {
        S::plant(plant, name)
    }

    fn native_stat(name: &RegionName) -> Option<Option<NativeStat>> {
        S::native_stat(name)
    }

    fn finds_holders() -> Option<()> {
        S::finds_holders()
    }

    fn reaches_by_identity() -> Option<()> {
        S::reaches_by_identity()
    }

    fn tells_all_children_apart() -> Option<()> {
        S::tells_all_children_apart()
    }

    fn maps_by_descriptor() -> Option<()> {
        S::maps_by_descriptor()
    }

    fn takes_turns_by_a_lock() -> Option<()> {
        S::takes_turns_by_a_lock()
    }

    fn small_store(bytes: u64) -> Option<Confinement> {
        S::small_store(bytes)
    }

    fn store_name() -> Option<&'static str> {
        S::store_name()
    }

    fn native_resize(name: &RegionName, bytes: u64) -> Option<io::Result<()>> {
        S::native_resize(name, bytes)
    }

    fn native_rename(name: &RegionName, to: &RegionName) -> Option<io::Result<()>> {
        S::native_rename(name, to)
    }

    fn store_limits() -> Vec<StoreLimit> {
        S::store_limits()
    }

    fn places_without() -> Vec<(&'static str, Confinement)> {
        S::places_without()
    }

    fn odd_places() -> Vec<(&'static str, Confinement)> {
        S::odd_places()
    }

    fn closed_store() -> Option<Confinement> {
        S::closed_store()
    }

    fn store_of_mode(mode: &str) -> Option<Confinement> {
        S::store_of_mode(mode)
    }

    fn store_with_quotas() -> Option<Confinement> {
        S::store_with_quotas()
    }

    fn advised_store() -> Option<Confinement> {
        S::advised_store()
    }

    fn unreserving_store() -> Option<Confinement> {
        S::unreserving_store()
    }

    fn freeze_store() -> Option<io::Result<()>> {
        S::freeze_store()
    }

    fn replace_store() -> Option<io::Result<()>> {
        S::replace_store()
    }

    fn without_atomic_init() -> Vec<Confinement> {
        S::without_atomic_init()
    }

    fn sweep() -> Option<u64> {
        S::sweep()
    }

    fn leave_litter(uid: u32) -> Option<()> {
        S::leave_litter(uid)
    }

    fn without_unnamed_files() -> Vec<Refusal> {
        S::without_unnamed_files()
    }

    fn own_call() -> Option<fn(&Call) -> bool> {
        S::own_call()
    }

    fn namespaces() -> Option<[Confinement; 2]> {
        S::namespaces()
    }
}
