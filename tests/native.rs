//! What each of the two backends is said to do, by its name. The contract's checks never ask for that.

/// How an error names its backend, and how it ends.
#[cfg(any(feature = "posix", feature = "sysv"))]
fn unknown_name(backend: impl shared_region::Backend) -> String {
    let name = shared_region::RegionName::new("native-nobody-has-this").unwrap();
    backend.open(&name, &shared_region::OpenOptions::new()).unwrap_err().to_string()
}

#[cfg(feature = "posix")]
mod posix {
    use shared_region::{AnyBackend, Backend, Capabilities, Posix};

    #[test]
    fn its_capabilities_are_those_of_the_table() {
        let linux = cfg!(target_os = "linux");
        let table = Capabilities::new()
            .with_exact_names(true)
            .with_grow(linux)
            .with_atomic_init(linux)
            .with_attach_after_remove(true)
            .with_file_descriptor(true);
        assert_eq!(Posix.capabilities(), table);
        assert_eq!("posix".parse::<AnyBackend>().unwrap().capabilities(), table);
    }

    #[test]
    fn an_error_names_it_as_people_do() {
        let text = super::unknown_name(Posix);
        let head = "cannot open POSIX region \"/native-nobody-has-this\": ";
        assert!(text.starts_with(head) && text.ends_with(" (ENOENT)"), "{text}");
    }

    #[test]
    fn it_is_what_any_backend_of_its_name_is() {
        assert_eq!(Posix.name(), "posix");
        assert_eq!("posix".parse::<AnyBackend>().unwrap().to_string(), "posix");
    }
}

#[cfg(feature = "sysv")]
mod sysv {
    use shared_region::{AnyBackend, Backend, Capabilities, RegionName, Sysv};

    #[test]
    fn its_capabilities_are_those_of_the_table() {
        let linux = cfg!(target_os = "linux");
        let table =
            Capabilities::new().with_attach_count(true).with_attach_after_remove(linux).with_fixed_address(linux);
        assert_eq!(Sysv.capabilities(), table);
        assert_eq!("sysv".parse::<AnyBackend>().unwrap().capabilities(), table);
    }

    #[test]
    fn an_error_names_it_and_the_key_as_people_do() {
        let text = super::unknown_name(Sysv);
        let key = RegionName::new("native-nobody-has-this").unwrap().key() as u32;
        let head = format!("cannot open System V region \"/native-nobody-has-this\" (key {key:#x}): ");
        assert!(text.starts_with(&head) && text.ends_with(" (ENOENT)"), "{text}");
    }

    #[test]
    fn it_is_what_any_backend_of_its_name_is() {
        assert_eq!(Sysv.name(), "sysv");
        assert_eq!("sysv".parse::<AnyBackend>().unwrap().to_string(), "sysv");
    }
}
