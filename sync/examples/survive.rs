//! Several workers on one board, killed at random for some seconds; nothing is lost.
//!
//! ```console
//! $ cargo run --release -p shared-region-sync --example survive           # or with a number of seconds
//! ```

use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use shared_region::{Backend, CreateOptions, OpenOptions, Posix, RegionName, Removal, SharedRegionExt, shared_layout};
use shared_region_sync::{Event, Member, Members, Mutex, Versioned};

const WORKERS: usize = 4;
const LONG: Duration = Duration::from_secs(10);

shared_layout! {
    struct Board {
        members: Members<16>,
        mutex: Mutex,
        done: Event,
        reserved: std::sync::atomic::AtomicU32,
        /// Guarded by the mutex: the total is the sum of the parts.
        total: AtomicU64,
        parts: [AtomicU64; WORKERS],
        repairs: AtomicU64,
        /// All eight are the same.
        value: Versioned<[u64; 8]>,
    }
}

impl Board {
    fn sum(&self) -> u64 {
        self.parts.iter().map(|part| part.load(Relaxed)).sum()
    }
}

fn main() -> shared_region::Result<()> {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, name, worker] = &arguments[..] {
        return work(&RegionName::new(name)?, worker.parse().expect("a worker's number"));
    }
    let seconds = arguments.get(1).map_or(3, |text| text.parse().expect("a number of seconds"));

    let name = RegionName::new(&format!("/survive-{}", std::process::id()))?;
    let region = Posix.create_new(&name, &CreateOptions::new(1 << 16).removal(Removal::OnDrop))?;
    let board: &Board = region.view(0)?;
    let start = |worker: usize| -> Child {
        let program = std::env::current_exe().expect("this program has a path");
        Command::new(program).args([name.as_str(), &worker.to_string()]).spawn().expect("a process")
    };

    let mut workers: Vec<Child> = (0..WORKERS).map(start).collect();
    let (started, mut killed) = (Instant::now(), 0_usize);
    while started.elapsed() < Duration::from_secs(seconds) {
        std::thread::sleep(Duration::from_micros(2_000 + (killed as u64 * 7919) % 9_000));
        let victim = killed % WORKERS;
        workers[victim].kill().expect("a worker of ours");
        workers[victim].wait().expect("a worker of ours");
        workers[victim] = start(victim);
        killed += 1;
    }
    for worker in &mut workers {
        worker.kill().expect("a worker of ours");
        worker.wait().expect("a worker of ours");
    }

    let me = Member::join(&region, 0, |board: &Board| &board.members)?;
    let mut guard = me.lock(&board.mutex, LONG)?;
    if guard.recovered() {
        repair(board);
        guard.repaired();
    }
    assert_eq!(board.total.load(Relaxed), board.sum(), "something was lost");
    let value = board.value.load()?;
    assert!(value.iter().all(|&part| part == value[0]), "a value was torn: {value:?}");
    println!(
        "{killed} workers killed, {} steps, {} updates; {} died inside the lock and were repaired; nothing lost",
        board.total.load(Relaxed),
        value[0],
        board.repairs.load(Relaxed),
    );
    Ok(())
}

/// Works until killed.
fn work(name: &RegionName, worker: usize) -> shared_region::Result<()> {
    let region = Posix.open(name, &OpenOptions::new())?;
    let me = Member::join(&region, 0, |board: &Board| &board.members)?;
    let board: &Board = region.view(0)?;
    loop {
        let mut guard = me.lock(&board.mutex, LONG)?;
        if guard.recovered() {
            repair(board);
            guard.repaired();
        }
        board.parts[worker].fetch_add(1, Relaxed);
        board.total.store(board.total.load(Relaxed) + 1, Relaxed);
        drop(guard);
        me.update(&board.value, LONG, |value| *value = value.map(|part| part + 1))?;
        board.done.notify_all();
    }
}

fn repair(board: &Board) {
    board.total.store(board.sum(), Relaxed);
    board.repairs.fetch_add(1, Relaxed);
}
