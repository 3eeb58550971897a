//! The two backends of the crate, and one of somebody else's, as implementations under test.

pub use files::FilesSut;
#[cfg(feature = "posix")]
pub use posix::PosixSut;
#[cfg(feature = "sysv")]
pub use sysv::SysvSut;

/// For implementations whose regions are the entries of a directory.
pub mod entries {
    use std::fs::{self, File};
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    use nix::unistd::mkfifo;

    use shared_region_conformance::sut::{NativeStat, Plant, Planted};

    pub fn plant(plant: Plant, path: PathBuf) -> Option<Planted> {
        let name = path.file_name().unwrap();
        let target = std::env::temp_dir().join(format!("target-of-{}", name.to_string_lossy()));
        match plant {
            Plant::Link => {
                fs::write(&target, "somebody's secret").unwrap();
                symlink(&target, &path).unwrap();
            }
            Plant::DanglingLink => symlink(&target, &path).unwrap(),
            Plant::Fifo => mkfifo(&path, Mode::from_bits_truncate(0o666)).unwrap(),
            Plant::Directory => fs::create_dir(&path).unwrap(),
            Plant::Socket => drop(UnixListener::bind(&path).unwrap()),
            Plant::Device => {
                let null = makedev(1, 3);
                mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), null).ok()?;
            }
            Plant::Unsized => drop(File::create_new(&path).unwrap()),
        }
        let before = fs::symlink_metadata(&path).unwrap();
        let (entry, link) = (path.clone(), target.clone());
        Some(Planted {
            untouched: Box::new(move || {
                let now = fs::symlink_metadata(&entry).unwrap();
                let same = (now.dev(), now.ino(), now.mode()) == (before.dev(), before.ino(), before.mode());
                let linked = match plant {
                    Plant::Link => fs::read(&link).unwrap() == b"somebody's secret",
                    _ => !link.exists(),
                };
                same && linked && now.file_type().is_fifo() == (plant == Plant::Fifo)
            }),
            take_away: Box::new(move || {
                let _ = fs::remove_dir(&path);
                let _ = fs::remove_file(&path);
                let _ = fs::remove_file(&target);
            }),
        })
    }

    pub fn stat(path: PathBuf) -> Option<NativeStat> {
        fs::symlink_metadata(path).ok().map(|stat| NativeStat {
            size: stat.size(),
            mode: stat.mode() & 0o777,
            uid: stat.uid(),
            gid: stat.gid(),
        })
    }
}

#[cfg(feature = "posix")]
mod posix {
    use std::fs::{self, File};
    use std::io;
    use std::path::PathBuf;

    use nix::errno::Errno;
    use nix::fcntl::OFlag;
    use nix::libc;
    use nix::mount::{MsFlags, mount};
    use nix::sched::CloneFlags;
    use nix::sys::stat::Mode;
    use shared_region::{ErrorKind, Posix, RegionName};

    use super::entries;
    use shared_region_conformance::support::child::{private_mount, private_tmpfs, unshared};
    use shared_region_conformance::support::seccomp::{refuse, refuse_flag, refuse_open_flag};
    use shared_region_conformance::support::trace::{Call, Refusal};
    use shared_region_conformance::sut::{Confinement, Known, NativeStat, Plant, Planted, StoreLimit, Sut};

    #[derive(Debug)]
    pub struct PosixSut;

    impl Known for PosixSut {
        const NAME: &'static str = "posix";
        const ANY_LABEL: &'static str = "any_posix";
    }

    fn path(name: &RegionName) -> PathBuf {
        PathBuf::from(format!("/dev/shm{name}"))
    }

    /// What is left of a process that is killed while it finds out whether it can link.
    fn litter(uid: u32) -> String {
        format!("/dev/shm/.shared-region-probe-{uid}")
    }

    impl Sut for PosixSut {
        type Backend = Posix;

        const LABEL: &'static str = "posix";
        // glibc's `shm_unlink` tells no difference between the two.
        const REMOVAL_REFUSED: Errno = if cfg!(target_env = "gnu") { Errno::EACCES } else { Errno::EPERM };

        fn backend() -> Posix {
            Posix
        }

        fn plant(plant: Plant, name: &RegionName) -> Option<Planted> {
            entries::plant(plant, path(name))
        }

        fn native_stat(name: &RegionName) -> Option<Option<NativeStat>> {
            Some(entries::stat(path(name)))
        }

        fn finds_holders() -> Option<()> {
            Some(())
        }

        fn reaches_by_identity() -> Option<()> {
            Some(())
        }

        fn tells_all_children_apart() -> Option<()> {
            Some(())
        }

        fn maps_by_descriptor() -> Option<()> {
            Some(())
        }

        fn takes_turns_by_a_lock() -> Option<()> {
            Some(())
        }

