//! The ring between two processes, and what it does when one of them stands still or dies.

use std::env;
use std::io::ErrorKind;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use shared_region::{
    AnyBackend, Backend, CreateOptions, OpenOptions, RegionId, Removal, SharedRegion, SharedRegionExt,
};

use super::*;

type Region = Box<dyn SharedRegion>;

/// Long enough for any machine; who waits so long waits for ever.
const LONG: Duration = Duration::from_secs(60);
/// For waits that are known to be in vain.
const SHORT: Duration = Duration::from_millis(20);

const LONGEST: usize = 100;

fn shape(waiting: Waiting, patience: Duration) -> Shape {
    Shape { message: LONGEST, slots: 16, waiting, patience }
}

/// Makes a region for such a ring. It goes with the handle.
fn region(backend: AnyBackend, shape: &Shape) -> Region {
    let options = CreateOptions::new(shape.region_size()).removal(Removal::OnDrop);
    backend.create_unique("ring-", &options).unwrap()
}

fn ends(region: &Region, shape: Shape) -> (Sender<Region>, Receiver<Region>) {
    let [one, other] = [(); 2].map(|()| region.try_clone().unwrap());
    (Sender::new(one, shape).unwrap(), Receiver::new(other, shape).unwrap())
}

/// The message with this number: of any length that fits, the empty one too, and of bytes that depend on the number.
fn message(number: u64, buffer: &mut [u8]) -> &mut [u8] {
    let len = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % (buffer.len() + 1);
    let message = &mut buffer[..len];
    for (place, byte) in message.iter_mut().enumerate() {
        *byte = (number + place as u64 * 31) as u8;
    }
    message
}

fn expect<R: SharedRegion>(receiver: &mut Receiver<R>, number: u64) {
    let (mut wanted, mut got) = ([0; LONGEST], [0; LONGEST]);
    let len = receiver.receive(&mut got).unwrap();
    assert!(got[..len] == *message(number, &mut wanted), "message {number} differs");
}

/// A second process that plays a role; killed if it outlives the test.
struct Other(Child);

