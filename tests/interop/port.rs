//! The worked example of PORTING.md: `sensors.c` and its three stages in Rust, all together.
#![allow(dead_code, clippy::duplicate_mod, reason = "the stages are programs of their own, and each has the board")]

use std::sync::atomic::Ordering;

use shared_region::{CreateOptions, ErrorKind, OpenOptions, SharedRegionExt};

use self::board::Board;
use crate::support::{Meeting, Peer, Second, start};

#[path = "../../examples/port/board.rs"]
mod board;
#[path = "../../examples/port/stage1.rs"]
mod stage1;
#[path = "../../examples/port/stage2.rs"]
mod stage2;
#[path = "../../examples/port/stage3.rs"]
mod stage3;

const SENSORS: &str = "examples/port/sensors.c";

/// In a second process: a stage does what its `main` would.
pub(crate) fn stage(stage: &str, arguments: &[String]) {
    match stage {
        "stage1" => stage1::run(arguments),
        "stage2" => stage2::run(arguments),
        "stage3" => stage3::run(arguments),
        _ => panic!("no role {stage}"),
    }
    .unwrap();
}

/// Starts one of the four programs.
fn run(c: &Peer, program: &str, arguments: &[&str]) -> Second {
    if program == "c" { c.start(arguments) } else { start(program, arguments) }
}

fn end(program: Second) {
    program.finish();
}

/// Reads what consumers printed: a channel, a number, a value a line.
fn readings(printed: &str) -> Vec<[i64; 3]> {
    let numbers = |line: &str| {
        // The test runner leaves the first line unfinished.
        let line = line.strip_prefix("test child ... ").unwrap_or(line);
        let numbers: Vec<i64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
        numbers.try_into().ok()
    };
    printed.lines().filter_map(numbers).collect()
}

/// Checks that every channel has its readings in order: none is missing, none comes twice.
fn assert_complete(readings: &[[i64; 3]], count: i64) {
    for channel in 0..4 {
        let of_channel = readings.iter().filter(|reading| reading[0] == channel);
        let expected = (0..count).map(|number| [channel, number, number * 7919 % 2000 - 1000]);
        assert!(of_channel.copied().eq(expected), "channel {channel}");
    }
    assert_eq!(readings.len() as i64, 4 * count);
}

#[test]
fn the_c_program_and_the_first_two_stages_understand_each_other() {
    let Some(c) = Peer::c(SENSORS) else { return };
    let programs = ["c", "stage1", "stage2"];
    for (index, consumer) in programs.into_iter().enumerate() {
        // The key's file is new each time, and the board left over by no other.
        let meeting = Meeting::by_file('S');
        let producers = [0, 1, 2, 3].map(|channel| {
            let program = programs[(index + channel) % 3];
            run(&c, program, &[&meeting.at, "produce", &channel.to_string(), "500"])
        });
        let first = run(&c, consumer, &[&meeting.at, "consume", "1500"]).finish();
        let second = run(&c, programs[(index + 1) % 3], &[&meeting.at, "consume", "500"]).finish();
        producers.into_iter().for_each(end);
        assert_complete(&readings(&(first + &second)), 500);
        run(&c, programs[(index + 2) % 3], &[&meeting.at, "remove"]).finish();
        assert_eq!(meeting.id.open(&OpenOptions::new()).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn a_live_board_moves_to_posix_and_no_reading_is_lost() {
    let Some(c) = Peer::c(SENSORS) else { return };
    let (old, new) = (Meeting::by_file('S'), Meeting::by_name());
    let to = new.id.to_string();
    let channels = ["0", "1", "2", "3"];
    let old_producers = channels.map(|channel| c.start(&[&old.at, "produce", channel, "2000"]));
    let mut printed = c.start(&[&old.at, "consume", "3000"]).finish();

    // What is left, 5000 readings, does not fit into both boards' rings: the bridge is killed in the middle.
    let killed = start("stage3", &[&to, "bridge", &old.at]);
    printed += &start("stage3", &[&to, "consume", "2000"]).finish();
    killed.kill();
    let bridge = start("stage3", &[&to, "bridge", &old.at]);
    let new_producers = channels.map(|channel| start("stage3", &[&to, "produce", channel, "1000"]));
    printed += &start("stage3", &[&to, "consume", "7000"]).finish();
    assert_complete(&readings(&printed), 3000);
    old_producers.into_iter().for_each(end);
    new_producers.into_iter().for_each(end);
    bridge.finish();

    for late in [&["produce", "0", "1"][..], &["consume", "1"]] {
        let complaint = c.run(&[&[&old.at[..]], late].concat()).unwrap_err();
        assert!(complaint.contains("taken by process"), "{complaint}");
    }
    start("stage1", &[&old.at, "remove"]).finish();
    start("stage3", &[&to, "remove"]).finish();
}

/// The one moment in which a killed bridge leaves a reading on both boards, made by hand.
#[test]
fn a_reading_that_a_killed_bridge_left_on_both_boards_comes_once() {
    let Some(c) = Peer::c(SENSORS) else { return };
    let (old, new) = (Meeting::by_file('S'), Meeting::by_name());
    c.run(&[&old.at, "produce", "0", "10"]).unwrap();
    let region = new.id.create(&CreateOptions::new(size_of::<Board>())).unwrap();
    let board: &Board = region.view(0).unwrap();
    board.channels.iter().for_each(|channel| channel.producer.store(u32::MAX, Ordering::Relaxed));
    assert!(board.channels[0].put(0, -1000));

    start("stage3", &[&new.id.to_string(), "bridge", &old.at]).finish();
    let printed = start("stage3", &[&new.id.to_string(), "consume", "10"]).finish();
    let expected: Vec<_> = (0..10).map(|number| [0, number, number * 7919 % 2000 - 1000]).collect();
    assert_eq!(readings(&printed), expected);
}
