//! How a POSIX object comes to be.

use std::io;

use nix::libc;
use shared_region_posix::{self as leaf, MapAccess, Object, Reserved, Sizing};

use super::failure::{self, Subject};
use super::region::PosixRegion;
use super::removal::{self, LastUser};
use super::{Posix, able_to, native, not_found, own, publication, unsupported};
use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::too_few_huge_pages;
use crate::memory;
use crate::name::{PosixName, RegionId};
use crate::options::{Allocation, CreateOptions, HugePages, Removal};
use crate::process::Process;
use crate::region::SharedRegion;

/// How a new object gets its name.
enum Publication {
    /// It is linked in at the end, complete.
    Whole,
    /// It has been made under its name; the size came last.
    Exclusive(Unlink),
}

/// Takes the name away again, unless told that all went well.
struct Unlink(Option<(RegionId, Object)>);

impl Unlink {
    /// Leaves the name: all went well.
    fn not(mut self) {
        self.0 = None;
    }
}

impl Drop for Unlink {
    fn drop(&mut self) {
        if let Some((id, object)) = self.0.take() {
            let _ = removal::remove_same(&id, object.identity());
        }
    }
}

/// Creates a region and fills it while it has the form in which the caller wants it.
pub(crate) fn create_with<R, E: From<Error>>(
    id: &RegionId,
    options: &CreateOptions,
    wrap: impl FnOnce(PosixRegion) -> R,
    init: impl FnOnce(&R) -> Result<(), E>,
) -> Result<R, E> {
    let (mut region, publication) = prepare(own(id, "create")?, options, true)?;
    let object = if options.get_keep_descriptor() { region.object.share() } else { region.object.close() };
    let object = object.map_err(|error| Subject::new(id, "create").failed(&error))?;
    let region = wrap(region);
    init(&region)?;
    publish(publication, id, &object)?;
    Ok(region)
}

pub(super) fn create(id: &RegionId, options: &CreateOptions) -> Result<PosixRegion> {
    let subject = Subject::new(id, "create");
    let (mut region, mut publication) = prepare(id, options, false)?;
    if let (Publication::Whole, Some(object)) = (&publication, region.object.get()) {
        match object.link(native(id)) {
            Ok(()) => {}
            // Nobody has seen the object, so it can be made again the other way.
            Err(error) if publication::is_refusal(&error) => {
                publication::remember_refusal(Some(object));
                drop(region); // its memory first, as the store may not hold two
                let (again, unlink) = prepare_exclusive(id, options)?;
                (region, publication) = (again, Publication::Exclusive(unlink));
            }
            Err(error) => return Err(subject.failed(&error)),
        }
    }
    if !options.get_keep_descriptor() {
        region.object.close().map_err(|error| subject.failed(&error))?;
    }
    if let Publication::Exclusive(unlink) = publication {
        unlink.not();
    }
    Ok(region)
}

/// Makes, sizes, reserves and maps an object, without a name where the system can link it in later. `must_link`: know
/// before whether it can, else what is known from earlier will do.
fn prepare(id: &RegionId, options: &CreateOptions, must_link: bool) -> Result<(PosixRegion, Publication)> {
    let subject = Subject::new(id, "create");
    options.validate_for(able_to(options.get_removal())).map_err(|error| subject.told(error))?;
    // Where no memory is taken and nothing of the caller's runs, the link tells soon enough that the name is taken.
    if must_link || options.get_allocation() != Allocation::Lazy || options.get_lock_memory() {
        match leaf::kind(native(id)) {
            Ok(_) => return Err(subject.taken()),
            Err(error) if unsupported(&error) || not_found(&error) => {}
            Err(error) => return Err(subject.failed(&error)),
        }
    }
    let exclusive = || {
        let (region, unlink) = prepare_exclusive(id, options)?;
        // Not before: this way could have been closed too.
        publication::remember_refusal(None);
        Ok((region, Publication::Exclusive(unlink)))
    };
    let linked = if must_link { publication::is_granted() } else { Ok(!publication::was_refused()) };
    match linked {
        Ok(true) => {}
        Ok(false) => return exclusive(),
        Err(error) => return Err(subject.or_taken(subject.failed(&error))),
    }
    let object = match Object::create_unlinked(options.get_mode()) {
        Ok(object) => object,
        Err(error) if publication::is_refusal(&error) => return exclusive(),
        Err(error) => return Err(subject.or_taken(subject.failed(&error))),
    };
    let region = settled(Some(id.clone()), object, options, Sizing::Extend, &subject);
    Ok((region.map_err(|error| subject.or_taken(error))?, Publication::Whole))
}

