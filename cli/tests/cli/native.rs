//! Beside the system's own tools, C programs and Python, in both directions.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::support::{BACKENDS, Beside, Region, Scratch, alone, has, name, namespaces, ok, ok_with, shm};

/// The parts of a script's output that end with a line `====`.
fn parts(said: &str) -> Vec<&str> {
    said.split("====\n").collect()
}

const SEGMENTS: &str = r#"ipcmk -M 4096 -p 0644 > /dev/null; ipcmk -M 123456 -p 0600 > /dev/null
    "$SHM" create sysv:/ours 5000 --mode 0660; "$SHM" create sysv:0x5a01 64K; "$SHM" chown 65534 sysv:0x5a01
"#;

#[test]
fn ipcs_and_ls_agree_on_every_segment() {
    if !namespaces() || !has("ipcs") {
        return;
    }
    let said = alone(&format!("{SEGMENTS} ipcs -m; echo ====; \"$SHM\" ls --backend sysv"));
    let [theirs, ours] = parts(&said)[..] else { panic!("{said}") };
    // key shmid owner perms bytes nattch
    let theirs: BTreeMap<String, Vec<String>> = theirs
        .lines()
        .filter(|line| line.starts_with("0x"))
        .map(|line| {
            let word: Vec<&str> = line.split_whitespace().collect();
            let key = u32::from_str_radix(&word[0][2..], 16).unwrap();
            (
                word[1].into(),
                vec![format!("sysv:{key:#x}"), word[2].into(), format!("0{}", word[3]), word[4].into(), word[5].into()],
            )
        })
        .collect();
    let ours: BTreeMap<String, Vec<String>> = ours
        .lines()
        .skip(1)
        .map(|line| {
            let word: Vec<&str> = line.split_whitespace().collect();
            (word[1].into(), [0, 2, 4, 5, 7].map(|index| word[index].to_owned()).to_vec())
        })
        .collect();
    assert_eq!(theirs.len(), 4, "{said}");
    assert_eq!(ours, theirs);
}

