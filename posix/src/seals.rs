//! What nobody may do to an object any more: [`Seals`].

use std::fmt;
use std::io;

use crate::object::Object;
use crate::sys;

/// Makes the set: each seal with a getter and a builder method.
macro_rules! seals {
    ($($(#[$doc:meta])* $seal:ident / $with:ident = $bit:literal, $name:literal;)*) => {
        /// A set of seals. Each forbids something to everybody, for ever, whoever holds a descriptor of the object.
        ///
        /// # Examples
        ///
        /// ```
        /// use shared_region_posix::Seals;
        ///
        /// let seals = Seals::new().with_shrink(true).with_seal(true);
        /// assert!(seals.shrink() && !seals.grow());
        /// assert_eq!(format!("{seals:?}"), "Seals(F_SEAL_SEAL, F_SEAL_SHRINK)");
        /// ```
        ///
        /// # References
        ///
        /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), File Sealing
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[must_use]
        pub struct Seals(u32);

        impl Seals {
            /// Starts with no seal.
            pub const fn new() -> Self {
                Self(0)
            }

            $(
                $(#[$doc])*
                #[doc(alias = $name)]
                pub const fn $seal(self) -> bool {
                    self.0 & $bit != 0
                }

                #[doc = concat!("Puts [`", stringify!($seal), "`](Self::", stringify!($seal), ") into the set, or takes it out.")]
                pub const fn $with(self, forbidden: bool) -> Self {
                    Self(if forbidden { self.0 | $bit } else { self.0 & !$bit })
                }
            )*

            /// Keeps those that this crate knows, by Linux' numbers.
            #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has any"))]
            pub(crate) const fn from_bits(bits: u32) -> Self {
                Self(bits & (0 $(| $bit)*))
            }

            #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has any"))]
            pub(crate) const fn bits(self) -> u32 {
                self.0
            }
        }

        impl fmt::Debug for Seals {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut names = f.debug_tuple("Seals");
                $(if self.$seal() {
                    names.field(&format_args!($name));
                })*
                names.finish()
            }
        }
    };
}

seals! {
    /// Forbids further seals. Objects that were made without leave to be sealed have this one alone; those with a name are
    /// such.
    seal / with_seal = 0x01, "F_SEAL_SEAL";
    /// Forbids to make it smaller.
    shrink / with_shrink = 0x02, "F_SEAL_SHRINK";
    /// Forbids to make it larger.
    grow / with_grow = 0x04, "F_SEAL_GROW";
    /// Forbids all writing, by mappings too. Cannot be added while somebody has it mapped for writing.
    write / with_write = 0x08, "F_SEAL_WRITE";
    /// Forbids writing by all but the mappings that exist. Linux 5.1.
    future_write / with_future_write = 0x10, "F_SEAL_FUTURE_WRITE";
    /// Forbids to change execute bits. Linux 6.3.
    exec / with_exec = 0x20, "F_SEAL_EXEC";
}

impl Object {
    /// Asks which seals the object has.
    ///
    /// # Errors
    ///
    /// - `EINVAL`: its file system has no seals.
    /// - `Unsupported`: not Linux.
    ///
    /// # Platform-specific behavior
    ///
    /// An object with a name answers [`seal`](Seals::seal) alone, where `/dev/shm` is a tmpfs.
    ///
    /// # References
    ///
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), `F_GET_SEALS`
    #[doc(alias = "F_GET_SEALS")]
    pub fn seals(&self) -> io::Result<Seals> {
        sys::seals(&self.file)
    }

    /// Forbids what these seals forbid, to everybody, for ever. All of them are added, or none.
    ///
    /// A process that maps a received object lives with the danger that a peer shrinks it, after which touching the lost
    /// part is `SIGBUS`. With [`shrink`](Seals::shrink), in place before the size is read, it cannot.
    ///
    /// # Errors
    ///
    /// - `PermissionDenied` (`EPERM`): it is no memfd, or one that may not be sealed any more (even with seals that it
    ///   has), or the descriptor is for reading only.
    /// - `ResourceBusy` (`EBUSY`): [`write`](Seals::write), and somebody has it mapped for writing.
    /// - `EINVAL`: its file system has no seals, or the kernel does not know one of these.
    /// - `Unsupported`: not Linux.
    ///
    /// # References
    ///
    /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), `F_ADD_SEALS`
    #[doc(alias = "F_ADD_SEALS")]
    pub fn add_seals(&self, seals: Seals) -> io::Result<()> {
        sys::add_seals(&self.file, seals)
    }

    /// Opens the object anew, for reading alone, close-on-exec. Unlike by [`try_clone`](Self::try_clone), whoever receives
    /// the result gets no leave to write by it.
    ///
    /// They may be able to open it anew themselves, for writing: by its mode, or as its owner. Seal it against that.
    ///
    /// # Errors
    ///
    /// - `PermissionDenied` (`EACCES`): the object's mode does not let this process read.
    /// - `EMFILE`, `ENFILE`: too many open descriptors.
    /// - `Unsupported`: there is no `/proc`; or not Linux.
    ///
    /// # References
    ///
    /// [proc_pid_fd(5)](https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html)
    pub fn reopen_read_only(&self) -> io::Result<Self> {
        let file = sys::reopen_read_only(&self.file)?;
        let (_, stat) = sys::look(&file)?;
        Ok(Self::new(file, false, Some(&stat)))
    }
}
