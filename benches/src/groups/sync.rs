//! Group 8: locks, values and events in a region.

use std::hint::black_box;
use std::rc::Rc;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use iceoryx2_bb_posix::mutex::{self, Handle as _};
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use rustix::thread::futex;
use shared_region::{Backend, CreateOptions, Posix, PosixRegion, SharedRegionExt, shared_layout};
use shared_region_sync::{Event, Member, MemberId, Members, Mutex, Versioned};

use crate::model::{Group, Plan, Plot, Role, Shape, Subject};
use crate::sampler;

mod mate;

use mate::Mate;

const LOCK: &str = "lock and unlock, nobody else";
const TWO: &str = "lock and unlock, two processes";
const WAKE: &str = "wake a sleeping process, and be woken";
const LOAD: &str = "load a value";
const UPDATE: &str = "update 64 bytes";
const SAY: &str = "notify nobody, ask who lives";
const DEATH: &str = "be told that a killed process is dead";
const JOIN: &str = "join and leave";

pub(crate) const GROUP: Group = Group {
    name: "sync",
    title: "Locks, values and events that survive deaths",
    text: "`shared-region-sync`, in a POSIX region, alone and beside a second process. *pthread, robust*: a process-shared, robust mutex of the C \
library, which lies in a region, too; *iceoryx2* puts a guard around one; *pthread, shared* is not robust, as Boost.Interprocess has it: \
whoever is killed inside leaves it locked for ever. *std*, *parking_lot*: a `Mutex` of this process. *read_at* copies the same bytes without asking \
whether they are whole. *Two processes* lock and unlock as quickly as they can, each on a processor of its own, until both \
have done their share. *Wake*: two processes take turns, each asleep while it is the other's; *futex* does that by hand, *Versioned* by `store` and `wait_newer`. *Told*: from the call of `kill` to the return of \
`wait_for_death`, which any process may call; *waitpid* is for the parent alone, and waits until all is torn down.",
    plots: &[Plot { file: "sync-lock", title: LOCK, case: LOCK, shape: Shape::Ratios("pthread, robust") }],
    plan,
};

type Small = [u64; 8];
type Large = [u64; 64];

shared_layout! {
    struct Board {
        members: Members<64>,
        mutex: Mutex,
        small: Versioned<Small>,
        large: Versioned<Large>,
        event: Event,
    }
}

/// A region with a board, and a place in it.
struct Place {
    region: PosixRegion,
    me: Member,
}

impl Place {
    fn new() -> Result<Rc<Self>> {
        let region = Posix.create_unnamed(&CreateOptions::new(1 << 16))?;
        let me = Member::join(&region, 0, |board: &Board| &board.members)?;
        Ok(Rc::new(Self { region, me }))
    }

    fn board(&self) -> Result<&Board> {
        Ok(self.region.view(0)?)
    }
}