#[test]
fn lsipc_and_stat_agree_on_every_segment() {
    if !namespaces() || !has("lsipc") {
        return;
    }
    let columns = "KEY,ID,OWNER,PERMS,CUID,CGID,UID,GID,SIZE,NATTCH,CTIME,CPID,LPID";
    let said = alone(&format!(
        "{SEGMENTS} lsipc -m -J -b --time-format iso -o {columns}; echo ====
        for id in $(\"$SHM\" ls --backend sysv | awk 'NR > 1 {{ print $1 }}'); do \"$SHM\" stat --json $id; done"
    ));
    let [theirs, ours] = parts(&said)[..] else { panic!("{said}") };
    let theirs: Value = serde_json::from_str(theirs).unwrap();
    let theirs = theirs["sharedmemory"].as_array().unwrap();
    let ours: Vec<Value> =
        serde_json::Deserializer::from_str(ours).into_iter::<Vec<Value>>().map(|one| one.unwrap().remove(0)).collect();
    assert_eq!((ours.len(), theirs.len()), (4, 4));
    // Older versions write numbers as strings.
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for segment in &ours {
        let id = segment["sysv"]["shmid"].to_string();
        let other = theirs.iter().find(|other| text(&other["id"]) == id).unwrap();
        assert_eq!(text(&segment["sysv"]["key"]), text(&other["key"]));
        for (ours, theirs) in [
            (&segment["uid"], "uid"),
            (&segment["gid"], "gid"),
            (&segment["sysv"]["creator_uid"], "cuid"),
            (&segment["sysv"]["creator_gid"], "cgid"),
            (&segment["size"], "size"),
            (&segment["attached"], "nattch"),
            (&segment["owner"], "owner"),
        ] {
            assert_eq!(text(ours), text(&other[theirs]), "{theirs}");
        }
        assert_eq!(segment["creator_pid"].to_string(), text(&other["cpid"]));
        let last = segment["sysv"]["last_pid"].as_u64().unwrap_or(0);
        assert_eq!(last.to_string(), text(&other["lpid"]));
    }
}

#[test]
fn ipcrm_removes_ours_and_rm_removes_what_ipcmk_made() {
    if !has("ipcrm") || !has("ipcmk") {
        return;
    }
    let ours = Region::made("sysv", "ipcrm", &["4K"]);
    let id = ours.id().metadata().unwrap().native_id().unwrap().to_string();
    ok(Command::new("ipcrm").args(["-m", &id]));
    assert!(!ours.exists());
    let said = ok(Command::new("ipcmk").args(["-M", "4096"]));
    let theirs = Region::new(format!("sysv:#{}", said.trim().rsplit(' ').next().unwrap()));
    ok_with(&mut shm(["write", &theirs.0]), b"into theirs");
    assert!(theirs.bytes().starts_with(b"into theirs"));
    ok(&mut shm(["rm", &theirs.0]));
    assert!(!Command::new("ipcrm").args(["-m", &theirs.0[6..]]).output().unwrap().status.success());
}

#[test]
fn ls_of_dev_shm_and_ls_agree() {
    if !namespaces() {
        return;
    }
    let said = alone(
        r#"umask 0; for name in a B.c x-1 _; do head -c 1000 /dev/zero > /dev/shm/$name; done; "$SHM" create posix:/ours 77 --mode 0604
        ls -il --time-style=full-iso /dev/shm; echo ====; "$SHM" ls --backend posix; "$SHM" rm posix:/a; rm /dev/shm/ours
        echo ====; "$SHM" ls | awk 'NR > 1 { print $1 }'; echo ====; ls /dev/shm"#,
    );
    let [theirs, ours, left, there] = parts(&said)[..] else { panic!("{said}") };
    let mode = |letters: &str| letters[1..].bytes().fold(0, |mode, letter| mode << 1 | u32::from(letter != b'-'));
    let theirs: Vec<String> = theirs
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .map(|word| format!("posix:/{} {} {} {} {:04o} {}", word[9], word[0], word[3], word[4], mode(word[1]), word[5]))
        .collect();
    let ours: Vec<String> =
        ours.lines().skip(1).map(|line| line.split_whitespace().take(6).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(sorted(ours), sorted(theirs));
    assert_eq!(
        sorted(left.lines().map(|id| id.replace("posix:/", "")).collect()),
        sorted(there.lines().map(str::to_owned).collect())
    );
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// Makes or opens a region of either kind, reads or writes it, and stays until its standard input ends.
const C: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int make = !strcmp(argv[1], "make");
    char *bytes;
    if (argc != 4) return 2;
    if (argv[2][0] == 's') {
        int id = shmget(ftok(argv[3], 'R'), make ? 5000 : 0, make ? IPC_CREAT | IPC_EXCL | 0640 : 0);
        bytes = shmat(id, NULL, make ? 0 : SHM_RDONLY);
        if (bytes == (void *) -1) { perror("shmat"); return 1; }
    } else {
        int fd = shm_open(argv[3], make ? O_CREAT | O_EXCL | O_RDWR : O_RDONLY, 0640);
        if (fd < 0 || (make && ftruncate(fd, 5000))) { perror("shm_open"); return 1; }
        bytes = mmap(NULL, 5000, make ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
        if (bytes == MAP_FAILED) { perror("mmap"); return 1; }
        close(fd);
    }
    if (make) strcpy(bytes, "written in C");
    printf("%p %s\n", (void *) bytes, bytes);
    fflush(stdout);
    while (getchar() != EOF) ;
    return 0;
}
"#;

#[test]
fn a_c_program_and_the_tool_share_regions_both_ways() {
    if !has("cc") {
        return;
    }
    let (source, program) = (Scratch::with("c.c", C.as_bytes()), Scratch::new("c"));
    ok(Command::new("cc").args(["-Wall", "-Werror", "-o", program.path(), source.path(), "-lrt"]));
    let file = Scratch::with("ftok", b"");
    for backend in BACKENDS {
        let posix = name("c");
        let target = if backend == "sysv" { file.path() } else { &posix };
        let id = if backend == "sysv" { format!("sysv:ftok:{target},R") } else { format!("posix:{target}") };
        let region = if backend == "sysv" {
            Region::new(format!("sysv:{:#x}", shared_region::SysvRegion::ftok(target, i32::from(b'R')).unwrap()))
        } else {
            Region::new(&*id)
        };
        let (maker, said) = Beside::start(Command::new(program.path()).args(["make", backend, target]));
        assert!(ok(&mut shm(["read", &id, "--length=12"])) == "written in C");
        assert_eq!(region.id().metadata().unwrap().size(), 5000);
        let details: Value = serde_json::from_str(&ok(&mut shm(["stat", "--json", &id]))).unwrap();
        let address = &details[0]["holders"][0]["mappings"][0]["address"];
        assert_eq!(
            (&details[0]["holders"][0]["pid"], address),
            (&maker.pid().into(), &said.split(' ').next().unwrap().into())
        );
        assert_eq!(details[0]["attached"], 1);
        ok_with(&mut shm(["write", &id]), b"by the tool\0");
        let (reader, said) = Beside::start(Command::new(program.path()).args(["read", backend, target]));
        assert!(said.ends_with(" by the tool"), "{said}");
        maker.finish();
        reader.finish();
        ok(&mut shm(["rm", &id]));
        ok(&mut shm(["create", &id, "5000"]));
        ok_with(&mut shm(["write", &id]), b"made by the tool");
        let (reader, said) = Beside::start(Command::new(program.path()).args(["read", backend, target]));
        assert!(said.ends_with(" made by the tool"), "{said}");
        reader.finish();
    }
}

/// Python's own shared memory; its resource tracker would remove the region at the end, whoever made it.
const PYTHON: &str = r#"
import sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
make = sys.argv[1] == "make"
memory = SharedMemory(sys.argv[2], create=make, size=5000)
resource_tracker.unregister(memory._name, "shared_memory")
if make: memory.buf[:17] = b"written in Python"
print(memory.size, bytes(memory.buf[:17]).decode(), flush=True)
sys.stdin.read()
memory.close()
"#;

#[test]
fn python_and_the_tool_share_regions_both_ways() {
    if !has("python3") {
        return;
    }
    let python = |role: &str, region: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", PYTHON, role, region]);
        Beside::start(&mut command)
    };
    let name = name("python");
    let region = Region::new(format!("posix:{name}"));
    let (maker, _) = python("make", &name[1..]);
    assert_eq!(ok(&mut shm(["read", &region.0, "--length=17"])), "written in Python");
    let details: Value = serde_json::from_str(&ok(&mut shm(["stat", "--json", &region.0]))).unwrap();
    assert_eq!((&details[0]["size"], &details[0]["holders"][0]["pid"]), (&5000.into(), &maker.pid().into()));
    maker.finish();
    ok(&mut shm(["rm", &region.0]));
    ok_with(&mut shm(["write", "--create", &region.0]), b"written by a tool and more");
    let (reader, said) = python("open", &name[1..]);
    assert_eq!(said, "26 written by a tool");
    reader.finish();
}

#[test]
fn a_key_of_a_name_is_the_one_that_the_documentation_gives() {
    if !has("ipcs") {
        return;
    }
    let region = Region::made("sysv", "key", &["64"]);
    let key = region.id().name().unwrap().key();
    assert!(ok(Command::new("ipcs").arg("-m")).contains(&format!("{key:#010x}")));
}
