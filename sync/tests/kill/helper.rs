//! A process that goes on when the victim has died: it does what it is asked, by a byte, and answers by one.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;

use nix::unistd::{ForkResult, fork};
use shared_region_sync::Member;

use crate::{Board, LONG, Region, board, join, tag};

pub(crate) struct Helper(UnixStream);

impl Helper {
    /// Starts one that is a member, before anybody else is.
    pub(crate) fn start(region: &Region) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // SAFETY: this process has one thread.
        if let ForkResult::Child = unsafe { fork() }.unwrap() {
            drop(ours);
            help(region, theirs);
            std::process::exit(0);
        }
        let helper = Self(ours);
        helper.ask(b'?');
        helper.answer();
        helper
    }

    pub(crate) fn ask(&self, what: u8) {
        (&self.0).write_all(&[what]).unwrap();
    }

    pub(crate) fn answer(&self) -> u8 {
        let mut answer = [0];
        (&self.0).read_exact(&mut answer).unwrap();
        answer[0]
    }
}

/// Until the other end is gone.
fn help(region: &Region, mut stream: UnixStream) {
    let (me, board) = (join(region), board(region));
    let mut held = None;
    let mut asked = [0];
    while stream.read_exact(&mut asked).is_ok() {
        let answer = match asked[0] {
            // Hold, and let go: that has no answer.
            b'h' => {
                held = Some(me.lock(&board.mutex, LONG).unwrap());
                b'h'
            }
            b'x' => {
                held = None;
                continue;
            }
            b'l' => {
                let mut guard = me.lock(&board.mutex, LONG).unwrap();
                let recovered = guard.recovered();
                guard.repaired();
                if recovered { b'r' } else { b'c' }
            }
            b'u' => {
                me.update(&board.value, LONG, |block| *block = block.map(|part| part + 1)).unwrap();
                b'u'
            }
            b'w' => {
                board.event.wait_while(LONG, || board.told.load(SeqCst) == 0).unwrap();
                b'w'
            }
            b'i' => {
                let mut did = b'd';
                let note = |first| {
                    did = if first { b'1' } else { b'2' };
                    Ok(())
                };
                me.initialise(&board.once, tag(), LONG, note).unwrap();
                did
            }
            b'j' => {
                drop(Member::join(region, 0, |board: &Board| &board.single).unwrap());
                b'j'
            }
            other => other,
        };
        stream.write_all(&[answer]).unwrap();
    }
    drop(held);
}
