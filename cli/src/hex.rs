//! Bytes as people read them.

use std::io::{self, Write};

const LINE: usize = 16;

/// Writes what `hexdump -C` writes: offset, bytes, characters; lines like the one before are one `*`.
pub(crate) struct Dump<'a> {
    out: &'a mut dyn Write,
    start: u64,
    offset: u64,
    last: Option<[u8; LINE]>,
    folded: bool,
}

impl<'a> Dump<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, offset: u64) -> Self {
        Self { out, start: offset, offset, last: None, folded: false }
    }

    /// Goes on with some bytes: whole lines, but for the last time.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        for line in bytes.chunks(LINE) {
            let whole = <[u8; LINE]>::try_from(line).ok();
            if whole.is_some() && whole == self.last {
                if !self.folded {
                    writeln!(self.out, "*")?;
                }
                self.folded = true;
            } else {
                self.line(line)?;
                self.folded = false;
            }
            self.last = whole;
            self.offset += line.len() as u64;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        write!(self.out, "{:08x} ", self.offset)?;
        for index in 0..LINE {
            if index % 8 == 0 {
                write!(self.out, " ")?;
            }
            match line.get(index) {
                Some(byte) => write!(self.out, "{byte:02x} ")?,
                None => write!(self.out, "   ")?,
            }
        }
        let shown = |&byte: &u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' };
        writeln!(self.out, " |{}|", line.iter().map(shown).collect::<String>())
    }

    /// Writes where the bytes end.
    pub(crate) fn end(self) -> io::Result<()> {
        if self.offset == self.start { Ok(()) } else { writeln!(self.out, "{:08x}", self.offset) }
    }
}
