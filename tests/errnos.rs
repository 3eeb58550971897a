//! E5: errnos are told apart by their number. Which of them `std` gives which kind differs between its releases.

use std::fs;
use std::path::{Path, PathBuf};

/// Kinds that `std` makes of errnos, and that nothing here makes up by itself.
const KINDS_OF_ERRNOS: [&str; 12] = [
    "NotFound",
    "PermissionDenied",
    "AlreadyExists",
    "Interrupted",
    "WouldBlock",
    "TimedOut",
    "BrokenPipe",
    "NotADirectory",
    "IsADirectory",
    "StorageFull",
    "QuotaExceeded",
    "OutOfMemory",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Says which lines of code speak of a kind that stands for errnos.
fn judging(text: &str) -> Vec<&str> {
    let code = text.split("#[cfg(test)]").next().unwrap().lines().map(str::trim);
    code.filter(|line| !line.starts_with("//"))
        .filter(|line| KINDS_OF_ERRNOS.iter().any(|kind| line.contains(&format!("io::ErrorKind::{kind}"))))
        .collect()
}

#[test]
fn no_code_judges_an_errno_by_the_kind_that_std_gives_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "posix/src", "sysv/src", "cli/src"].map(|folder| root.join(folder)) {
        // The members are no part of the package.
        if folder.exists() {
            sources(&folder, &mut found);
        }
    }
    assert!(found.len() >= 15, "{found:?}");
    for path in found {
        // It turns errors into those of `std`, and no other way.
        if path.ends_with("src/error.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(judging(&text), [""; 0], "{}", path.display());
    }
}

#[test]
fn a_kind_in_code_is_found_and_one_in_a_comment_is_not() {
    let text = "/// [`NotFound`](io::ErrorKind::NotFound)\n  if error.kind() == io::ErrorKind::WouldBlock {}\n";
    assert_eq!(judging(text), ["if error.kind() == io::ErrorKind::WouldBlock {}"]);
}
