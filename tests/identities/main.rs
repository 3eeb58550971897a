//! N: names and identities, as far as they need no backend or are a backend's own.

#[cfg(all(feature = "posix", target_os = "linux"))]
mod passing;
#[cfg(feature = "posix")]
mod posix;
#[cfg(all(feature = "posix", target_os = "linux"))]
mod seals;
#[cfg(feature = "sysv")]
mod sysv;

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use shared_region::{Error, ErrorKind, PosixName, RegionId, RegionName};

/// Published: other programs compute these keys, too.
const KEYS: [(&str, u32); 5] = [
    ("a", 0xe40c_292c),
    ("frames", 0x7b71_324f),
    ("shared-region", 0x18cf_7753),
    ("akhnp9x", 0x9e37_79b9),
    ("kdmw2hi", 0x7f4a_7c15),
];

/// Says on the terminal, past the test runner's capture, that a check cannot run here.
fn skip(reason: &str) {
    let thread = std::thread::current();
    let _ = writeln!(std::io::stderr(), "skipped: {}: {reason}", thread.name().unwrap_or("?"));
}

fn name(text: &str) -> RegionName {
    RegionName::new(text).unwrap()
}

fn native(bytes: &[u8]) -> PosixName {
    PosixName::new(OsStr::from_bytes(bytes)).unwrap()
}

/// An error that was found without a system call.
fn assert_invalid_name(error: &Error, context: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidName, "{context:?}: {error}");
    assert_eq!(error.raw_os_error(), None, "{context:?}: {error}");
    assert!(!error.to_string().contains('\n'), "{context:?}: {error}");
}

#[test]
fn each_character_is_in_the_grammar_or_refused_by_name() {
    let portable = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    for character in (0..=0x2ff).filter_map(char::from_u32) {
        for text in [format!("x{character}"), format!("/{character}x")] {
            match RegionName::new(&text) {
                Ok(_) => assert!(portable.contains(character), "{text:?}"),
                Err(error) => {
                    assert!(!portable.contains(character), "{text:?}");
                    assert_invalid_name(&error, &text);
                }
            }
        }
    }
}

#[test]
fn a_name_has_1_to_30_bytes_after_its_slash() {
    for len in 0..300 {
        let text = "x".repeat(len);
        for text in [text.clone(), format!("/{text}")] {
            match RegionName::new(&text) {
                Ok(name) => {
                    assert!((1..=RegionName::MAX_LEN).contains(&len));
                    assert_eq!((name.as_str().len(), name.as_c_str().count_bytes()), (len, len + 1));
                }
                Err(error) => {
                    assert!(!(1..=30).contains(&len));
                    assert_invalid_name(&error, &text);
                }
            }
        }
    }
}

#[test]
fn a_name_is_the_same_with_and_without_its_slash() {
    let (bare, slashed) = (name("frames"), name("/frames"));
    assert_eq!(bare, slashed);
    assert_eq!((bare.as_str(), slashed.as_str()), ("frames", "frames"));
    assert_eq!((bare.as_c_str(), slashed.as_c_str()), (c"/frames", c"/frames"));
    assert_eq!((bare.to_string(), format!("{slashed:?}")), ("/frames".into(), "RegionName(/frames)".into()));
    assert_eq!((bare.key(), "/frames".parse::<RegionName>().unwrap().key()), (slashed.key(), slashed.key()));
    assert!(name("a") < name("b") && name("a") < name("a0"));
}

#[test]
fn the_published_keys_stay_as_they_are() {
    for (text, key) in KEYS {
        assert_eq!(name(text).key() as u32, key, "{text}");
    }
}

#[test]
fn a_key_is_fnv_1a_and_neither_0_nor_minus_1() {
    let mut random = 1_u64;
    for _ in 0..20_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let text = format!("{random:x}-{}", random % 97);
        let mut hash = 2_166_136_261_u64;
        for byte in text.bytes() {
            hash = ((hash ^ u64::from(byte)) * 16_777_619) % (1 << 32);
        }
        let key = name(&text).key();
        assert!(key as u32 == hash as u32 && key != 0 && key != -1, "{text}");
    }
}

