//! What nobody may do to an object any more: [`Seals`].

use std::fmt;

/// Makes the set: each seal with a getter and a builder method.
macro_rules! seals {
    ($($(#[$doc:meta])* $seal:ident / $with:ident, $name:literal;)*) => {
        /// A set of seals. Each forbids something to everybody, for ever, whoever holds a descriptor of the object.
        ///
        /// `PosixRegion::seals` tells which there are, `PosixRegion::add_seals` adds some, and
        /// [`OpenOptions::require_seals`](crate::OpenOptions::require_seals) demands some.
        ///
        /// # Examples
        ///
        /// ```
        /// use shared_region::Seals;
        ///
        /// let seals = Seals::new().with_shrink(true).with_grow(true);
        /// assert!(seals.shrink() && !seals.write());
        /// assert_eq!(seals.to_string(), "F_SEAL_SHRINK, F_SEAL_GROW");
        /// ```
        ///
        /// # Platform-specific behavior
        ///
        /// Linux only, and there what `Backend::create_unnamed` made or a memfd of another program. An object with a name
        /// has no seal but [`seal`](Self::seal), and takes none. System V segments have none either, but can neither shrink
        /// nor grow.
        ///
        /// # References
        ///
        /// [fcntl(2)](https://man7.org/linux/man-pages/man2/fcntl.2.html), File Sealing
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        #[must_use]
        pub struct Seals {
            $($seal: bool,)*
        }

        impl Seals {
            /// Starts with no seal.
            pub const fn new() -> Self {
                Self { $($seal: false,)* }
            }

            $(
                $(#[$doc])*
                #[doc(alias = $name)]
                pub const fn $seal(self) -> bool {
                    self.$seal
                }

                #[doc = concat!("Puts [`", stringify!($seal), "`](Self::", stringify!($seal), ") into the set, or takes it out.")]
                pub const fn $with(mut self, forbidden: bool) -> Self {
                    self.$seal = forbidden;
                    self
                }
            )*

            /// Returns those of these that `other` does not hold. Who holds [`write`](Self::write) holds
            /// [`future_write`](Self::future_write), as it forbids more.
            pub const fn missing_in(self, other: Self) -> Self {
                let other = other.with_future_write(other.future_write || other.write);
                Self { $($seal: self.$seal && !other.$seal,)* }
            }

            /// Returns whether there is none.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                !(false $(|| self.$seal)*)
            }
        }

        /// Their names in C, after commas.
        impl fmt::Display for Seals {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut comma = "";
                $(if self.$seal {
                    write!(f, "{comma}{}", $name)?;
                    comma = ", ";
                })*
                let _ = comma;
                Ok(())
            }
        }

        impl fmt::Debug for Seals {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "Seals({self})")
            }
        }
    };
}

seals! {
    /// The object cannot be made smaller, which would make a touch of the lost part SIGBUS.
    shrink / with_shrink, "F_SEAL_SHRINK";
    /// The object cannot be made larger.
    grow / with_grow, "F_SEAL_GROW";
    /// Nobody can write to it. Cannot be added while somebody has it mapped for writing.
    write / with_write, "F_SEAL_WRITE";
    /// Nobody can write to it but through the mappings that exist, and not even these can free pages of it. Linux 5.1.
    future_write / with_future_write, "F_SEAL_FUTURE_WRITE";
    /// No seal can be added any more.
    seal / with_seal, "F_SEAL_SEAL";
    /// Its execute bits stay what they are. Linux 6.3.
    exec / with_exec, "F_SEAL_EXEC";
}
