//! The report's end of an [umpire](super::umpire) and the two processes below it.

use std::io::{BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;

use super::Carrier;
use super::umpire::{Cores, Score, Traffic};
use super::worker::{Answer, Order, hear, said};

/// Two processes that are ready to talk.
pub(crate) struct Pair {
    umpire: Child,
    output: BufReader<ChildStdout>,
}

impl Pair {
    /// Starts them. What the carrier cannot do here is an [`Answer`], not an error.
    pub(crate) fn start(carrier: &Carrier, traffic: Traffic, size: usize, cores: Cores) -> Result<Answer<Self>> {
        let traffic = traffic.to_possible_value().context("a name for the traffic")?;
        let mut umpire = Command::new("/proc/self/exe")
            .args(["umpire", carrier.name, traffic.get_name(), &size.to_string()])
            .args(cores.map(|core| core.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the umpire")?;
        let output = BufReader::new(umpire.stdout.take().context("piped")?);
        let mut pair = Self { umpire, output };
        Ok(pair.answer()?.map(|()| pair))
    }

    /// Has them carry out an order.
    pub(crate) fn obey(&mut self, order: Order) -> Result<Score> {
        let input = self.umpire.stdin.as_mut().context("piped")?;
        input.write_all(&said(&order)?).context("the umpire has ended")?;
        self.answer()?.map_err(|error| anyhow!(error))
    }

    fn answer<T: serde::de::DeserializeOwned>(&mut self) -> Result<Answer<T>> {
        hear(&mut self.output)?.context("the umpire has ended")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        drop(self.umpire.stdin.take()); // which ends it
        let _ = self.umpire.wait();
    }
}
