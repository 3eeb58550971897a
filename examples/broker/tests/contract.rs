//! The contract, by a server in the tests' first process.

use std::path::PathBuf;
use std::sync::Once;

use shared_region::{Backend, RegionName};
use shared_region_broker::{Broker, Server};
use shared_region_conformance::sut::NativeStat;
use shared_region_conformance::{Sut, first_process, suite};

#[derive(Debug)]
struct ByBroker;

impl Sut for ByBroker {
    type Backend = Broker;
    const LABEL: &'static str = "broker";

    fn backend() -> Broker {
        static SERVER: Once = Once::new();
        let address = PathBuf::from(format!("@shared-region-broker-{}", first_process()));
        if first_process() == std::process::id() {
            SERVER.call_once(|| {
                let server = Server::bind(&address).unwrap();
                std::thread::spawn(move || server.serve());
            });
        }
        Broker::new(address)
    }

    fn reaches_by_identity() -> Option<()> {
        Some(())
    }

    fn native_stat(name: &RegionName) -> Option<Option<NativeStat>> {
        let stat = Self::backend().metadata(name).ok();
        Some(stat.map(|stat| NativeStat { size: stat.size(), mode: stat.mode(), uid: stat.uid(), gid: stat.gid() }))
    }
}

suite!(broker: ByBroker);
