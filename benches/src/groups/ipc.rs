//! Group 6: messages between two processes.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::ipc::{CARRIERS, Carrier, Cores, Kind, Order, Pair, Score, Traffic};
use crate::model::{Counted, Group, Plan, Plot, Shape, Size, Subject};

pub(crate) const GROUP: Group = Group {
    name: "ipc",
    title: "Messages between two processes",
    text: "Two processes, each on a processor of its own unless the case says otherwise, in real time (`SCHED_FIFO`) where that is
permitted, so that what else runs disturbs less. *Round trip*: 8 bytes there and 8 bytes
back, before the next. *One way*: message after message, as quickly as they are taken; the time is that of one message,
from the start of the first to the arrival of the last, divided by their number.

**Copies.** Every message begins in a buffer of the sender and ends in one of the receiver. The kernel's ways copy it into
the kernel and out again, a ring into the region and out again: the same two copies. What a ring saves is the kernel: no
system call, no page to be found for the bytes, nobody to be woken. (A ring can do with fewer copies, where the bytes are made
or used in place, and iceoryx2 is made for that; not measured here.)

**Waiting.** Who *spins* looks again and again. That is the quickest way to learn of a message, and takes a whole processor
as long as there is none. Who *sleeps* leaves the processor to others until the kernel wakes it: a futex in the region is no
quicker at that than a pipe, as both wait for the same wake-up. In a stream there is mostly something to do, so that
the ring with a futex hardly ever sleeps, and comes near to the one that spins. Waking an idle processor takes long in a
virtual machine; *round trip on one processor* does without: each wakes the other and makes way for it.

**Room.** Rings and iceoryx2 hold 1 MiB or 1024 messages, whichever is less, and 4 at least. Pipes and sockets have the capacity that the system
gives them, queues what it allows without privilege; only the buffer of the seqpacket socket is enlarged, where a message
would not fit.

**Verified.** Before and after it is timed, each way carries messages of which every byte depends on the message's number, and
every byte is compared. While it is timed, each message has its number at both ends, which the receiver compares; that is
the same work for all.

**Counted.** System calls by the kernel's event at the entry of every call (`raw_syscalls:sys_enter`), context switches by
`getrusage`, for each of the two processes, in runs of their own. 0 is none at all, 0.00 less than one for 200 messages. At 8
bytes a message is a round trip: one there and one back.",
    plots: &[
        Plot { file: "ipc-round-trip", title: "A round trip of 8 bytes", case: ROUND_TRIP, shape: Shape::Values },
        Plot { file: "ipc-one-way", title: "One message after the other", case: ONE_WAY, shape: Shape::Values },
    ],
    plan,
};

const ROUND_TRIP: &str = "round trip";
const ON_ONE: &str = "round trip on one processor";
const ONE_WAY: &str = "one way";

/// A round trip of one word, and messages in one direction; a carrier that cannot do one cannot do those behind it.
const QUICK: &[(Traffic, u64)] = &[(Traffic::RoundTrip, 8), (Traffic::OneWay, 64), (Traffic::OneWay, 4 << 10)];
const MORE: &[(Traffic, u64)] = &[(Traffic::OneWay, 64 << 10), (Traffic::OneWay, 1 << 20)];

/// What is counted of a message, and where it is found.
type Count = fn(&Score) -> Option<u64>;
const COUNTS: &[(&str, Count)] = &[
    ("system calls of the sender", |score| score.sender.calls),
    ("system calls of the receiver", |score| score.receiver.calls),
    ("context switches of the sender", |score| Some(score.sender.switches)),
    ("context switches of the receiver", |score| Some(score.receiver.switches)),
];

/// Carriers that can do something, and what that is.
struct Able {
    carriers: Vec<&'static Carrier>,
    traffic: Traffic,
    size: u64,
    /// What was counted of each, and for how many messages, once it was.
    scores: OnceCell<Vec<(u64, Score)>>,
}

impl Able {
    fn scores(&self, cores: Cores) -> Result<&[(u64, Score)]> {
        if self.scores.get().is_none() {
            let scores = self.carriers.iter().map(|carrier| counts(carrier, self.traffic, self.size, cores));
            let _ = self.scores.set(scores.collect::<Result<_>>()?);
        }
        Ok(self.scores.get().map_or(&[], Vec::as_slice))
    }
}