#[test]
fn a_c_program_computes_the_same_keys() {
    let Some(program) = c_program("hash") else { return };
    let mut names: Vec<String> = KEYS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend((0..100).map(|number| format!("Some_name.{number}-{}", "z".repeat(number % 17))));
    let output = program.command().args(&names).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let keys: Vec<String> = names.iter().map(|text| format!("{:08x}", name(text).key())).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), keys);
}

/// What somebody writes who meets this crate from C.
const C: &str = r#"
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>

static uint32_t key_of(const char *name) {
    uint32_t hash = 0x811c9dc5u;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * 0x01000193u;
    return hash == 0 ? 0x9e3779b9u : hash == 0xffffffffu ? 0x7f4a7c15u : hash;
}

int main(int argc, char **argv) {
    if (argc == 4 && !strcmp(argv[1], "--attach")) {
        int id = shmget((key_t)key_of(argv[2]), 0, 0);
        char *bytes = id < 0 ? (char *)-1 : shmat(id, NULL, 0);
        if (bytes == (char *)-1) return 1;
        puts(bytes);
        strcpy(bytes, argv[3]);
        return 0;
    }
    for (int i = 1; i < argc; i++) printf("%08x\n", (unsigned)key_of(argv[i]));
    return 0;
}
"#;

/// A compiled program, deleted when dropped.
struct Program(std::path::PathBuf);