        fn small_store(bytes: u64) -> Option<Confinement> {
            Some(private_tmpfs("/dev/shm", &format!("size={bytes}")))
        }

        fn store_name() -> Option<&'static str> {
            Some("/dev/shm")
        }

        fn native_resize(name: &RegionName, bytes: u64) -> Option<io::Result<()>> {
            let file = File::options().write(true).open(path(name));
            Some(file.and_then(|file| file.set_len(bytes)))
        }

        fn native_rename(name: &RegionName, to: &RegionName) -> Option<io::Result<()>> {
            Some(fs::rename(path(name), path(to)))
        }

        fn store_limits() -> Vec<StoreLimit> {
            let full = |confinement, fill, told| StoreLimit {
                confinement,
                fill,
                ask: 1,
                kind: ErrorKind::NoSpace,
                errno: Errno::ENOSPC,
                told,
            };
            vec![
                full(private_tmpfs("/dev/shm", "size=65536"), &[65536], "/dev/shm (0 free of 65536)"),
                full(private_tmpfs("/dev/shm", "nr_inodes=3"), &[1, 1], "(nr_inodes=3)"),
            ]
        }

        fn places_without() -> Vec<(&'static str, Confinement)> {
            let no_dev = || private_mount("tmpfs", "/dev", MsFlags::empty(), "mode=755");
            let mut file_there = no_dev();
            let file_there: Confinement = Box::new(move || {
                file_there()?;
                let flags = OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_WRONLY;
                Ok(nix::fcntl::open(c"/dev/shm", flags, Mode::S_IRUSR).map(drop)?)
            });
            vec![("there is no /dev/shm", no_dev()), ("there is no /dev/shm", file_there)]
        }

        fn odd_places() -> Vec<(&'static str, Confinement)> {
            let shm = |flags, options| private_mount("tmpfs", "/dev/shm", flags, options);
            let hardened = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            vec![
                ("noexec, nosuid and nodev", shm(hardened, "mode=1777")),
                ("an unlimited tmpfs", shm(MsFlags::empty(), "size=0,nr_inodes=0")),
                ("a set-group-id directory", shm(MsFlags::empty(), "mode=3777,gid=65534")),
                ("no /proc", private_mount("tmpfs", "/proc", MsFlags::empty(), "mode=755")),
                ("a kernel that knows no MFD_NOEXEC_SEAL", refuse_flag(libc::SYS_memfd_create, 1, 0x18, Errno::EINVAL)),
                ("a kernel without memfds", refuse(libc::SYS_memfd_create, Errno::ENOSYS)),
            ]
        }

        fn closed_store() -> Option<Confinement> {
            Some(private_tmpfs("/dev/shm", "mode=700"))
        }

        fn store_of_mode(mode: &str) -> Option<Confinement> {
            Some(private_tmpfs("/dev/shm", &format!("mode={mode}")))
        }

        fn store_with_quotas() -> Option<Confinement> {
            let quotas = "mode=1777,usrquota_block_hardlimit=65536,usrquota_inode_hardlimit=1";
            Some(private_tmpfs("/dev/shm", quotas))
        }

        fn advised_store() -> Option<Confinement> {
            Some(private_tmpfs("/dev/shm", "huge=advise"))
        }

        fn unreserving_store() -> Option<Confinement> {
            Some(private_mount("ramfs", "/dev/shm", MsFlags::empty(), "mode=1777"))
        }

        fn freeze_store() -> Option<io::Result<()>> {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            let remounted = mount(None::<&str>, "/dev/shm", None::<&str>, flags, None::<&str>);
            Some(remounted.map_err(io::Error::from))
        }

        fn replace_store() -> Option<io::Result<()>> {
            let tmpfs = Some("tmpfs");
            let mounted = mount(tmpfs, "/dev/shm", tmpfs, MsFlags::empty(), None::<&str>);
            Some(mounted.map_err(io::Error::from))
        }

        fn without_atomic_init() -> Vec<Confinement> {
            let nameless = libc::O_TMPFILE & !libc::O_DIRECTORY;
            vec![
                refuse_open_flag(nameless, Errno::EOPNOTSUPP), // as file systems without O_TMPFILE
                refuse_open_flag(nameless, Errno::EACCES),     // as a security module
                refuse(libc::SYS_linkat, Errno::ENOENT),       // as AppArmor in a snap
                refuse(libc::SYS_linkat, Errno::EPERM),        // as a sandbox
            ]
        }

        fn sweep() -> Option<u64> {
            let left = litter(nix::unistd::geteuid().as_raw());
            let size = fs::symlink_metadata(&left).ok()?.len();
            let _ = fs::remove_file(left); // another process may have done so
            Some(size)
        }