fn plan(plan: &mut Plan) -> Result<()> {
    plan.compare(LOCK, 16, || {
        let place = Place::new()?;
        let (robust, shared) = (Rc::new(Pthread::new(true)?), Rc::new(Pthread::new(false)?));
        let (std, parking_lot) = (Rc::new(StdMutex::new(())), Rc::new(parking_lot::Mutex::new(())));
        let iceoryx = Rc::new(iceoryx()?);
        Ok(vec![
            subject(Role::System, "pthread, robust", robust, |robust, count| {
                sampler::time(count, || robust.lock_and_unlock())
            }),
            // What `boost::interprocess::interprocess_mutex` is on Linux.
            subject(Role::System, "pthread, shared", shared, |shared, count| {
                sampler::time(count, || shared.lock_and_unlock())
            }),
            subject(Role::Peer, "iceoryx2", iceoryx, |iceoryx, count| {
                sampler::time(count, || {
                    ensure!(black_box(iceoryx).lock().is_ok(), "not locked");
                    Ok(())
                })
            }),
            subject(Role::Peer, "parking_lot", parking_lot, |parking_lot, count| {
                sampler::time(count, || {
                    drop(black_box(&**parking_lot).lock());
                    Ok(())
                })
            }),
            subject(Role::System, "std", std, |std, count| {
                sampler::time(count, || {
                    drop(black_box(&**std).lock());
                    Ok(())
                })
            }),
            subject(Role::Ours, "Mutex", place, |place, count| {
                let board = place.board()?;
                sampler::time(count, || {
                    drop(place.me.lock(black_box(&board.mutex), Duration::MAX)?);
                    Ok(())
                })
            })
            .against("pthread, robust"),
        ])
    });
    if plan.processors.count() < 2 {
        plan.skip(TWO, "Two at once need two processors.");
        plan.skip(WAKE, "Two that take turns need two processors.");
    } else {
        let processor = plan.processors.nth(1);
        plan.compare(TWO, 16, move || together(processor));
        plan.compare(WAKE, 4, move || turns(processor));
    }
    plan.compare(LOAD, 64, || load::<Small>(|board| &board.small));
    plan.compare(LOAD, 512, || load::<Large>(|board| &board.large));
    plan.compare(UPDATE, 64, || {
        let place = Place::new()?;
        Ok(vec![
            subject(Role::Ours, "lock and unlock", Rc::clone(&place), |place, count| {
                let board = place.board()?;
                sampler::time(count, || {
                    drop(place.me.lock(black_box(&board.mutex), Duration::MAX)?);
                    Ok(())
                })
            }),
            subject(Role::Ours, "update", place, |place, count| {
                let board = place.board()?;
                sampler::time(count, || {
                    Ok(place.me.update(black_box(&board.small), Duration::MAX, |block| block[0] += 1)?)
                })
            })
            .against("lock and unlock"),
        ])
    });
    plan.compare(SAY, 4, || {
        let place = Place::new()?;
        Ok(vec![
            subject(Role::Ours, "alive", Rc::clone(&place), |place, count| {
                let (board, id) = (place.board()?, place.me.id());
                sampler::time(count, || {
                    black_box(black_box(board).members.alive(id));
                    Ok(())
                })
            }),
            subject(Role::Ours, "notify", place, |place, count| {
                let board = place.board()?;
                sampler::time(count, || {
                    black_box(&board.event).notify_all();
                    Ok(())
                })
            }),
        ])
    });
    plan.compare(DEATH, 16, || {
        let region = Rc::new(Posix.create_unnamed(&CreateOptions::new(1 << 16))?);
        let by_parent =
            |region: &Rc<PosixRegion>, count| killed(region, count, |_, child| Ok(waitpid(child, None).map(drop)?));
        let by_table = |region: &Rc<PosixRegion>, count| {
            killed(region, count, |id, _| Ok(region.view::<Board>(0)?.members.wait_for_death(id, Duration::MAX)?))
        };
        Ok(vec![
            subject(Role::System, "waitpid", Rc::clone(&region), by_parent),
            subject(Role::Ours, "told", region, by_table).against("waitpid"),
        ])
    });
    plan.compare(JOIN, 16, || {
        let join = |place: &Rc<Place>, count| {
            sampler::time(count, || {
                drop(Member::join(&place.region, 0, |board: &Board| &board.members)?);
                Ok(())
            })
        };
        Ok(vec![subject(Role::Ours, "join and leave", Place::new()?, join)])
    });
    Ok(())
}

/// Kills members, and sums up the time from each kill until one is told.
fn killed(region: &Rc<PosixRegion>, count: u64, told: impl Fn(MemberId, Pid) -> Result<()>) -> Result<Duration> {
    let place = region.atomic_u64(1 << 15)?;
    let mut sum = Duration::ZERO;
    for _ in 0..count {
        place.store(0, Ordering::SeqCst);
        // SAFETY: fork(2): this process has one thread, so the new one may do what it likes.
        let child = match unsafe { fork() }? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => {
                let joined = Member::join(&**region, 0, |board: &Board| &board.members);
                place.store(joined.as_ref().map_or(u64::MAX, |me| me.id().to_bits()), Ordering::SeqCst);
                loop {
                    std::thread::park();
                }
            }
        };
        while place.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        let id = MemberId::from_bits(place.load(Ordering::SeqCst))
            .filter(|&id| region.view(0).is_ok_and(|board: &Board| board.members.alive(id)));
        let start = Instant::now();
        kill(child, Signal::SIGKILL)?;
        let heard = id.map(|id| told(id, child));
        sum += start.elapsed();
        // It is gone where `waitpid` has told.
        let _ = waitpid(child, None);
        heard.unwrap_or_else(|| bail!("the child is no member"))?;
    }
    Ok(sum)
}