impl Program {
    fn command(&self) -> std::process::Command {
        std::process::Command::new(&self.0)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Compiles [`C`]; `None` where there is no compiler.
fn c_program(label: &str) -> Option<Program> {
    use std::process::{Command, Stdio};
    let path = std::env::temp_dir().join(format!("identities-{label}-{}", std::process::id()));
    let program = Program(path);
    let compiler = Command::new("cc").args(["-x", "c", "-", "-o"]).arg(&program.0).stdin(Stdio::piped()).spawn();
    let mut compiler = match compiler {
        Ok(compiler) => compiler,
        Err(error) => {
            skip(&format!("{label}: cc does not run: {error}"));
            return None;
        }
    };
    compiler.stdin.take().unwrap().write_all(C.as_bytes()).unwrap();
    assert!(compiler.wait().unwrap().success());
    Some(program)
}

#[test]
fn the_text_of_an_id_parses_back() {
    for (id, text) in [
        (RegionId::named("posix", name("frames")), "posix:/frames"),
        (RegionId::named("sysv", name("frames")), "sysv:/frames"),
        (RegionId::named("files", name("A-z_0.9")), "files:/A-z_0.9"),
        (RegionId::Key(0x5a01), "sysv:0x5a01"),
        (RegionId::Key(1), "sysv:0x1"),
        (RegionId::Key(-1), "sysv:0xffffffff"),
        (RegionId::Key(i32::MIN), "sysv:0x80000000"),
        (RegionId::Segment(98304), "sysv:#98304"),
        (RegionId::Segment(0), "sysv:#0"),
        (RegionId::Segment(i32::MAX), "sysv:#2147483647"),
        (native(b"/a b").into(), "posix:/a%20b"),
        (native(b"sem.x").into(), "posix:/sem.x"),
        (native(b"100%").into(), "posix:/100%25"),
        (native(b":\n#\x01\xff").into(), "posix:/%3A%0A%23%01%FF"),
        (native("ä".as_bytes()).into(), "posix:/%C3%A4"),
        (native(&[b'x'; 31]).into(), "posix:/xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
    ] {
        assert_eq!(id.to_string(), text);
        assert_eq!(text.parse::<RegionId>().unwrap(), id, "{text}");
        assert_eq!(id.backend(), text.split(':').next().unwrap());
        assert_eq!(id.name().is_some(), matches!(id, RegionId::Named { .. }), "{text}");
    }
}

#[test]
fn each_byte_of_a_native_name_survives_its_text() {
    for byte in (1..=255_u8).filter(|byte| *byte != b'/') {
        let id = RegionId::from(native(&[b'x', byte, b'1', byte]));
        let text = id.to_string();
        assert!(text.is_ascii() && !text.contains(char::is_whitespace), "{text:?}");
        assert_eq!(text.parse::<RegionId>().unwrap(), id, "{text:?}");
    }
    let longest: Vec<u8> = (1..=255_u8).map(|byte| if byte == b'/' { 1 } else { byte }).collect();
    let id = RegionId::from(native(&longest));
    assert_eq!(id.to_string().parse::<RegionId>().unwrap(), id);
}

#[test]
fn a_portable_name_has_one_identity_however_it_is_written() {
    let id = RegionId::named("posix", name("frames"));
    assert_eq!(RegionId::from(native(b"frames")), id);
    assert_eq!(RegionId::from(native(b"/frames")), id);
    for text in ["posix:/frames", "posix:/%66rames", "posix:/fr%61%6D%65s", "posix:/fr%61%6d%65s"] {
        assert_eq!(text.parse::<RegionId>().unwrap(), id, "{text}");
    }
    assert_eq!("sysv:0x00005A01".parse::<RegionId>().unwrap(), RegionId::Key(0x5a01));
    assert_eq!("sysv:#007".parse::<RegionId>().unwrap(), RegionId::Segment(7));
}

#[test]
fn a_text_that_is_no_id_is_refused() {
    for text in [
        "",
        "frames",
        "/frames",
        ":",
        ":/frames",
        "posix:",
        "posix:/",
        "posix:frames",
        "posix:/a/b",
        "posix://a",
        "posix:/.",
        "posix:/..",
        "posix:/%2E",
        "posix:/a%2fb",
        "posix:/a%00",
        "posix:/a%",
        "posix:/a%2",
        "posix:/a%+2",
        "posix:/a%zz",
        "posix:/a%é",
        "posix:0x5a01",
        "posix:#1",
        "sysv:",
        "sysv:0x",
        "sysv:0x0",
        "sysv:0x100000000",
        "sysv:0x+1",
        "sysv:0x-1",
        "sysv:0xg",
        "sysv:0X1",
        "sysv:5a01",
        "sysv:#",
        "sysv:#-1",
        "sysv:#+1",
        "sysv:#2147483648",
        "sysv:#0x1",
        "sysv:/a b",
        "sysv:/sem.x",
        "sysv:/a%20b",
        "sysv://a",
        "sysv:/%2Fa",
        "files:0x1",
        "files:#1",
        "my files:/a",
        " posix:/a",
        "sysv:/0123456789012345678901234567890",
    ] {
        assert_invalid_name(&text.parse::<RegionId>().unwrap_err(), text);
    }
    let too_long = format!("posix:/{}", "x".repeat(256));
    assert_invalid_name(&too_long.parse::<RegionId>().unwrap_err(), &too_long);
}

#[test]
fn a_native_name_is_whatever_shm_open_takes() {
    for (bytes, c_string) in [
        (&b"x"[..], c"/x"),
        (b"/x", c"/x"),
        (b"...", c"/..."),
        (b"a b\n", c"/a b\n"),
        (b"/sem.x", c"/sem.x"),
        (b"\xff", c"/\xff"),
    ] {
        assert_eq!(native(bytes).as_c_str(), c_string);
    }
    assert_eq!(native(&[b'x'; 255]).as_c_str().count_bytes(), 256);
    for bytes in [&b""[..], b"/", b".", b"..", b"/.", b"/..", b"//x", b"x/", b"a/b", b"a\0b", &[b'x'; 256]] {
        let error = PosixName::new(OsStr::from_bytes(bytes)).unwrap_err();
        assert_invalid_name(&error, &String::from_utf8_lossy(bytes));
    }
}

#[cfg(not(any(feature = "posix", feature = "sysv")))]
#[test]
fn an_id_opens_nothing_in_a_build_without_backends() {
    for text in ["posix:/frames", "sysv:/frames", "sysv:0x5a01"] {
        let id: RegionId = text.parse().unwrap();
        let error = id.open(&shared_region::OpenOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BackendUnavailable, "{error}");
        assert_eq!(id.remove().unwrap_err().kind(), ErrorKind::BackendUnavailable);
    }
}

/// A name and a key that nobody else has.
#[cfg(any(feature = "posix", feature = "sysv"))]
fn fresh() -> RegionName {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    name(&format!("identities-{}-{count}", std::process::id()))
}

/// Removes what an identity stands for.
#[cfg(any(feature = "posix", feature = "sysv"))]
struct Cleanup(RegionId);

#[cfg(any(feature = "posix", feature = "sysv"))]
impl Drop for Cleanup {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}