        fn without_unnamed_files() -> Vec<Refusal> {
            fn nameless(call: &Call) -> bool {
                call.opens_with(libc::O_TMPFILE)
            }
            fn link(call: &Call) -> bool {
                call.is(&[libc::SYS_linkat])
            }
            macro_rules! refusals {
                ($($which:ident: $errno:ident,)*) => {
                    vec![$(|call| $which(call).then_some(Errno::$errno),)*]
                };
            }
            refusals! {
                nameless: EOPNOTSUPP, // file systems without
                link: ENOENT, // AppArmor in snaps
                nameless: EACCES,
                nameless: EPERM,
                nameless: EISDIR, // kernels without
                nameless: ENOSYS,
                link: EPERM, // seccomp
                link: EACCES, // SELinux
                link: EXDEV, // bind mounts
            }
        }

        fn own_call() -> Option<fn(&Call) -> bool> {
            Some(|call| call.path.starts_with("/dev/shm") || call.is(&[libc::SYS_memfd_create, libc::SYS_linkat]))
        }

        fn leave_litter(uid: u32) -> Option<()> {
            File::create(litter(uid)).ok().map(drop)
        }

        fn namespaces() -> Option<[Confinement; 2]> {
            Some([private_tmpfs("/dev/shm", "mode=1777"), unshared(CloneFlags::CLONE_NEWIPC)])
        }
    }
}

#[cfg(feature = "sysv")]
mod sysv {
    use std::fs;

    use nix::errno::Errno;
    use nix::sched::CloneFlags;
    use shared_region::{ErrorKind, RegionName, Sysv};

    use shared_region_conformance::support::child::{private_ipc, private_tmpfs, unshared};
    use shared_region_conformance::support::trace::{self, Call};
    use shared_region_conformance::sut::{Confinement, Known, NativeStat, StoreLimit, Sut};

    #[derive(Debug)]
    pub struct SysvSut;

    impl Known for SysvSut {
        const NAME: &'static str = "sysv";
        const ANY_LABEL: &'static str = "any_sysv";
    }

    impl Sut for SysvSut {
        type Backend = Sysv;

        const LABEL: &'static str = "sysv";

        fn backend() -> Sysv {
            Sysv
        }

        fn native_stat(name: &RegionName) -> Option<Option<NativeStat>> {
            let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
            // key shmid perms size cpid lpid nattch uid gid …
            Some(table.lines().skip(1).find_map(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                (columns[0].parse::<i32>().ok()? == name.key()).then(|| NativeStat {
                    size: columns[3].parse().unwrap(),
                    mode: u32::from_str_radix(columns[2], 8).unwrap() & 0o777,
                    uid: columns[7].parse().unwrap(),
                    gid: columns[8].parse().unwrap(),
                })
            }))
        }

        fn finds_holders() -> Option<()> {
            Some(())
        }

        fn reaches_by_identity() -> Option<()> {
            Some(())
        }

        fn tells_all_children_apart() -> Option<()> {
            Some(())
        }

        fn small_store(bytes: u64) -> Option<Confinement> {
            Some(private_ipc("shmall", bytes.div_ceil(4096)))
        }

        fn store_name() -> Option<&'static str> {
            Some("memory")
        }

        fn store_limits() -> Vec<StoreLimit> {
            let exceeded = |limit, value| ErrorKind::LimitExceeded { limit, value };
            vec![
                StoreLimit {
                    confinement: private_ipc("shmmax", 65536),
                    fill: &[],
                    ask: 65537,
                    kind: exceeded("kernel.shmmax", 65536),
                    errno: Errno::EINVAL,
                    told: "kernel.shmmax is 65536 bytes",
                },
                StoreLimit {
                    confinement: private_ipc("shmall", 16),
                    fill: &[65536],
                    ask: 1,
                    kind: ErrorKind::NoSpace,
                    errno: Errno::ENOSPC,
                    told: "kernel.shmall = 16 pages",
                },
                StoreLimit {
                    confinement: private_ipc("shmmni", 2),
                    fill: &[1, 1],
                    ask: 1,
                    kind: exceeded("kernel.shmmni", 2),
                    errno: Errno::ENOSPC,
                    told: "kernel.shmmni allows (2)",
                },
            ]
        }

        fn own_call() -> Option<fn(&Call) -> bool> {
            Some(|call| call.is(&[trace::SYS_SHMGET, trace::SYS_SHMAT, trace::SYS_SHMCTL]))
        }

        fn namespaces() -> Option<[Confinement; 2]> {
            let unrelated = private_tmpfs("/dev/shm", "mode=1777");
            Some([unshared(CloneFlags::CLONE_NEWIPC), unrelated])
        }
    }
}

mod files {
    use std::fs::{self, File, Permissions};
    use std::io;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;

