//! What strangers plant in /dev/shm.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{Region, Scratch, alone, fails, name, namespaces, ok, shm};

/// Something under a name of the store that goes with the test.
struct Planted(PathBuf);

impl Planted {
    fn new(tag: &str) -> Self {
        Self(Path::new("/dev/shm").join(&name(tag)[1..]))
    }

    fn id(&self) -> String {
        format!("posix:/{}", self.0.file_name().unwrap().to_str().unwrap())
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn links_fifos_sockets_and_directories_are_refused_and_neither_followed_nor_waited_for() {
    let victim = Scratch::with("victim", b"secret of mine");
    let (link, fifo) = (Planted::new("link"), Planted::new("fifo"));
    let (socket, directory) = (Planted::new("socket"), Planted::new("directory"));
    std::os::unix::fs::symlink(&victim.0, &link.0).unwrap();
    mkfifo(&fifo.0, Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(&socket.0).unwrap();
    fs::create_dir(&directory.0).unwrap();
    for planted in [&link, &fifo, &socket, &directory] {
        let id = planted.id();
        let bare = id.strip_prefix("posix:").unwrap();
        let target = format!("sysv:{}", name("target"));
        for command in [
            &["read", &id][..],
            &["read", bare],
            &["read", "--hex", planted.0.to_str().unwrap()],
            &["write", &id, "/proc/version"],
            &["stat", &id],
            &["copy", &id, &target],
            &["chmod", "666", &id],
            &["chown", "0", &id],
            &["rm", &id],
            &["rm", "--dry-run", &id],
            &["wait", &id],
            &["wait", "--gone", &id],
        ] {
            let told = fails(&mut shm(command.iter().copied()), 1);
            assert!(told.contains(bare), "{told}");
        }
        for command in [&["create", &id, "4K"][..], &["write", "--create", &id, "/proc/version"]] {
            let told = fails(&mut shm(command.iter().copied()), 1);
            assert!(told.contains("exists already"), "{told}");
        }
        assert!(planted.0.symlink_metadata().is_ok());
        assert!(!ok(&mut shm(["ls"])).contains(bare));
    }
    assert_eq!(fs::read(&victim.0).unwrap(), b"secret of mine");
}

#[test]
fn no_control_character_of_a_name_reaches_the_terminal() {
    let native = format!("{}\u{1b}]0;pwned\u{7}\n\u{9b}31m\nshm: forged", &name("evil")[1..]);
    let planted = Planted(Path::new("/dev/shm").join(&native));
    fs::write(&planted.0, b"x").unwrap();
    let path = planted.0.to_str().unwrap();
    let calm = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.contains("\u{9b}"), "{text:?}");
        text
    };
    for command in [
        &["ls"][..],
        &["ls", "--json"],
        &["stat", path],
        &["stat", "--json", path],
        &["rm", "--dry-run", path],
        &["create", path, "1"],
        &["copy", path, path],
        &["write", path, path],
        &["write", path, &format!("{path}-none")],
        // As `shm rm *` gives it.
        &["rm", &native],
        &["ls", &native],
        &[&native],
        &["read", path, &native],
        &["man", &native],
        &["chown", &native, path],
        &["chmod", &native, path],
        &["create", "posix:/x", &native],
        &["wait", path, "--timeout", &native],
        &["rm", &format!("sysv:ftok:{native},1")],
        &["rm", "--dry-run", &format!("posix:/{native}")],
        &["read", &format!("{native}:/x")],
    ] {
        let output = shm(command.iter().copied()).output().unwrap();
        let (said, told) = (calm(&output.stdout), calm(&output.stderr));
        assert!(!(said + &told).lines().any(|line| line.starts_with("shm: forged")), "{told}");
    }
    let escaped = "%1B%5D0%3Bpwned%07%0A%C2%9B31m%0Ashm%3A%20forged";
    let listed = ok(&mut shm(["ls"]));
    let id = listed.split_whitespace().find(|word| word.ends_with(escaped)).unwrap();
    ok(&mut shm(["rm", id]));
    assert!(!planted.0.exists());
}

#[test]
fn a_name_that_is_no_text_is_listed_and_found() {
    let native = [&name("bytes").as_bytes()[1..], b"\xff\xfe"].concat();
    let planted = Planted(Path::new("/dev/shm").join(std::ffi::OsStr::from_bytes(&native)));
    fs::write(&planted.0, b"x").unwrap();
    let listed = ok(&mut shm(["ls"]));
    let id = listed.split_whitespace().find(|word| word.ends_with("%FF%FE")).unwrap();
    assert_eq!(ok(&mut shm(["read", id])), "x");
    assert_eq!(ok(shm(["read"]).arg(&planted.0)), "x");
}

#[test]
fn no_control_character_of_a_command_reaches_the_terminal() {
    let region = Region::made("sysv", "command", &["4K"]);
    let script = "open(f'/proc/self/comm', 'w').write('a\\x1b[31m\\x07b'); import ctypes, sys; libc = ctypes.CDLL(None); \
        libc.shmat.restype = ctypes.c_void_p; libc.shmat(int(sys.argv[1]), None, 0); print('ready', flush=True); sys.stdin.read()";
    let id = region.id().metadata().unwrap().native_id().unwrap();
    let mut python = std::process::Command::new("python3");
    let (_beside, _) = crate::support::Beside::start(python.args(["-c", script, &id.to_string()]));
    for command in [&["stat", &region.0][..], &["stat", "--json", &region.0]] {
        let said = ok(&mut shm(command.iter().copied()));
        assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said:?}");
        assert!(said.contains("a\\u{1b}[31m\\u{7}b") || said.contains("a\\\\u{1b}[31m\\\\u{7}b"), "{said}");
    }
}

#[test]
fn semaphores_and_what_is_no_object_are_no_orphans() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"mkfifo /dev/shm/fifo; ln -s /etc/passwd /dev/shm/link; mkdir /dev/shm/dir; : > /dev/shm/sem.x
        "$SHM" rm --orphans --yes; ls /dev/shm | paste -sd ' '"#,
    );
    assert_eq!(said, "there are no orphans\ndir fifo link sem.x\n");
}
