//! `shm help`, `shm man`, `shm completions`.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Region, SHM, Scratch, fails, has, ok, ok_with, shm};

const COMMANDS: [&str; 16] = [
    "ls",
    "stat",
    "create",
    "read",
    "write",
    "copy",
    "chmod",
    "chown",
    "rm",
    "wait",
    "ipc",
    "top",
    "limits",
    "probe",
    "completions",
    "man",
];

/// `UPDATE_MAN=1 cargo test -p shared-region-cli manual` writes the pages anew.
#[test]
fn the_manual_pages_that_stand_in_the_repository_are_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let update = std::env::var_os("UPDATE_MAN").is_some();
    let mut expected = Vec::new();
    for command in [None].into_iter().chain(COMMANDS.map(Some)) {
        let page = ok(shm(["man"]).args(command));
        let file = command.map_or("shm.1".into(), |command| format!("shm-{command}.1"));
        if update {
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(&file), &page).unwrap();
        }
        assert_eq!(fs::read_to_string(folder.join(&file)).unwrap(), page, "{file}: run with UPDATE_MAN=1");
        expected.push(file);
    }
    let mut there: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    expected.sort();
    there.sort();
    assert_eq!(there, expected);
}

#[test]
fn a_manual_page_is_one_that_man_takes() {
    if !has("man") {
        return;
    }
    for command in ["ls", "rm"] {
        let page = ok(&mut shm(["man", command]));
        let shown =
            ok_with(Command::new("man").args(["--warnings", "-l", "-"]).env("MANWIDTH", "100"), page.as_bytes());
        assert!(shown.contains(&format!("shm-{command}")) && shown.contains("--orphans"), "{shown}");
    }
}

#[test]
fn there_is_a_page_for_commands_only() {
    let told = fails(&mut shm(["man", "nothing"]), 2);
    assert!(told.contains("no command"), "{told}");
}

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = ok(&mut shm(["completions", shell]));
        assert!(COMMANDS.iter().all(|command| script.contains(command)), "{shell}");
        if shell == "bash" && has("bash") {
            ok_with(Command::new("bash").args(["-n"]), script.as_bytes());
        }
    }
    assert_eq!(shm(["completions", "dos"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn help_names_every_command_and_every_form_of_a_region() {
    let said = ok(&mut shm(["help"]));
    for form in ["posix:/NAME", "sysv:/NAME", "sysv:0xKEY", "sysv:#ID", "sysv:ftok:PATH,PROJ", "/dev/shm/NAME"] {
        assert!(said.contains(form), "{form}");
    }
    for command in COMMANDS {
        assert!(said.contains(&format!("\n  {command} ")), "{command}");
        let own = ok(&mut shm([command, "--help"]));
        assert!(own.contains(&format!("Usage: shm {command}")), "{own}");
    }
    let output = shm([]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(shm(["frobnicate"]).output().unwrap().status.code(), Some(2));
    assert!(ok(&mut shm(["--version"])).contains(env!("CARGO_PKG_VERSION")));
}

/// What a shell makes of a line and the tabulator, typed at a terminal.
fn typed(shell: &str, setup: &str, line: &str, expected: &str) {
    let script = Scratch::with("completions", ok(&mut shm(["completions", shell])).as_bytes());
    let folder = Path::new(SHM).parent().unwrap().to_str().unwrap();
    let start = setup.replace("SCRIPT", script.path());
    // It types after the prompt, and takes what the terminal shows within some seconds.
    let program = r#"import os, pty, select, sys, time
shell, start, line, expected = sys.argv[1].split(), *sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.environ["TERM"] = "dumb"
    os.execvp(shell[0], shell)
shown = ""
def until(text):
    global shown
    end = time.monotonic() + 60
    while text not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            try: shown += os.read(terminal, 4096).decode(errors="replace")
            except OSError: break
    if text not in shown: sys.exit("%r is not in %r" % (text, shown))
os.write(terminal, (start + "\n").encode())
until("rea" + "dy\r\n")
shown = ""
os.write(terminal, (line + "\t").encode())
until(expected)
"#;
    let flags = if shell == "bash" { "bash --norc --noprofile -i" } else { "zsh -f -i" };
    let mut command = Command::new("python3");
    command.args(["-c", program, flags, &start, line, expected]);
    ok(command.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap())));
}

#[test]
fn shells_complete_the_names_and_ids_of_what_exists() {
    let region = Region::made("posix", "completed-by-a-shell", &["64"]);
    let start = region.0.strip_suffix("by-a-shell").unwrap();
    if has("bash") {
        let setup = "source SCRIPT; echo rea''dy";
        typed("bash", setup, &format!("shm stat {start}"), "by-a-shell");
        typed("bash", setup, "shm man compl", "etions");
    }
    if has("zsh") {
        let setup = "autoload -U compinit; compinit -D -u; source SCRIPT; echo rea''dy";
        typed("zsh", setup, &format!("shm stat {start}"), "by-a-shell");
        typed("zsh", setup, "shm man compl", "etions");
    }
    if has("fish") {
        let script = Scratch::with("completions", ok(&mut shm(["completions", "fish"])).as_bytes());
        let folder = Path::new(SHM).parent().unwrap().to_str().unwrap();
        for (line, expected) in [(format!("shm stat {start}"), &region.0[..]), ("shm man compl".into(), "completions")]
        {
            let mut command = Command::new("fish");
            let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
            command.args(["--no-config", "-c", &format!("source {}; complete -C '{line}'", script.path())]);
            let said = ok(command.env("PATH", path));
            assert!(said.lines().any(|said| said.split('\t').next() == Some(expected)), "{said}");
        }
    }
}