fn plan(plan: &mut Plan) -> Result<()> {
    let cores = [plan.processors.nth(0), plan.processors.nth(1)];
    let more = if plan.quick { &[] } else { MORE };
    let able = |&(traffic, size)| Able { carriers: Vec::new(), traffic, size, scores: OnceCell::new() };
    let mut able: Vec<Able> = QUICK.iter().chain(more).map(able).collect();
    for carrier in CARRIERS {
        if carrier.spins && plan.processors.count() < 2 {
            plan.skip(carrier.name, "Who spins needs a second processor to be answered.");
            continue;
        }
        for able in &mut able {
            match Pair::start(carrier, able.traffic, able.size as usize, cores).context(carrier.name)? {
                Ok(_) => able.carriers.push(carrier),
                Err(reason) => {
                    plan.skip(carrier.name, format!("From {} up: {reason}.", Size::Bytes(able.size)));
                    break;
                }
            }
        }
    }
    for Able { carriers, traffic, size, .. } in &able {
        let (traffic, size) = (*traffic, *size);
        let mut compare = |case, baseline, carriers: Vec<&'static Carrier>, cores| {
            plan.compare(case, size, move || {
                carriers.iter().map(|carrier| subject(carrier, traffic, size, cores, baseline)).collect()
            });
        };
        match traffic {
            Traffic::RoundTrip => {
                compare(ROUND_TRIP, "two words by hand", carriers.clone(), cores);
                if cores[0] != cores[1] {
                    let sleeping = carriers.iter().copied().filter(|carrier| !carrier.spins).collect();
                    compare(ON_ONE, "pipe", sleeping, [cores[0]; 2]);
                }
            }
            Traffic::OneWay => compare(ONE_WAY, "pipe", carriers.clone(), cores),
        }
    }
    count(plan, able, cores)
}

fn start(carrier: &Carrier, traffic: Traffic, size: u64, cores: Cores) -> Result<Pair> {
    Pair::start(carrier, traffic, size as usize, cores)?.map_err(|reason| anyhow!("{}: {reason}", carrier.name))
}

fn subject(carrier: &Carrier, traffic: Traffic, size: u64, cores: Cores, baseline: &'static str) -> Result<Subject> {
    let pair = Rc::new(RefCell::new(start(carrier, traffic, size, cores)?));
    let same = Rc::clone(&pair);
    let some = match traffic {
        Traffic::RoundTrip => 100,
        Traffic::OneWay => ((4 << 20) / size).clamp(20, 2000),
    };
    let verify = move || pair.borrow_mut().obey(Order { messages: some, kind: Kind::Verify }).map(drop);
    let run = move |messages| {
        let score = same.borrow_mut().obey(Order { messages, kind: Kind::Time })?;
        Ok(Duration::from_nanos(score.nanoseconds))
    };
    let subject = Subject::new(carrier.role, carrier.name, carrier.guarantee, verify, run).sampled_for(SAMPLE);
    Ok(if carrier.name == baseline { subject } else { subject.against(baseline) })
}

/// At the beginning of a sample the receiver sleeps, and queues are empty: so many messages that this does not show.
const SAMPLE: Duration = Duration::from_millis(5);

/// Registers what is counted. All counts of a size come from one run of each carrier.
fn count(plan: &mut Plan, able: Vec<Able>, cores: Cores) -> Result<()> {
    let [Able { carriers, traffic, size, .. }, ..] = &able[..] else { return Ok(()) };
    let mut probe = start(carriers.first().context("pipes are everywhere")?, *traffic, *size, cores)?;
    if probe.obey(Order { messages: 1, kind: Kind::Count })?.sender.calls.is_none() {
        plan.skip("system calls", "The kernel counts them for root (perf_event_open, tracefs).");
    }
    let able: Vec<Rc<Able>> = able.into_iter().map(Rc::new).collect();
    for &(name, count) in COUNTS {
        for able in &able {
            let able = Rc::clone(able);
            plan.count(name, able.size, "for each message", move || {
                let counted = able.carriers.iter().zip(able.scores(cores)?);
                let counted = counted.filter_map(|(carrier, (messages, score))| {
                    let value = count(score)? as f64 / *messages as f64;
                    let Carrier { name, role, .. } = **carrier;
                    Some(Counted { name, role, guarantee: "", baseline: None, value })
                });
                Ok(counted.collect())
            });
        }
    }
    Ok(())
}

/// Has the kernel count for at least some milliseconds; returns for how many messages, and what.
fn counts(carrier: &Carrier, traffic: Traffic, size: u64, cores: Cores) -> Result<(u64, Score)> {
    let mut pair = start(carrier, traffic, size, cores)?;
    let mut messages = 100;
    loop {
        let score = pair.obey(Order { messages, kind: Kind::Count })?;
        if Duration::from_nanos(score.nanoseconds) >= 4 * SAMPLE {
            return Ok((messages, score));
        }
        messages *= 4;
    }
}
