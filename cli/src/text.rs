//! Text that strangers chose, made fit for a terminal.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

/// Escapes what is no printable character: control characters, escape sequences, changes of writing direction. Twice is
/// as once.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\'' | '"' | '\\' => text.push(character),
                _ => text.extend(character.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The same for a text of several lines that quotes arguments. A shell's `*` may have filled those with names that a
/// stranger chose, line breaks included.
pub(crate) fn harmless(text: &str, quoted: impl IntoIterator<Item = OsString>) -> String {
    let mut text = text.to_owned();
    for argument in quoted.into_iter().filter(|argument| argument.as_bytes().contains(&b'\n')) {
        text = text.replace(&*argument.to_string_lossy(), &printable(argument.as_bytes()));
    }
    text.lines().map(|line| printable(line.as_bytes()) + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_comes_through() {
        assert_eq!(printable(b"a b'c\""), "a b'c\"");
        assert_eq!(printable("größe".as_bytes()), "größe");
        assert_eq!(printable(b"\x1b[31m\x07\\"), "\\u{1b}[31m\\u{7}\\");
        assert_eq!(printable("\u{9b}31m\u{202e}".as_bytes()), "\\u{9b}31m\\u{202e}");
        assert_eq!(printable(b"\xff\n"), "\\xff\\n");
        assert_eq!(harmless("'a\nb\x07'\n\nsee", ["a\nb\x07".into()]), "'a\\nb\\u{7}'\n\nsee\n");
    }
}