/// Two processes that lock and unlock at the same time.
fn together(processor: usize) -> Result<Vec<Subject>> {
    let region = Rc::new(Posix.create_unnamed(&CreateOptions::new(1 << 16))?);
    let robust = Rc::new(Pthread::new(true)?);
    // Processes are forked before there is a thread.
    let (theirs, ours) = (Rc::clone(&robust), robust);
    let by_pthread =
        Mate::start(processor, || Ok(Box::new(move |count| (0..count).try_for_each(|_| theirs.lock_and_unlock()))))?;
    let theirs = Rc::clone(&region);
    let by_mutex = Mate::start(processor, || {
        let me = Member::join(&*theirs, 0, |board: &Board| &board.members)?;
        Ok(Box::new(move |count| lock_and_unlock(&theirs, &me, count)))
    })?;
    let me = Member::join(&*region, 0, |board: &Board| &board.members)?;
    Ok(vec![
        subject(Role::System, "pthread, robust", Rc::new((by_pthread, ours)), |pair, count| {
            pair.0.together(count, |count| (0..count).try_for_each(|_| pair.1.lock_and_unlock()))
        }),
        subject(Role::Ours, "Mutex", Rc::new((by_mutex, region, me)), |all, count| {
            all.0.together(count, |count| lock_and_unlock(&all.1, &all.2, count))
        })
        .against("pthread, robust"),
    ])
}

fn lock_and_unlock(region: &PosixRegion, me: &Member, count: u64) -> Result<()> {
    let board: &Board = region.view(0)?;
    for _ in 0..count {
        drop(me.lock(&board.mutex, Duration::MAX)?);
    }
    Ok(())
}

/// Two processes that take turns.
fn turns(processor: usize) -> Result<Vec<Subject>> {
    let mut subjects = Vec::new();
    for (role, name, say) in [
        (Role::System, "futex", by_futex as fn(&Turns, bool, u32) -> Result<()>),
        (Role::Ours, "Event", by_event),
        (Role::Ours, "Versioned", by_value),
    ] {
        let region = Rc::new(Posix.create_unnamed(&CreateOptions::new(4096))?);
        let theirs = Rc::clone(&region);
        let mate = Mate::start(processor, || {
            let mut round = 0;
            Ok(Box::new(move |count| {
                for _ in 0..count {
                    round += 1;
                    say(theirs.view(0)?, false, round)?;
                }
                Ok(())
            }))
        })?;
        let round = std::cell::Cell::new(0);
        let all = Rc::new((mate, region, round));
        let run = move |all: &Rc<(Mate, Rc<PosixRegion>, std::cell::Cell<u32>)>, count| {
            all.0.together(count, |count| {
                for _ in 0..count {
                    all.2.set(all.2.get() + 1);
                    say(all.1.view(0)?, true, all.2.get())?;
                }
                Ok(())
            })
        };
        let subject = subject(role, name, all, run);
        subjects.push(if role == Role::Ours { subject.against("futex") } else { subject });
    }
    Ok(subjects)
}

shared_layout! {
    /// Whose turn it is: the round that each has come to.
    struct Turns {
        words: [AtomicU32; 2],
        events: [Event; 2],
        values: [Versioned<u64>; 2],
    }
}

/// One round by hand: says so to the other, and sleeps until it has answered; or the other way round.
fn by_futex(turns: &Turns, first: bool, round: u32) -> Result<()> {
    let [asked, answered] = &turns.words;
    let say = |word: &AtomicU32| {
        word.store(round, Ordering::Release);
        futex::wake(word, futex::Flags::empty(), i32::MAX as u32).map(drop)
    };
    let hear = |word: &AtomicU32| {
        while word.load(Ordering::Acquire) != round {
            let _ = futex::wait(word, futex::Flags::empty(), round - 1, None);
        }
    };
    if first {
        say(asked)?;
        hear(answered);
    } else {
        hear(asked);
        say(answered)?;
    }
    Ok(())
}

fn by_event(turns: &Turns, first: bool, round: u32) -> Result<()> {
    let say = |at: usize| {
        turns.words[at].store(round, Ordering::Release);
        turns.events[at].notify_all();
    };
    let hear =
        |at: usize| turns.events[at].wait_while(Duration::MAX, || turns.words[at].load(Ordering::Acquire) != round);
    if first {
        say(0);
        hear(1)?;
    } else {
        hear(0)?;
        say(1);
    }
    Ok(())
}