    use nix::errno::Errno;
    use nix::mount::{MsFlags, mount};
    use nix::sched::CloneFlags;
    use shared_region::{ErrorKind, RegionName};

    use super::entries;
    use crate::plain_files::{Files, directory, path};
    use shared_region_conformance::support::child::{self, private_mount, private_tmpfs, unshared};
    use shared_region_conformance::support::trace::Call;
    use shared_region_conformance::sut::{Confinement, NativeStat, Plant, Planted, StoreLimit, Sut};

    #[derive(Debug)]
    pub struct FilesSut;

    /// What keeps the directory as long as this process of tests runs; no region has such a name.
    fn placeholder() -> PathBuf {
        directory().join(format!("{}~", std::process::id()))
    }

    /// Runs when a process of tests ends, and takes the directory away with the last of them.
    extern "C" fn tidy() {
        let _ = fs::remove_file(placeholder());
        for file in fs::read_dir(directory()).into_iter().flatten().flatten() {
            // Somebody was killed before this could run.
            let name = file.file_name().into_string().unwrap_or_default();
            if name.strip_suffix('~').is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                let _ = fs::remove_file(file.path());
            }
        }
        let _ = fs::remove_dir(directory());
    }

    impl Sut for FilesSut {
        type Backend = Files;

        const LABEL: &'static str = "files";

        fn backend() -> Files {
            static MADE: OnceLock<()> = OnceLock::new();
            MADE.get_or_init(|| {
                if child::task().is_some() {
                    return; // the first process has made it
                }
                // Another process of tests may be taking the directory away meanwhile.
                for _ in 0..100 {
                    let _ = fs::create_dir(directory());
                    let _ = fs::set_permissions(directory(), Permissions::from_mode(0o1777));
                    if File::create(placeholder()).is_ok() {
                        break;
                    }
                }
                // SAFETY: `tidy` is a function of this program and does not unwind; atexit(3).
                unsafe { nix::libc::atexit(tidy) };
            });
            Files
        }

        fn plant(plant: Plant, name: &RegionName) -> Option<Planted> {
            entries::plant(plant, path(name))
        }

        fn native_stat(name: &RegionName) -> Option<Option<NativeStat>> {
            Some(entries::stat(path(name)))
        }

        fn small_store(bytes: u64) -> Option<Confinement> {
            Some(private_tmpfs(directory(), &format!("size={bytes}")))
        }

        fn native_resize(name: &RegionName, bytes: u64) -> Option<io::Result<()>> {
            let file = File::options().write(true).open(path(name));
            Some(file.and_then(|file| file.set_len(bytes)))
        }

        fn native_rename(name: &RegionName, to: &RegionName) -> Option<io::Result<()>> {
            Some(fs::rename(path(name), path(to)))
        }

        fn store_limits() -> Vec<StoreLimit> {
            let confinement = private_tmpfs(directory(), "size=65536");
            let (kind, errno, told) = (ErrorKind::NoSpace, Errno::ENOSPC, "(0 free of 65536)");
            vec![StoreLimit { confinement, fill: &[65536], ask: 1, kind, errno, told }]
        }

        fn places_without() -> Vec<(&'static str, Confinement)> {
            vec![("shared-region-files is missing", private_tmpfs(std::env::temp_dir(), "mode=1777"))]
        }

        fn closed_store() -> Option<Confinement> {
            Some(private_tmpfs(directory(), "mode=700"))
        }

        fn odd_places() -> Vec<(&'static str, Confinement)> {
            let store = |flags, options| private_mount("tmpfs", directory(), flags, options);
            let hardened = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            vec![
                ("noexec, nosuid and nodev", store(hardened, "mode=1777")),
                ("a set-group-id directory", store(MsFlags::empty(), "mode=3777,gid=65534")),
            ]
        }

        fn unreserving_store() -> Option<Confinement> {
            Some(private_mount("ramfs", directory(), MsFlags::empty(), "mode=1777"))
        }

        fn freeze_store() -> Option<io::Result<()>> {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            let remounted = mount(None::<&str>, &directory(), None::<&str>, flags, None::<&str>);
            Some(remounted.map_err(io::Error::from))
        }

        fn replace_store() -> Option<io::Result<()>> {
            let tmpfs = Some("tmpfs");
            let mounted = mount(tmpfs, &directory(), tmpfs, MsFlags::empty(), None::<&str>);
            Some(mounted.map_err(io::Error::from))
        }

        fn own_call() -> Option<fn(&Call) -> bool> {
            Some(|call| Path::new(&call.path).starts_with(directory()))
        }

        fn namespaces() -> Option<[Confinement; 2]> {
            let unrelated = unshared(CloneFlags::CLONE_NEWIPC);
            Some([private_tmpfs(directory(), "mode=1777"), unrelated])
        }
    }
}
