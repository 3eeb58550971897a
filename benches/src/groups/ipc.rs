//! Group 6: messages between two processes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::ipc::{CARRIERS, Carrier, Cores, Kind, Order, Pair, Score, Traffic};
use crate::model::{Counted, Group, Plan, Plot, Shape, Size, Subject};

pub(crate) const GROUP: Group = Group {
    name: "ipc",
    title: "Messages between two processes",
    text: "TODO",
    plots: &[
        Plot { file: "ipc-round-trip", title: "A round trip of 8 bytes", case: ROUND_TRIP, shape: Shape::Values },
        Plot { file: "ipc-one-way", title: "Messages in one direction", case: ONE_WAY, shape: Shape::Rates },
    ],
    plan,
};

const ROUND_TRIP: &str = "round trip";
const ONE_WAY: &str = "one way";

/// A round trip of one word, and messages in one direction; a carrier that cannot do one cannot do those behind it.
const TRAFFIC: &[(Traffic, u64)] = &[
    (Traffic::RoundTrip, 8),
    (Traffic::OneWay, 64),
    (Traffic::OneWay, 4 << 10),
    (Traffic::OneWay, 64 << 10),
    (Traffic::OneWay, 1 << 20),
];

/// What is counted of a message, and where it is found.
type Count = fn(&Score) -> Option<u64>;
const COUNTS: &[(&str, Count)] = &[
    ("system calls of the sender", |score| score.sender.calls),
    ("system calls of the receiver", |score| score.receiver.calls),
    ("context switches of the sender", |score| Some(score.sender.switches)),
    ("context switches of the receiver", |score| Some(score.receiver.switches)),
];

fn plan(plan: &mut Plan) -> Result<()> {
    let cores = [plan.processors.nth(0), plan.processors.nth(1)];
    let mut able = vec![Vec::new(); TRAFFIC.len()];
    for carrier in CARRIERS {
        if carrier.spins && plan.processors.count() < 2 {
            plan.skip(carrier.name, "Who spins needs a second processor to be answered.");
            continue;
        }
        for (&(traffic, size), able) in TRAFFIC.iter().zip(&mut able) {
            match Pair::start(carrier, traffic, size as usize, cores).context(carrier.name)? {
                Ok(_) => able.push(carrier),
                Err(reason) => {
                    plan.skip(carrier.name, format!("From {} up: {reason}.", Size::Bytes(size)));
                    break;
                }
            }
        }
    }
    for (&(traffic, size), able) in TRAFFIC.iter().zip(&able) {
        let able = able.clone();
        let (case, baseline) = match traffic {
            Traffic::RoundTrip => (ROUND_TRIP, "two words by hand"),
            Traffic::OneWay => (ONE_WAY, "pipe"),
        };
        plan.compare(case, size, move || {
            able.iter().map(|carrier| subject(carrier, traffic, size, cores, baseline)).collect()
        });
    }
    count(plan, &able, cores)
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
fn count(plan: &mut Plan, able: &[Vec<&'static Carrier>], cores: Cores) -> Result<()> {
    let mut probe = start(&CARRIERS[CARRIERS.len() - 1], Traffic::OneWay, 64, cores)?;
    if probe.obey(Order { messages: 1, kind: Kind::Count })?.sender.calls.is_none() {
        plan.skip("system calls", "The kernel counts them for root only (perf_event_open and tracefs).");
    }
    let scores: Rc<RefCell<HashMap<(u64, &str), (u64, Score)>>> = Rc::default();
    for &(name, count) in COUNTS {
        for (&(traffic, size), able) in TRAFFIC.iter().zip(able) {
            let (able, scores) = (able.clone(), Rc::clone(&scores));
            plan.count(name, size, "for each message", move || {
                let mut counted = Vec::new();
                for carrier in able {
                    let mut scores = scores.borrow_mut();
                    let (messages, score) = match scores.entry((size, carrier.name)) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(unknown) => *unknown.insert(counts(carrier, traffic, size, cores)?),
                    };
                    if let Some(count) = count(&score) {
                        let Carrier { name, role, guarantee, .. } = *carrier;
                        let value = count as f64 / messages as f64;
                        counted.push(Counted { name, role, guarantee, baseline: None, value });
                    }
                }
                Ok(counted)
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