fn by_value(turns: &Turns, first: bool, round: u32) -> Result<()> {
    let say = |at: usize| turns.values[at].store(&round.into());
    let hear = |at: usize| {
        let mut seen = turns.values[at].load_versioned()?;
        while seen.1 != u64::from(round) {
            seen = turns.values[at].wait_newer(seen.0, Duration::MAX)?;
        }
        anyhow::Ok(())
    };
    if first {
        say(0);
        hear(1)?;
    } else {
        hear(0)?;
        say(1);
    }
    Ok(())
}

/// `load` beside a copy of the same bytes.
fn load<T: shared_region_sync::Value + PartialEq + Copy + 'static>(
    value: fn(&Board) -> &Versioned<T>,
) -> Result<Vec<Subject>> {
    let place = Place::new()?;
    let read = |place: &Rc<Place>, count| {
        let mut bytes = vec![0; size_of::<T>()];
        sampler::time(count, || {
            black_box(&place.region).read_at(8192, black_box(&mut bytes))?;
            Ok(())
        })
    };
    let load = move |place: &Rc<Place>, count| {
        let value = value(place.board()?);
        sampler::time(count, || {
            black_box(black_box(value).load()?);
            Ok(())
        })
    };
    Ok(vec![
        subject(Role::Ours, "read_at", Rc::clone(&place), read),
        subject(Role::Ours, "load", place, load).against("read_at"),
    ])
}

/// One that is verified by being run.
fn subject<S: 'static>(
    role: Role,
    name: &'static str,
    source: Rc<S>,
    run: impl Fn(&Rc<S>, u64) -> Result<Duration> + Copy + 'static,
) -> Subject {
    let verified = Rc::clone(&source);
    Subject::new(role, name, "", move || run(&verified, 3).map(drop), move |count| run(&source, count))
}

/// The lock of iceoryx2: a robust pthread mutex under a guard. It stays for as long as this process.
fn iceoryx() -> Result<&'static mutex::Mutex<'static, 'static, ()>> {
    let handle: &'static mutex::MutexHandle<()> = Box::leak(Box::new(mutex::MutexHandle::new()));
    let builder = mutex::MutexBuilder::new().is_interprocess_capable(true);
    let builder = builder.thread_termination_behavior(mutex::MutexThreadTerminationBehavior::ReleaseWhenLocked);
    let mutex = builder.create((), handle).map_err(|error| anyhow!("no mutex of iceoryx2: {error:?}"))?;
    Ok(Box::leak(Box::new(mutex)))
}

/// A process-shared mutex of the C library, in a region of its own.
struct Pthread(PosixRegion);

impl Pthread {
    fn new(robust: bool) -> Result<Self> {
        let own = Self(Posix.create_unnamed(&CreateOptions::new(4096))?);
        let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
        let attributes = attributes.as_mut_ptr();
        // SAFETY: pthread_mutexattr_init(3) writes the attributes, whose place it is given.
        ensure!(unsafe { libc::pthread_mutexattr_init(attributes) } == 0, "no attributes");
        // SAFETY: they were initialised above; pthread_mutexattr_setpshared(3).
        let shared = unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) };
        let kind = if robust { libc::PTHREAD_MUTEX_ROBUST } else { libc::PTHREAD_MUTEX_STALLED };
        // SAFETY: as above; pthread_mutexattr_setrobust(3).
        let kind = unsafe { libc::pthread_mutexattr_setrobust(attributes, kind) };
        ensure!(shared == 0 && kind == 0, "not shared, or not of that kind");
        // SAFETY: the region has room for a mutex at its start, and is aligned to a page; pthread_mutex_init(3).
        ensure!(unsafe { libc::pthread_mutex_init(own.pointer()?, attributes) } == 0, "no mutex");
        Ok(own)
    }

    fn pointer(&self) -> Result<*mut libc::pthread_mutex_t> {
        Ok(self.0.as_mut_ptr()?.cast())
    }

    fn lock_and_unlock(&self) -> Result<()> {
        let mutex = self.pointer()?;
        // SAFETY: the mutex was initialised, and lives as long as the region; pthread_mutex_lock(3).
        ensure!(unsafe { libc::pthread_mutex_lock(mutex) } == 0, "not locked");
        // SAFETY: this thread holds it.
        ensure!(unsafe { libc::pthread_mutex_unlock(mutex) } == 0, "not unlocked");
        Ok(())
    }
}