impl Other {
    /// Starts one that receives from a ring in the first region and sends into the second, whichever it does.
    fn start(role: &str, regions: [&Region; 2], waitings: [Waiting; 2], count: u64) -> Self {
        let [one, two] = regions.map(|region| region.id().unwrap());
        let role = format!("{role} {one} {two} {waitings:?} {count}").replace(", ", " ");
        let mut command = Command::new("/proc/self/exe");
        command.args(["--exact", "ipc::ring::tests::the_other_process", "--ignored", "--quiet"]).env("RING_ROLE", role);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    fn finish(mut self) {
        assert!(self.0.wait().unwrap().success());
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What [`Other`] does.
#[test]
#[ignore = "a role that other tests start"]
fn the_other_process() {
    let Ok(role) = env::var("RING_ROLE") else { return };
    let [role, one, two, receiving, sending, count] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let open = |id: &str| id.parse::<RegionId>().unwrap().open(&OpenOptions::new()).unwrap();
    let shape = |waiting: &str| shape(if waiting.contains("Spin") { Waiting::Spin } else { Waiting::Futex }, LONG);
    let mut receiver = Receiver::new(open(one), shape(receiving)).unwrap();
    let mut sender = Sender::new(open(two), shape(sending)).unwrap();
    let mut buffer = [0; LONGEST];
    for number in 0..count.parse().unwrap() {
        match role {
            "receives" => expect(&mut receiver, number),
            "sends" => sender.send(message(number, &mut buffer)).unwrap(),
            "answers" => {
                let len = receiver.receive(&mut buffer).unwrap();
                sender.send(&buffer[..len]).unwrap();
            }
            _ => panic!("{role}"),
        }
    }
}

/// Runs a test for each backend and each way to wait.
fn everywhere(test: impl Fn(AnyBackend, Waiting)) {
    for backend in [AnyBackend::Posix, AnyBackend::Sysv] {
        for waiting in [Waiting::Spin, Waiting::Futex] {
            eprintln!("{backend}, {waiting:?}");
            test(backend, waiting);
        }
    }
}

/// How many messages a stream has: millions in all, when one asks for them.
fn many() -> u64 {
    env::var("RING_MESSAGES").map_or(50_000, |count| count.parse().unwrap())
}

#[test]
fn every_message_of_a_stream_arrives_whole_and_in_order() {
    everywhere(|backend, waiting| {
        let shape = shape(waiting, LONG);
        let region = region(backend, &shape);
        let receives = Other::start("receives", [&region; 2], [waiting; 2], many());
        let mut sender = ends(&region, shape).0;
        let mut buffer = [0; LONGEST];
        (0..many()).for_each(|number| sender.send(message(number, &mut buffer)).unwrap());
        receives.finish();

        let region = self::region(backend, &shape);
        let sends = Other::start("sends", [&region; 2], [waiting; 2], many());
        let mut receiver = ends(&region, shape).1;
        (0..many()).for_each(|number| expect(&mut receiver, number));
        sends.finish();
    });
}

#[test]
fn question_and_answer_alternate() {
    everywhere(|backend, waiting| {
        let shape = shape(waiting, LONG);
        let [questions, answers] = [(); 2].map(|()| region(backend, &shape));
        let answering = Other::start("answers", [&questions, &answers], [waiting; 2], many() / 10);
        let (mut sender, mut receiver) = (ends(&questions, shape).0, ends(&answers, shape).1);
        let mut buffer = [0; LONGEST];
        for number in 0..many() / 10 {
            sender.send(message(number, &mut buffer)).unwrap();
            expect(&mut receiver, number);
        }
        answering.finish();
    });
}

/// Each question comes just when the other side, done with the one before, lies down: since here one spins for the answer,
/// and waits for a different moment each time. A wake-up that is lost ends the patience of both: without the fences of
/// the ring, that happened within two million questions.
#[test]
fn no_wake_up_is_lost_however_closely_it_misses_the_sleep() {
    let [asleep, awake] = [Waiting::Futex, Waiting::Spin].map(|waiting| shape(waiting, LONG));
    let [questions, answers] = [&asleep, &awake].map(|shape| region(AnyBackend::Posix, shape));
    let count = 20 * many();
    let answering = Other::start("answers", [&questions, &answers], [asleep.waiting, awake.waiting], count);
    let (mut sender, mut receiver) = (ends(&questions, asleep).0, ends(&answers, awake).1);
    let mut buffer = [0; LONGEST];
    for number in 0..count {
        (0..number % 64).for_each(|_| std::hint::black_box(()));
        sender.send(message(number, &mut buffer)).unwrap();
        expect(&mut receiver, number);
    }
    answering.finish();
}

#[test]
fn a_full_ring_lets_nothing_in_and_loses_nothing() {
    everywhere(|backend, waiting| {
        let shape = shape(waiting, SHORT);
        let region = region(backend, &shape);
        let (mut sender, mut receiver) = ends(&region, shape);
        let mut buffer = [0; LONGEST];
        let (mut sent, mut received) = (0, 0);
        // Once around the ring in steps of each size, from wherever the last step ended.
        for taken in 0..=shape.slots as u64 {
            loop {
                match sender.send(message(sent, &mut buffer)) {
                    Ok(()) => sent += 1,
                    Err(error) => break assert_eq!(error.kind(), ErrorKind::TimedOut),
                }
            }
            // What was taken counts a quarter at a time.
            assert!((13..=16).contains(&(sent - received)), "{} messages made it full", sent - received);
            (0..taken.min(sent - received)).for_each(|i| expect(&mut receiver, received + i));
            received += taken.min(sent - received);
        }
    });
}

#[test]
fn an_empty_ring_yields_nothing_and_then_the_next_message() {
    everywhere(|backend, waiting| {
        let shape = shape(waiting, SHORT);
        let region = region(backend, &shape);
        let (mut sender, mut receiver) = ends(&region, shape);
        let mut buffer = [0; LONGEST];
        for number in 0..40 {
            assert_eq!(receiver.receive(&mut buffer).unwrap_err().kind(), ErrorKind::TimedOut);
            sender.send(message(number, &mut buffer)).unwrap();
            expect(&mut receiver, number);
        }
    });
}

#[test]
fn a_sender_is_told_when_the_receiver_has_died() {
    everywhere(|backend, waiting| {
        let shape = shape(waiting, LONG);
        let region = region(backend, &shape);
        let receives = Other::start("receives", [&region; 2], [waiting; 2], u64::MAX);
        let mut sender = ends(&region, shape).0;
        let mut buffer = [0; LONGEST];
        (0..1000).for_each(|number| sender.send(message(number, &mut buffer)).unwrap());
        receives.kill();
        sender.side.shape.patience = SHORT;
        let refused = (1000..).find_map(|number| sender.send(message(number, &mut buffer)).err()).unwrap();
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_receiver_gets_what_a_dead_sender_had_sent_and_then_is_told() {
    everywhere(|backend, waiting| {
        let shape = shape(waiting, LONG);
        let region = region(backend, &shape);
        let sends = Other::start("sends", [&region; 2], [waiting; 2], u64::MAX);
        let mut receiver = ends(&region, shape).1;
        (0..1000).for_each(|number| expect(&mut receiver, number));
        sends.kill();
        receiver.0.shape.patience = SHORT;
        let (mut wanted, mut got) = ([0; LONGEST], [0; LONGEST]);
        let last = (1000..).find_map(|number| match receiver.receive(&mut got) {
            Ok(len) => {
                assert!(got[..len] == *message(number, &mut wanted), "message {number} differs");
                None
            }
            Err(error) => Some(error),
        });
        assert_eq!(last.unwrap().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let shape = shape(Waiting::Spin, SHORT);
    let region = region(AnyBackend::Posix, &shape);
    let (mut sender, mut receiver) = ends(&region, shape);
    assert_eq!(sender.send(&[0; LONGEST + 1]).unwrap_err().kind(), ErrorKind::InvalidInput);
    sender.send(b"hello").unwrap();
    assert_eq!(receiver.receive(&mut [0; 4]).unwrap_err().kind(), ErrorKind::InvalidData);
    let mut buffer = [0; LONGEST];
    assert_eq!(receiver.receive(&mut buffer).unwrap(), 5);
    assert_eq!(buffer[..5], *b"hello");

    let larger = Shape { slots: 32, ..shape };
    assert_eq!(Sender::new(region, larger).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_peer_that_scribbles_causes_errors_and_nothing_worse() {
    let shape = shape(Waiting::Spin, SHORT);
    let region = region(AnyBackend::Posix, &shape);
    let (mut sender, mut receiver) = ends(&region, shape);
    let mut buffer = [0; 2 * LONGEST];
    // The next message, longer than its slot.
    let first = region.atomic_u64(size_of::<Control>()).unwrap();
    first.store(1 << 32 | (LONGEST as u64 + 1), Release);
    assert_eq!(receiver.receive(&mut buffer).unwrap_err().kind(), ErrorKind::InvalidData);
    // More messages taken than were ever sent.
    region.fill_at(0, size_of::<Apart<AtomicU64>>(), 0xff).unwrap();
    let refused = (0..100).find_map(|_| sender.send(b"hello").err()).unwrap();
    assert_eq!(refused.kind(), ErrorKind::TimedOut);
}