/// Makes an object under its name, where nobody else has it, and sizes it at once at the end.
fn prepare_exclusive(id: &RegionId, options: &CreateOptions) -> Result<(PosixRegion, Unlink)> {
    let subject = Subject::new(id, "create");
    let (object, _) = leaf::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(options.get_mode())
        .open(native(id))
        .map_err(|error| subject.failed(&error))?;
    // A descriptor of its own: on failure the region goes first and the name is taken away last.
    let kept = object.try_clone().inspect_err(|_| drop(removal::remove_same(id, object.identity())));
    let unlink = Unlink(Some((id.clone(), kept.map_err(|error| subject.failed(&error))?)));
    object.set_mode(options.get_mode()).map_err(|error| subject.failed(&error))?;
    let region = settled(Some(id.clone()), object, options, Sizing::Keep, &subject)?;
    Ok((region, unlink))
}

/// Gives the object its name, after `init` has run: there is no second try.
fn publish(publication: Publication, id: &RegionId, object: &Object) -> Result<()> {
    match publication {
        Publication::Whole => object.link(native(id)).map_err(|error| {
            if publication::is_refusal(&error) {
                publication::remember_refusal(Some(object));
            }
            let subject = Subject::new(id, "create");
            if not_found(&error) || unsupported(&error) {
                let told = subject.error(ErrorKind::Unsupported).reason("the system links no file that has no name");
                match error.raw_os_error() {
                    Some(errno) => told.errno(errno),
                    None => told,
                }
            } else {
                subject.failed(&error)
            }
        }),
        Publication::Exclusive(unlink) => {
            unlink.not();
            Ok(())
        }
    }
}

/// Gives a new object its size and the memory that its options ask for, and maps it. With [`Sizing::Keep`] nobody sees
/// another size than 0 and the final one.
fn settled(
    id: Option<RegionId>,
    object: Object,
    options: &CreateOptions,
    sizing: Sizing,
    subject: &Subject<'_>,
) -> Result<PosixRegion> {
    let len = options.get_size() as u64;
    let no_room = |error: &io::Error| subject.told(failure::no_room(error, options.get_size(), &object));
    let reserve = options.get_allocation() != Allocation::Lazy;
    options.validate_room().map_err(|error| subject.told(error))?;
    // Where huge pages come by advice on a mapping, a reservation before it would take ordinary ones; and several threads
    // take memory by a mapping quicker than a reservation does.
    let by_mapping = options.get_huge_pages() == HugePages::Try
        || options.get_allocation() == Allocation::Prefault
            && memory::threads_for(options.get_size(), options.get_prefault_threads()) > 1;
    let reserve_mapped = reserve && sizing == Sizing::Extend && by_mapping;
    // Where the file system cannot reserve, the metadata says so.
    let sized = if reserve_mapped {
        object.check_room(0, len).and_then(|()| object.set_len(len))
    } else if reserve {
        let reserved = object.reserve(0, len, sizing);
        reserved.and_then(|_| if sizing == Sizing::Extend { Ok(()) } else { object.set_len(len) })
    } else {
        object.set_len(len)
    };
    sized.map_err(|error| no_room(&error))?;
    let mapping = object
        .map(options.get_size(), MapAccess::ReadWrite)
        .map_err(|error| subject.not_mapped(&error, options.get_size()))?;
    if reserve_mapped {
        if options.get_huge_pages() == HugePages::Try {
            memory::try_huge_pages(mapping.as_ptr(), mapping.len());
        }
        memory::try_prefault(mapping.as_ptr(), mapping.len(), options.get_prefault_threads());
        let _: Reserved = object.reserve(0, len, sizing).map_err(|error| no_room(&error))?;
    }
    let core_dump = options.get_core_dump();
    let mut region = PosixRegion { mapping, object: object.into(), id, remover: None, core_dump, last_user: None };
    options.settle(&region)?;
    match (options.get_removal(), &region.id) {
        (Removal::OnDrop, Some(_)) => region.remover = Some(Process::current()),
        (Removal::LastUser, Some(id)) => region.last_user = Some(LastUser::of(id)),
        _ => {}
    }
    Ok(region)
}

