//! Hands a file to a second process through shared memory, over each backend in turn.
//!
//! ```console
//! $ cargo run --release --example exchange -- [--backend posix|sysv] [FILE]
//! ```
//!
//! The first process copies FILE (by default the README) into a new region and starts a second one, telling it nothing
//! but the region's identity. That one copies the bytes out and works out their SHA-256. The same generic function serves
//! every backend.

use std::env;
use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use shared_region::{AnyBackend, Backend, CreateOptions, OpenOptions, RegionId, SharedRegion, SharedRegionExt};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What stands before the bytes: their number, stored last by the writer, then the reader's answer.
const LEN: usize = 0;
const DIGEST: usize = 8;
const BYTES: usize = 64;

/// The backends of this build.
const BACKENDS: &[AnyBackend] = &[
    #[cfg(feature = "posix")]
    AnyBackend::Posix,
    #[cfg(feature = "sysv")]
    AnyBackend::Sysv,
];

fn main() -> ExitCode {
    let outcome = match env::var("EXCHANGE_REGION") {
        Ok(id) => answer(&id),
        Err(_) => compare(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("exchange: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The first process: runs the exchange over each backend and prints a table.
fn compare() -> Outcome<()> {
    const USAGE: &str = "usage: exchange [--backend posix|sysv] [FILE]";
    let mut backends = BACKENDS.to_vec();
    let mut file = None;
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--backend" => backends = vec![arguments.next().ok_or(USAGE)?.parse()?],
            "-h" | "--help" => {
                println!("{USAGE}");
                return Ok(());
            }
            flag if flag.starts_with('-') => return Err(USAGE.into()),
            _ if file.is_some() => return Err(USAGE.into()),
            _ => file = Some(argument),
        }
    }
    let file = file.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/README.md").to_owned());
    let bytes = fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
    let expected = Sha256::digest(&bytes);

    println!("{:<8} {:>12} {:>10} {:>12}  verdict", "backend", "bytes", "time", "rate");
    for backend in backends {
        let (time, digest) = exchange(backend, &bytes)?;
        let rate = bytes.len() as f64 / time.as_secs_f64() / f64::from(1 << 20);
        let verdict = if digest[..] == expected[..] { "SHA-256 matches" } else { "SHA-256 DIFFERS" };
        println!("{backend:<8} {:>12} {time:>10.1?} {rate:>6.0} MiB/s  {verdict}", bytes.len());
        if digest[..] != expected[..] {
            return Err(format!("{backend}: the second process read other bytes").into());
        }
    }
    Ok(())
}

/// Hands `bytes` to a second process; returns how long that took from writing them to the answer, and the SHA-256 that
/// the other side worked out.
fn exchange<B: Backend>(backend: B, bytes: &[u8]) -> Outcome<(Duration, [u8; 32])> {
    let region = backend.create_unique("exchange-", &CreateOptions::new(BYTES + bytes.len()))?;
    let outcome = hand_over(&region, bytes);
    region.remove()?; // whatever happened
    outcome
}

fn hand_over(region: &impl SharedRegion, bytes: &[u8]) -> Outcome<(Duration, [u8; 32])> {
    let start = Instant::now();
    region.write_at(BYTES, bytes)?;
    region.atomic_u64(LEN)?.store(bytes.len() as u64, Ordering::Release);

    let id = region.id().ok_or("a unique region has an identity")?;
    let status = Command::new(env::current_exe()?).env("EXCHANGE_REGION", id.to_string()).status()?;
    if !status.success() {
        return Err(format!("the second process failed: {status}").into());
    }
    let mut digest = [0; 32];
    region.read_at(DIGEST, &mut digest)?;
    Ok((start.elapsed(), digest))
}

/// The second process: opens the region by its identity, whichever backend that names, and answers.
fn answer(id: &str) -> Outcome<()> {
    let region = id.parse::<RegionId>()?.open(&OpenOptions::new().min_size(BYTES))?;
    let len = usize::try_from(region.load_u64(LEN, Ordering::Acquire)?)?;
    let room = region.len() - BYTES;
    if len > room {
        return Err(format!("{len} bytes were announced, and there is room for {room}").into());
    }
    let mut bytes = vec![0; len];
    region.read_at(BYTES, &mut bytes)?;
    region.write_at(DIGEST, &Sha256::digest(&bytes))?;
    Ok(())
}