/// Makes an object that never has a name.
pub(super) fn unnamed(options: &CreateOptions) -> Result<PosixRegion> {
    let subject = Subject::unnamed("create");
    let huge = options.get_huge_pages() == HugePages::Require;
    let can = able_to(options.get_removal()).with_huge_pages(cfg!(target_os = "linux"));
    options.validate_for(can).map_err(|error| subject.told(error))?;
    let made = if huge { Object::memfd_of_huge_pages } else { Object::memfd };
    let object = match made(c"shared-region", options.get_mode()) {
        Ok(object) => object,
        Err(error) if unsupported(&error) => {
            let mut region = Posix.create_unique("unnamed-", &options.clone().removal(Removal::OnDrop))?;
            region.remove()?;
            (region.id, region.remover) = (None, None);
            return Ok(region);
        }
        Err(error) if error.raw_os_error() == Some(libc::EACCES) && options.get_mode() & 0o111 != 0 => {
            return Err(subject.error(ErrorKind::PermissionDenied).errno(libc::EACCES).reason(
                "the sysctl vm.memfd_noexec forbids execute bits to objects without a name: leave 0111 out of the mode",
            ));
        }
        Err(error) => return Err(subject.failed(&error)),
    };
    if huge {
        let page = object.stat().map_err(|error| subject.failed(&error))?.block_size();
        if options.get_size() as u64 % page != 0 {
            let reason = format!("{} bytes are not a multiple of {page}, a huge page's: round up", options.get_size());
            return Err(subject.error(ErrorKind::InvalidSize).reason(reason));
        }
    }
    let mut region = settled(None, object, options, Sizing::Extend, &subject).map_err(|error| {
        let lacking = huge && error.kind() == ErrorKind::NoSpace;
        if lacking { error.reason(too_few_huge_pages(options.get_size())) } else { error }
    })?;
    let object = region.object("create")?;
    // A size that is no multiple of a huge page's cannot be unmapped, and growing would let it come to that.
    let sealed = object.add_seals(leaf::Seals::new().with_shrink(true).with_grow(huge));
    sealed.map_err(|error| subject.failed(&error))?;
    if !options.get_keep_descriptor() {
        region.object.close().map_err(|error| subject.failed(&error))?;
    }
    Ok(region)
}

impl PosixRegion {
    /// Creates an object under a name of which only POSIX knows, as [`Backend::create_new`] does under a portable one.
    ///
    /// # Errors
    ///
    /// Those of [`Backend::create_new`].
    ///
    /// # Examples
    ///
    /// ```
    /// use shared_region::{CreateOptions, OpenOptions, PosixName, PosixRegion, SharedRegion};
    ///
    /// let name = PosixName::new(format!("/of another program {}", std::process::id()))?;
    /// let region = PosixRegion::create_native(&name, &CreateOptions::new(100))?;
    /// assert_eq!(PosixRegion::open_native(&name, &OpenOptions::new())?.len(), 100);
    /// region.remove()?;
    /// # Ok::<(), shared_region::Error>(())
    /// ```
    pub fn create_native(name: &PosixName, options: &CreateOptions) -> Result<Self> {
        create(&name.clone().into(), options)
    }
}
